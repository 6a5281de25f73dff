//! The built binary from outside: exit codes, sentences about mistakes, and the streams that programs read.

mod running;

use std::path::Path;
use std::process::Command;

use running::{Ran, gigaro_in};

/// `gigaro ARGS` in the test's own folder.
fn gigaro(args: &[&str]) -> Ran {
    gigaro_in(Path::new("."), args)
}

#[test]
fn without_arguments_the_help_is_shown_and_the_code_is_usage() {
    let run = gigaro(&[]);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("Usage: gigaro <COMMAND>"),
        "{}",
        run.stderr
    );
}

#[test]
fn unknown_commands_and_flags_are_usage_errors_that_name_the_nearest() {
    let command = gigaro(&["docter"]);
    assert_eq!(command.code, 2);
    assert!(command.stderr.contains("doctor"), "{}", command.stderr);
    let flag = gigaro(&["doctor", "--jsn"]);
    assert_eq!(flag.code, 2);
    assert!(flag.stderr.contains("--json"), "{}", flag.stderr);
}

#[test]
fn help_of_each_command_shows_an_example() {
    let all = gigaro(&["--help"]);
    assert_eq!(all.code, 0);
    for line in all
        .stdout
        .lines()
        .skip_while(|l| !l.starts_with("Commands:"))
        .skip(1)
        .take_while(|l| !l.is_empty())
    {
        // What a command does may go on in a second line, further in.
        let Some(name) = line.strip_prefix("  ").and_then(|l| l.split(' ').next()) else {
            continue;
        };
        if !name.is_empty() && name != "help" {
            let help = gigaro(&[name, "--help"]);
            assert_eq!(help.code, 0);
            assert!(
                help.stdout.contains(&format!("gigaro {name}")),
                "{name}: {}",
                help.stdout
            );
        }
    }
}

#[test]
fn doctor_ends_with_one_object_and_keeps_words_off_stdout() {
    let run = gigaro(&["doctor", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stdout.lines().count(), 1);
    let object = run.json();
    assert!(object["measured"]["threads"].as_u64().expect("a number") >= 1);
    assert!(run.stderr.contains("processor"), "{}", run.stderr);
    // A card can be used, or there is a sentence that says why not.
    let cuda = &object["cuda"];
    let why = cuda["unusable"].as_str();
    assert_eq!(cuda["usable"], why.is_none(), "{cuda}");
    assert!(why.is_none_or(|sentence| sentence.ends_with('.')), "{cuda}");
    let libraries = cuda["libraries"].as_array().expect("a list");
    let told =
        |library: &serde_json::Value| library["path"].is_string() != library["missing"].is_string();
    assert!(libraries.len() == 3 && libraries.iter().all(told), "{cuda}");
}

#[test]
fn doctor_says_what_is_wrong_with_a_library_and_the_processor_is_used() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["libcuda.so.1", "libnvrtc.so.12"] {
        std::fs::write(folder.path().join(name), "no library").expect("a file");
    }
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_gigaro"));
    doctor.args(["doctor", "--json"]);
    doctor.env("GIGARO_CUDA_LIBRARIES", folder.path());
    let run = running::ran(doctor.output().expect("the binary starts"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let libraries = run.json()["cuda"]["libraries"].clone();
    for (i, words) in [(0, "cannot be loaded"), (1, "another version")] {
        // Where the machine has the library as well, that one is found.
        let sentence = libraries[i]["missing"].as_str();
        assert!(sentence.is_none_or(|s| s.contains(words)), "{libraries}");
    }
}

#[test]
fn recipes_inside_the_binary_are_listed_and_shown() {
    let list = gigaro(&["info"]);
    assert_eq!(list.code, 0);
    assert!(list.stdout.contains("shakespeare_char"));
    let one = gigaro(&["info", "shakespeare_char", "--json"]);
    assert_eq!(one.json()["must_reach"]["validation_loss_at_most"], 1.88);
}

#[test]
fn mistakes_in_a_recipe_are_told_with_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let gpt2 = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../recipes/gpt2_124m.toml"
    ))
    .expect("a recipe");
    for (from, to, expected) in [
        (
            "n_layer = 12",
            "n_layer = \"twelve\"",
            "my.toml, line 17: `n_layer` must be a whole number, 0 or more, but is the text \"twelve\"",
        ),
        (
            "n_layer = 12",
            "n_layers = 12",
            "there is no key `n_layers` in [model]; did you mean `n_layer`?",
        ),
        (
            "n_head = 12",
            "n_head = 7",
            "d_model is 768, which 7 heads cannot share evenly; 770 would do",
        ),
    ] {
        assert!(gpt2.contains(from), "{from}");
        std::fs::write(folder.path().join("my.toml"), gpt2.replacen(from, to, 1)).expect("written");
        let run = gigaro_in(folder.path(), &["info", "my.toml"]);
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(
            run.stderr.starts_with("error: my.toml") && run.stderr.contains(expected),
            "{}",
            run.stderr
        );
        assert!(run.stdout.is_empty());
    }
}

#[test]
fn recipes_that_are_no_recipes_are_refused_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("written")
    };
    write("latin1.toml", b"name = \"a\"\nabout = \"\xe9\"\n");
    write("empty.toml", b"");
    write("long.toml", &vec![b' '; 2 << 20]);
    for (what, expected) in [
        ("sppedrun", "did you mean the built-in recipe speedrun?"),
        ("no/such.toml", "there is no recipe file no/such.toml"),
        ("latin1.toml", "latin1.toml, line 2: not UTF-8 text"),
        ("empty.toml", "lacks the key"),
        ("long.toml", "too long for a recipe"),
    ] {
        let run = gigaro_in(folder.path(), &["info", what, "--json"]);
        assert_eq!(run.code, 2, "{what}: {}", run.stderr);
        assert!(
            run.stderr.starts_with("error: ") && run.stderr.contains(expected),
            "{what}: {}",
            run.stderr
        );
        assert_eq!(run.json()["exit_code"], 2);
    }
    let run = gigaro_in(folder.path(), &["pretrain", "--recipe", "."]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("is a folder"), "{}", run.stderr);
}

#[test]
fn completions_exist_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = gigaro(&["completions", shell]);
        assert_eq!(run.code, 0);
        assert!(
            run.stdout.contains("gigaro") && run.stdout.contains("doctor"),
            "{shell}"
        );
    }
    assert_eq!(gigaro(&["completions", "csh"]).code, 2);
}

#[test]
fn manual_pages_are_printed_or_written_one_per_command() {
    let page = gigaro(&["man"]);
    assert_eq!(page.code, 0);
    assert!(page.stdout.contains(".TH gigaro 1"), "{}", page.stdout);
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(
        gigaro_in(folder.path(), &["man", "--out", "man/man1"]).code,
        0
    );
    assert!(folder.path().join("man/man1/gigaro-doctor.1").is_file());
}

#[test]
fn the_small_world_is_shown_and_written_so_that_it_can_be_read_again() {
    let shown = gigaro(&["world", "--count", "3"]);
    assert_eq!(shown.code, 0);
    assert_eq!(shown.stdout.matches("\n\n").count(), 3, "{}", shown.stdout);
    let folder = tempfile::tempdir().expect("a folder");
    let inside = |args: &[&str]| gigaro_in(folder.path(), args);
    for (what, key) in [
        ("documents", "text"),
        ("chats", "messages"),
        ("prompts", "ideal"),
        ("questions", "acceptable"),
    ] {
        let ran = inside(&[
            "world", "--what", what, "--count", "40", "--out", what, "--json",
        ]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let text = std::fs::read_to_string(folder.path().join(what)).expect("written");
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("is JSON"))
            .collect();
        assert!(lines.iter().all(|line| !line[key].is_null()), "{text}");
        assert_eq!(ran.json()["written"], lines.len());
        // Questions come so many of each kind.
        assert!(lines.len() == 40 || what == "questions" && lines.len() > 400);
    }
    std::fs::rename(
        folder.path().join("documents"),
        folder.path().join("d.jsonl"),
    )
    .expect("moved");
    let train = [
        "tokenizer",
        "train",
        "--text",
        "d.jsonl",
        "--vocab-size",
        "300",
    ];
    assert_eq!(inside(&train).code, 0);
    let nowhere = inside(&["world", "--out", "no/such/file"]);
    assert_eq!(nowhere.code, 1);
    assert!(
        nowhere
            .stderr
            .starts_with("error: cannot write no/such/file")
    );
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_not_a_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "").expect("written");
    let run = gigaro_in(folder.path(), &["man", "--out", "file/below"]);
    assert_eq!(run.code, 1);
    assert!(
        run.stderr
            .starts_with("error: cannot make the folder file/below"),
        "{}",
        run.stderr
    );
}

#[cfg(unix)]
#[test]
fn a_reader_who_leaves_is_not_an_error() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_gigaro"))
        .arg("man")
        .stdout(writer)
        .status();
    assert_eq!(status.expect("runs").code(), Some(0));
}
