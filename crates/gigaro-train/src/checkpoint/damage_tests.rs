//! What a damaged, foreign or mismatched checkpoint says. Every sentence is looked at once here.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::View;
use serde_json::json;

use super::*;
use crate::error::Error;

const TOKENIZER_TEXT: &[u8] = br#"{"model": {"vocab": {"a": 0, "b": 1}}}"#;

fn weights() -> Vec<(String, Box<dyn View>)> {
    let tensor = RawTensor {
        dtype: Dtype::F32,
        shape: vec![4, 4],
        bytes: (0..64).collect(),
    };
    vec![("wte.weight".into(), Box::new(tensor))]
}

fn saved(dir: &Path, steps: &[u64]) -> PathBuf {
    let mut store = Store::open(dir, 9).unwrap();
    for &step in steps {
        let state = RunState {
            step,
            rng: [("dropout".into(), [u64::MAX, 7])].into(),
            ..RunState::default()
        };
        let (optimizer, config) = (weights(), json!({"vocab_size": 2}));
        let contents = Contents {
            weights: &weights(),
            optimizer: Some(&optimizer),
            state: &state,
            config: &config,
            tokenizer: Some(TOKENIZER_TEXT),
            beside: &[("chat_template.jinja".into(), b"{{ messages }}".to_vec())],
        };
        store.save(&contents).unwrap();
    }
    store.latest().unwrap().unwrap()
}

fn read_all(path: &Path) -> crate::Result<()> {
    let checkpoint = Checkpoint::open(path)?;
    checkpoint.verify()?;
    checkpoint.weights(&mut |_, _| {})?;
    checkpoint.optimizer(&mut |_, _| {})?;
    checkpoint.tokenizer()?;
    checkpoint.state().map(drop)
}

#[test]
fn a_whole_checkpoint_reads_back_from_run_folder_list_and_itself() {
    let dir = tempfile::tempdir().unwrap();
    let latest = saved(dir.path(), &[100, 200]);
    for path in [
        dir.path().to_path_buf(),
        dir.path().join(CHECKPOINTS),
        latest.clone(),
    ] {
        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(checkpoint.dir(), latest);
        let state = checkpoint.state().unwrap();
        assert_eq!((state.step, state.rng["dropout"]), (200, [u64::MAX, 7]));
        let mut tensors = Vec::new();
        checkpoint
            .weights(&mut |name, tensor| tensors.push((name, tensor.shape, tensor.bytes)))
            .unwrap();
        assert_eq!(
            tensors,
            [("wte.weight".to_string(), vec![4, 4], (0..64).collect())]
        );
        assert_eq!(checkpoint.tokenizer().unwrap().unwrap(), TOKENIZER_TEXT);
    }
    assert!(dir.path().join(CHECKPOINTS).join("step-000100").is_dir());
}

#[test]
fn each_kind_of_damage_has_its_sentence_and_names_the_file() {
    let check = |damage: &dyn Fn(&Path), expected: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let latest = saved(dir.path(), &[100]);
        damage(&latest);
        let error = read_all(&latest)
            .expect_err(&format!("{expected:?}"))
            .to_string();
        assert!(expected.iter().all(|part| error.contains(part)), "{error}");
    };
    let edit = |name: &'static str, f: fn(&mut Vec<u8>)| {
        move |dir: &Path| {
            let mut bytes = fs::read(dir.join(name)).unwrap();
            f(&mut bytes);
            fs::write(dir.join(name), bytes).unwrap();
        }
    };
    check(
        &edit(MODEL, |b| b.truncate(50)),
        &["model.safetensors", "truncated: 50 of"],
    );
    check(
        &edit(OPTIMIZER, |b| *b.last_mut().unwrap() ^= 1),
        &["optimizer.safetensors", "has changed since it was saved"],
    );
    check(
        &edit(MODEL, |b| b[0] ^= 128),
        &["model.safetensors", "has changed since it was saved"],
    );
    check(
        &edit(STATE, |b| b.push(b' ')),
        &["state.json", "bytes instead of"],
    );
    check(
        &edit(MANIFEST, |b| b.truncate(20)),
        &["manifest.json", "damaged"],
    );
    check(
        &|dir| fs::remove_file(dir.join(CONFIG)).unwrap(),
        &["config.json is missing"],
    );
    check(
        &|dir| fs::remove_file(dir.join(MANIFEST)).unwrap(),
        &["not a gigaro checkpoint", "no manifest.json"],
    );
    check(
        &|dir| fs::remove_dir_all(dir).unwrap(),
        &["cannot open the checkpoint", "check the path"],
    );
    check(
        &|dir| fs::write(dir.join(MANIFEST), "{}").unwrap(),
        &["not a gigaro checkpoint"],
    );
}

#[test]
fn a_folder_without_checkpoints_says_what_to_give() {
    let dir = tempfile::tempdir().unwrap();
    let error = Checkpoint::open(dir.path()).unwrap_err();
    assert!(
        matches!(error, Error::NoCheckpoint { .. }) && error.to_string().contains("manifest.json"),
        "{error}"
    );
}

#[test]
fn a_damaged_newest_checkpoint_names_the_whole_one_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let latest = saved(dir.path(), &[100, 200, 300]);
    fs::write(latest.join(MODEL), b"short").unwrap();
    fs::write(latest.with_file_name("step-000200").join(STATE), b"{}").unwrap();
    let error = Checkpoint::open(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("truncated") && error.ends_with("step-000100"),
        "{error}"
    );
}

#[test]
fn a_lost_or_senseless_latest_file_falls_back_to_the_newest_name() {
    let dir = tempfile::tempdir().unwrap();
    let latest = saved(dir.path(), &[100, 200]);
    for text in [&b""[..], b"step-000999", b"../../etc", b"\xff\xfe"] {
        fs::write(dir.path().join(CHECKPOINTS).join(LATEST), text).unwrap();
        assert_eq!(Checkpoint::open(dir.path()).unwrap().dir(), latest);
    }
}

#[test]
fn files_beside_the_weights_come_back_or_are_told_to_be_altered() {
    let dir = tempfile::tempdir().unwrap();
    let path = saved(dir.path(), &[100]);
    let file = || Checkpoint::open(&path)?.file("chat_template.jinja");
    assert_eq!(file().unwrap(), b"{{ messages }}");
    std::fs::write(path.join("chat_template.jinja"), b"{{ massages }}").unwrap();
    assert!(matches!(file(), Err(Error::Altered { .. })));
}

#[test]
#[should_panic(expected = "config.json is there already")]
fn a_file_beside_the_weights_takes_no_name_that_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let contents = Contents {
        weights: &weights(),
        optimizer: None,
        state: &RunState::default(),
        config: &json!({}),
        tokenizer: None,
        beside: &[("config.json".into(), Vec::new())],
    };
    let _ = Store::open(dir.path(), 1).unwrap().save(&contents);
}

#[test]
fn a_tokenizer_from_elsewhere_is_refused_when_saving_and_when_loading() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(saved(dir.path(), &[100])).unwrap();
    let other = br#"{"model": {"vocab": {"b": 0, "a": 1}}}"#;
    assert!(matches!(
        checkpoint.check_tokenizer(other),
        Err(Error::WrongTokenizer { .. })
    ));
    let contents = Contents {
        weights: &weights(),
        optimizer: None,
        state: &RunState::default(),
        config: &json!({"vocab_size": 1}),
        tokenizer: Some(TOKENIZER_TEXT),
        beside: &[],
    };
    let error = Store::open(dir.path(), 1)
        .unwrap()
        .save(&contents)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the tokenizer has 2 tokens and the model has 1"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn mutated_folders_are_refused_without_a_panic(
        file in prop::sample::select(vec![MODEL, OPTIMIZER, STATE, CONFIG, TOKENIZER, MANIFEST]),
        at: usize,
        value: u8,
        cut: Option<u16>,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let latest = saved(dir.path(), &[1]);
        let path = latest.join(file);
        let good = fs::read(&path).unwrap();
        let mut bytes = good.clone();
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(cut.map_or(usize::MAX, usize::from));
        fs::write(&path, &bytes).unwrap();
        let result = read_all(&latest);
        // The manifest may change in its white space; every other change must be noticed.
        if file != MANIFEST {
            prop_assert_eq!(result.is_ok(), bytes == good);
        }
    }

    #[test]
    fn the_fuzzing_entry_returns_for_any_bytes(bytes: Vec<u8>) {
        read_hostile_bytes(&bytes);
    }
}
