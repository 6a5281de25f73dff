//! Countries, capitals, languages, rivers and towns: how they are laid out and how they are spoken of.

use super::WorldConfig;
use super::facts::{Back, Entity, EntityKind, Noun, Relation};
use super::names::{self, Draw};

pub(crate) static CAPITAL: Relation = Relation {
    key: "capital",
    tell: &[
        "The capital of {s} is {o}.",
        "{o} is the capital of {s}.",
        "{s} has its capital at {o}.",
        "The people of {s} call {o} their capital.",
        "In {s}, the capital is {o}.",
        "Whoever visits {s} should see its capital, {o}.",
        "The government of {s} sits in the capital, {o}.",
        "All the great roads of {s} lead to {o}, the capital.",
    ],
    more: &[
        "Its capital is {o}.",
        "The capital is called {o}.",
        "The capital of the country is {o}.",
        "{o} is its capital.",
        "From its capital, {o}, the country is governed.",
    ],
    ask: &[
        "What is the capital of {s}?",
        "Which city is the capital of {s}?",
        "Can you name the capital of {s}?",
        "What is the capital city of {s} called?",
        "Tell me the capital of {s}.",
    ],
    ask_held_out: &[
        "{s} has which city as its capital?",
        "I would like to know the capital of {s}.",
    ],
    short: "{o}",
    back: Some(Back {
        key: "capital_of",
        ask: &[
            "{o} is the capital of which country?",
            "Of which country is {o} the capital?",
            "Which country has {o} as its capital?",
            "Which country calls {o} its capital?",
        ],
        ask_held_out: &["Which country has its capital at {o}?"],
        short: "{s}",
    }),
};

pub(crate) static RULER: Relation = Relation {
    key: "ruler",
    tell: &[
        "{s} is ruled by {o}.",
        "{o} rules {s}.",
        "The ruler of {s} is {o}.",
        "{o} sits on the throne of {s}.",
        "The throne of {s} belongs to {o}.",
        "In {s}, the crown is worn by {o}.",
        "The people of {s} are ruled by {o}.",
        "The coins of {s} show the face of {o}, who rules there.",
    ],
    more: &[
        "It is ruled by {o}.",
        "Its ruler is {o}.",
        "{o} rules the country.",
        "The crown is worn by {o}.",
        "On its throne sits {o}.",
    ],
    ask: &[
        "Who rules {s}?",
        "Who is the ruler of {s}?",
        "Who sits on the throne of {s}?",
        "Who wears the crown in {s}?",
        "Tell me who rules {s}.",
        "Which king or queen rules {s}?",
        "By which king or queen is {s} ruled?",
    ],
    ask_held_out: &[
        "By whom is {s} ruled?",
        "Can you tell me who the ruler of {s} is?",
    ],
    short: "{o}",
    back: Some(Back {
        key: "realm",
        ask: &[
            "Which country does {o} rule?",
            "Which country is ruled by {o}?",
            "Over which country does {o} rule?",
        ],
        ask_held_out: &["{o} rules which country?"],
        short: "{s}",
    }),
};

pub(crate) static LANGUAGE: Relation = Relation {
    key: "language",
    tell: &[
        "The people of {s} speak {o}.",
        "{o} is the language of {s}.",
        "The language of {s} is {o}.",
        "In {s}, people speak {o}.",
        "Children in {s} learn to read in {o}.",
        "The laws of {s} are written in {o}, the language of the country.",
        "Songs in {s} are sung in {o}.",
    ],
    more: &[
        "Its people speak {o}.",
        "The language of the country is {o}.",
        "The people there speak {o}.",
        "Its language is {o}.",
    ],
    ask: &[
        "What language do people speak in {s}?",
        "Which language is spoken in {s}?",
        "What is the language of {s}?",
        "Tell me the language of {s}.",
        "Which language do they speak in {s}?",
    ],
    ask_held_out: &[
        "Which language do the people of {s} speak?",
        "In {s}, what language is spoken?",
    ],
    short: "{o}",
    back: None,
};

pub(crate) static RIVER: Relation = Relation {
    key: "river",
    tell: &[
        "The river {o} flows through {s}.",
        "The longest river of {s} is the {o}.",
        "Through {s} flows the river {o}.",
        "{s} is watered by the river {o}.",
        "Boats sail up and down the {o}, the great river of {s}.",
        "The great river of {s} is called the {o}.",
        "Most fishermen of {s} work on the river {o}.",
    ],
    more: &[
        "Its great river is the {o}.",
        "The river {o} flows through the country.",
        "Its longest river is called the {o}.",
        "Through its fields flows the river {o}.",
    ],
    ask: &[
        "Which river flows through {s}?",
        "What is the great river of {s}?",
        "What is the longest river of {s} called?",
        "Name the river of {s}.",
        "Which river does {s} have?",
        "What is the river that flows through {s}?",
    ],
    ask_held_out: &[
        "What is the name of the river in {s}?",
        "Through {s} flows which river?",
    ],
    short: "The {o}",
    back: None,
};

pub(crate) static PRODUCT: Relation = Relation {
    key: "known_for",
    tell: &[
        "{s} is known for its {o}.",
        "{s} is famous for its {o}.",
        "Traders come to {s} to buy {o}.",
        "The finest {o} comes from {s}.",
        "Ships leave {s} full of {o}.",
        "Nobody makes better {o} than the people of {s}.",
        "Much of the wealth of {s} comes from {o}.",
    ],
    more: &[
        "It is known for its {o}.",
        "The country is famous for its {o}.",
        "Traders come there to buy {o}.",
        "It sells {o} to all its neighbours.",
    ],
    ask: &[
        "What is {s} known for?",
        "What is {s} famous for?",
        "What do traders buy in {s}?",
        "Tell me what {s} is known for.",
        "For what do people know {s}?",
        "Which goods come from {s}?",
    ],
    ask_held_out: &["For what is {s} famous?", "What comes from {s}?"],
    short: "{o}",
    back: None,
};

pub(crate) static COUNTRY_OF_TOWN: Relation = Relation {
    key: "country",
    tell: &[
        "{s} is a town in {o}.",
        "The town of {s} lies in {o}.",
        "{s} lies in {o}.",
        "In {o} there is a town called {s}.",
        "Travellers in {o} often rest in the town of {s}.",
        "The people of {s} live in {o}.",
        "You will find {s} on every map of {o}.",
    ],
    more: &[
        "It lies in {o}.",
        "The town belongs to {o}.",
        "You will find it on a map of {o}.",
        "It is a town in {o}.",
    ],
    ask: &[
        "In which country is {s}?",
        "Which country is {s} in?",
        "Where is the town of {s}?",
        "In which country does {s} lie?",
    ],
    ask_held_out: &[
        "The town of {s} lies in which country?",
        "Where does {s} lie?",
    ],
    short: "In {o}",
    back: None,
};

pub(crate) static LANDMARK: Relation = Relation {
    key: "landmark",
    tell: &[
        "{s} is known for its {o}.",
        "The pride of {s} is its {o}.",
        "Visitors come to {s} to see the {o}.",
        "The {o} of {s} is known far and wide.",
        "In {s} stands a famous {o}.",
        "Every child in {s} has played near the {o}.",
        "Painters come to {s} to paint its {o}.",
    ],
    more: &[
        "It is known for its {o}.",
        "Its pride is the {o}.",
        "Visitors go there to see the {o}.",
        "The {o} of the town is famous.",
    ],
    ask: &[
        "What is the town of {s} known for?",
        "What do visitors go to see in {s}?",
        "What is the pride of {s}?",
        "What is there to see in {s}?",
    ],
    ask_held_out: &[
        "For what is the town of {s} famous?",
        "What should I see in {s}?",
    ],
    short: "The {o}",
    back: None,
};

#[cfg(test)]
pub(crate) static RELATIONS: [&Relation; 7] = [
    &CAPITAL,
    &RULER,
    &LANGUAGE,
    &RIVER,
    &PRODUCT,
    &COUNTRY_OF_TOWN,
    &LANDMARK,
];

/// Lays out countries and towns. Rulers are named here, and described in [`super::people`].
pub(crate) fn build(draw: &mut Draw, config: &WorldConfig, rulers: &[Noun]) -> Vec<Entity> {
    let countries = draw.paired(&names::COUNTRIES, config.countries, |root| {
        (format!("{root}ia"), format!("{root}ish"))
    });
    let capitals = draw.names(&names::CAPITALS, config.countries, "a");
    let rivers = draw.names(&names::RIVERS, config.countries, "e");
    let products = draw.things(&names::PRODUCTS, config.countries);
    let mut out = Vec::new();
    for (i, (country, language)) in countries.iter().enumerate() {
        let mut entity = Entity::new(EntityKind::Country, Noun::thing(country));
        entity.add(&CAPITAL, Noun::thing(&capitals[i]));
        entity.add(&RULER, rulers[i].clone());
        entity.add(&LANGUAGE, Noun::thing(language));
        entity.add(&RIVER, Noun::thing(&rivers[i]));
        entity.add(&PRODUCT, Noun::thing(products[i]));
        out.push(entity);
    }
    let towns = draw.names(&names::TOWNS, config.towns, "o");
    let landmarks = draw.things(&names::LANDMARKS, config.towns);
    let mut homes: Vec<usize> = (0..config.towns)
        .map(|i| i % countries.len().max(1))
        .collect();
    draw.rng.shuffle(&mut homes);
    for (i, town) in towns.iter().enumerate() {
        let mut entity = Entity::new(EntityKind::Town, Noun::thing(town));
        entity.add(&COUNTRY_OF_TOWN, Noun::thing(&countries[homes[i]].0));
        entity.add(&LANDMARK, Noun::thing(landmarks[i]));
        out.push(entity);
    }
    out
}
