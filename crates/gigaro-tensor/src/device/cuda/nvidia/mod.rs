//! Cards through the vendor's libraries, which are looked for when the program runs.
//!
//! - [`search`] and [`libraries`]: where the libraries are, and what to do where one is missing; [`functions`]: what is called of them.
//! - [`cards`]: which cards there are. [`card`]: one that is used, on top of [`stream`] (the driver's calls), [`staging`] (copies), [`products`]
//!   and [`layout`] (cuBLASLt).
//! - [`compile`] and [`cache`]: from the text of a kernel to machine code. [`failure`]: what the driver's errors mean.
//!
//! Without a card, everything is tested against a driver that only seems to be one; what the real one does with these calls shows on a card alone.

mod cache;
mod card;
mod cards;
mod compile;
mod failure;
#[cfg(test)]
mod fake;
mod functions;
mod layout;
mod libraries;
mod products;
#[cfg(test)]
mod report;
mod search;
mod staging;
mod stream;

use std::path::PathBuf;

use super::driver::Driver;
use cache::Cache;
use card::{Card, Libraries};
use libraries::Loaded;

/// What there is of CUDA on this machine, for a person who wonders why a card is or is not used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Survey {
    /// The libraries that are looked for.
    pub libraries: Vec<LibraryFacts>,
    /// The cards that the driver shows to this program.
    pub cards: Vec<CardFacts>,
    /// Where compiled kernels are kept; `None` if the environment names no home.
    pub kernel_cache: Option<PathBuf>,
    /// Why no card can be used, and what to do; `None` if one can.
    pub unusable: Option<String>,
}

/// A library of CUDA's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LibraryFacts {
    /// What people call it.
    pub name: &'static str,
    /// Its file and its version, or a sentence that says why it cannot be used and what to do.
    pub found: Result<(PathBuf, String), String>,
}

/// A card, used or not.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CardFacts {
    /// The number to choose it by.
    pub index: usize,
    /// As its maker calls it.
    pub name: String,
    /// All of its memory.
    pub memory_bytes: usize,
    /// Compute capability: 9.0 is Hopper.
    pub capability: (i32, i32),
    /// Why it cannot be used; `None` if it can.
    pub unusable: Option<String>,
}

/// Looks for the libraries and the cards. Opens no card, and never panics.
#[must_use]
pub fn survey() -> Survey {
    let (driver, compiler, products) = (
        libraries::driver(),
        libraries::compiler(),
        libraries::products(),
    );
    let cards = match &driver {
        Ok(driver) => card_facts(driver),
        Err(sentence) => Err(sentence.clone()),
    };
    let mut unusable = compiler.as_ref().err().cloned();
    let cards = match cards {
        Ok(cards) => {
            if cards.iter().all(|card| card.unusable.is_some()) {
                unusable = cards.first().and_then(|card| card.unusable.clone());
            }
            cards
        }
        Err(sentence) => {
            unusable = Some(sentence);
            Vec::new()
        }
    };
    Survey {
        libraries: vec![
            library_facts("driver", driver),
            library_facts("NVRTC", compiler),
            library_facts("cuBLASLt", products),
        ],
        cards,
        kernel_cache: Cache::of_user().folder().map(PathBuf::from),
        unusable,
    }
}

fn library_facts<F>(name: &'static str, found: Result<&Loaded<F>, String>) -> LibraryFacts {
    let found = found.map(|library| (library.path.clone(), library.version.clone()));
    LibraryFacts { name, found }
}

/// All cards, or why there are none.
fn card_facts(driver: &Loaded<functions::Cuda>) -> Result<Vec<CardFacts>, String> {
    let cuda = &driver.functions;
    let count = cards::count(cuda)?;
    if count == 0 {
        return cards::card(cuda, 0).map(|_| Vec::new());
    }
    let describe = |index| {
        let facts = cards::facts(cuda, index)?;
        Ok(CardFacts {
            index,
            name: facts.name,
            memory_bytes: facts.memory_bytes,
            capability: facts.capability,
            unusable: cards::card(cuda, index).err(),
        })
    };
    (0..count).map(describe).collect()
}

/// Whether the library that multiplies has a call for a product.
#[cfg(feature = "testing")]
pub(crate) fn takes(product: &super::driver::Product) -> bool {
    layout::plan(product).is_some()
}

/// Opens a card.
///
/// # Errors
/// A sentence that says what is missing or wrong, and what to do.
pub(crate) fn open(index: usize) -> Result<Box<dyn Driver>, String> {
    let driver = libraries::driver()?;
    let facts = cards::card(&driver.functions, index)?;
    let libraries = Libraries {
        driver,
        compiler: libraries::compiler()?,
        products: libraries::products().ok(),
    };
    Ok(Box::new(Card::open(libraries, &facts)?))
}
