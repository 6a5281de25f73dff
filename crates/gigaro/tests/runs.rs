//! Whole runs of the built binary: to the end, interrupted, killed, and with input that is no good.

mod running;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use running::{gigaro_in, interrupted, succeeded, told, weights, write_recipe};

#[test]
fn the_road_of_a_speedrun_ends_with_a_model_that_speaks_and_a_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let run = succeeded(gigaro_in(here, &["speedrun", "--recipe", "tiny", "--json"]));
    let (plan, first) = (
        run.stderr.find("Plan of the whole run"),
        run.stderr.find("Text: "),
    );
    assert!(plan.is_some() && plan < first, "{}", run.stderr);
    assert!(run.stderr.contains("  together "), "{}", run.stderr);
    let run = run.json();
    for key in [
        "seconds",
        "base_accuracy",
        "held_out_accuracy",
        "ppo_win_rate",
        "ppo_win_rate_low",
        "refusal_harmful",
        "refusal_harmless",
        "small_win_rate",
    ] {
        assert!(run[key].is_number(), "{key} in {run}");
    }
    let report = here.join(run["report"].as_str().expect("a path"));
    let page = fs::read_to_string(report).expect("a report");
    let written = ["What the model wrote on the way", "step 30", "step 60"];
    assert!(written.iter().all(|words| page.contains(words)));
    assert!(page.contains("<svg") && !page.contains("http://") && !page.contains("src=\"http"));
    let checkpoint = run["checkpoint"].as_str().expect("a path");
    let spoken = [
        "generate",
        "The king",
        "--checkpoint",
        checkpoint,
        "--seed",
        "1",
        "--json",
    ];
    let one = succeeded(gigaro_in(here, &spoken)).json();
    assert!(!one["tokens"].as_array().expect("tokens").is_empty());
    assert_eq!(
        succeeded(gigaro_in(here, &spoken)).json()["text"],
        one["text"]
    );
    // Without a checkpoint, the last run is meant.
    let exam = succeeded(gigaro_in(
        here,
        &["evaluate", "--questions-per-kind", "1", "--json"],
    ));
    assert!(exam.json()["held_out_accuracy"].is_number());
}

#[test]
fn a_gpt2_trained_here_opens_again_as_it_was_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_recipe(here, 4);
    let path = here.join("small.toml");
    let recipe = fs::read_to_string(&path).expect("the recipe");
    fs::write(&path, recipe.replace("modern", "gpt2")).expect("written");
    let train = [
        "pretrain",
        "--recipe",
        "small.toml",
        "--out",
        "run",
        "--json",
    ];
    let run = succeeded(gigaro_in(here, &train)).json();
    assert!(run["validation_loss"].is_number(), "{run}");
    let speak = ["generate", "The", "--checkpoint", "run", "--json"];
    let spoken = succeeded(gigaro_in(here, &speak)).json();
    assert!(spoken["text"].is_string(), "{spoken}");
}

#[test]
fn activations_that_are_computed_again_take_less_memory_and_give_the_same_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_recipe(here, 4);
    let path = here.join("small.toml");
    let recipe = fs::read_to_string(&path).expect("the recipe");
    let deep = recipe.replace("n_layer = 1", "n_layer = 3");
    let again = deep.replace("[data]", "[run]\ncheckpoint_activations = true\n\n[data]");
    fs::write(&path, deep).expect("written");
    fs::write(here.join("again.toml"), again).expect("written");
    let planned = |recipe: &str, out: &str| {
        let run = gigaro_in(here, &["pretrain", "--recipe", recipe, "--out", out]);
        let run = succeeded(run);
        let line = run.stdout.lines().find(|line| line.contains("activations"));
        line.unwrap_or_else(|| panic!("{}", run.stdout)).to_owned()
    };
    let (kept, again) = (
        planned("small.toml", "kept"),
        planned("again.toml", "again"),
    );
    assert_ne!(kept, again);
    assert_eq!(weights(&here.join("kept")), weights(&here.join("again")));
}

/// A run that has written its first checkpoint and goes on.
fn started(folder: &Path, out: &str) -> Child {
    let args = [
        "pretrain",
        "--recipe",
        "small.toml",
        "--threads",
        "1",
        "--out",
        out,
    ];
    started_with(folder, &args, &folder.join(out))
}

/// The same with any command; its checkpoints are in `run`.
fn started_with(folder: &Path, args: &[&str], run: &Path) -> Child {
    let child = Command::new(env!("CARGO_BIN_EXE_gigaro"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let latest = run.join("checkpoints/latest");
    let since = Instant::now();
    while !latest.exists() {
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

#[cfg(unix)]
#[test]
fn killed_and_interrupted_runs_end_with_the_weights_of_one_that_was_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_recipe(here, 400);
    let whole = [
        "pretrain",
        "--recipe",
        "small.toml",
        "--threads",
        "1",
        "--out",
        "whole",
    ];
    succeeded(gigaro_in(here, &whole));
    let expected = weights(&here.join("whole"));

    let mut child = started(here, "killed");
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert_ne!(weights(&here.join("killed")), expected);
    succeeded(gigaro_in(here, &["pretrain", "--resume", "killed"]));
    assert_eq!(weights(&here.join("killed")), expected);

    let child = started(here, "interrupted");
    let said = interrupted(child);
    assert!(
        said.contains("gigaro pretrain --resume interrupted"),
        "{said}"
    );
    // Resuming with another number of threads changes no bit either.
    let resume = ["pretrain", "--resume", "interrupted", "--threads", "2"];
    succeeded(gigaro_in(here, &resume));
    assert_eq!(weights(&here.join("interrupted")), expected);
}

#[test]
fn adapters_leave_the_base_alone_and_a_model_with_them_folded_in_also_after_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_recipe(here, 4);
    let path = here.join("small.toml");
    let recipe = fs::read_to_string(&path).expect("written");
    let recipe = recipe.replace("max_seq_len = 32", "max_seq_len = 128");
    let sft = "\n[sft]\nworld_dialogues = 60\nsteps = 60\nbatch_size = 2\nlearning_rate = 3e-3\nsave_every = 2\n";
    fs::write(&path, recipe + sft).expect("written");
    let pretrain = ["pretrain", "--recipe", "small.toml", "--out", "base"];
    succeeded(gigaro_in(here, &pretrain));
    let base = weights(&here.join("base"));
    let tune = |out: &'static str| {
        let args = "sft --recipe small.toml --checkpoint base --lora 4 --threads 1 --out";
        args.split(' ').chain([out]).collect::<Vec<_>>()
    };
    let result = succeeded(gigaro_in(here, &[tune("whole"), vec!["--json"]].concat())).json();
    let whole = here.join("whole");
    let (model, adapters) = (weights(&whole), weights(&whole.join("lora")));
    assert_eq!(weights(&here.join("base")), base);
    assert_eq!(model.len(), base.len());
    assert!(model != base && 3 * adapters.len() < base.len());
    let adapter = |run: &str| fs::read(here.join(run).join("adapter/adapter_model.safetensors"));
    assert!(adapter("whole").expect("an adapter").len() > 100);
    let checkpoint = result["checkpoint"].as_str().expect("a path");
    for checkpoint in ["whole", checkpoint] {
        let generate = ["generate", "Once", "--checkpoint", checkpoint];
        succeeded(gigaro_in(here, &generate));
    }

    let killed = here.join("killed");
    let mut child = started_with(here, &tune("killed"), &killed.join("lora"));
    child.kill().expect("killed");
    child.wait().expect("gone");
    let resume = ["sft", "--resume", "killed", "--threads", "2"];
    succeeded(gigaro_in(here, &resume));
    assert_eq!(weights(&killed), model);
    assert_eq!(adapter("killed").ok(), adapter("whole").ok());
    // Once more finds everything done; on another base the adapters mean nothing.
    succeeded(gigaro_in(here, &resume));
    assert_eq!(weights(&killed), model);
    fs::remove_dir_all(here.join("base")).expect("removed");
    let other = [&pretrain[..], &["--seed", "2"]].concat();
    succeeded(gigaro_in(here, &other));
    told(&gigaro_in(here, &resume), "other weights");
}

#[test]
fn one_folder_takes_one_run() {
    let folder = tempfile::tempdir().expect("a folder");
    write_recipe(folder.path(), 100_000);
    let mut child = started(folder.path(), "busy");
    let second = gigaro_in(folder.path(), &["pretrain", "--resume", "busy"]);
    child.kill().expect("killed");
    child.wait().expect("gone");
    told(&second, "busy");
    let again = gigaro_in(
        folder.path(),
        &["pretrain", "--recipe", "small.toml", "--out", "busy"],
    );
    told(&again, "--resume busy");
}

#[test]
fn text_that_is_no_good_is_told_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_recipe(here, 10);
    fs::write(here.join("empty.txt"), "").expect("written");
    fs::write(here.join("short.txt"), "Too short.").expect("written");
    fs::write(here.join("latin1.txt"), b"caf\xe9 ".repeat(500)).expect("written");
    fs::write(
        here.join("broken.jsonl"),
        "{\"text\": \"a\"}\n{\"text\": \n",
    )
    .expect("written");
    fs::write(here.join("broken.parquet"), "PAR1 but not really").expect("written");
    fs::create_dir(here.join("nothing")).expect("made");
    fs::write(here.join("nothing/picture.png"), [0; 16]).expect("written");
    for name in [
        "missing.txt",
        "empty.txt",
        "short.txt",
        "latin1.txt",
        "broken.jsonl",
        "broken.parquet",
        "nothing",
    ] {
        let out = format!("run-{name}");
        let args = [
            "pretrain",
            "--recipe",
            "small.toml",
            "--text",
            name,
            "--out",
            &out,
        ];
        told(&gigaro_in(here, &args), name);
        assert!(
            !here.join(out).join("checkpoints/latest").exists(),
            "{name}"
        );
    }
}

#[test]
fn damaged_checkpoints_are_told_from_whole_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_recipe(here, 2);
    let args = ["pretrain", "--recipe", "small.toml", "--out", "run"];
    succeeded(gigaro_in(here, &args));
    let checkpoint = here.join("run/checkpoints/step-000002");
    let path = checkpoint.join("model.safetensors");
    let whole = fs::read(&path).expect("weights");
    let generate = |place: &Path| {
        let place = place.to_str().expect("UTF-8");
        gigaro_in(here, &["generate", "Once", "--checkpoint", place])
    };
    succeeded(generate(&checkpoint));

    fs::write(&path, &whole[..whole.len() / 2]).expect("written");
    told(&generate(&checkpoint), "model.safetensors");
    let mut flipped = whole.clone();
    *flipped.last_mut().expect("bytes") ^= 1;
    fs::write(&path, &flipped).expect("written");
    told(&generate(&checkpoint), "model.safetensors");
    fs::write(&path, &whole).expect("written");

    let tokenizer = checkpoint.join("tokenizer.json");
    fs::write(&tokenizer, "{}").expect("written");
    told(&generate(&checkpoint), "tokenizer.json");
    let foreign: PathBuf = here.join("foreign");
    fs::create_dir(&foreign).expect("made");
    told(&generate(&foreign), "foreign");
    told(&generate(&here.join("missing")), "missing");
}
