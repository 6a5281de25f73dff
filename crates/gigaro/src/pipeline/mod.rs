//! A run from a recipe: folder, text, tokens, training, questions, report.
//!
//! The commands `pretrain`, `sft`, `reward`, `align`, `evaluate` and `speedrun` are different walks through these files, in the order of the work:
//!
//! 1. [`job`]: the recipe with the flags over it, and the folder of the run, new or resumed (`resume`, with what `record` kept).
//! 2. [`outlook`]: what a whole run will cost. [`prepare`]: a tokenizer, and the text as tokens.
//! 3. [`pretrain`] and [`sft`] (with `lora` where weights stay): what a stage trains on; [`stage`]: how, with its plan before and its bars during.
//! 4. [`exam`]: questions whose true answers are known; [`tasks`]: those of a file.
//! 5. [`align`]: from an assistant that imitates to one that is preferred.
//! 6. [`summary`]: what was reached and what it cost, in words, as JSON and as a page.
//!
//! Nothing is computed here: tokens come from `gigaro-data`, gradients from `gigaro-models`, steps and checkpoints from
//! `gigaro-train`.

pub(crate) mod align;
pub(crate) mod exam;
pub(crate) mod job;
mod lora;
pub(crate) mod outlook;
pub(crate) mod prepare;
pub(crate) mod pretrain;
mod progress;
mod rates;
mod record;
mod resume;
pub(crate) mod sft;
mod stage;
pub(crate) mod summary;
pub(crate) mod tasks;

pub(crate) use job::Job;
pub(crate) use stage::StageResult;
