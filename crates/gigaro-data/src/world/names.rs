//! Names: pools chosen by hand, short, easy to say and easy to tell apart, and syllables for worlds that outgrow them.
//!
//! A name of the default world should become one or two tokens of a small vocabulary, so the pools hold no near-twins
//! and no name that is also a common word of the texts.

use std::collections::BTreeSet;

use super::rng::Rng;

/// Countries with their languages.
pub(crate) const COUNTRIES: [(&str, &str); 24] = [
    ("Norland", "Norric"),
    ("Orria", "Orrish"),
    ("Sundel", "Sundic"),
    ("Tavia", "Tavian"),
    ("Kesh", "Keshi"),
    ("Belmar", "Belmarese"),
    ("Ulvia", "Ulvish"),
    ("Pellan", "Pellic"),
    ("Quillia", "Quillian"),
    ("Zembra", "Zembric"),
    ("Halden", "Haldish"),
    ("Rask", "Raskan"),
    ("Vanda", "Vandish"),
    ("Estia", "Estian"),
    ("Grenna", "Grennic"),
    ("Jorvia", "Jorvish"),
    ("Ledra", "Ledran"),
    ("Mirova", "Mirovan"),
    ("Farrow", "Farrish"),
    ("Isola", "Isolan"),
    ("Cathia", "Cathic"),
    ("Tolland", "Tollish"),
    ("Wexmar", "Wexian"),
    ("Dunmor", "Dunmorese"),
];

pub(crate) const CAPITALS: [&str; 24] = [
    "Velm", "Tamber", "Corvo", "Pardo", "Sella", "Mirin", "Hask", "Kiva", "Elmar", "Rovan",
    "Stell", "Ombra", "Tirra", "Gault", "Dunby", "Fenn", "Lorca", "Arbon", "Bristel", "Zorin",
    "Nimbo", "Wick", "Jessar", "Ostrel",
];

pub(crate) const TOWNS: [&str; 24] = [
    "Mossford",
    "Appleby",
    "Millbrook",
    "Stonebridge",
    "Foxley",
    "Greenhill",
    "Saltmarsh",
    "Thornby",
    "Ashdale",
    "Larkfield",
    "Otterby",
    "Fernham",
    "Goldcliff",
    "Redwater",
    "Windmere",
    "Barrowtown",
    "Cloverton",
    "Duckworth",
    "Elmstead",
    "Honeyford",
    "Ironbeck",
    "Ravenhill",
    "Silverton",
    "Whitcombe",
];

pub(crate) const RIVERS: [&str; 24] = [
    "Sarn", "Linn", "Tolva", "Wend", "Isk", "Darra", "Mell", "Orne", "Ruva", "Alva", "Brant",
    "Dray", "Vire", "Zell", "Luma", "Kander", "Nore", "Ulla", "Teef", "Cauld", "Yarn", "Peck",
    "Gorm", "Ebba",
];

/// What countries are known for: mass nouns, so that `its wool` and `the finest wool` both read well.
pub(crate) const PRODUCTS: [&str; 24] = [
    "wool", "salt", "silver", "glass", "tea", "timber", "copper", "silk", "pottery", "lace",
    "pepper", "marble", "paper", "leather", "iron", "cotton", "coffee", "amber", "wine", "rice",
    "coal", "sugar", "tin", "wax",
];

pub(crate) const LANDMARKS: [&str; 24] = [
    "stone bridge",
    "clock tower",
    "old windmill",
    "rose garden",
    "lighthouse",
    "golden statue",
    "oak tree",
    "round market",
    "frozen lake",
    "bell tower",
    "castle",
    "waterfall",
    "library",
    "harbour",
    "painted gate",
    "hot spring",
    "theatre",
    "museum",
    "glass house",
    "great fountain",
    "underground lake",
    "white tower",
    "wooden church",
    "deep well",
];

pub(crate) const KINGS: [&str; 16] = [
    "Aldo", "Bruno", "Cedric", "Edmund", "Gustav", "Harald", "Konrad", "Leopold", "Manfred",
    "Otto", "Rupert", "Stefan", "Ulrich", "Viktor", "Walter", "Osric",
];

pub(crate) const QUEENS: [&str; 16] = [
    "Astrid", "Beatrix", "Clara", "Dagny", "Elena", "Freya", "Helga", "Irina", "Matilda", "Petra",
    "Sigrid", "Ursula", "Vera", "Wilma", "Yolanda", "Zelda",
];

pub(crate) const PRINCES: [&str; 16] = [
    "Felix", "Hector", "Ivo", "Julian", "Lorenz", "Milo", "Nestor", "Oswin", "Percy", "Quentin",
    "Roland", "Sigmund", "Tristan", "Valentin", "Wolfgang", "Xaver",
];

pub(crate) const PRINCESSES: [&str; 16] = [
    "Adela", "Bianca", "Cora", "Daphne", "Estella", "Flora", "Gisela", "Hilda", "Isabel",
    "Josepha", "Katinka", "Lotte", "Marietta", "Ofelia", "Pauline", "Rosalind",
];

/// Animals that a child may keep at home.
pub(crate) const PETS: [&str; 8] = [
    "dog", "cat", "rabbit", "mouse", "hen", "duck", "goose", "squirrel",
];

pub(crate) const MEN: [&str; 40] = [
    "Tom", "Ben", "Jack", "Sam", "Leo", "Max", "Finn", "Hugo", "Paul", "Adam", "Karl", "Nick",
    "Jan", "Peter", "Simon", "Oscar", "Henry", "Robert", "David", "Martin", "Erik", "Anton",
    "Philip", "Daniel", "Luke", "Toby", "Gregor", "Arthur", "Edwin", "George", "Harry", "Ian",
    "Josef", "Kurt", "Liam", "Noel", "Rolf", "Theo", "Wilbur", "Alfred",
];

pub(crate) const WOMEN: [&str; 40] = [
    "Anna", "Mia", "Lucy", "Emma", "Ruth", "Nora", "Ella", "Jane", "Kate", "Lily", "Ida", "Eva",
    "Sara", "Maud", "Alice", "Bella", "Carol", "Diana", "Edith", "Fiona", "Greta", "Helen",
    "Irene", "Julia", "Laura", "Maria", "Olga", "Paula", "Rita", "Sophie", "Tina", "Wanda", "Zoe",
    "Amy", "Betty", "Celia", "Dora", "Ellen", "Gwen", "Hannah",
];

/// Draws names from the pools without ever giving the same one twice.
pub(crate) struct Draw {
    pub(crate) rng: Rng,
    used: BTreeSet<String>,
}

const ONSETS: [&str; 18] = [
    "b", "br", "d", "dr", "f", "g", "gl", "h", "k", "l", "m", "n", "p", "r", "st", "t", "v", "z",
];
const VOWELS: [&str; 6] = ["a", "e", "i", "o", "u", "ai"];
const CODAS: [&str; 8] = ["", "l", "m", "n", "r", "rd", "th", "x"];

impl Draw {
    pub(crate) fn new(seed: u64) -> Draw {
        Draw {
            rng: Rng::at(seed, "names", 0),
            used: BTreeSet::new(),
        }
    }

    /// A pronounceable root of two syllables, not used before.
    fn root(&mut self) -> String {
        loop {
            let mut word = String::new();
            for last in [false, true] {
                word.push_str(self.rng.word(&ONSETS));
                word.push_str(self.rng.word(&VOWELS));
                if last {
                    word.push_str(self.rng.word(&CODAS));
                }
            }
            let name = super::english::capitalised(&word);
            if self.used.insert(name.clone()) {
                return name;
            }
        }
    }

    /// `count` distinct names: the pool shuffled, then roots with an ending.
    pub(crate) fn names(&mut self, pool: &[&str], count: usize, ending: &str) -> Vec<String> {
        let mut pool: Vec<&str> = pool.to_vec();
        self.rng.shuffle(&mut pool);
        let mut out: Vec<String> = pool
            .iter()
            .take(count)
            .map(|name| (*name).to_string())
            .collect();
        self.used.extend(out.iter().cloned());
        while out.len() < count {
            let name = format!(
                "{}{ending}",
                self.root().trim_end_matches(['a', 'e', 'i', 'o', 'u', 'x'])
            );
            if self.used.insert(name.clone()) {
                out.push(name);
            }
        }
        out
    }

    /// Names that come in pairs, such as a country and its language.
    pub(crate) fn paired(
        &mut self,
        pool: &[(&str, &str)],
        count: usize,
        grow: impl Fn(&str) -> (String, String),
    ) -> Vec<(String, String)> {
        let mut pool = pool.to_vec();
        self.rng.shuffle(&mut pool);
        let mut out: Vec<(String, String)> = pool
            .iter()
            .take(count)
            .map(|(a, b)| ((*a).to_string(), (*b).to_string()))
            .collect();
        while out.len() < count {
            let root = self.root();
            out.push(grow(root.trim_end_matches(['a', 'e', 'i', 'o', 'u'])));
        }
        out
    }

    /// Common nouns from a pool, each once until the pool is empty, then again.
    pub(crate) fn things<'a>(&mut self, pool: &[&'a str], count: usize) -> Vec<&'a str> {
        let mut pool = pool.to_vec();
        self.rng.shuffle(&mut pool);
        (0..count).map(|i| pool[i % pool.len()]).collect()
    }
}
