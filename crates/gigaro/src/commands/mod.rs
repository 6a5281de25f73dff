//! One file per command: its flags (`Args`), and `run`, which calls the libraries and says what they return.

pub(crate) mod align;
pub(crate) mod bench;
pub(crate) mod capacity;
pub(crate) mod chat;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod evaluate;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod info;
pub(crate) mod keys;
pub(crate) mod label;
pub(crate) mod man;
pub(crate) mod perplexity;
pub(crate) mod pretrain;
pub(crate) mod reward;
pub(crate) mod serve;
pub(crate) mod sft;
pub(crate) mod speedrun;
pub(crate) mod tokenizer;
pub(crate) mod world;
