//! Training: what happens between a model with random weights and one that answers.
//!
//! This crate holds the loop and everything around it that a long run needs: checkpoints that
//! survive a crash at any byte, a lock on the run's folder, a plan that says what a run will cost
//! before it starts, metrics, a report, the statistics of evaluation, and the checks on memory and disk.
//!
//! It is not where models, optimisers or data live (`gigaro-models`, `gigaro-nn`, `gigaro-data`),
//! and it never prints: it returns values and calls the caller's [`Observer`](progress::Observer).
//!
//! Read next: [`plan`] (before a run), [`checkpoint`] (what a run leaves behind), [`report`]
//! (what a person looks at afterwards), [`evaluate`] (which of two models is better, and how sure one can be).
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

pub mod checkpoint;
pub mod error;
pub mod evaluate;
pub mod interrupt;
pub mod metrics;
pub mod plan;
pub mod progress;
pub mod quantity;
pub mod report;
pub mod resources;
pub mod run_lock;
pub mod trainer;
pub mod weights;

pub use error::{Error, Result};
