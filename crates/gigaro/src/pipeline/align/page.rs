//! The part of a run's page that shows alignment: what each model does with the same prompts, who is preferred, and how it
//! came about.

use std::path::Path;

use anyhow::Result;
use gigaro_data::world::Prompt;
use gigaro_train::calibration::RewardReport;
use gigaro_train::evaluate::Behaviour;
use gigaro_train::metrics;
use gigaro_train::quantity::Count;
use gigaro_train::report::{Cell, Chart, Report, SideBySide, Table};

use super::compare::{Comparison, Contestant};
use super::steps_page::{COMPARED, ON_POLICY, RANKED_ALIKE, draw, frontier};
use super::{ALIGNED, Alignment, BASE, FINE_TUNED, PROMPTED, SMALL};

/// Prompts whose answers are shown side by side.
const SHOWN: usize = 16;

/// Adds the sections of alignment to a report.
///
/// # Errors
/// If the metrics cannot be read.
pub(crate) fn show(alignment: &Alignment, report: &mut Report) -> Result<()> {
    report
        .heading("Base, fine-tuned, aligned")
        .paragraph(COMPARED)
        .table(behaviours(&alignment.comparison))
        .table(duels(&alignment.comparison))
        .side_by_side(side_by_side(
            &alignment.comparison,
            &[BASE, PROMPTED, FINE_TUNED, ALIGNED, SMALL],
        ));
    report
        .heading("Learning what is preferred")
        .paragraph(format!("Ranked by: {}.", alignment.rewarded.labeller));
    draw(report, &alignment.rewarded.stage.dir, &[RANKED_ALIKE])?;
    report.table(reliability(&alignment.rewarded.report));
    let dir = &alignment.ppo.dir;
    report
        .heading("Learning to be preferred")
        .paragraph(format!(
            "The policy is rewarded with {}. The true score is what the simulated labeller would say if it never erred, on prompts \
             that are not trained on. If the first rose while the second fell, the policy would have found a fault of the reward model, \
             and the run would end there.",
            alignment.reward
        ));
    draw(report, dir, ON_POLICY)?;
    if let Some(chart) = frontier(dir)? {
        report.chart(chart);
    }
    report
        .heading("Requests in disguise")
        .table(red_team(&alignment.comparison));
    Ok(())
}

/// Some of a stage's measurements over its steps.
///
/// # Errors
/// If they cannot be read.
pub(super) fn curves(dir: &Path, title: &str, unit: &str, names: &[(&str, &str)]) -> Result<Chart> {
    let records = metrics::read(&dir.join(metrics::FILE_NAME))?;
    let mut chart = Chart::new(title, "step", unit);
    for (metric, name) in names {
        let points: Vec<(f64, f64)> = records
            .iter()
            .filter_map(|r| Some((r.step as f64, r.number(metric)?)))
            .collect();
        chart = chart.curve(*name, points);
    }
    Ok(chart)
}

/// What the models do, one column per model.
pub(super) fn behaviours(comparison: &Comparison) -> Table {
    let models = &comparison.contestants;
    let columns: Vec<&str> = std::iter::once("")
        .chain(models.iter().map(|c| c.name.as_str()))
        .collect();
    let each = |cell: &dyn Fn(&Contestant) -> String| models.iter().map(cell).collect();
    let mut rows: Vec<(&str, Vec<String>)> = vec![(
        "parameters",
        each(&|c| Count(c.parameters as f64).to_string()),
    )];
    for (i, (name, _)) in Behaviour::default().shares().into_iter().enumerate() {
        let share = |c: &Contestant| c.behaviour.shares()[i].1.share();
        rows.push((name, each(&|c| format!("{:.1} %", 100.0 * share(c)))));
    }
    let words = |c: &Contestant| format!("{:.1}", c.behaviour.mean_words());
    rows.push(("mean length in words", each(&words)));
    let table = Table::new("What the models do", &columns);
    rows.into_iter().fold(table, |table, (name, cells)| {
        let cells = cells.into_iter().map(Cell::from);
        table.row(std::iter::once(name.into()).chain(cells))
    })
}

/// Whose answers are preferred.
pub(super) fn duels(comparison: &Comparison) -> Table {
    let judge = comparison.duels.first().map_or("", |d| d.judge.as_str());
    let mut table = Table::new(
        format!("Whose answers are preferred, by the {judge}"),
        &[
            "model",
            "against",
            "preferred",
            "95 % interval",
            "at equal length",
        ],
    );
    for duel in &comparison.duels {
        let (rate, low, high) = duel.share();
        table = table.row([
            duel.names.0.as_str().into(),
            duel.names.1.as_str().into(),
            Cell::Share(rate),
            format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high).into(),
            Cell::Share(duel.length_controlled.rate),
        ]);
    }
    table
}

/// What these models say to the first prompts.
pub(super) fn side_by_side(comparison: &Comparison, names: &[&str]) -> Vec<SideBySide> {
    let taken_part = names.iter().filter_map(|name| comparison.named(name));
    let shown: Vec<&Contestant> = taken_part.collect();
    let prompts = comparison.exam.prompts.iter().enumerate();
    let card = |(i, prompt): (usize, &Prompt)| SideBySide {
        prompt: prompt.text.clone(),
        replies: shown
            .iter()
            .map(|c| (c.name.clone(), c.answers[i].clone()))
            .collect(),
    };
    prompts.take(SHOWN).map(card).collect()
}

/// How sure a reward model is, and how often it is right.
pub(super) fn reliability(report: &RewardReport) -> Table {
    let mut table = Table::new(
        "How sure the reward model is, and how often it is right",
        &["sure", "pairs", "right"],
    );
    for bin in report.bins.iter().filter(|bin| bin.pairs > 0) {
        table = table.row([
            format!("{:.0} to {:.0} %", 100.0 * bin.lower, 100.0 * bin.upper).into(),
            bin.pairs.to_string().into(),
            Cell::Share(bin.accuracy),
        ]);
    }
    table
}

/// What the models do with requests in disguise.
pub(super) fn red_team(comparison: &Comparison) -> Table {
    let mut table = Table::new(
        "",
        &["disguise", "model", "harmful refused", "harmless refused"],
    );
    for contestant in &comparison.contestants {
        let Some(report) = &contestant.red_team else {
            continue;
        };
        let all = std::iter::once(("all", &report.all));
        let each = report.by_disguise.iter().map(|(name, r)| (*name, r));
        for (disguise, resistance) in all.chain(each) {
            table = table.row([
                disguise.into(),
                contestant.name.as_str().into(),
                Cell::Share(resistance.refused_harmful.share()),
                Cell::Share(resistance.refused_harmless.share()),
            ]);
        }
    }
    table
}
