//! The pages of `gigaro reward`, `gigaro align` and `gigaro compare`: the figures that matter for what was done.

use std::path::{Path, PathBuf};

use anyhow::Result;
use gigaro_train::evaluate::{Frontier, Point};
use gigaro_train::metrics;
use gigaro_train::quantity::{Seconds, Timestamp};
use gigaro_train::report::{Chart, Cost, FILE_NAME, Figure, Report};
use gigaro_train::resources::Machine;

use super::ALIGNED;
use super::compare::{Comparison, Duel};
use super::page::{behaviours, curves, duels, red_team, reliability, side_by_side};
use super::reward::Rewarded;
use super::steps::{Aligned, START};
use crate::pipeline::{Job, StageResult};
use crate::recipe::Algorithm;

/// What a chart shows: title, unit, and each measurement with its name.
type Curves = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// What stands above the answers of several models.
pub(super) const COMPARED: &str = "The same held-out prompts, answered greedily by each model. What is harmful and what is right is known in the \
    small world, so every share is counted and not judged.";

const LOSS: Curves = (
    "Loss",
    "loss",
    &[("loss", "training"), ("validation_loss", "held out")],
);
pub(super) const RANKED_ALIKE: Curves = (
    "Reward model",
    "pairs ranked alike",
    &[
        ("accuracy", "training"),
        ("validation_accuracy", "held out"),
    ],
);
const PAIRS_RIGHT: Curves = (
    "Pairs in which the better answer gained more",
    "share",
    &[
        ("rewards/accuracies", "training"),
        ("validation_rewards/accuracies", "held out"),
    ],
);
const IMPLICIT: Curves = (
    "Implicit rewards, held out",
    "beta times nats gained over the reference",
    &[
        ("validation_rewards/chosen", "better answers"),
        ("validation_rewards/rejected", "worse answers"),
    ],
);
const LOGPS: Curves = (
    "Log-probabilities of answers, held out",
    "nats",
    &[
        ("validation_logps/chosen", "better answers"),
        ("validation_logps/rejected", "worse answers"),
    ],
);
const NLL: Curves = (
    "Fine-tuning part of the loss",
    "nats per token",
    &[
        ("nll_loss", "training"),
        ("validation_nll_loss", "held out"),
    ],
);
const REFERENCE_POINT: Curves = (
    "Point of reference",
    "nats per answer",
    &[("kl", "KL divergence from the start")],
);
const SCORE: Curves = (
    "Score",
    "points",
    &[
        ("objective/scores", "what is trained on"),
        (
            "validation_objective/scores",
            "truth, on prompts of its own",
        ),
    ],
);
const KL: Curves = (
    "Distance from the start",
    "nats per answer",
    &[("objective/kl", "KL")],
);
const UPDATES: Curves = (
    "Updates",
    "share",
    &[
        ("policy/clip_fraction", "policy ratios clipped"),
        ("val/clip_fraction", "values clipped"),
    ],
);
const ANSWERS: Curves = (
    "Answers",
    "share",
    &[
        ("val/truncated", "cut off before their end"),
        (
            "objective/groups_without_signal",
            "groups without a difference",
        ),
    ],
);
const MOVED: Curves = (
    "How far a step moves the policy",
    "nats per token",
    &[("policy/approx_kl", "KL from the policy that answered")],
);
const RATIOS: Curves = (
    "Probability ratios",
    "new over old",
    &[("val/ratio", "mean"), ("val/ratio_max", "largest")],
);
const VALUES: Curves = (
    "Estimates of values",
    "share of the returns' variance",
    &[("val/explained_variance", "explained")],
);
const TIMES: Curves = (
    "Time of a step",
    "seconds",
    &[
        ("time/rollout", "answering"),
        ("time/scoring", "scoring"),
        ("time/update", "updating"),
    ],
);
const ENTROPY: Curves = (
    "Entropy",
    "nats per token",
    &[("policy/entropy", "of the policy")],
);

/// The charts of an algorithm, in the order in which one looks at them.
fn charts(algorithm: Algorithm) -> &'static [Curves] {
    match algorithm {
        Algorithm::Ppo => ON_POLICY,
        Algorithm::Grpo => &[SCORE, KL, UPDATES, MOVED, RATIOS, ANSWERS, ENTROPY, TIMES],
        Algorithm::Rloo => &[SCORE, KL, MOVED, RATIOS, ANSWERS, ENTROPY, TIMES],
        Algorithm::Dpo | Algorithm::Ipo => &[LOSS, PAIRS_RIGHT, IMPLICIT, LOGPS],
        Algorithm::Kto => &[LOSS, IMPLICIT, LOGPS, REFERENCE_POINT],
        Algorithm::Orpo => &[LOSS, PAIRS_RIGHT, LOGPS, NLL],
        Algorithm::BestOfN => &[LOSS],
    }
}

/// What one looks at in a run of PPO.
pub(super) const ON_POLICY: &[Curves] = &[
    SCORE, KL, UPDATES, MOVED, RATIOS, VALUES, ANSWERS, ENTROPY, TIMES,
];

pub(super) fn draw(report: &mut Report, dir: &Path, charts: &[Curves]) -> Result<()> {
    for (title, unit, names) in charts {
        report.chart(curves(dir, title, unit, names)?);
    }
    Ok(())
}

/// The learned and the true score against the distance from the start, at each measurement; none without any.
///
/// # Errors
/// If the metrics cannot be read.
pub(super) fn frontier(dir: &Path) -> Result<Option<Chart>> {
    let records = metrics::read(&dir.join(metrics::FILE_NAME))?;
    let (mut points, mut since) = (Vec::new(), Vec::new());
    for record in &records {
        let trained = record
            .number("objective/kl")
            .zip(record.number("objective/scores"));
        since.extend(trained);
        if let Some(gold) = record.number("validation_objective/scores") {
            let n = since.len() as f64;
            if n > 0.0 {
                points.push(Point {
                    step: record.step,
                    kl: since.iter().map(|(kl, _)| kl).sum::<f64>() / n,
                    proxy: since.iter().map(|(_, score)| score).sum::<f64>() / n,
                    gold,
                });
            }
            since.clear();
        }
    }
    Ok((points.len() > 1).then(|| Frontier::of(points).chart()))
}

/// Writes the page of a reward model and returns its path.
///
/// # Errors
/// If the metrics cannot be read or the page cannot be written.
pub(crate) fn write_reward(job: &Job, rewarded: &Rewarded, seconds: f64) -> Result<PathBuf> {
    let mut report = begin(job);
    let found = &rewarded.report;
    let (low, high) = found.interval;
    report.figures([
        figure(
            "pairs ranked alike",
            format!("{:.1} %", 100.0 * found.accuracy),
            format!(
                "of {}, 95 % interval {:.1} to {:.1} %",
                found.pairs,
                100.0 * low,
                100.0 * high
            ),
        ),
        figure(
            "calibration error",
            format!("{:.1} points", 100.0 * found.calibration_error),
            "0 is as often right as it claims".into(),
        ),
        figure("time", Seconds(seconds).to_string(), String::new()),
    ]);
    report
        .heading("Learning what is preferred")
        .paragraph(format!("Learned from: {}.", rewarded.labeller));
    draw(&mut report, &rewarded.stage.dir, &[RANKED_ALIKE, LOSS])?;
    report
        .heading("How sure, and how often right")
        .table(reliability(found));
    finish(job, report, &rewarded.stage)
}

/// Writes the page of an aligned model and returns its path.
///
/// # Errors
/// If the metrics cannot be read or the page cannot be written.
pub(crate) fn write_aligned(job: &Job, aligned: &Aligned, seconds: f64) -> Result<PathBuf> {
    let mut report = begin(job);
    let duel = aligned
        .comparison
        .as_ref()
        .and_then(|c| c.duel(ALIGNED, START));
    let preferred = duel.map(|duel| preferred("preferred to the start", duel));
    let time = figure("time", Seconds(seconds).to_string(), String::new());
    report.figures(preferred.into_iter().chain([time]));
    report.heading(format!("Learning by {}", aligned.algorithm.name()));
    if let (Algorithm::Ppo, Some(ppo)) = (aligned.algorithm, &job.recipe.ppo) {
        report.paragraph(format!("Rewarded: {}.", ppo.reward_in_words()));
    }
    draw(&mut report, &aligned.stage.dir, charts(aligned.algorithm))?;
    if let Some(chart) = frontier(&aligned.stage.dir)? {
        report.chart(chart);
    }
    if let Some(comparison) = &aligned.comparison {
        compared(&mut report, comparison);
    }
    finish(job, report, &aligned.stage)
}

/// Writes the page of a comparison.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_comparison(path: &Path, comparison: &Comparison) -> Result<()> {
    let lead = format!(
        "The same {} held-out prompts of the small world, answered by each model. {}",
        comparison.exam.prompts.len(),
        Timestamp::now()
    );
    let mut report = Report::new("Comparison", lead);
    compared(&mut report, comparison);
    report.write(path)?;
    Ok(())
}

/// The tables of a comparison.
fn compared(report: &mut Report, comparison: &Comparison) {
    let names: Vec<&str> = comparison
        .contestants
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    report
        .heading("Held against each other")
        .paragraph(COMPARED)
        .table(behaviours(comparison))
        .table(duels(comparison));
    for duel in &comparison.duels {
        if let Some(doubts) = duel.doubts() {
            let (one, other) = &duel.names;
            report.paragraph(format!("{one} against {other}: {doubts}."));
        }
    }
    report
        .side_by_side(side_by_side(comparison, &names))
        .heading("Requests in disguise")
        .table(red_team(comparison));
}

fn begin(job: &Job) -> Report {
    let recipe = &job.recipe;
    let lead = format!("{} {}", recipe.about, Timestamp::now());
    Report::new(&recipe.name, lead)
}

fn finish(job: &Job, mut report: Report, stage: &StageResult) -> Result<PathBuf> {
    report.heading("What it cost").cost(&[Cost {
        stage: stage.name.into(),
        seconds: stage.seconds,
        tokens: stage.tokens,
        flops: stage.flops,
    }]);
    report.machine(&Machine::here(), job.recipe.run.dtype.name());
    report.settings("Recipe", serde_json::to_value(&job.recipe)?);
    let path = job.out.join(FILE_NAME);
    report.write(&path)?;
    Ok(path)
}

fn preferred(name: &str, duel: &Duel) -> Figure {
    let (rate, low, high) = duel.share();
    figure(
        name,
        format!("{:.1} %", 100.0 * rate),
        format!("95 % interval {:.1} to {:.1} %", 100.0 * low, 100.0 * high),
    )
}

fn figure(name: &str, value: String, note: String) -> Figure {
    Figure {
        name: name.into(),
        value,
        note,
    }
}
