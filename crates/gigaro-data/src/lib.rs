//! Text on its way to a model: corpora, tokenizers, token shards, conversations and the loaders that make batches of them.
//!
//! In the order in which a run uses them: [`corpus`] streams documents out of files, [`tokenizer`] turns them into ids, [`shards`]
//! keeps the ids on disk, [`loader`] deals them out in shuffled batches whose position is part of a checkpoint. [`chat`] is the
//! format of conversations, [`template`] the formats that other tokenizers bring along, [`preferences`] is what people say about
//! answers, kept in a [`sqlite`] file, [`tasks`] what a model is measured on, and [`world`] a generated corpus that needs no download.
//!
//! This crate knows no model and no gradient. Whatever comes from outside is checked here and refused with a sentence
//! ([`Error`]).

mod beside;
mod error;
mod parallel;
#[cfg(test)]
mod shared_data;

pub mod chat;
pub mod conversations;
pub mod corpus;
pub mod hostile;
pub mod loader;
pub mod preferences;
pub mod shards;
pub mod sqlite;
pub mod tasks;
pub mod template;
pub mod tokenizer;
pub mod tokens;
pub mod world;

pub use error::{Error, Result};
pub use tokenizer::Tokenizer;
pub use tokens::Tokens;
