//! One file per command: its flags (`Args`), and `run`, which calls the libraries and says what they return.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod generate;
pub(crate) mod info;
pub(crate) mod man;
pub(crate) mod tokenizer;
