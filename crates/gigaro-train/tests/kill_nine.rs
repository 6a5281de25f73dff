//! A saving process is killed without warning, again and again, in one folder.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use gigaro_train::checkpoint::{Checkpoint, Contents, NamedViews, RawTensor, RunState, Store};
use gigaro_train::run_lock::RunLock;

const FOLDER: &str = "GIGARO_TEST_KILL_NINE_FOLDER";
const SIZE: usize = 1 << 20;

/// Every byte of the weights tells the step, so that a mixture of two checkpoints would show.
fn weights(step: u64) -> Box<NamedViews<'static>> {
    let tensor = RawTensor {
        dtype: safetensors::Dtype::U8,
        shape: vec![SIZE],
        bytes: vec![step as u8; SIZE],
    };
    Box::new([("w".to_string(), Box::new(tensor))])
}

#[test]
fn child_that_saves_until_it_is_killed() {
    let Some(dir) = std::env::var_os(FOLDER) else {
        return;
    };
    let dir = Path::new(&dir);
    // A killed holder must not keep the folder locked.
    let _lock = RunLock::acquire(dir).unwrap();
    let mut store = Store::open(dir, 2).unwrap();
    let mut step = match store.latest().unwrap() {
        Some(path) => Checkpoint::open(path).unwrap().state().unwrap().step,
        None => 0,
    };
    loop {
        step += 1;
        let state = RunState {
            step,
            ..RunState::default()
        };
        let (weights, config) = (weights(step), serde_json::json!({}));
        let optimizer = Some(&*weights);
        let contents = Contents {
            weights: &weights,
            optimizer,
            state: &state,
            config: &config,
            tokenizer: None,
            beside: &[],
        };
        store.save(&contents).unwrap();
        // Tells the parent which step had certainly returned; renamed, so that it is never torn.
        std::fs::write(dir.join("returned.tmp"), step.to_string()).unwrap();
        std::fs::rename(dir.join("returned.tmp"), dir.join("returned")).unwrap();
    }
}

#[test]
fn kill_nine_never_loses_a_saved_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_saves_until_it_is_killed"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Odd times, so that each part of a save is hit now and then.
        std::thread::sleep(Duration::from_millis(300 + 37 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let returned = std::fs::read_to_string(dir.path().join("returned")).unwrap_or_default();
        let Ok(checkpoint) = Checkpoint::open(dir.path()) else {
            assert_eq!(returned, "", "a saved checkpoint is lost");
            continue;
        };
        checkpoint.verify().unwrap();
        let step = checkpoint.state().unwrap().step;
        let bound = returned.parse().unwrap_or(0).max(last);
        assert!(
            (bound..=bound + 1).contains(&step),
            "step {step} after {bound} had been saved"
        );
        checkpoint
            .weights(&mut |_, tensor| assert!(tensor.bytes.iter().all(|&b| b == step as u8)))
            .unwrap();
        last = step;
    }
    assert!(
        last > 3,
        "the child must have saved while it lived, got to {last}"
    );
}
