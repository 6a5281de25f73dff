//! Where a command's text comes from: the user's files, or the small world inside the program.

use std::path::Path;

use anyhow::Result;
use gigaro_data::corpus::{Corpus, Document};
use gigaro_data::world::World;
use gigaro_train::quantity::{Bytes, Count};

use crate::recipe::Data;

/// Text in documents.
#[derive(Debug)]
pub(crate) enum TextSource {
    /// Files of the user.
    Files(Corpus),
    /// The first documents of the small world.
    World {
        /// The world.
        world: Box<World>,
        /// Seed of the documents.
        seed: u64,
        /// How many.
        documents: usize,
    },
}

impl TextSource {
    /// The text that `[data]` of a recipe asks for; `seed` decides which documents of the small world are written.
    ///
    /// # Errors
    /// If there is no text at the path.
    pub(crate) fn open(data: &Data, seed: u64) -> Result<Self> {
        match &data.text {
            Some(path) => Self::files(path, &data.column),
            None => Ok(Self::World {
                world: Box::new(World::new(data.world_seed)),
                seed,
                documents: data.world_documents,
            }),
        }
    }

    /// The text in a file or folder; `column` is the key of records.
    ///
    /// # Errors
    /// If there is no text at the path.
    pub(crate) fn files(path: &Path, column: &str) -> Result<Self> {
        Ok(Self::Files(Corpus::open(path)?.with_text_key(column)))
    }

    /// What it is, for a person.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::World { documents, .. } => {
                format!("the small world, {} documents", Count(*documents as f64))
            }
            Self::Files(corpus) => {
                let size = corpus.bytes_on_disk().map(|b| Bytes(b).to_string());
                let files = corpus.files().len();
                let size = size.unwrap_or_else(|_| "unknown size".into());
                format!("{} ({files} files, {size})", corpus.place().display())
            }
        }
    }

    /// What tells this text, cut up as `settings` say, from another or a changed one; files by size and time, since reading takes long.
    pub(crate) fn stamp(&self, settings: &str) -> String {
        let mut text = settings.to_owned();
        match self {
            Self::World { seed, .. } => text.push_str(&format!(" world {seed}")),
            Self::Files(corpus) => {
                for path in corpus.files() {
                    let meta = std::fs::metadata(path).ok();
                    let len = meta.as_ref().map(std::fs::Metadata::len);
                    let changed = meta.and_then(|meta| meta.modified().ok());
                    text.push_str(&format!("\n{path:?} {len:?} {changed:?}"));
                }
            }
        }
        format!("{:016x}", fnv1a(text.as_bytes()))
    }

    /// The documents one after another; long files come in parts.
    pub(crate) fn documents(&self) -> Box<dyn Iterator<Item = gigaro_data::Result<Document>> + '_> {
        match self {
            Self::Files(corpus) => Box::new(corpus.documents()),
            Self::World {
                world,
                seed,
                documents,
            } => Box::new(
                world
                    .documents(*seed)
                    .take(*documents)
                    .map(|document| Ok(Document::from(document))),
            ),
        }
    }
}

/// The 64-bit hash of Fowler, Noll and Vo: unlike that of the standard library, the same in every version of this program.
fn fnv1a(bytes: &[u8]) -> u64 {
    let (basis, prime) = (0xcbf2_9ce4_8422_2325, 0x0100_0000_01b3_u64);
    bytes.iter().fold(basis, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(prime)
    })
}
