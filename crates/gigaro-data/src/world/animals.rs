//! Animals: what kind they are, what they say, where they live, what they eat, how they look, what their young are called.

use super::WorldConfig;
use super::facts::{Entity, EntityKind, Noun, Relation};

pub(crate) static CLASS: Relation = Relation {
    key: "class",
    tell: &[
        "{A s} is {a o}.",
        "The {s} is {a o}.",
        "The {s} belongs to the {many o}.",
        "Among the {many o} we count the {s}.",
        "{many s} are {many o}.",
        "In the schoolbook the {s} is listed under {many o}.",
    ],
    more: &[
        "It is {a o}.",
        "It belongs to the {many o}.",
        "It is one of the {many o}.",
        "Schoolbooks list it under {many o}.",
    ],
    ask: &[
        "What kind of animal is {a s}?",
        "What kind of animal is the {s}?",
        "Is the {s} a bird, a mammal or something else?",
    ],
    ask_held_out: &[
        "To which kind of animal does the {s} belong?",
        "What sort of animal is {a s}?",
    ],
    short: "{A o}",
    back: None,
};

pub(crate) static SOUND: Relation = Relation {
    key: "sound",
    tell: &[
        "{A s} {o}.",
        "The {s} {o}.",
        "When {a s} wants to be heard, it {o}.",
        "You can tell {a s} by its voice, for it {o}.",
        "Listen to the {s}: it {o}.",
        "{A s} {o} when it is hungry.",
        "At dawn the {s} {o}.",
    ],
    more: &[
        "It {o}.",
        "When it is hungry, it {o}.",
        "You can hear it from afar when it {o}.",
        "When it is excited, it {o}.",
    ],
    ask: &[
        "What sound does {a s} make?",
        "What does {a s} do when it wants to be heard?",
        "Does {a s} bark, sing or do something else?",
        "With what sound does {a s} make itself known?",
    ],
    ask_held_out: &[
        "Which sound does the {s} make?",
        "How does {a s} make itself heard?",
    ],
    short: "It {o}",
    back: None,
};

pub(crate) static HOME: Relation = Relation {
    key: "animal_home",
    tell: &[
        "{A s} lives in {a o}.",
        "The home of {a s} is {a o}.",
        "The {s} sleeps in {a o}.",
        "Look into {a o}, and you may find {a s}.",
        "At night the {s} goes home to its {o}.",
        "{many s} live in {many o}.",
        "Nothing keeps {a s} as safe as its {o}.",
    ],
    more: &[
        "It lives in {a o}.",
        "Its home is {a o}.",
        "It sleeps in {a o}.",
        "At night it goes home to its {o}.",
    ],
    ask: &[
        "Where does {a s} live?",
        "What is the home of {a s} called?",
        "Where does the {s} sleep?",
        "In what does {a s} live?",
        "In which place does {a s} live?",
        "Where does one find the home of {a s}?",
    ],
    ask_held_out: &["Where is {a s} at home?", "What does {a s} live in?"],
    short: "In {a o}",
    back: None,
};

pub(crate) static DIET: Relation = Relation {
    key: "diet",
    tell: &[
        "{A s} eats {o}.",
        "{many s} eat {o}.",
        "The {s} feeds on {o}.",
        "The food of the {s} is {o}.",
        "Give {a s} some {o}, and it will be happy.",
        "A hungry {s} looks for {o}.",
        "{many s} like {o} better than anything else.",
    ],
    more: &[
        "It eats {o}.",
        "It feeds on {o}.",
        "Its food is {o}.",
        "When it is hungry, it looks for {o}.",
    ],
    ask: &[
        "What does {a s} eat?",
        "What do {many s} eat?",
        "What is the food of the {s}?",
        "On what does the {s} feed?",
        "What does {a s} look for when it is hungry?",
        "What do people feed {a s}?",
    ],
    ask_held_out: &[
        "What does a hungry {s} look for?",
        "What should I feed {a s}?",
    ],
    short: "{o}",
    back: None,
};

pub(crate) static COLOUR: Relation = Relation {
    key: "colour",
    tell: &[
        "The {s} is {o}.",
        "{A s} is {o}.",
        "{many s} are {o}.",
        "The colour of the {s} is {o}.",
        "You can see {a s} from afar because it is {o}.",
        "Children who draw {a s} reach for the {o} chalk.",
    ],
    more: &[
        "It is {o}.",
        "Its colour is {o}.",
        "From head to tail it is {o}.",
        "Children draw it with {o} chalk.",
    ],
    ask: &[
        "What colour is {a s}?",
        "What is the colour of the {s}?",
        "Which colour are {many s}?",
    ],
    ask_held_out: &["What colour does {a s} have?", "Which colour is the {s}?"],
    short: "{o}",
    back: None,
};

pub(crate) static YOUNG: Relation = Relation {
    key: "young",
    tell: &[
        "A young {s} is called {a o}.",
        "{A o} is a young {s}.",
        "The young of the {s} are called {many o}.",
        "When {a s} is small, we call it {a o}.",
        "{A o} will grow up to be {a s}.",
        "Every {s} was once {a o}.",
    ],
    more: &[
        "Its young is called {a o}.",
        "Its young are called {many o}.",
        "When it is small, it is called {a o}.",
        "Before it was grown, it was {a o}.",
    ],
    ask: &[
        "What is a young {s} called?",
        "What do we call a young {s}?",
        "What is the young of {a s} called?",
        "What do people call {a s} while it is young?",
        "What is the name of a small {s}?",
    ],
    ask_held_out: &[
        "What do you call {a s} when it is small?",
        "What is the name for a young {s}?",
    ],
    short: "{A o}",
    back: None,
};

#[cfg(test)]
pub(crate) static RELATIONS: [&Relation; 6] = [&CLASS, &SOUND, &HOME, &DIET, &COLOUR, &YOUNG];

/// One line of the table: name, class, sound, home, food, colour, young; an empty string where there is nothing to say.
type Row = [&'static str; 7];

/// The order is the order in which a smaller world keeps them, so that common animals stay.
pub(crate) const ANIMALS: [Row; 36] = [
    ["dog", "mammal", "barks", "kennel", "meat", "brown", "puppy"],
    ["cat", "mammal", "mews", "basket", "fish", "grey", "kitten"],
    ["cow", "mammal", "moos", "barn", "grass", "brown", "calf"],
    [
        "horse", "mammal", "neighs", "stable", "hay", "brown", "foal",
    ],
    [
        "sheep", "mammal", "bleats", "fold", "clover", "white", "lamb",
    ],
    [
        "pig", "mammal", "grunts", "sty", "turnips", "pink", "piglet",
    ],
    ["hen", "bird", "clucks", "coop", "grain", "white", "chick"],
    [
        "duck", "bird", "quacks", "pond", "weeds", "green", "duckling",
    ],
    [
        "goose", "bird", "honks", "meadow", "grass", "white", "gosling",
    ],
    ["goat", "mammal", "bleats", "pen", "leaves", "white", "kid"],
    ["donkey", "mammal", "brays", "shed", "thistles", "grey", ""],
    ["fox", "mammal", "yelps", "den", "hens", "red", "cub"],
    ["wolf", "mammal", "howls", "lair", "deer", "grey", "whelp"],
    ["bear", "mammal", "growls", "cave", "honey", "black", ""],
    [
        "owl",
        "bird",
        "hoots",
        "hollow tree",
        "mice",
        "brown",
        "owlet",
    ],
    [
        "frog",
        "amphibian",
        "croaks",
        "pond",
        "flies",
        "green",
        "tadpole",
    ],
    ["bee", "insect", "buzzes", "hive", "nectar", "yellow", ""],
    ["mouse", "mammal", "squeaks", "hole", "grain", "grey", ""],
    ["rabbit", "mammal", "", "burrow", "carrots", "grey", ""],
    ["squirrel", "mammal", "chatters", "nest", "nuts", "red", ""],
    ["lion", "mammal", "roars", "", "meat", "golden", ""],
    ["snake", "reptile", "hisses", "hole", "mice", "green", ""],
    [
        "eagle",
        "bird",
        "screams",
        "high nest",
        "rabbits",
        "brown",
        "eaglet",
    ],
    [
        "swan", "bird", "whistles", "lake", "weeds", "white", "cygnet",
    ],
    ["crow", "bird", "caws", "tall tree", "worms", "black", ""],
    ["beaver", "mammal", "", "lodge", "bark", "brown", ""],
    [
        "otter",
        "mammal",
        "whistles",
        "river bank",
        "fish",
        "brown",
        "pup",
    ],
    ["spider", "", "", "web", "flies", "black", "spiderling"],
    ["ant", "insect", "", "anthill", "seeds", "black", ""],
    [
        "elephant", "mammal", "trumpets", "forest", "leaves", "grey", "",
    ],
    [
        "turkey", "bird", "gobbles", "yard", "corn", "black", "poult",
    ],
    ["pigeon", "bird", "coos", "loft", "seeds", "grey", "squab"],
    [
        "hedgehog", "mammal", "snuffles", "hedge", "slugs", "brown", "",
    ],
    ["trout", "fish", "", "stream", "flies", "silver", ""],
    ["deer", "mammal", "", "forest", "leaves", "brown", "fawn"],
    ["bat", "mammal", "squeaks", "cave", "moths", "black", ""],
];

/// The animals of this world; their facts are those of ours.
pub(crate) fn build(config: &WorldConfig) -> Vec<Entity> {
    let relations: [&'static Relation; 6] = [&CLASS, &SOUND, &HOME, &DIET, &COLOUR, &YOUNG];
    ANIMALS
        .iter()
        .take(config.animals)
        .map(|row| {
            let mut entity = Entity::new(EntityKind::Animal, Noun::thing(row[0]));
            for (relation, object) in relations.into_iter().zip(&row[1..]) {
                if !object.is_empty() {
                    entity.add(relation, Noun::thing(*object));
                }
            }
            entity
        })
        .collect()
}
