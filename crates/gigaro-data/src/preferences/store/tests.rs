//! Labelling from import to export, two labellers at once, kills, and files that are no stores.

use super::*;
use crate::preferences::Preferences;
use std::collections::BTreeSet;

const HALF: Settings = Settings {
    seed: 7,
    shared_percent: 50,
};

/// A store with `items` items of three answers in a folder of its own.
fn store_with(items: usize, settings: Settings) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let lines: String = (0..items)
        .map(|i| {
            format!(
                "{{\"prompt\": \"q{i}\", \"answers\": [\"a{i}\", \"b{i}\", \"c{i}\"], \"sources\": [\"A\", \"B\", \"C\"]}}\n"
            )
        })
        .collect();
    let path = folder.path().join("items.jsonl");
    std::fs::write(&path, lines).expect("written");
    let mut store = Store::open_or_create(folder.path().join("labels.db"), settings).expect("made");
    assert_eq!(store.import(&path).expect("imported").added, items);
    (folder, store)
}

/// The verdict that puts the answers in the order of their text.
fn by_text(task: &Task) -> Verdict {
    let mut sorted = task.answers.clone();
    sorted.sort();
    let rank = |answer: &String| {
        sorted
            .iter()
            .position(|other| other == answer)
            .expect("there") as u32
            + 1
    };
    Verdict {
        ranks: Some(task.answers.iter().map(rank).collect()),
        flag: false,
        seconds: 1.5,
    }
}

fn label_all(store: &mut Store, labeller: &str) -> Vec<i64> {
    let mut done = Vec::new();
    while let Some(task) = store.next(labeller).expect("a next one") {
        store
            .label(labeller, task.item, &by_text(&task))
            .expect("kept");
        done.push(task.item);
    }
    done
}

#[test]
fn what_is_ranked_on_the_screen_comes_out_for_the_answers_as_imported() {
    let (_folder, mut store) = store_with(20, HALF);
    let orders: BTreeSet<Vec<String>> = (1..=20)
        .map(|item| store.task("ann", item).expect("an item").answers)
        .map(|answers| {
            answers
                .iter()
                .map(|answer| answer[..1].to_owned())
                .collect()
        })
        .collect();
    assert!(
        orders.len() > 3,
        "answers are shown in several orders: {orders:?}"
    );
    assert_eq!(label_all(&mut store, "ann").len(), 20);
    let labelled = store.labelled().expect("labels");
    assert_eq!(labelled.len(), 20);
    for label in &labelled {
        assert_eq!(label.ranking.ranks, [1, 2, 3]);
        assert_eq!(label.sources[1].as_deref(), Some("B"));
        assert!(label.ranking.answers[0].starts_with('a'));
    }
    let rows = labelled
        .into_iter()
        .map(|label| crate::preferences::Row::Ranking(label.ranking));
    assert_eq!(Preferences::from_rows(rows).pairs.len(), 60);
}

#[test]
fn shared_items_go_to_everyone_and_others_to_one() {
    let (_folder, mut store) = store_with(60, HALF);
    let shared = store.report().expect("a report").shared;
    assert!((15..45).contains(&shared), "{shared}");
    let (ann, bob) = (label_all(&mut store, "ann"), label_all(&mut store, "bob"));
    assert_eq!(ann.len(), 60);
    assert_eq!(
        bob.len() as u64,
        shared,
        "what ann has is not given out again"
    );
    let in_order: Vec<i64> = ann
        .iter()
        .copied()
        .filter(|item| bob.contains(item))
        .collect();
    assert_eq!(
        in_order, bob,
        "both meet the shared items in the same order"
    );
    let report = store.report().expect("a report");
    assert_eq!(report.agreement.raw, Some(1.0));
    assert_eq!(report.agreement.items as u64, shared);
    assert_eq!(report.labellers[0].median_seconds, 1.5);
}

#[test]
fn an_open_item_is_kept_from_others_until_it_is_labelled() {
    let alone = Settings {
        seed: 1,
        shared_percent: 0,
    };
    let (_folder, mut store) = store_with(2, alone);
    let ann = store.next("ann").expect("reads").expect("a task");
    let bob = store.next("bob").expect("reads").expect("a task");
    assert_ne!(ann.item, bob.item);
    assert_eq!(
        store.next("ann").expect("reads").expect("a task"),
        ann,
        "asked twice, the same"
    );
    assert_eq!(store.next("cas").expect("reads"), None);
    store.label("ann", ann.item, &by_text(&ann)).expect("kept");
    assert_eq!(store.next("ann").expect("reads"), None);
    assert_eq!(
        store.progress("ann").expect("reads"),
        Progress {
            ranked: 1,
            skipped: 0,
            open: 0
        }
    );
}

#[test]
fn undo_is_a_later_row_and_the_item_comes_again() {
    let (_folder, mut store) = store_with(3, HALF);
    let first = store.next("ann").expect("reads").expect("a task");
    store
        .label("ann", first.item, &by_text(&first))
        .expect("kept");
    let second = store.next("ann").expect("reads").expect("a task");
    let skip = Verdict {
        ranks: None,
        flag: true,
        seconds: 2.0,
    };
    store.label("ann", second.item, &skip).expect("kept");
    assert_eq!(store.undo("ann").expect("undone"), Some(second.item));
    assert_eq!(store.undo("ann").expect("undone"), Some(first.item));
    assert_eq!(store.undo("ann").expect("nothing left"), None);
    assert_eq!(store.next("ann").expect("reads"), Some(first));
    let rows: i64 = store
        .connection
        .query_row("SELECT count(*) FROM labels", [], |row| row.get(0))
        .expect("counted");
    assert_eq!(rows, 4, "nothing was deleted");
    assert_eq!(store.report().expect("a report").labellers[0].undone, 2);
}

#[test]
fn verdicts_and_names_that_cannot_be_are_refused() {
    let (_folder, mut store) = store_with(1, HALF);
    let short = Verdict {
        ranks: Some(vec![1]),
        flag: false,
        seconds: f64::NAN,
    };
    let error = store
        .label("ann", 1, &short)
        .expect_err("too short")
        .to_string();
    assert!(error.contains("3 answers and came with 1 ranks"), "{error}");
    let error = store
        .label("ann", 99, &short)
        .expect_err("no item")
        .to_string();
    assert!(error.contains("no item 99"), "{error}");
    for name in ["", "  ", "a\nb", &"x".repeat(65)] {
        assert!(store.next(name).is_err(), "{name:?}");
    }
}

#[test]
fn what_was_imported_is_not_imported_again_and_a_bad_line_brings_nothing() {
    let (folder, mut store) = store_with(2, HALF);
    let path = folder.path().join("more.jsonl");
    std::fs::write(
        &path,
        "{\"prompt\": \"q0\", \"answers\": [\"c0\", \"b0\", \"a0\"]}\n\
         {\"prompt\": \"same\", \"chosen\": \"x\", \"rejected\": \"x \"}\n\
         {\"prompt\": \"new\", \"chosen\": \"x\", \"rejected\": \"y\"}\n",
    )
    .expect("written");
    let found = store.import(&path).expect("imported");
    assert_eq!(
        (found.added, found.known, found.nothing_to_compare),
        (1, 1, 1)
    );
    std::fs::write(
        &path,
        "{\"prompt\": \"p\", \"answers\": [\"1\", \"2\"]}\n{\"prompt\": 3}\n",
    )
    .expect("written");
    let error = store.import(&path).expect_err("a bad line").to_string();
    assert!(error.contains("more.jsonl, line 2"), "{error}");
    assert_eq!(store.report().expect("a report").items, 3);
}

#[test]
fn two_labellers_at_once_lose_nothing() {
    let (_folder, store) = store_with(40, HALF);
    let path = store.path().to_path_buf();
    let label = |name: &'static str| {
        let path = path.clone();
        std::thread::spawn(move || label_all(&mut Store::open(path).expect("opens"), name))
    };
    let (ann, bob) = (label("ann"), label("bob"));
    let (ann, bob) = (ann.join().expect("no panic"), bob.join().expect("no panic"));
    let report = store.report().expect("a report");
    assert_eq!(report.ranked, 40);
    assert_eq!(
        (ann.len() + bob.len()) as u64,
        40 + report.shared,
        "nobody's work was done twice"
    );
}

/// What a kill leaves is the database with a beginning of its log: every such beginning must open, with the first labels and no others.
#[test]
fn a_log_cut_at_any_byte_opens_with_the_labels_before_the_cut() {
    let (folder, mut store) = store_with(8, HALF);
    let done = label_all(&mut store, "ann");
    let log = std::fs::read(folder.path().join("labels.db-wal")).expect("the log of an open store");
    let base = std::fs::read(store.path()).expect("the store");
    let mut counts = BTreeSet::new();
    for cut in (0..=log.len()).step_by(997).chain([log.len()]) {
        let copy = folder.path().join("copy.db");
        for name in ["copy.db-shm", "copy.db-wal"] {
            let _ = std::fs::remove_file(folder.path().join(name));
        }
        std::fs::write(&copy, &base).expect("written");
        std::fs::write(folder.path().join("copy.db-wal"), &log[..cut]).expect("written");
        match Store::open(&copy) {
            Ok(store) => {
                let items: BTreeSet<i64> = store
                    .labelled()
                    .expect("labels")
                    .iter()
                    .map(|l| l.item)
                    .collect();
                let first: BTreeSet<i64> = done[..items.len()].iter().copied().collect();
                assert_eq!(items, first, "cut at {cut}");
                counts.insert(items.len());
            }
            // Before the tables themselves were in.
            Err(error) => assert!(
                error.to_string().contains("nothing in this store"),
                "{error}"
            ),
        }
    }
    assert!(counts.contains(&0) && counts.contains(&8), "{counts:?}");
}

#[test]
fn a_change_that_is_not_finished_leaves_no_trace() {
    let (_folder, mut store) = store_with(2, HALF);
    let path = store.path().to_path_buf();
    let changes = store
        .connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .expect("begins");
    changes
        .execute("INSERT INTO labels (item, labeller, kind, flag, seconds, at_ms) VALUES (1, 'ann', 'skipped', 0, 0, 0)", [])
        .expect("inserted");
    drop(changes);
    let other = Store::open(path).expect("opens");
    assert_eq!(other.progress("ann").expect("reads").skipped, 0);
}

#[test]
fn files_that_are_no_stores_are_refused_and_left_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let refusal = |name: &str| Store::open(at(name)).expect_err(name).to_string();
    assert!(
        refusal("none.db").contains("there is no label store"),
        "{}",
        refusal("none.db")
    );
    std::fs::write(at("text.db"), "some text that is no database\n".repeat(80)).expect("written");
    assert!(
        refusal("text.db").contains("this is no label store"),
        "{}",
        refusal("text.db")
    );
    let other = Connection::open(at("other.db")).expect("made");
    other.execute_batch("CREATE TABLE x (y)").expect("made");
    drop(other);
    let before = std::fs::read(at("other.db")).expect("read");
    let error = Store::open_or_create(at("other.db"), HALF)
        .expect_err("foreign")
        .to_string();
    assert!(error.contains("another program's database"), "{error}");
    assert_eq!(std::fs::read(at("other.db")).expect("read"), before);
    std::fs::write(at("empty.db"), "").expect("written");
    assert!(
        refusal("empty.db").contains("nothing in this store yet"),
        "{}",
        refusal("empty.db")
    );
    assert!(Store::open_or_create(at("empty.db"), HALF).is_ok());
    let inside = Store::open_or_create(at("no/such/folder.db"), HALF)
        .expect_err("no folder")
        .to_string();
    assert!(inside.contains("cannot be opened"), "{inside}");
}

#[test]
fn a_damaged_store_is_refused_or_read_but_never_panics() {
    let (folder, mut store) = store_with(30, HALF);
    label_all(&mut store, "ann");
    drop(store);
    let whole = std::fs::read(folder.path().join("labels.db")).expect("read");
    let path = folder.path().join("damaged.db");
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 120) {
        let mut bytes = whole.clone();
        let end = (at + 64).min(bytes.len());
        bytes[at..end].fill(0xA5);
        std::fs::write(&path, bytes).expect("written");
        for name in ["damaged.db-shm", "damaged.db-wal"] {
            let _ = std::fs::remove_file(folder.path().join(name));
        }
        let used = Store::open(&path).and_then(|mut store| {
            store.next("bob")?;
            store.labelled()?;
            store.report()
        });
        if let Err(error) = used {
            assert!(error.to_string().contains("damaged.db"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 10, "{refused}");
}
