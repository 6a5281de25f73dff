//! Flags and what they are given: those that mean nothing are not there, and what makes no sense is a sentence at once.

mod running;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use running::{Ran, gigaro_in};

/// The command failed with this code and a sentence that has `words` in it.
#[track_caller]
fn told(run: &Ran, code: i32, words: &str) {
    assert_eq!(run.code, code, "{}\n{}", run.stdout, run.stderr);
    assert!(run.stderr.contains(words), "no {words:?} in {}", run.stderr);
    assert!(!run.stderr.contains("has a bug"), "{}", run.stderr);
}

/// The recipe `tiny`, changed.
fn write_recipe(folder: &Path, changes: &[(&str, &str)]) {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes/tiny.toml");
    let mut recipe = fs::read_to_string(tiny).expect("a recipe");
    for (from, to) in changes {
        assert!(recipe.contains(from), "{from}");
        recipe = recipe.replacen(from, to, 1);
    }
    fs::write(folder.join("my.toml"), recipe).expect("written");
}

/// `tiny` in a second or two: pretraining and fine-tuning of a few steps.
fn write_short_recipe(folder: &Path) {
    write_recipe(
        folder,
        &[("steps = 60", "steps = 2"), ("warmup_steps = 5", "")],
    );
    let path = folder.join("my.toml");
    let recipe = fs::read_to_string(&path).expect("a recipe");
    let (head, tail) = recipe.split_once("[reward]").expect("a section");
    let (_, tail) = tail.split_once("[evaluate]").expect("a section");
    let recipe = format!("{head}[evaluate]{tail}").replace("steps = 20\n", "steps = 2\n");
    fs::write(&path, recipe).expect("written");
}

fn text() -> String {
    (0..600)
        .map(|i| format!("The cat number {i} sat on mat {} and sang.\n", i * 7))
        .collect()
}

#[test]
fn numbers_beyond_all_bounds_are_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    for (from, to, key) in [
        (
            "batch_size = 8",
            "batch_size = 9223372036854775807",
            "[pretrain] batch_size",
        ),
        (
            "steps = 60",
            "steps = 9223372036854775807",
            "[pretrain] steps",
        ),
        ("vocab_size = 512", "vocab_size = 258", "at least 261"),
        ("d_model = 64", "d_model = 1000000000", "[model] d_model"),
        (
            "max_seq_len = 64",
            "max_seq_len = 9000000000",
            "[model] max_seq_len",
        ),
        ("n_head = 2", "n_head = 64", "[model]"),
    ] {
        write_recipe(here, &[(from, to)]);
        let run = gigaro_in(here, &["pretrain", "--recipe", "my.toml", "--out", "run"]);
        told(&run, 2, key);
        assert!(!here.join("run").exists(), "{key}");
    }
}

#[test]
fn numbers_that_are_none_are_told_with_what_to_give() {
    let here = Path::new(".");
    let generate = |flag: &str, value: &str| gigaro_in(here, &["generate", "Once", flag, value]);
    told(&generate("--temperature", "-1"), 2, "temperature is -1");
    told(&generate("--top-p", "-1"), 2, "top_p is -1");
    told(&generate("--seed", "-1"), 2, "a seed is a whole number");
    told(&generate("--max-tokens", "-1"), 2, "give a whole number");
    told(&generate("--threads", "-1"), 2, "1..=1024");
}

#[test]
fn flags_that_mean_nothing_are_not_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    fs::write(here.join("text.txt"), text()).expect("written");
    for command in ["sft", "reward"] {
        let run = gigaro_in(here, &[command, "--text", "text.txt"]);
        told(&run, 2, "unexpected argument '--text'");
    }
    let column = gigaro_in(here, &["pretrain", "--column", "body"]);
    told(&column, 2, "--column names where your own text is");
}

#[test]
fn the_column_of_a_text_can_be_named_and_a_missing_one_names_the_flag() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_short_recipe(here);
    let line = |line: &str| format!("{{\"body\": \"{line}\"}}\n");
    let lines: String = text().lines().map(line).collect();
    fs::write(here.join("text.jsonl"), lines).expect("written");
    let args = [
        "pretrain",
        "--recipe",
        "my.toml",
        "--text",
        "text.jsonl",
        "--out",
        "run",
    ];
    told(&gigaro_in(here, &args), 1, "--column");
    let named = gigaro_in(here, &[&args[..], &["--column", "body", "--json"]].concat());
    assert_eq!(named.code, 0, "{}", named.stderr);
    assert_eq!(named.json()["tokens"], 2 * 8 * 64);
    let recipe = fs::read_to_string(here.join("run/recipe.toml")).expect("a recipe");
    assert!(recipe.contains("column = \"body\""), "{recipe}");
}

#[test]
fn a_speedrun_on_own_text_says_what_is_the_small_worlds_and_takes_own_conversations() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_short_recipe(here);
    fs::write(here.join("text.txt"), text()).expect("written");
    let chat = "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"Hello.\"}]}\n";
    fs::write(here.join("chats.jsonl"), chat.repeat(60)).expect("written");
    let args = "speedrun --recipe my.toml --text text.txt --no-chat --out";
    let run = |more: &[&str]| {
        let run = gigaro_in(here, &[&args.split(' ').collect::<Vec<_>>(), more].concat());
        assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
        let page = here.join(more[0]).join("report.html");
        (run.stdout, fs::read_to_string(page).expect("a report"))
    };
    let (said, page) = run(&["own-text"]);
    assert!(said.contains("only the text is your own"), "{said}");
    assert!(
        page.contains("only the text is your own"),
        "no note in the report"
    );
    // The bound was measured on the small world.
    assert!(!said.contains("validation loss (at most"), "{said}");
    assert!(!said.contains("What the recipe asks for"), "{said}");
    let (said, page) = run(&["own", "--chats", "chats.jsonl"]);
    assert!(said.contains("Conversations: 60 from"), "{said}");
    assert!(!said.contains("only the text is your own"), "{said}");
    assert!(
        page.contains("questions at the end are still"),
        "no note in the report"
    );
}

#[test]
fn files_where_folders_are_meant_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    fs::write(here.join("file"), "x").expect("written");
    for args in [
        &["generate", "Once", "--checkpoint", "file"][..],
        &["chat", "file"],
        &["evaluate", "file"],
        &["compare", "file", "file"],
        &["sft", "--checkpoint", "file"],
        &["align", "--checkpoint", "file"],
        &["speedrun", "--recipe", "tiny", "--out", "file"],
    ] {
        told(&gigaro_in(here, args), 2, "file is a file");
    }
}

#[test]
fn a_text_of_white_space_teaches_no_tokenizer() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    fs::write(here.join("blank.txt"), " \n \n".repeat(100)).expect("written");
    for kind in ["bpe", "characters"] {
        let args = ["tokenizer", "train", "--text", "blank.txt", "--kind", kind];
        told(&gigaro_in(here, &args), 1, "white space only");
    }
    assert!(!here.join("tokenizer.json").exists());
}

#[test]
fn a_chat_that_is_no_utf_8_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    write_short_recipe(here);
    let args = ["pretrain", "--recipe", "my.toml", "--out", "run"];
    assert_eq!(gigaro_in(here, &args).code, 0);
    let mut child = Command::new(env!("CARGO_BIN_EXE_gigaro"))
        .args(["chat", "run"])
        .current_dir(here)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"caf\xe9\n").expect("written");
    drop(stdin);
    let end = child.wait_with_output().expect("gone");
    let said = String::from_utf8_lossy(&end.stderr);
    assert_eq!(end.status.code(), Some(2), "{said}");
    assert!(said.contains("iconv"), "{said}");
}
