//! Trades with their tools, places and goods; foods with what they are made of and how they taste.

use super::WorldConfig;
use super::facts::{Back, Entity, EntityKind, Noun, Relation};

pub(crate) static TOOL: Relation = Relation {
    key: "tool",
    tell: &[
        "{A s} works with {a o}.",
        "The tool of {a s} is {a o}.",
        "{A s} uses {a o}.",
        "No {s} can work without {a o}.",
        "In the hand of every {s} you will see {a o}.",
        "When {a s} goes to work, {a o} goes along.",
        "The first thing {a s} buys is a good {o}.",
    ],
    more: &[
        "The most important tool is {a o}.",
        "The work is done with {a o}.",
        "For this, {a o} is needed.",
        "The tool of the trade is {a o}.",
    ],
    ask: &[
        "What tool does {a s} use?",
        "What does {a s} work with?",
        "What is the tool of {a s}?",
        "Which tool does {a s} need?",
    ],
    ask_held_out: &[
        "With which tool does {a s} work?",
        "What tool can no {s} work without?",
    ],
    short: "{A o}",
    back: Some(Back {
        key: "user",
        ask: &[
            "Who works with {a o}?",
            "Who uses {a o}?",
            "Who needs {a o}?",
            "Who cannot do without {a o}?",
        ],
        ask_held_out: &["Who cannot work without {a o}?"],
        short: "{A s}",
    }),
};

pub(crate) static WORKPLACE: Relation = Relation {
    key: "workplace",
    tell: &[
        "{A s} works in {a o}.",
        "The place of work of {a s} is {a o}.",
        "You will find {a s} in {a o}.",
        "{many s} work in {many o}.",
        "Go to {a o} if you need {a s}.",
        "From morning to evening {a s} stands in {a o}.",
    ],
    more: &[
        "The place of work is {a o}.",
        "The work is done in {a o}.",
        "All day long the work goes on in {a o}.",
    ],
    ask: &[
        "Where does {a s} work?",
        "In what place does {a s} work?",
        "Where can I find {a s}?",
        "What is the place of work of {a s}?",
        "To what place does {a s} go to work?",
    ],
    ask_held_out: &[
        "Where do {many s} work?",
        "Where should I go if I need {a s}?",
    ],
    short: "In {a o}",
    back: None,
};

pub(crate) static GOODS: Relation = Relation {
    key: "goods",
    tell: &[
        "{A s} makes {o}.",
        "{many s} make {o}.",
        "The work of {a s} is to make {o}.",
        "People go to {a s} for {o}.",
        "We have {o} thanks to the {s}.",
        "If you want {o}, ask {a s}.",
        "Good {o} can only come from a good {s}.",
    ],
    more: &[
        "The work brings forth {o}.",
        "The customers come for {o}.",
        "What comes of it is {o}.",
        "In the end there are {o} to be proud of.",
    ],
    ask: &[
        "What does {a s} make?",
        "What do {many s} make?",
        "What do people go to {a s} for?",
        "What is the work of {a s}?",
        "What do people get from {a s}?",
        "What can {a s} make?",
    ],
    ask_held_out: &["What can I get from {a s}?", "What is made by {a s}?"],
    short: "{o}",
    back: Some(Back {
        key: "maker",
        ask: &[
            "Who makes {o}?",
            "To whom do people go for {o}?",
            "Who is it that makes {o}?",
            "Who can make {o}?",
            "By which hands are {o} made?",
        ],
        ask_held_out: &["By whom are {o} made?"],
        short: "{A s}",
    }),
};

pub(crate) static INGREDIENT: Relation = Relation {
    key: "ingredient",
    tell: &[
        "{s} is made from {o}.",
        "To make {s} you need {o}.",
        "Without {o} there is no {s}.",
        "The cook takes {o} and makes {s}.",
        "With {o} and patience, anyone can make {s}.",
        "Every kind of {s} begins with {o}.",
        "Long ago people already made {s} from {o}.",
    ],
    more: &[
        "It is made from {o}.",
        "To make it you need {o}.",
        "It begins with {o}.",
        "Without {o} it cannot be made.",
    ],
    ask: &[
        "What is {s} made from?",
        "What do you need to make {s}?",
        "From what is {s} made?",
        "What does the cook make {s} from?",
    ],
    ask_held_out: &["Without what is there no {s}?", "What goes into {s}?"],
    short: "{o}",
    back: None,
};

pub(crate) static TASTE: Relation = Relation {
    key: "taste",
    tell: &[
        "{s} tastes {o}.",
        "The taste of {s} is {o}.",
        "{s} is {o} to the taste.",
        "Good {s} always tastes {o}.",
        "Whoever likes {o} things will like {s}.",
        "Close your eyes and eat some {s}: it tastes {o}.",
    ],
    more: &[
        "It tastes {o}.",
        "Its taste is {o}.",
        "Those who like {o} things will like it.",
    ],
    ask: &[
        "How does {s} taste?",
        "What is the taste of {s}?",
        "Does {s} taste sweet, salty, sour or hot?",
        "Which taste does {s} have?",
        "What do people say of the taste of {s}?",
    ],
    ask_held_out: &["What does {s} taste like?", "What taste has {s}?"],
    short: "{o}",
    back: None,
};

#[cfg(test)]
pub(crate) static RELATIONS: [&Relation; 5] = [&TOOL, &WORKPLACE, &GOODS, &INGREDIENT, &TASTE];

/// Trade, tool, workplace, goods. Goods are plural or mass nouns.
pub(crate) const TRADES: [[&str; 4]; 20] = [
    ["baker", "rolling pin", "bakery", "rolls"],
    ["smith", "hammer", "forge", "horseshoes"],
    ["carpenter", "saw", "workshop", "tables"],
    ["tailor", "needle", "sewing room", "coats"],
    ["potter", "clay knife", "pottery", "pots"],
    ["weaver", "shuttle", "weaving room", "blankets"],
    ["cobbler", "awl", "shoe shop", "shoes"],
    ["gardener", "spade", "greenhouse", "bouquets"],
    ["painter", "brush", "studio", "pictures"],
    ["mason", "trowel", "stone yard", "walls"],
    ["printer", "ink roller", "print shop", "books"],
    ["clockmaker", "screwdriver", "clock shop", "clocks"],
    ["cook", "ladle", "kitchen", "meals"],
    ["roofer", "mallet", "timber yard", "roofs"],
    ["barber", "razor", "barber shop", "haircuts"],
    ["glazier", "glass cutter", "glass hut", "windows"],
    ["hatter", "steam iron", "hat shop", "hats"],
    ["jeweller", "file", "jewel shop", "rings"],
    ["cooper", "drawknife", "barrel yard", "barrels"],
    ["sailmaker", "bone needle", "sail loft", "sails"],
];

/// Foods that a child may love and a cook may win a prize with.
pub(crate) const TREATS: [&str; 10] = [
    "bread",
    "cheese",
    "jam",
    "porridge",
    "custard",
    "chocolate",
    "onion soup",
    "apple pie",
    "honey cake",
    "pepper stew",
];

/// Food, main ingredient, taste (empty where none stands out). All mass nouns, so that `bread is made from flour` reads well.
pub(crate) const FOODS: [[&str; 3]; 16] = [
    ["bread", "flour", ""],
    ["cheese", "milk", "salty"],
    ["jam", "plums", "sweet"],
    ["porridge", "oats", ""],
    ["custard", "eggs", "sweet"],
    ["lemonade", "lemons", "sour"],
    ["mustard", "mustard seeds", "hot"],
    ["chocolate", "cocoa beans", "sweet"],
    ["onion soup", "onions", "salty"],
    ["apple pie", "apples", "sweet"],
    ["relish", "cucumbers", "sour"],
    ["honey cake", "honey", "sweet"],
    ["butter", "cream", ""],
    ["pepper stew", "peppers", "hot"],
    ["rhubarb tart", "rhubarb", "sour"],
    ["ham", "pork", "salty"],
];

/// The trades and foods of this world.
pub(crate) fn build(config: &WorldConfig) -> Vec<Entity> {
    let mut out = Vec::new();
    for row in TRADES.iter().take(config.trades) {
        let mut entity = Entity::new(EntityKind::Trade, Noun::thing(row[0]));
        entity.add(&TOOL, Noun::thing(row[1]));
        entity.add(&WORKPLACE, Noun::thing(row[2]));
        entity.add(&GOODS, Noun::thing(row[3]));
        out.push(entity);
    }
    for row in FOODS.iter().take(config.foods) {
        let mut entity = Entity::new(EntityKind::Food, Noun::thing(row[0]));
        entity.add(&INGREDIENT, Noun::thing(row[1]));
        if !row[2].is_empty() {
            entity.add(&TASTE, Noun::thing(row[2]));
        }
        out.push(entity);
    }
    out
}
