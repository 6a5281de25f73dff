//! Runs the built binary, keeps what it said, and looks at what it left: what the test programs share.
#![allow(dead_code, reason = "each test program needs some of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// What one run of the binary left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The object on the last line of stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        let line = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|e| {
            panic!(
                "no JSON on the last line: {e}\n{}\n{}",
                self.stdout, self.stderr
            )
        })
    }
}

/// `gigaro ARGS` in a folder.
pub(crate) fn gigaro_in(folder: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gigaro"));
    let command = command.args(args).current_dir(folder);
    let output = command.stdin(Stdio::null()).output();
    ran(output.expect("the binary starts"))
}

/// What a run that is over has said.
pub(crate) fn ran(output: Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).expect("the binary speaks UTF-8");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// The run, which ended well.
#[track_caller]
pub(crate) fn succeeded(run: Ran) -> Ran {
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    run
}

/// The run failed with a sentence that has `words` in it, and did not panic.
#[track_caller]
pub(crate) fn told(run: &Ran, words: &str) {
    assert!(
        run.code == 1 || run.code == 2,
        "{}: {}",
        run.code,
        run.stderr
    );
    // As the binary begins when it panics.
    assert!(!run.stderr.contains("has a bug"), "{}", run.stderr);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    assert!(run.stderr.contains("error: "), "{}", run.stderr);
    assert!(run.stderr.contains(words), "no {words:?} in {}", run.stderr);
}

/// The newest checkpoint in a run's folder.
pub(crate) fn checkpoint(run: &Path) -> PathBuf {
    let checkpoints = run.join("checkpoints");
    let latest = fs::read_to_string(checkpoints.join("latest")).expect("a checkpoint");
    checkpoints.join(latest.trim())
}

/// The bytes of its weights.
pub(crate) fn weights(run: &Path) -> Vec<u8> {
    fs::read(checkpoint(run).join("model.safetensors")).expect("weights")
}

/// `small.toml`: a recipe of a few seconds, at some number of steps, with a checkpoint every other step.
pub(crate) fn write_recipe(folder: &Path, steps: usize) {
    let recipe = format!(
        "name = \"small\"\nabout = \"A test.\"\n\n[data]\nworld_documents = 300\nheld_out = 0.1\n\n\
         [tokenizer]\nkind = \"bpe\"\nvocab_size = 320\n\n\
         [model]\nform = \"modern\"\nn_layer = 1\nn_head = 2\nd_model = 32\nmax_seq_len = 32\ndropout = 0.1\n\n\
         [pretrain]\nsteps = {steps}\nbatch_size = 4\nlearning_rate = 3e-3\nsave_every = 2\n"
    );
    fs::write(folder.join("small.toml"), recipe).expect("written");
}

/// A model that has seen a few words and sentences, fine-tuned for a few steps: sections up to `[evaluate]`.
pub(crate) fn tiny_recipe(sft_steps: usize) -> String {
    format!(
        "name = \"tiny\"\nabout = \"A test.\"\n\
         [data]\nworld_documents = 300\nheld_out = 0.1\n\
         [tokenizer]\nvocab_size = 400\n\
         [model]\nform = \"modern\"\nn_layer = 1\nn_head = 2\nd_model = 32\nmax_seq_len = 64\n\
         [pretrain]\nsteps = 12\nbatch_size = 8\nlearning_rate = 1e-2\n\
         [sft]\nworld_dialogues = 100\nsteps = {sft_steps}\nbatch_size = 8\nlearning_rate = 1e-2\n\
         [evaluate]\nquestions_per_kind = 1\nmax_answer_tokens = 4\n"
    )
}

/// Interrupts a run as Ctrl-C does, and returns what it said: it ends with code 130.
#[track_caller]
pub(crate) fn interrupted(child: Child) -> String {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill").success());
    let end = child.wait_with_output().expect("gone");
    let said = String::from_utf8_lossy(&end.stderr).into_owned();
    assert_eq!(end.status.code(), Some(130), "{said}");
    said
}
