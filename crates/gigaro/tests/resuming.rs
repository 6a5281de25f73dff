//! Runs that go on: from a checkpoint that is named, with the micro-batch that they were begun with, and after a start that failed.

mod running;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use running::{Ran, gigaro_in, interrupted, succeeded, told, weights, write_recipe};

/// `gigaro pretrain --recipe small.toml MORE`.
fn pretrain(folder: &Path, more: &[&str]) -> Ran {
    let args = [&["pretrain", "--recipe", "small.toml"], more].concat();
    gigaro_in(folder, &args)
}

/// Text of so many sentences, no two alike.
fn sentences(from: usize, count: usize) -> String {
    (from..from + count)
        .map(|i| {
            format!(
                "The cat number {i} sat on the mat and looked at bird {}.\n",
                i * 7
            )
        })
        .collect()
}

#[test]
fn a_run_with_a_damaged_checkpoint_goes_on_from_the_one_that_its_error_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_recipe(here, 8);
    succeeded(pretrain(here, &["--out", "run"]));
    let expected = weights(&here.join("run"));
    let last = here.join("run/checkpoints/step-000008/model.safetensors");
    fs::write(&last, &expected[..expected.len() / 2]).expect("written");
    let said = gigaro_in(here, &["pretrain", "--resume", "run"]);
    told(&said, "resume from run/checkpoints/step-000006");
    let before = ["pretrain", "--resume", "run/checkpoints/step-000006"];
    succeeded(gigaro_in(here, &before));
    assert_eq!(weights(&here.join("run")), expected);
    let again = gigaro_in(here, &["pretrain", "--resume", "run", "--json"]);
    let last = succeeded(again).json()["checkpoint"].clone();
    assert_eq!(last, "run/checkpoints/step-000008-2");

    // A checkpoint without its run, and a file, say what they are.
    let alone = here.join("alone");
    fs::rename(here.join("run/checkpoints/step-000008-2"), &alone).expect("moved");
    told(
        &gigaro_in(here, &["pretrain", "--resume", "alone"]),
        "outside of a run",
    );
    told(
        &gigaro_in(here, &["pretrain", "--resume", "small.toml"]),
        "is a file",
    );
    told(
        &gigaro_in(here, &["pretrain", "--resume", "nowhere"]),
        "no run to resume in nowhere",
    );
}

#[test]
fn a_resumed_run_keeps_the_micro_batch_that_it_was_begun_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_recipe(here, 6);
    let begun = succeeded(pretrain(here, &["--out", "run"]));
    assert!(
        begun.stdout.contains("4 sequences, in one pass"),
        "{}",
        begun.stdout
    );
    let record = here.join("run/run.json");
    let text = fs::read_to_string(&record).expect("a record");
    assert!(text.contains("\"\": 4"), "{text}");
    // As if there had been less memory when it began; there is as much as before now.
    fs::write(&record, text.replace("\"\": 4", "\"\": 2")).expect("written");
    let before = ["pretrain", "--resume", "run/checkpoints/step-000004"];
    let resumed = succeeded(gigaro_in(here, &before));
    assert!(
        resumed.stdout.contains("in 2 passes of 2"),
        "{}",
        resumed.stdout
    );
}

#[test]
fn a_start_that_failed_leaves_its_folder_free() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_recipe(here, 2);
    fs::write(here.join("text.txt"), "Too short.").expect("written");
    told(
        &pretrain(here, &["--text", "tex.txt", "--out", "run"]),
        "tex.txt",
    );
    told(
        &pretrain(here, &["--text", "text.txt", "--out", "run"]),
        "text.txt",
    );
    assert!(here.join("run/tokenizer.json").is_file());
    fs::write(here.join("text.txt"), sentences(0, 400)).expect("written");
    succeeded(pretrain(here, &["--text", "text.txt", "--out", "run"]));
    // Now it does hold a run.
    told(&pretrain(here, &["--out", "run"]), "holds a run already");
    fs::write(here.join("file"), "").expect("written");
    told(&pretrain(here, &["--out", "file"]), "file is a file");
}

#[test]
fn a_text_that_is_mended_before_the_first_step_gets_a_tokenizer_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_recipe(here, 4);
    fs::write(here.join("text.txt"), "Too short.").expect("written");
    told(
        &pretrain(here, &["--text", "text.txt", "--out", "run"]),
        "text.txt",
    );
    fs::write(here.join("text.txt"), sentences(0, 400)).expect("written");
    succeeded(gigaro_in(here, &["pretrain", "--resume", "run"]));
    succeeded(pretrain(here, &["--text", "text.txt", "--out", "whole"]));
    assert_eq!(weights(&here.join("run")), weights(&here.join("whole")));
    // With steps behind it, the run stays with its tokens.
    fs::write(here.join("text.txt"), sentences(5000, 500)).expect("written");
    let before = ["pretrain", "--resume", "run/checkpoints/step-000002"];
    let resumed = succeeded(gigaro_in(here, &before));
    assert!(
        resumed
            .stdout
            .contains("goes on with its tokenizer and its tokens"),
        "{}",
        resumed.stdout
    );
    assert_eq!(weights(&here.join("run")), weights(&here.join("whole")));
}

#[test]
fn a_run_is_gone_on_with_by_the_command_that_began_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_recipe(here, 2);
    succeeded(pretrain(here, &["--out", "run"]));
    let other = gigaro_in(here, &["speedrun", "--resume", "run"]);
    assert_eq!(other.code, 2, "{}", other.stderr);
    told(&other, "gigaro pretrain --resume run");
}

#[cfg(unix)]
#[test]
fn a_run_that_is_interrupted_while_it_reads_its_text_stops_soon_and_can_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_recipe(here, 2);
    let path = here.join("small.toml");
    let recipe = fs::read_to_string(&path).expect("written");
    let long = recipe.replace("world_documents = 300", "world_documents = 3000000");
    fs::write(&path, long).expect("written");
    let mut child = Command::new(env!("CARGO_BIN_EXE_gigaro"))
        .args(["pretrain", "--recipe", "small.toml", "--out", "run"])
        .current_dir(here)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // From the first line on, Ctrl-C is caught.
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let first = lines.next().expect("a line").expect("UTF-8");
    assert!(first.starts_with("Text: "), "{first}");
    let since = Instant::now();
    let said = interrupted(child);
    assert!(since.elapsed() < Duration::from_secs(10), "{said}");
    assert!(said.contains("--resume run"), "{said}");
    // Half a text left nothing that passes for the whole.
    let shorter = fs::read_to_string(here.join("run/recipe.toml")).expect("a recipe");
    let shorter = shorter.replace("3000000", "300");
    fs::write(here.join("run/recipe.toml"), shorter).expect("written");
    succeeded(gigaro_in(here, &["pretrain", "--resume", "run"]));
}
