//! Training: what happens between a model with random weights and one that answers.
//!
//! This crate holds the loop and everything around it that a long run needs: checkpoints that
//! survive a crash at any byte, a lock on the run's folder, a plan that says what a run will cost
//! before it starts, metrics, a report, the statistics of evaluation, and the checks on memory and disk.
//!
//! It is not where models, optimisers or data live (`gigaro-models`, `gigaro-nn`, `gigaro-data`),
//! and it never prints: it returns values and calls the caller's [`Observer`](progress::Observer).
//!
//! What is optimised: [`next_token`] for pretraining and fine-tuning; [`reward`], [`dpo`], [`kto`] and [`orpo`] for
//! preferences on disk, through [`offline`]; each an [`objective::Objective`] for the loop in [`trainer`].
//!
//! Read next: [`plan`] (before a run), [`checkpoint`] (what a run leaves behind), [`report`]
//! (what a person looks at afterwards), [`evaluate`] (which of two models is better, and how sure one can be).
//!
//! Reinforcement learning of text: [`rollout`] (answers and what is known about them), [`scorer`] (who judges them),
//! [`advantage`] and [`policy_loss`] (the arithmetic), [`ppo`], [`grpo`], [`rloo`] (an objective each),
//! [`best_of_n`] (what can be had without training), [`validation`] (when to stop).
//!
//! A run's folder:
//!
//! ```text
//! OUT/
//!   run.lock              who is writing here (run_lock)
//!   metrics.jsonl         one line per measurement (metrics)
//!   events.out.tfevents.* the same for TensorBoard
//!   report.html           what to look at (report)
//!   checkpoints/
//!     latest              the name of the newest whole checkpoint
//!     step-000100/        model.safetensors, optimizer.safetensors, state.json, ...
//! ```

pub mod advantage;
pub mod answers;
pub mod best_of_n;
pub mod calibration;
mod captured_step;
pub mod checkpoint;
pub mod dpo;
pub mod error;
pub mod evaluate;
pub mod grpo;
pub mod interrupt;
pub mod kto;
pub mod metrics;
pub mod next_token;
mod non_finite;
pub mod objective;
pub mod offline;
pub mod orpo;
mod passes;
pub mod plan;
pub mod policy_loss;
pub mod ppo;
pub mod preference;
pub mod progress;
pub mod quantity;
pub mod report;
pub mod resources;
pub mod reward;
pub mod rloo;
pub mod rollout;
pub mod run_lock;
pub mod scorer;
mod smaller_parts;
#[cfg(test)]
mod toy;
pub mod trainer;
pub mod validation;
pub mod weights;

pub use error::{Error, Result};
