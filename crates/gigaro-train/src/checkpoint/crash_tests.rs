//! The proof that a crash at any byte leaves the last good checkpoint.
//!
//! A run of several saves is recorded as its list of changes to the disk. Then the disk is rebuilt
//! from every beginning of that list, with the next write torn in the middle, and, for a power cut,
//! with a random part of what was not yet flushed lost. On each such disk the newest checkpoint
//! must be whole, must be the last one whose saving had returned or the one then being saved, and a
//! run must be able to go on saving.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use safetensors::Dtype;
use safetensors::tensor::View;
use serde_json::json;

use super::disk::{Change, Disk};
use super::*;

/// A recorded change, with paths relative to the run's folder.
#[derive(Clone, Debug)]
enum Record {
    CreateDir(PathBuf),
    CreateFile(PathBuf),
    Append(PathBuf, Vec<u8>),
    SyncFile(PathBuf),
    SyncDir(PathBuf),
    Rename(PathBuf, PathBuf),
    RemoveFile(PathBuf),
    RemoveDir(PathBuf),
    /// Not a change: `save` of this step returned.
    Saved(u64),
}

impl Record {
    fn of(root: &Path, change: Change<'_>) -> Self {
        let relative = |path: &Path| path.strip_prefix(root).unwrap().to_path_buf();
        match change {
            Change::CreateDir(p) => Record::CreateDir(relative(p)),
            Change::CreateFile(p) => Record::CreateFile(relative(p)),
            Change::Append(p, bytes) => Record::Append(relative(p), bytes.to_vec()),
            Change::SyncFile(p) => Record::SyncFile(relative(p)),
            Change::SyncDir(p) => Record::SyncDir(relative(p)),
            Change::Rename(a, b) => Record::Rename(relative(a), relative(b)),
            Change::RemoveFile(p) => Record::RemoveFile(relative(p)),
            Change::RemoveDir(p) => Record::RemoveDir(relative(p)),
        }
    }

    /// Does it again under `root`. Fails where an earlier change it builds on was lost.
    fn replay(&self, root: &Path) -> io::Result<()> {
        match self {
            Record::CreateDir(p) => fs::create_dir_all(root.join(p)),
            Record::CreateFile(p) => fs::File::create(root.join(p)).map(drop),
            Record::Append(p, bytes) => fs::OpenOptions::new()
                .append(true)
                .open(root.join(p))?
                .write_all(bytes),
            Record::Rename(a, b) => fs::rename(root.join(a), root.join(b)),
            Record::RemoveFile(p) => fs::remove_file(root.join(p)),
            Record::RemoveDir(p) => fs::remove_dir(root.join(p)),
            Record::SyncFile(_) | Record::SyncDir(_) | Record::Saved(_) => Ok(()),
        }
    }

    /// The folder whose flushing makes this change of names durable.
    fn parent(&self) -> Option<&Path> {
        match self {
            Record::CreateDir(p)
            | Record::CreateFile(p)
            | Record::RemoveFile(p)
            | Record::RemoveDir(p) => p.parent(),
            Record::Rename(_, to) => to.parent(),
            _ => None,
        }
    }
}

/// Saves a small checkpoint whose content depends on the step.
fn save(store: &mut Store, step: u64) -> crate::Result<PathBuf> {
    let tensor = |seed: u64, n: usize| -> Box<dyn View> {
        let bytes = (0..4 * n as u64)
            .map(|i| (i * 31 + seed * 17) as u8)
            .collect();
        Box::new(RawTensor {
            dtype: Dtype::F32,
            shape: vec![n],
            bytes,
        })
    };
    let state = RunState {
        step,
        tokens_seen: 100 * step,
        ..RunState::default()
    };
    store.save(&Contents {
        weights: &[("wte.weight".into(), tensor(step, 100))],
        optimizer: Some(&[("exp_avg.wte.weight".into(), tensor(step + 1, 100))]),
        state: &state,
        config: &json!({"vocab_size": 2}),
        tokenizer: Some(br#"{"model": {"vocab": {"a": 0, "b": 1}}}"#),
        beside: &[("chat_template.jinja".into(), b"{{ messages }}".to_vec())],
    })
}

fn record_run(keep: usize, steps: &[u64]) -> Vec<Record> {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_path_buf();
    let log = Arc::new(Mutex::new(Vec::new()));
    let (observer_log, observer_root) = (log.clone(), root.clone());
    let disk = Disk::observed(Box::new(move |change| {
        observer_log
            .lock()
            .unwrap()
            .push(Record::of(&observer_root, change));
        Ok(())
    }));
    let mut store = Store::with_disk(&root, keep, disk).unwrap();
    for &step in steps {
        save(&mut store, step).unwrap();
        log.lock().unwrap().push(Record::Saved(step));
    }
    log.lock().unwrap().clone()
}

/// The disk after a crash must hold the last saved step, or the one being saved; and saving goes on.
fn check(root: &Path, before: &[Record], all: &[Record], what: &str) {
    let saved = |records: &[Record]| {
        records.iter().rev().find_map(|r| {
            if let Record::Saved(s) = r {
                Some(*s)
            } else {
                None
            }
        })
    };
    let last_saved = saved(before);
    let in_progress = all[before.len()..].iter().find_map(|r| {
        if let Record::Saved(s) = r {
            Some(*s)
        } else {
            None
        }
    });
    match Checkpoint::open(root).and_then(|c| c.verify().and_then(|()| c.state())) {
        Ok(state) => assert!(
            [last_saved, in_progress].contains(&Some(state.step)),
            "{what}: found step {}, expected {last_saved:?} or {in_progress:?}",
            state.step
        ),
        Err(error) => assert!(
            last_saved.is_none(),
            "{what}: step {last_saved:?} is lost: {error}"
        ),
    }
    let mut store =
        Store::open(root, 2).unwrap_or_else(|e| panic!("{what}: the run cannot go on: {e}"));
    save(&mut store, 900).unwrap_or_else(|e| panic!("{what}: the run cannot save: {e}"));
    let names: Vec<_> = fs::read_dir(store.dir())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        names.iter().all(|name| !name.starts_with('.')),
        "{what}: leftovers {names:?}"
    );
    assert_eq!(
        Checkpoint::open(root).unwrap().state().unwrap().step,
        900,
        "{what}"
    );
}

#[test]
fn a_killed_process_leaves_the_last_good_checkpoint_at_every_operation() {
    let log = record_run(1, &[10, 20, 20, 30]);
    assert!(log.len() > 60, "the recording must see every operation");
    for n in 0..=log.len() {
        let torn_sizes: &[usize] = match log.get(n) {
            Some(Record::Append(_, bytes)) => &[0, 1, bytes.len() / 2, bytes.len() - 1],
            _ => &[0],
        };
        for &torn in torn_sizes {
            let dir = tempfile::tempdir().unwrap();
            log[..n]
                .iter()
                .for_each(|record| record.replay(dir.path()).unwrap());
            if let Some(Record::Append(path, bytes)) = log.get(n) {
                Record::Append(path.clone(), bytes[..torn].to_vec())
                    .replay(dir.path())
                    .unwrap();
            }
            check(
                dir.path(),
                &log[..n],
                &log,
                &format!(
                    "killed at {n} after {torn} bytes of {:?}",
                    log.get(n).map(kind)
                ),
            );
        }
    }
}

#[test]
fn a_power_cut_leaves_the_last_good_checkpoint_whatever_was_not_flushed() {
    let log = record_run(1, &[10, 20, 30]);
    for n in 0..=log.len() {
        for seed in 0..4 {
            let dir = tempfile::tempdir().unwrap();
            replay_with_losses(&log[..n], dir.path(), seed);
            check(
                dir.path(),
                &log[..n],
                &log,
                &format!("power cut at {n}, seed {seed}"),
            );
        }
    }
}

/// Replays changes; those without a later flush of their file or folder happen or not, at random.
/// Seed 0 loses all of them, seed 1 loses only file contents (names come through, as on ext4).
fn replay_with_losses(log: &[Record], root: &Path, seed: u64) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut coin = || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        random >> 63 == 1
    };
    for (i, record) in log.iter().enumerate() {
        let durable = match record {
            Record::Append(p, _) => log[i..]
                .iter()
                .any(|r| matches!(r, Record::SyncFile(s) if s == p)),
            _ => record.parent().is_none_or(|dir| {
                log[i..]
                    .iter()
                    .any(|r| matches!(r, Record::SyncDir(s) if s == dir))
            }),
        };
        let happens = durable
            || match seed {
                0 => false,
                1 => !matches!(record, Record::Append(..)),
                _ => coin(),
            };
        // Flushed content of a file whose creation was lost with its folder has nowhere to go.
        if happens {
            let _ = record.replay(root);
        }
    }
}

fn kind(record: &Record) -> String {
    format!("{record:?}").chars().take(60).collect()
}

#[test]
fn a_full_disk_at_any_operation_fails_with_a_sentence_and_loses_nothing() {
    let operations = record_run(1, &[10, 20]).len();
    for fail_at in 0..operations {
        let dir = tempfile::tempdir().unwrap();
        let mut count = 0;
        let disk = Disk::observed(Box::new(move |_| {
            count += 1;
            if count > fail_at {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            } else {
                Ok(())
            }
        }));
        let Ok(mut store) = Store::with_disk(dir.path(), 1, disk) else {
            continue;
        };
        let results = [save(&mut store, 10), save(&mut store, 20)];
        let good = results.iter().filter(|r| r.is_ok()).count() as u64;
        if let Some(error) = results.iter().find_map(|r| r.as_ref().err()) {
            assert!(error.to_string().contains("free some space"), "{error}");
        }
        if good > 0 {
            let checkpoint = Checkpoint::open(dir.path()).unwrap();
            checkpoint.verify().unwrap();
            assert!(
                checkpoint.state().unwrap().step >= 10 * good,
                "failed at {fail_at}"
            );
        }
    }
}

#[test]
fn going_back_and_coming_by_again_keeps_both_futures_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), 2).unwrap();
    for step in [10, 20, 30] {
        save(&mut store, step).unwrap();
    }
    // Back at 20: the next save is 25, while 30 of the old future is still there.
    let at_25 = save(&mut store, 25).unwrap();
    assert_eq!(store.latest().unwrap(), Some(at_25));
    assert!(store.dir().join("step-000030").is_dir());
    let again = save(&mut store, 30).unwrap();
    assert!(again.ends_with("step-000030-2"), "{again:?}");
    assert_eq!(Checkpoint::open(dir.path()).unwrap().dir(), again);
}
