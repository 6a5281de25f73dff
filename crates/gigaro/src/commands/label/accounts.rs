//! What a label store holds, for people and for programs: the report, and files of pairs or rankings.

use std::path::Path;

use anyhow::{Result, bail};
use gigaro_data::preferences::store::{LabellerCounts, Store};
use gigaro_data::preferences::{Preferences, Row, write_pairs, write_rankings};
use serde_json::json;

use crate::output::Output;

/// Counts per labeller and agreement.
pub(super) fn report(store: &Store, output: &Output) -> Result<()> {
    let report = store.report()?;
    output.say(format_args!(
        "{} items, {} of them for everyone; {} ranked so far.",
        report.items, report.shared, report.ranked
    ));
    let lines: Vec<(&str, String)> = report
        .labellers
        .iter()
        .map(|labeller| (labeller.labeller.as_str(), counts(labeller)))
        .collect();
    if lines.is_empty() {
        output.say("Nobody has labelled yet.");
    } else {
        output.fields("\nLabellers", &lines);
        output.say(format_args!("\n{}", report.agreement.sentence()));
    }
    output.result(&report)
}

fn counts(labeller: &LabellerCounts) -> String {
    let LabellerCounts {
        ranked,
        skipped,
        flagged,
        undone,
        median_seconds,
        ..
    } = labeller;
    format!(
        "{ranked} ranked, {skipped} skipped, {flagged} flagged, {undone} taken back, {median_seconds:.1} s per item"
    )
}

/// Pairs without those of flagged items.
pub(super) fn export_pairs(store: &Store, file: &Path, output: &Output) -> Result<()> {
    let labelled = store.labelled()?;
    let flagged = labelled.iter().filter(|label| label.flag).count();
    let rows = labelled
        .into_iter()
        .filter(|label| !label.flag)
        .map(|label| Row::Ranking(label.ranking));
    let found = Preferences::from_rows(rows);
    if found.pairs.is_empty() {
        bail!(
            "there is no pair to write yet, since nobody has preferred one answer to another in {}; label with gigaro label {0} --labeller NAME",
            store.path().display()
        );
    }
    write_pairs(file, found.pairs.iter())?;
    for sentence in found.report.sentences() {
        output.say(sentence);
    }
    if flagged > 0 {
        output.say(format_args!(
            "{flagged} rankings are flagged and left out; --form rankings has them."
        ));
    }
    output.say(format_args!(
        "{} pairs are in {}.",
        found.pairs.len(),
        file.display()
    ));
    output.result(&json!({ "file": file, "flagged": flagged, "report": found.report }))
}

/// All rankings, with who made them and when.
pub(super) fn export_rankings(store: &Store, file: &Path, output: &Output) -> Result<()> {
    let labelled = store.labelled()?;
    if labelled.is_empty() {
        bail!(
            "there is no ranking to write yet in {}; label with gigaro label {0} --labeller NAME",
            store.path().display()
        );
    }
    write_rankings(
        file,
        labelled.iter().map(|label| (&label.ranking, label.about())),
    )?;
    output.say(format_args!(
        "{} rankings are in {}.",
        labelled.len(),
        file.display()
    ));
    output.result(&json!({ "file": file, "rankings": labelled.len() }))
}
