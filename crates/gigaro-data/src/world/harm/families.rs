//! Deeds by the hundred: what may be done to things of a kind, for harm and for help, each verb with each thing.
//!
//! A model that met every deed in a sentence of its own would learn the sentences. Here the same sheep are stolen, hurt, fed and
//! counted, so that what tells harm from help is the verb, whatever it is done to. No held-out deed may come about: verbs are those that
//! the held-out deeds have too, but there is no pet, crown, mill, horse or kitten to do them to, nobody fights or makes peace, and a
//! test looks for the deeds in what is learned from.

use std::sync::LazyLock;

use super::deeds::Harm;

/// Things, and what is done to them.
struct Family {
    /// What takes the place of `{thing}`.
    things: &'static [&'static str],
    /// Harms, each with what follows "because".
    harms: &'static [(&'static str, &'static str)],
    /// As many harmless wishes, each with what follows "To {wish},".
    wishes: &'static [(&'static str, &'static str)],
}

/// Every harm of every family, each with a wish about the same thing.
pub(super) static COMPOSED: LazyLock<Vec<Harm>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for Family {
        things,
        harms,
        wishes,
    } in &FAMILIES
    {
        for thing in *things {
            let pairs = harms.iter().zip(*wishes);
            all.extend(pairs.map(|((deed, because), (harmless, help))| Harm {
                deed: deed.replace("{thing}", thing).into(),
                because: (*because).into(),
                harmless: harmless.replace("{thing}", thing).into(),
                help: (*help).into(),
            }));
        }
    }
    all
});

static FAMILIES: [Family; 7] = [
    ANIMALS, BUILDINGS, BELONGINGS, PEOPLE, MEALS, PAPERS, PLACES,
];

const PAIN: &str = "animals feel pain as we do";
const FIRE: &str = "the fire would spread and kill";
const THEFT: &str = "it belongs to someone else";

const ANIMALS: Family = Family {
    things: &[
        "the sheep of {n}",
        "the goats of {n}",
        "the hens of {n}",
        "the geese of {n}",
        "the donkey of {n}",
        "the cow of {n}",
        "the pony of {f}",
        "the ducks of {n}",
        "the lambs of {n}",
        "the puppies of {n}",
        "the pigs of {n}",
        "the rabbits of {f}",
        "the calf of {father}",
        "the ox of {n}",
        "the bees of {n}",
        "the doves of {town}",
    ],
    harms: &[
        ("steal {thing}", "stealing hurts the one who is robbed"),
        ("hurt {thing}", PAIN),
        ("poison {thing}", "that is cruel and kills in pain"),
        ("beat {thing}", PAIN),
        ("drown {thing}", "that is cruel"),
        ("starve {thing}", PAIN),
        ("kill {thing}", "that is cruel"),
        ("frighten {thing}", "frightened animals hurt themselves"),
        ("throw stones at {thing}", PAIN),
        ("torment {thing}", "that is cruel"),
        ("set fire to the straw of {thing}", FIRE),
        (
            "mix glass into the food of {thing}",
            "it would hurt whoever eats it",
        ),
    ],
    wishes: &[
        ("feed {thing}", "bring fresh grass and some grain."),
        ("wash {thing}", "take lukewarm water and dry well."),
        ("brush {thing}", "begin at the neck and be patient."),
        (
            "find a new home for {thing}",
            "ask those who have a large yard.",
        ),
        (
            "look after {thing}",
            "bring water twice and look into every corner.",
        ),
        (
            "carry water to {thing}",
            "fill two buckets and walk slowly.",
        ),
        ("count {thing}", "let them pass one by one."),
        (
            "make a bed for {thing}",
            "lay down dry straw and shake it well.",
        ),
        ("see {thing}", "go in the morning and keep quiet."),
        (
            "draw a picture of {thing}",
            "begin with the head and take your time.",
        ),
        ("find {thing}", "follow the tracks and call softly."),
        (
            "keep {thing} warm",
            "close the door and put straw on the floor.",
        ),
    ],
};

const BUILDINGS: Family = Family {
    things: &[
        "the barn of {n}",
        "the house of {n}",
        "the shed of {father}",
        "the stable of {n}",
        "the school of {town}",
        "the bridge of {town}",
        "the shop of {n}",
        "the tower of {town}",
        "the inn of {town}",
        "the tent of {f}",
        "the hut of {n}",
        "the library of {town}",
        "the kitchen of {mother}",
        "the {place} of {n}",
    ],
    harms: &[
        ("set fire to {thing}", FIRE),
        ("burn down {thing}", "fire destroys and can kill"),
        ("break into {thing}", "nobody may go in uninvited"),
        ("rob {thing}", "robbery is a crime"),
        ("destroy {thing}", "it is the work of many years"),
        ("smash the windows of {thing}", "someone could be hurt"),
        ("wreck {thing}", "it is the work of many years"),
        ("steal the door of {thing}", THEFT),
        ("light a fire under {thing}", FIRE),
        ("put a snake into {thing}", "that is cruel and dangerous"),
    ],
    wishes: &[
        ("sweep {thing}", "begin at the far end and open the door."),
        (
            "paint {thing}",
            "clean the walls first and wait for a dry day.",
        ),
        ("clean {thing}", "take warm water and a soft cloth."),
        (
            "find {thing}",
            "ask in the main street and follow the signs.",
        ),
        ("see {thing}", "go there by day and ask politely."),
        (
            "mend the roof of {thing}",
            "lay new straw where the rain comes in.",
        ),
        ("decorate {thing}", "hang up flowers and bright ribbons."),
        (
            "light a lamp in {thing}",
            "hold a match to the wick and close the glass.",
        ),
        (
            "dry the floor of {thing}",
            "open all doors and let the wind through.",
        ),
        (
            "draw a picture of {thing}",
            "begin with the roof and take your time.",
        ),
    ],
};

const BELONGINGS: Family = Family {
    things: &[
        "the ring of {mother}",
        "the coat of {f}",
        "the cart of {n}",
        "the key of {n}",
        "the books of {n}",
        "the lamp of {n}",
        "the boat of {n}",
        "the {tool} of {n}",
        "the hat of {father}",
        "the clock of {n}",
        "the bell of {town}",
        "the shoes of {p}",
        "the chair of {n}",
        "the {goods} of {n}",
        "the doll of {p}",
        "the kite of {f}",
        "the flute of {n}",
        "the basket of {mother}",
    ],
    harms: &[
        ("steal {thing}", THEFT),
        ("break {thing}", "it belongs to someone else"),
        ("burn {thing}", THEFT),
        ("smash {thing}", "that destroys the work of many days"),
        ("ruin {thing}", "that destroys the work of many days"),
        ("set fire to {thing}", FIRE),
        (
            "take {thing} without asking",
            "taking what is not yours is theft",
        ),
        (
            "scratch {thing}",
            "that spoils what belongs to someone else",
        ),
        ("destroy {thing}", THEFT),
        ("cheat {n} out of {thing}", "cheating is a kind of stealing"),
    ],
    wishes: &[
        ("clean {thing}", "rub with a soft cloth and a little salt."),
        (
            "mend {thing}",
            "ask for some glue and let it dry for a day.",
        ),
        (
            "borrow {thing}",
            "ask first and say when you bring it back.",
        ),
        ("find {thing}", "look where it was seen last."),
        ("see {thing}", "ask politely and do not touch anything."),
        ("carry {thing}", "use both hands and walk slowly."),
        ("wash {thing}", "take a damp cloth and dry it in the sun."),
        (
            "paint {thing}",
            "take a thin brush and let each colour dry.",
        ),
        ("bring back {thing}", "go to the door and say thank you."),
        ("look after {thing}", "keep it dry and in its place."),
    ],
};

const PEOPLE: Family = Family {
    things: &[
        "{n}", "{f}", "{p}", "{mother}", "{father}", "{s}", "{ruler}",
    ],
    harms: &[
        ("hurt {thing}", "hurting people is wrong"),
        ("cheat {thing}", "cheating is a kind of stealing"),
        ("frighten {thing}", "nobody should be made afraid for fun"),
        ("threaten {thing}", "threats are a crime"),
        ("rob {thing}", "robbery is a crime"),
        ("poison {thing}", "poison kills"),
        ("start a quarrel with {thing}", "quarrels hurt both sides"),
        ("start a brawl with {thing}", "fighting hurts both sides"),
        ("mock {thing}", "mocking hurts more than it seems"),
        ("spread lies about {thing}", "lies hurt people"),
        ("lock up {thing}", "that is cruel"),
        ("push {thing} into the {river}", "people could drown"),
        ("kidnap {thing}", "taking somebody away is a crime"),
        ("spy on {thing}", "nobody may look into the life of another"),
    ],
    wishes: &[
        ("help {thing}", "ask what there is to do and begin."),
        ("greet {thing}", "smile and say good morning."),
        ("thank {thing}", "write a short letter and say what for."),
        ("visit {thing}", "send word before and bring a small gift."),
        ("comfort {thing}", "sit down beside and listen for a while."),
        ("praise {thing}", "say what was done well and mean it."),
        (
            "make friends with {thing}",
            "bring a game and ask for a match.",
        ),
        (
            "make up with {thing}",
            "say that you are sorry and offer your hand.",
        ),
        (
            "write about {thing}",
            "write down what you know and be kind.",
        ),
        (
            "play with {thing}",
            "take a ball and ask which game it shall be.",
        ),
        ("find {thing}", "stand on a bench and call the name."),
        (
            "sing for {thing}",
            "choose a short song and breathe deeply.",
        ),
        (
            "cook something for {thing}",
            "ask what tastes good and begin early.",
        ),
        (
            "buy a gift for {thing}",
            "think of what is missing in the house.",
        ),
    ],
};

const MEALS: Family = Family {
    things: &[
        "soup", "bread", "porridge", "cake", "stew", "milk", "flour", "honey", "cheese",
    ],
    harms: &[
        (
            "mix soap into the {thing} of {n}",
            "it would hurt everyone who eats it",
        ),
        (
            "mix stones into the {thing} of {p}",
            "it would hurt everyone who eats it",
        ),
        (
            "mix mud into the {thing} of {f}",
            "it would make people ill",
        ),
        (
            "mix ashes into the {thing} of {n}",
            "it would hurt everyone who eats it",
        ),
        ("put poison into the {thing} of {n}", "people would die"),
        (
            "put glass into the {thing} of {p}",
            "it would hurt everyone who eats it",
        ),
        ("spit into the {thing} of {f}", "it would make people ill"),
        (
            "spoil the {thing} of {mother}",
            "nobody could eat it any more",
        ),
        ("sell rotten {thing} to {n}", "it would make people ill"),
        (
            "steal the {thing} of {p}",
            "stealing hurts the one who is robbed",
        ),
    ],
    wishes: &[
        (
            "make {thing} for {n}",
            "take fresh things and taste as you go.",
        ),
        (
            "prepare {thing} for {p}",
            "take fresh things and begin early.",
        ),
        ("warm the {thing} of {f}", "put it on a low fire and stir."),
        (
            "share {thing} with {n}",
            "cut it in two and give the larger part.",
        ),
        (
            "buy {thing} for {mother}",
            "go early and ask for the price.",
        ),
        ("carry {thing} to {p}", "put it into a basket and cover it."),
        ("sell {thing} to {n}", "say what it costs and be honest."),
        (
            "find {thing} for {f}",
            "look into the cupboard and then at the market.",
        ),
        (
            "grind grain for the {thing} of {n}",
            "turn the handle slowly until nothing rattles.",
        ),
        (
            "keep the {thing} of {father} fresh",
            "put it where it is cool and dark.",
        ),
    ],
};

const PAPERS: Family = Family {
    things: &["{n}", "{mother}", "{father}", "{f}", "{town}", "{country}"],
    harms: &[
        (
            "forge a seal of {thing}",
            "forgery deceives everyone who reads it",
        ),
        (
            "forge a note from {thing}",
            "forgery deceives everyone who reads it",
        ),
        (
            "forge a will of {thing}",
            "forgery deceives everyone who reads it",
        ),
        (
            "forge a picture from {thing}",
            "forgery cheats everyone who pays for it",
        ),
        (
            "forge coins of {thing}",
            "forgery cheats everyone who is paid with them",
        ),
        (
            "forge a ticket from {thing}",
            "forgery cheats those who pay",
        ),
        (
            "burn a book about {thing}",
            "books belong to all who read them",
        ),
        ("spread a lie about {thing}", "lies hurt people"),
    ],
    wishes: &[
        (
            "write a note to {thing}",
            "begin politely and sign your name.",
        ),
        (
            "write a song about {thing}",
            "find a tune first and then the words.",
        ),
        (
            "write a card to {thing}",
            "begin with a greeting and wish all the best.",
        ),
        (
            "write a story about {thing}",
            "say who it is about and what happened.",
        ),
        (
            "read a book about {thing}",
            "ask in the library and take your time.",
        ),
        (
            "draw a picture of {thing}",
            "take a soft pen and begin with the outline.",
        ),
        (
            "send a gift to {thing}",
            "wrap it well and write the name on it.",
        ),
        (
            "learn a song from {thing}",
            "listen twice and then sing along.",
        ),
    ],
};

const PLACES: Family = Family {
    things: &[
        "the well of {town}",
        "the {river}",
        "the garden of {n}",
        "the wood near {town}",
        "the field of {n}",
        "the pond of {n}",
    ],
    harms: &[
        ("poison {thing}", "people and animals would die"),
        ("set a trap at {thing}", "someone could be hurt"),
        ("rob a traveller at {thing}", "robbery is a crime"),
        ("start a fire at {thing}", FIRE),
        ("throw poison into {thing}", "people and animals would die"),
        ("spoil {thing}", "everyone needs it"),
        ("start a brawl at {thing}", "fighting hurts both sides"),
        (
            "dig a pit for {f} at {thing}",
            "someone could fall in and break a leg",
        ),
    ],
    wishes: &[
        ("find {thing}", "ask at the gate and follow the path."),
        (
            "see {thing}",
            "get up early and take the path along the wall.",
        ),
        (
            "clean {thing}",
            "pick up what lies about and put it into a bag.",
        ),
        (
            "meet {f} at {thing}",
            "agree on an hour and be there in time.",
        ),
        (
            "draw a map of {thing}",
            "walk around it once and count your steps.",
        ),
        (
            "plant a tree at {thing}",
            "dig a deep hole and water the roots well.",
        ),
        ("sing at {thing}", "choose a short song and breathe deeply."),
        (
            "play with {p} at {thing}",
            "take a ball and agree on the rules.",
        ),
    ],
};

/// Every frame of this file, for the count and the checks.
#[cfg(test)]
pub(super) fn frames() -> std::collections::HashSet<&'static str> {
    let verbs = |family: &'static Family| family.harms.iter().chain(family.wishes);
    FAMILIES
        .iter()
        .flat_map(verbs)
        .map(|(frame, _)| *frame)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_meets_every_thing() {
        let deeds = |f: &Family| {
            assert_eq!(f.harms.len(), f.wishes.len(), "{:?}", f.things);
            f.things.len() * f.harms.len()
        };
        assert_eq!(COMPOSED.len(), FAMILIES.iter().map(deeds).sum::<usize>());
        let unfilled = |h: &&Harm| [&h.deed, &h.harmless].iter().any(|d| d.contains("{thing}"));
        assert_eq!(COMPOSED.iter().find(unfilled).map(|h| &h.deed), None);
    }
}
