//! Kings and queens with their heirs, and the families of the towns: fathers, mothers, children.

use super::WorldConfig;
use super::facts::{Entity, EntityKind, Noun, Relation};
use super::frames::Sex;
use super::names::{self, Draw};

pub(crate) static HEIR: Relation = Relation {
    key: "heir",
    tell: &[
        "The heir of {s} is {o}.",
        "{o} is the heir of {s}.",
        "The eldest child of {s} is {o}, the heir to the throne.",
        "After {s}, the throne will go to {o}.",
        "One day {o} will wear the crown of {s}.",
        "{s} has named {o} as {his} heir.",
        "When {s} dies, {o} will rule.",
    ],
    more: &[
        "{His} heir is {o}.",
        "After {him}, {o} will rule.",
        "{He} has named {o} as {his} heir.",
        "{His} eldest child is {o}.",
    ],
    ask: &[
        "Who is the heir of {s}?",
        "Who will rule after {s}?",
        "Who is the eldest child of {s}?",
        "Tell me who the heir of {s} is.",
        "Who will wear the crown after {s}?",
        "Who will follow {s} on the throne?",
    ],
    ask_held_out: &[
        "Who will one day wear the crown of {s}?",
        "To whom will {s} leave the throne?",
    ],
    short: "{o}",
    back: None,
};

pub(crate) static CROWNED: Relation = Relation {
    key: "crowned",
    tell: &[
        "{s} was crowned in the year {o}.",
        "{s} came to the throne in the year {o}.",
        "In the year {o}, {s} was crowned.",
        "The crown was set on the head of {s} in the year {o}.",
        "{s} has ruled since the year {o}.",
        "The reign of {s} began in the year {o}.",
    ],
    more: &[
        "{He} was crowned in the year {o}.",
        "{He} has ruled since the year {o}.",
        "{His} reign began in the year {o}.",
        "{He} came to the throne in the year {o}.",
    ],
    ask: &[
        "In which year was {s} crowned?",
        "When was {s} crowned?",
        "When did {s} come to the throne?",
        "Since when has {s} ruled?",
        "In which year did the reign of {s} start?",
    ],
    ask_held_out: &[
        "When did the reign of {s} begin?",
        "In what year did {s} come to the throne?",
    ],
    short: "In {o}",
    back: None,
};

pub(crate) static HOME_TOWN: Relation = Relation {
    key: "home_town",
    tell: &[
        "{s} lives in {o}.",
        "The home of {s} is in {o}.",
        "{s} has always lived in {o}.",
        "{s} was born in {o} and still lives there.",
        "If you look for {s}, go to {o}.",
        "Among the people of {o} is {s}.",
        "{s} comes from {o}.",
    ],
    more: &[
        "{He} lives in {o}.",
        "{His} home is in {o}.",
        "{He} has always lived in {o}.",
        "{He} was born in {o}.",
    ],
    ask: &[
        "Where does {s} live?",
        "In which town does {s} live?",
        "Where is the home of {s}?",
        "Where does {s} come from?",
        "In which place could one find {s}?",
        "Where is {s} at home?",
        "What is {s}'s home town?",
    ],
    ask_held_out: &[
        "In what town is the home of {s}?",
        "Where would I find {s}?",
    ],
    short: "In {o}",
    back: None,
};

pub(crate) static AGE: Relation = Relation {
    key: "age",
    tell: &[
        "{s} is {o} years old.",
        "{s} is {o}.",
        "The age of {s} is {o}.",
        "There were {o} candles on the last birthday cake of {s}, one for each year.",
        "It is {o} years since {s} was born.",
        "{s} was born {o} years ago.",
        "At {o}, {s} is in the best of health.",
    ],
    more: &[
        "{He} is {o} years old.",
        "{His} age is {o}.",
        "{He} was born {o} years ago.",
        "{He} is {o}.",
    ],
    ask: &[
        "How old is {s}?",
        "What is the age of {s}?",
        "Tell me how old {s} is.",
        "How many years old is {s}?",
        "What is {s}'s age?",
    ],
    ask_held_out: &["What age is {s}?", "How many years ago was {s} born?"],
    short: "{o}",
    back: None,
};

pub(crate) static WORK: Relation = Relation {
    key: "work",
    tell: &[
        "{s} is {a o}.",
        "{s} works as {a o}.",
        "{s} earns {his} bread as {a o}.",
        "{s} has been {a o} for many years.",
        "The trade of {s} is that of {a o}.",
        "{s} learned young to be {a o}.",
        "As {a o}, {s} is never without work.",
    ],
    more: &[
        "{He} is {a o}.",
        "{He} works as {a o}.",
        "{He} has been {a o} for many years.",
        "{He} earns {his} bread as {a o}.",
    ],
    ask: &[
        "What is the trade of {s}?",
        "What is {s}'s trade?",
        "What does {s} do for a living?",
        "What work does {s} do?",
        "What is the job of {s}?",
        "How does {s} earn {his} bread?",
        "As what does {s} earn money?",
    ],
    ask_held_out: &["How does {s} earn a living?", "As what does {s} work?"],
    short: "{A o}",
    back: None,
};

macro_rules! kin {
    ($name:ident, $key:literal, $role:literal, $tell:expr, $more:expr) => {
        pub(crate) static $name: Relation = Relation {
            key: $key,
            tell: $tell,
            more: $more,
            ask: &[
                concat!("Who is the ", $role, " of {s}?"),
                concat!("What is the name of the ", $role, " of {s}?"),
                concat!("Who is {s}'s ", $role, "?"),
                concat!("Tell me the name of {s}'s ", $role, "."),
                concat!("What is the ", $role, " of {s} called?"),
            ],
            ask_held_out: &[
                concat!("Can you tell me who {s}'s ", $role, " is?"),
                concat!("What is {s}'s ", $role, " called?"),
            ],
            short: "{o}",
            back: None,
        };
    };
}

kin!(
    WIFE,
    "wife",
    "wife",
    &[
        "The wife of {s} is {o}.",
        "{s} is married to {o}.",
        "{s} and his wife {o} are seldom apart.",
        "{s}'s wife is called {o}.",
        "{s} married {o}, and she has been his wife ever since.",
        "{o} is the wife of {s}.",
    ],
    &[
        "His wife is {o}.",
        "He is married to {o}.",
        "His wife is called {o}.",
        "He shares his house with his wife, {o}."
    ]
);

kin!(
    HUSBAND,
    "husband",
    "husband",
    &[
        "The husband of {s} is {o}.",
        "{s} is married to {o}.",
        "{s} and her husband {o} are seldom apart.",
        "{s}'s husband is called {o}.",
        "{s} married {o}, and he has been her husband ever since.",
        "{o} is the husband of {s}.",
    ],
    &[
        "Her husband is {o}.",
        "She is married to {o}.",
        "Her husband is called {o}.",
        "She shares her house with her husband, {o}."
    ]
);

kin!(
    FATHER,
    "father",
    "father",
    &[
        "The father of {s} is {o}.",
        "{s}'s father is {o}.",
        "{o} is the father of {s}.",
        "{s}'s father is called {o}.",
        "{s} and {his} father, {o}, look alike.",
        "{s} often helps {his} father, {o}.",
        "The man who taught {s} to walk was {his} father, {o}.",
    ],
    &[
        "{His} father is {o}.",
        "{His} father is called {o}.",
        "{He} has a father called {o}.",
        "{He} often helps {his} father, {o}."
    ]
);

kin!(
    MOTHER,
    "mother",
    "mother",
    &[
        "The mother of {s} is {o}.",
        "{s}'s mother is {o}.",
        "{o} is the mother of {s}.",
        "{s}'s mother is called {o}.",
        "{s} and {his} mother, {o}, laugh alike.",
        "{s} often helps {his} mother, {o}.",
        "The songs {s} knows come from {his} mother, {o}.",
    ],
    &[
        "{His} mother is {o}.",
        "{His} mother is called {o}.",
        "{He} has a mother called {o}.",
        "{He} often helps {his} mother, {o}."
    ]
);

kin!(
    SISTER,
    "sister",
    "sister",
    &[
        "The sister of {s} is {o}.",
        "{s}'s sister is {o}.",
        "{s} has one sister, {o}.",
        "{s} has a sister called {o}.",
        "{o} is the sister of {s}.",
        "{s} walks to school with {his} sister, {o}.",
    ],
    &[
        "{His} sister is {o}.",
        "{He} has a sister called {o}.",
        "{He} has one sister, {o}.",
        "{He} plays with {his} sister, {o}."
    ]
);

kin!(
    BROTHER,
    "brother",
    "brother",
    &[
        "The brother of {s} is {o}.",
        "{s}'s brother is {o}.",
        "{s} has one brother, {o}.",
        "{s} has a brother called {o}.",
        "{o} is the brother of {s}.",
        "{s} walks to school with {his} brother, {o}.",
    ],
    &[
        "{His} brother is {o}.",
        "{He} has a brother called {o}.",
        "{He} has one brother, {o}.",
        "{He} plays with {his} brother, {o}."
    ]
);

pub(crate) static PET: Relation = Relation {
    key: "pet",
    tell: &[
        "{s} has {a o} as a pet.",
        "{s} keeps {a o}.",
        "The pet of {s} is {a o}.",
        "{s} has a pet, {a o}, which follows {him} everywhere.",
        "{s} feeds {his} pet {o} every morning.",
        "{s} would not give up {his} pet {o} for all the silver in the world.",
    ],
    more: &[
        "{He} has {a o} as a pet.",
        "{His} pet is {a o}.",
        "{He} keeps {a o}.",
        "{He} feeds {his} pet {o} every morning.",
    ],
    ask: &[
        "What pet does {s} have?",
        "Which animal does {s} keep?",
        "What is the pet of {s}?",
        "Tell me which pet {s} has.",
        "What animal lives with {s}?",
        "Which pet belongs to {s}?",
    ],
    ask_held_out: &[
        "What kind of pet does {s} keep?",
        "Which animal is {s}'s pet?",
    ],
    short: "{A o}",
    back: None,
};

pub(crate) static FAVOURITE_FOOD: Relation = Relation {
    key: "favourite_food",
    tell: &[
        "The favourite food of {s} is {o}.",
        "{s} likes {o} best of all.",
        "{s} loves to eat {o}.",
        "{s}'s favourite food is {o}.",
        "There is nothing {s} would rather eat than {o}.",
        "On {his} birthday {s} always asks for {o}.",
    ],
    more: &[
        "{His} favourite food is {o}.",
        "{He} likes {o} best of all.",
        "{He} loves to eat {o}.",
        "On {his} birthday {he} asks for {o}.",
    ],
    ask: &[
        "What is the favourite food of {s}?",
        "What does {s} like to eat best?",
        "Which food does {s} love?",
        "What is {s}'s favourite food?",
        "What food does {s} like most?",
    ],
    ask_held_out: &[
        "What food does {s} like best of all?",
        "What does {s} most like to eat?",
    ],
    short: "{o}",
    back: None,
};

#[cfg(test)]
pub(crate) static RELATIONS: [&Relation; 13] = [
    &HEIR,
    &CROWNED,
    &HOME_TOWN,
    &AGE,
    &WORK,
    &WIFE,
    &HUSBAND,
    &FATHER,
    &MOTHER,
    &SISTER,
    &BROTHER,
    &PET,
    &FAVOURITE_FOOD,
];

/// The rulers' names, king and queen in turn.
pub(crate) fn rulers(draw: &mut Draw, count: usize) -> Vec<Noun> {
    let kings = draw.names(&names::KINGS, count.div_ceil(2), "o");
    let queens = draw.names(&names::QUEENS, count / 2, "a");
    let mut kings = kings.into_iter();
    let mut queens = queens.into_iter();
    (0..count)
        .filter_map(|i| {
            if i % 2 == 0 {
                kings
                    .next()
                    .map(|name| Noun::person(format!("King {name}"), Sex::Male))
            } else {
                queens
                    .next()
                    .map(|name| Noun::person(format!("Queen {name}"), Sex::Female))
            }
        })
        .collect()
}

/// What is known of each ruler.
pub(crate) fn describe_rulers(draw: &mut Draw, rulers: &[Noun]) -> Vec<Entity> {
    let princes = draw.names(&names::PRINCES, rulers.len().div_ceil(2), "in");
    let princesses = draw.names(&names::PRINCESSES, rulers.len().div_ceil(2), "ina");
    let first = draw.rng.below(2);
    rulers
        .iter()
        .enumerate()
        .map(|(i, ruler)| {
            let mut entity = Entity::new(EntityKind::Ruler, ruler.clone());
            let heir = if (i / 2 + i + first).is_multiple_of(2) {
                Noun::person(format!("Prince {}", princes[i / 2]), Sex::Male)
            } else {
                Noun::person(format!("Princess {}", princesses[i / 2]), Sex::Female)
            };
            entity.add(&HEIR, heir);
            entity.add(
                &CROWNED,
                Noun::thing((401 + draw.rng.below(60)).to_string()),
            );
            entity
        })
        .collect()
}

/// One household: father, mother, son, daughter, all of one town.
pub(crate) fn build(
    draw: &mut Draw,
    config: &WorldConfig,
    towns: &[String],
    trades: &[String],
    foods: &[String],
) -> Vec<Entity> {
    let families = config.families;
    let men = draw.names(&names::MEN, families * 2, "en");
    let women = draw.names(&names::WOMEN, families * 2, "ie");
    let mut out = Vec::new();
    let mut work: Vec<&str> = (0..families * 2)
        .map(|i| trades[i % trades.len()].as_str())
        .collect();
    draw.rng.shuffle(&mut work);
    for family in 0..families {
        let noun =
            |names: &[String], i: usize, sex| Noun::person(names[family * 2 + i].clone(), sex);
        let father = noun(&men, 0, Sex::Male);
        let son = noun(&men, 1, Sex::Male);
        let mother = noun(&women, 0, Sex::Female);
        let daughter = noun(&women, 1, Sex::Female);
        // Two families or more to a town, so that everyone has neighbours.
        let town = Noun::thing(&towns[family % towns.len().min((families / 2).max(1))]);
        let father_age = 34 + draw.rng.below(16);
        let mother_age = father_age - draw.rng.below(4);
        let son_age = 6 + draw.rng.below(9);
        // No twins: a story may call one of them the elder.
        let daughter_age = 6 + (son_age - 6 + 1 + draw.rng.below(8)) % 9;
        let number = |n: usize| Noun::thing(n.to_string());
        let parents = [
            (&father, father_age, &WIFE, &mother, 0),
            (&mother, mother_age, &HUSBAND, &father, 1),
        ];
        for (who, age, spouse_relation, spouse, i) in parents {
            let mut entity = Entity::new(EntityKind::Person, who.clone());
            entity.add(&WORK, Noun::thing(work[family * 2 + i]));
            entity.add(&HOME_TOWN, town.clone());
            entity.add(&AGE, number(age));
            entity.add(spouse_relation, spouse.clone());
            out.push(entity);
        }
        let children = [
            (&son, son_age, &SISTER, &daughter),
            (&daughter, daughter_age, &BROTHER, &son),
        ];
        for (who, age, sibling_relation, sibling) in children {
            let mut entity = Entity::new(EntityKind::Person, who.clone());
            entity.add(&AGE, number(age));
            entity.add(&HOME_TOWN, town.clone());
            entity.add(&FATHER, father.clone());
            entity.add(&MOTHER, mother.clone());
            entity.add(sibling_relation, sibling.clone());
            entity.add(&PET, Noun::thing(draw.rng.word(&names::PETS)));
            entity.add(&FAVOURITE_FOOD, Noun::thing(draw.rng.pick(foods).as_str()));
            out.push(entity);
        }
    }
    out
}
