//! `gigaro label` from outside: from a file of answers to a file of pairs, and the sentences about what cannot be.

mod running;

use std::path::Path;

use gigaro_data::preferences::store::{Store, Verdict};
use running::gigaro_in;

const ITEMS: &str = "\
{\"prompt\": \"Why is the sky blue?\", \"answers\": [\"Light scatters.\", \"It is not.\", \"Nobody knows.\"], \"sources\": [\"a\", \"b\", \"b\"]}
{\"prompt\": \"Say hi\", \"chosen\": \"Hi!\", \"rejected\": \"No.\"}
{\"prompt\": \"Say no\", \"chosen\": \"No.\", \"rejected\": \"No. \"}
";

/// A folder with a store of two items that everyone gets.
fn house() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("items.jsonl"), ITEMS).expect("written");
    let run = gigaro_in(
        folder.path(),
        &[
            "label",
            "l.db",
            "--import",
            "items.jsonl",
            "--shared",
            "100",
            "--json",
        ],
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let found = run.json();
    assert_eq!(
        (&found["added"], &found["nothing_to_compare"]),
        (&2.into(), &1.into())
    );
    folder
}

/// Ranks every item as it is shown, first best.
fn label_all(folder: &Path, labeller: &str, flag: bool) {
    let mut store = Store::open(folder.join("l.db")).expect("opens");
    while let Some(task) = store.next(labeller).expect("reads") {
        let verdict = Verdict {
            ranks: Some((1..=task.answers.len() as u32).collect()),
            flag,
            seconds: 1.0,
        };
        store.label(labeller, task.item, &verdict).expect("kept");
    }
}

#[test]
fn answers_go_in_and_pairs_come_out() {
    let folder = house();
    let early = gigaro_in(folder.path(), &["label", "l.db", "--export", "pairs.jsonl"]);
    assert_eq!(early.code, 1);
    assert!(
        early.stderr.contains("there is no pair to write yet"),
        "{}",
        early.stderr
    );
    label_all(folder.path(), "ann", false);
    label_all(folder.path(), "bob", true);

    let pairs = gigaro_in(
        folder.path(),
        &["label", "l.db", "--export", "pairs.jsonl", "--json"],
    );
    assert_eq!(pairs.code, 0, "{}", pairs.stderr);
    assert_eq!(
        (&pairs.json()["report"]["pairs"], &pairs.json()["flagged"]),
        (&4.into(), &2.into())
    );
    let back = gigaro_data::preferences::read(folder.path().join("pairs.jsonl")).expect("reads");
    assert_eq!(back.pairs.len(), 4, "bob's are flagged");

    let form = [
        "label",
        "l.db",
        "--export",
        "all.jsonl.gz",
        "--form",
        "rankings",
    ];
    let rankings = gigaro_in(folder.path(), &form);
    assert_eq!(rankings.code, 0, "{}", rankings.stderr);
    let back = gigaro_data::preferences::read(folder.path().join("all.jsonl.gz")).expect("reads");
    assert_eq!((back.report.rows, back.pairs.len()), (4, 8));

    let report = gigaro_in(folder.path(), &["label", "l.db", "--report", "--json"]);
    assert_eq!(report.code, 0, "{}", report.stderr);
    assert_eq!(report.json()["labellers"][1]["flagged"], 2);
    assert_eq!(report.json()["agreement"]["decisions"], 4);
    assert!(
        report.stderr.contains("2 items, 2 of them for everyone"),
        "{}",
        report.stderr
    );
}

#[test]
fn what_cannot_be_is_said_in_a_sentence() {
    let folder = house();
    std::fs::write(
        folder.path().join("text.db"),
        "no database at all\n".repeat(99),
    )
    .expect("written");
    for (args, code, expected) in [
        (
            &["label", "l.db", "--labeller", "ann"][..],
            2,
            "ranking needs a terminal",
        ),
        (
            &["label", "none.db", "--report"],
            1,
            "there is no label store at none.db",
        ),
        (
            &["label", "text.db", "--report"],
            1,
            "text.db: this is no label store",
        ),
        (&["label", "l.db"], 2, "--import"),
        (
            &["label", "l.db", "--report", "--serve"],
            2,
            "cannot be used with",
        ),
        (
            &["label", "l.db", "--report", "--form", "pairs"],
            2,
            "--export",
        ),
        (
            &["label", "l.db", "--import", "items.jsonl", "--seed", "2"],
            2,
            "l.db was made with --seed 1 --shared 100",
        ),
        (
            &["label", "l.db", "--import", "text.db"],
            1,
            "text.db, line 1: not JSON",
        ),
    ] {
        let run = gigaro_in(folder.path(), args);
        assert_eq!(run.code, code, "{args:?}: {}", run.stderr);
        assert!(
            run.stderr.starts_with("error: ") && run.stderr.contains(expected),
            "{args:?}: {}",
            run.stderr
        );
    }
}
