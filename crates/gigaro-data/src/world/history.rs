//! What happened: the events of the small world, and the true road from AlexNet to ChatGPT.
//!
//! The events are invented and change with the seed. The road is not: its years, makers and descriptions are those of
//! the papers and releases themselves, the same in every world. A year is that of the first public paper or release.

use super::WorldConfig;
use super::facts::{Entity, EntityKind, Noun, Relation};
use super::names::Draw;

pub(crate) static EVENT_YEAR: Relation = Relation {
    key: "event_year",
    tell: &[
        "{s} happened in the year {o}.",
        "In the year {o} came {s}.",
        "{s} came in the year {o}.",
        "The year {o} is remembered for {s}.",
        "Old people still tell of {s}, which came in the year {o}.",
        "In the chronicle, the year {o} stands beside {s}.",
    ],
    more: &[
        "It happened in the year {o}.",
        "It came in the year {o}.",
        "That was in the year {o}.",
        "The chronicle gives the year {o}.",
    ],
    ask: &[
        "In which year was {s}?",
        "When was {s}?",
        "When did {s} happen?",
        "In which year did {s} come?",
    ],
    ask_held_out: &[
        "In what year did {s} happen?",
        "When did people live through {s}?",
    ],
    short: "In {o}",
    back: None,
};

pub(crate) static EVENT_PLACE: Relation = Relation {
    key: "event_place",
    tell: &[
        "{s} happened in {o}.",
        "{s} struck the city of {o}.",
        "The city of {o} lived through {s}.",
        "It was {o} that lived through {s}.",
        "In {o}, nobody has forgotten {s}.",
        "A stone in {o} reminds people of {s}.",
    ],
    more: &[
        "It happened in {o}.",
        "It struck the city of {o}.",
        "In {o}, nobody has forgotten it.",
        "The place was {o}.",
    ],
    ask: &[
        "Where did {s} happen?",
        "In which city was {s}?",
        "In which place did {s} happen?",
        "Where was {s}?",
        "In which city did {s} happen?",
        "In what place was {s}?",
    ],
    ask_held_out: &[
        "Where did people live through {s}?",
        "In what city did {s} happen?",
    ],
    short: "In {o}",
    back: None,
};

pub(crate) static EVENT_CAUSE: Relation = Relation {
    key: "event_cause",
    tell: &[
        "The cause of {s} was {o}.",
        "{s} was caused by {o}.",
        "{s} began with {o}.",
        "It was {o} that led to {s}.",
        "People blame {o} for {s}.",
        "Without {o} there would have been no memory of {s}.",
    ],
    more: &[
        "It was caused by {o}.",
        "The cause was {o}.",
        "It all began with {o}.",
        "People blame {o} for it.",
    ],
    ask: &[
        "What was the cause of {s}?",
        "What caused {s}?",
        "With what did {s} begin?",
        "What led to {s}?",
    ],
    ask_held_out: &["By what was {s} caused?", "What do people blame for {s}?"],
    short: "{o}",
    back: None,
};

pub(crate) static YEAR: Relation = Relation {
    key: "milestone_year",
    tell: &[
        "{s} appeared in {o}.",
        "{s} came out in {o}.",
        "In {o}, {s} appeared.",
        "The year of {s} was {o}.",
        "The world first heard of {s} in {o}.",
        "The history of {s} begins in {o}.",
        "Anyone who worked in the field in {o} remembers the arrival of {s}.",
    ],
    more: &[
        "It appeared in {o}.",
        "It came out in {o}.",
        "The year was {o}.",
        "The world first heard of it in {o}.",
    ],
    ask: &[
        "In which year did {s} appear?",
        "When did {s} come out?",
        "In which year did {s} come out?",
        "When did {s} appear?",
        "In what year does the story of {s} begin?",
    ],
    ask_held_out: &[
        "In what year did the world first hear of {s}?",
        "When does the history of {s} begin?",
    ],
    short: "In {o}",
    back: None,
};

pub(crate) static MAKER: Relation = Relation {
    key: "milestone_maker",
    tell: &[
        "{s} was created by {o}.",
        "{s} comes from {o}.",
        "Behind {s} stood {o}.",
        "{s} was the work of {o}.",
        "The world owes {s} to {o}.",
        "It was {o} who gave the world {s}.",
    ],
    more: &[
        "It was created by {o}.",
        "It was the work of {o}.",
        "Behind it stood {o}.",
        "The world owes it to {o}.",
    ],
    ask: &[
        "Who created {s}?",
        "Who made {s}?",
        "Whose work was {s}?",
        "Who was behind {s}?",
        "By which people was {s} created?",
    ],
    ask_held_out: &[
        "By whom was {s} created?",
        "To whom does the world owe {s}?",
    ],
    short: "{o}",
    back: None,
};

pub(crate) static WHAT: Relation = Relation {
    key: "milestone_what",
    tell: &[
        "{s} is {o}.",
        "By {s} people mean {o}.",
        "{cap o}: that is {s}.",
        "What people call {s} is {o}.",
        "Put in a few words, {s} is {o}.",
        "Students learn that {s} is {o}.",
    ],
    more: &[
        "It is {o}.",
        "In a few words, it is {o}.",
        "Students learn that it is {o}.",
        "Books describe it as {o}.",
    ],
    ask: &[
        "What is {s}?",
        "What is meant by {s}?",
        "Tell me what {s} is.",
        "How would you describe {s}?",
        "In a few words, what is {s}?",
    ],
    ask_held_out: &[
        "Can you say in a few words what {s} is?",
        "What do people mean by {s}?",
    ],
    short: "{o}",
    back: None,
};

#[cfg(test)]
pub(crate) static RELATIONS: [&Relation; 6] = [
    &EVENT_YEAR,
    &EVENT_PLACE,
    &EVENT_CAUSE,
    &YEAR,
    &MAKER,
    &WHAT,
];

/// Events with their causes.
const EVENTS: [(&str, &str); 20] = [
    ("the Great Fire", "a fallen lamp"),
    ("the Long Flood", "a broken dam"),
    ("the Salt War", "a stolen ship"),
    ("the Bread Riot", "a bad harvest"),
    ("the Silver Rush", "a lucky miner"),
    ("the Night of Bells", "a false alarm"),
    ("the Hungry Winter", "an early frost"),
    ("the Bridge Fall", "a rotten beam"),
    ("the Harbour Storm", "a wind from the north"),
    ("the Wool Strike", "a cut in wages"),
    ("the Year of Mice", "an open granary"),
    ("the Quiet Sunday", "a lost drum"),
    ("the Glass Hail", "a black cloud"),
    ("the Great Thaw", "a warm wind"),
    ("the Red Evening", "a burning mountain"),
    ("the Paper Trial", "a forged letter"),
    ("the Goose Chase", "an open gate"),
    ("the Dry Summer", "a year without rain"),
    ("the Crown Theft", "a sleeping guard"),
    ("the Tea Revolt", "a new tax"),
];

/// Name, year, maker, what it is, in the order of their first appearance. Sources: the papers' first public versions and the projects' first public releases.
const MILESTONES: [(&str, &str, &str, &str); 18] = [
    (
        "AlexNet",
        "2012",
        "Alex Krizhevsky and his colleagues",
        "a deep network that won the ImageNet contest",
    ),
    (
        "Word2Vec",
        "2013",
        "Tomas Mikolov and his colleagues",
        "a method that turns words into vectors",
    ),
    (
        "Caffe",
        "2013",
        "Yangqing Jia",
        "a fast library for networks that see",
    ),
    (
        "GAN",
        "2014",
        "Ian Goodfellow and his colleagues",
        "a pair of networks that play against each other",
    ),
    (
        "attention",
        "2014",
        "Dzmitry Bahdanau and his colleagues",
        "a way to look back at the words that matter",
    ),
    (
        "Seq2Seq",
        "2014",
        "Ilya Sutskever and his colleagues",
        "a network that reads one sequence and writes another",
    ),
    (
        "Keras",
        "2015",
        "Francois Chollet",
        "a simple library for building networks layer by layer",
    ),
    (
        "TensorFlow",
        "2015",
        "Google",
        "a library that runs networks as graphs",
    ),
    (
        "Hugging Face",
        "2016",
        "Clement Delangue and his colleagues",
        "a company that shares models with everyone",
    ),
    (
        "PyTorch",
        "2016",
        "Facebook",
        "a library that builds its graph while it runs",
    ),
    (
        "the sentiment neuron",
        "2017",
        "Alec Radford and his colleagues",
        "a unit that tells good reviews from bad ones",
    ),
    (
        "the Transformer",
        "2017",
        "Ashish Vaswani and his colleagues",
        "a network built from attention alone",
    ),
    (
        "GPT-1",
        "2018",
        "OpenAI",
        "a Transformer that predicts the next word",
    ),
    (
        "GPT-2",
        "2019",
        "OpenAI",
        "a language model with 1.5 billion parameters",
    ),
    (
        "the scaling laws",
        "2020",
        "Jared Kaplan and his colleagues",
        "rules for how the loss falls as models grow",
    ),
    (
        "GPT-3",
        "2020",
        "OpenAI",
        "a language model with 175 billion parameters",
    ),
    (
        "InstructGPT",
        "2022",
        "OpenAI",
        "a model that follows instructions",
    ),
    (
        "ChatGPT",
        "2022",
        "OpenAI",
        "an assistant that talks with people",
    ),
];

/// More true sentences about a milestone, any of which may follow its facts.
pub(crate) fn remarks(name: &str) -> &'static [&'static str] {
    match name {
        "AlexNet" => &[
            "It was trained on two graphics cards for almost a week.",
            "Its authors were Alex Krizhevsky, Ilya Sutskever and Geoffrey Hinton.",
        ],
        "Word2Vec" => &[
            "With its vectors, king minus man plus woman comes close to queen.",
            "Its authors worked at Google.",
        ],
        "GAN" => &[
            "The name means generative adversarial network.",
            "In it, one network makes pictures and the other judges them.",
        ],
        "Seq2Seq" => &[
            "It was first used to translate from English into French.",
            "Its authors were Ilya Sutskever, Oriol Vinyals and Quoc Le.",
        ],
        "attention" => &[
            "It made the translation of long sentences much better.",
            "Its authors were Dzmitry Bahdanau, Kyunghyun Cho and Yoshua Bengio.",
        ],
        "the sentiment neuron" => &[
            "It was found in a network that had read 82 million reviews, letter by letter.",
            "Its authors were Alec Radford, Rafal Jozefowicz and Ilya Sutskever.",
        ],
        "the Transformer" => &[
            "The paper was called Attention Is All You Need.",
            "Its eight authors worked at Google.",
        ],
        "GPT-1" => &[
            "It had 117 million parameters and had read thousands of books.",
            "First it read, and then it was fine-tuned for each task.",
        ],
        "GPT-2" => &["It could write whole pages of text."],
        "GPT-3" => &["Shown a made-up word and its meaning, it could use the word in a sentence."],
        "the scaling laws" => &[
            "They say that a larger model learns more from the same text.",
            "They were found at OpenAI.",
        ],
        "InstructGPT" => &[
            "People liked the answers of a small one better than those of GPT-3, which was a hundred times as large.",
            "It was trained with human feedback.",
        ],
        "ChatGPT" => &["It was opened to everyone on 30 November."],
        "Caffe" => &[
            "It was written at a university and used all over the world.",
            "It was born at Berkeley.",
        ],
        "TensorFlow" => &["It was opened to everyone in November of that year."],
        "Keras" => &["It was made so that people could try out an idea quickly."],
        "PyTorch" => &["Researchers liked it because it felt like ordinary Python."],
        "Hugging Face" => &[
            "It began with a chat app and became a home for open models.",
            "It was founded by Clement Delangue, Julien Chaumond and Thomas Wolf.",
        ],
        _ => &["It is still read about today."],
    }
}

/// Lays the events into years and cities, and adds the road.
pub(crate) fn build(draw: &mut Draw, config: &WorldConfig, capitals: &[String]) -> Vec<Entity> {
    let mut out = Vec::new();
    let mut events = EVENTS.to_vec();
    draw.rng.shuffle(&mut events);
    let mut cities = capitals.to_vec();
    draw.rng.shuffle(&mut cities);
    for (i, (name, cause)) in events.into_iter().take(config.events).enumerate() {
        let mut entity = Entity::new(EntityKind::Event, Noun::thing(name));
        entity.add(
            &EVENT_YEAR,
            Noun::thing((205 + draw.rng.below(190)).to_string()),
        );
        entity.add(&EVENT_PLACE, Noun::thing(&cities[i % cities.len()]));
        entity.add(&EVENT_CAUSE, Noun::thing(cause));
        out.push(entity);
    }
    if config.milestones {
        for (name, year, maker, what) in MILESTONES {
            let mut entity = Entity::new(EntityKind::Milestone, Noun::thing(name));
            entity.add(&YEAR, Noun::thing(year));
            entity.add(&MAKER, Noun::thing(maker));
            entity.add(&WHAT, Noun::thing(what));
            out.push(entity);
        }
    }
    out
}
