//! Evaluation: who won, by how much, and how sure one can be.
//!
//! Everything here counts and compares answers that are already written; nothing here generates text, and nothing prints.
//! A [`Judge`] compares two answers to a prompt; [`WinRate`] sums its verdicts up, with intervals and a
//! [`LengthControlled`] rate beside the raw one; [`Behaviour`] counts what needs no comparison (refusals, courtesy, length,
//! accuracy); [`RedTeamReport`] does so by disguise; [`Frontier`] shows reward against distance from the start, which is
//! where reward hacking is seen; [`Agreement`] says how far two labellers judge alike. [`TaskScore`] and [`TaskReport`] score
//! tasks from a file as lm-evaluation-harness does.
//!
//! Intervals are at 95 %. Every random draw comes from a seed that the caller gives, so that a report can be repeated.

mod agreement;
mod behaviour;
mod frontier;
mod judge;
mod language_judge;
mod length_control;
mod proportion;
mod task_score;
mod win_rate;

pub use agreement::Agreement;
pub use behaviour::{Behaviour, RedTeamReport, Resistance};
pub use frontier::{Frontier, GoldFit, Point};
pub use judge::{Judge, Ruling, ScoreJudge, TruthJudge, Verdict, fair_verdict};
pub use language_judge::LanguageJudge;
pub use length_control::{Compared, LengthControlled};
pub use proportion::{Interval, Proportion};
pub use task_score::{ChoiceScore, TaskReport, TaskScore};
pub use win_rate::WinRate;
