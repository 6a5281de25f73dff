//! The part of a run's page that shows alignment: what each model does with the same prompts, who is preferred, and how it
//! came about.

use std::path::Path;

use anyhow::Result;
use gigaro_data::world::Prompt;
use gigaro_train::evaluate::Behaviour;
use gigaro_train::metrics;
use gigaro_train::quantity::Count;
use gigaro_train::report::{Cell, Chart, Report, SideBySide, Table};

use super::compare::Contestant;
use super::{ALIGNED, Alignment, BASE, FINE_TUNED, SMALL};

/// Prompts whose answers are shown side by side.
const SHOWN: usize = 16;

/// Adds the sections of alignment to a report.
///
/// # Errors
/// If the metrics cannot be read.
pub(crate) fn show(alignment: &Alignment, report: &mut Report) -> Result<()> {
    report
        .heading("Base, fine-tuned, aligned")
        .paragraph(
            "The same held-out prompts, answered greedily by each model. What is harmful and what is right is known in the \
             small world, so every share is counted and not judged.",
        )
        .table(behaviours(alignment))
        .table(duels(alignment))
        .side_by_side(side_by_side(alignment));
    report
        .heading("Learning what is preferred")
        .paragraph(format!(
            "The rankings come from a {}.",
            alignment.rewarded.labeller
        ))
        .chart(curves(
            &alignment.rewarded.stage.dir,
            "Reward model",
            "pairs ranked alike",
            &[
                ("accuracy", "training"),
                ("validation_accuracy", "held out"),
            ],
        )?)
        .table(reliability(alignment));
    let dir = &alignment.ppo.dir;
    report
        .heading("Learning to be preferred")
        .paragraph(
            "The policy is trained on the reward model's score. The true score is what the simulated labeller would say if it \
             never erred; it is measured on the way and never trained on. If the first rose while the second fell, the policy would have \
             found a fault of the reward model, and the run would end there.",
        )
        .chart(curves(
            dir,
            "Score",
            "points",
            &[("objective/scores", "reward model"), ("validation_objective/scores", "truth")],
        )?)
        .chart(curves(dir, "Distance from the fine-tuned model", "nats per answer", &[("objective/kl", "KL")])?)
        .chart(curves(
            dir,
            "Updates",
            "share",
            &[
                ("policy/clip_fraction", "policy ratios clipped"),
                ("val/clip_fraction", "values clipped"),
            ],
        )?);
    report
        .heading("Requests in disguise")
        .table(red_team(alignment));
    Ok(())
}

fn curves(dir: &Path, title: &str, unit: &str, names: &[(&str, &str)]) -> Result<Chart> {
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

/// One column per model.
fn behaviours(alignment: &Alignment) -> Table {
    let models = &alignment.contestants;
    let columns: Vec<&str> = std::iter::once("")
        .chain(models.iter().map(|c| c.name))
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

fn duels(alignment: &Alignment) -> Table {
    let judge = alignment.duels.first().map_or("", |d| d.judge.as_str());
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
    for duel in &alignment.duels {
        let (rate, low, high) = duel.share();
        table = table.row([
            duel.names.0.into(),
            duel.names.1.into(),
            Cell::Share(rate),
            format!("{:.1} to {:.1} %", 100.0 * low, 100.0 * high).into(),
            Cell::Share(duel.length_controlled.rate),
        ]);
    }
    table
}

fn side_by_side(alignment: &Alignment) -> Vec<SideBySide> {
    let shown: Vec<&Contestant> = [BASE, FINE_TUNED, ALIGNED, SMALL]
        .iter()
        .filter_map(|name| alignment.named(name))
        .collect();
    let prompts = alignment.exam.prompts.iter().enumerate();
    let card = |(i, prompt): (usize, &Prompt)| SideBySide {
        prompt: prompt.text.clone(),
        replies: shown
            .iter()
            .map(|c| (c.name.to_owned(), c.answers[i].clone()))
            .collect(),
    };
    prompts.take(SHOWN).map(card).collect()
}

fn reliability(alignment: &Alignment) -> Table {
    let mut table = Table::new(
        "How sure the reward model is, and how often it is right",
        &["sure", "pairs", "right"],
    );
    for bin in alignment
        .rewarded
        .report
        .bins
        .iter()
        .filter(|bin| bin.pairs > 0)
    {
        table = table.row([
            format!("{:.0} to {:.0} %", 100.0 * bin.lower, 100.0 * bin.upper).into(),
            bin.pairs.to_string().into(),
            Cell::Share(bin.accuracy),
        ]);
    }
    table
}

fn red_team(alignment: &Alignment) -> Table {
    let mut table = Table::new(
        "",
        &["disguise", "model", "harmful refused", "harmless refused"],
    );
    for contestant in &alignment.contestants {
        let Some(report) = &contestant.red_team else {
            continue;
        };
        let all = std::iter::once(("all", &report.all));
        let each = report.by_disguise.iter().map(|(name, r)| (*name, r));
        for (disguise, resistance) in all.chain(each) {
            table = table.row([
                disguise.into(),
                contestant.name.into(),
                Cell::Share(resistance.refused_harmful.share()),
                Cell::Share(resistance.refused_harmless.share()),
            ]);
        }
    }
    table
}
