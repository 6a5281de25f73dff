//! A program that writes conversations is killed at some moment, again and again; each time the store opens, and holds every change that
//! was reported as done.

use gigaro_serve::conversations::{AnswerEnd, AnswerRequest, New, State, Store};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Says to this very program that it is the one to be killed, and where to write.
const STORE: &str = "GIGARO_TEST_STORE_TO_KILL";
const OWNER: &str = "local";

/// Writes conversations until it is killed, and says on standard output what is done: a question, a part of its answer, its end.
#[test]
fn writer() {
    let Some(path) = std::env::var_os(STORE) else {
        return;
    };
    let mut store = Store::open_or_create(path).expect("opens");
    store
        .recover(Duration::ZERO)
        .expect("marks what was cut short");
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .expect("a reader");
    };
    for number in 0.. {
        let id = store.create(OWNER, &New::default()).expect("created");
        let question = store
            .ask(OWNER, id, None, &format!("question {number}"))
            .expect("asked");
        say(format!("@ {id} question {number}"));
        let asked = AnswerRequest {
            parent: question,
            system: String::new(),
            request: json!({}),
            model: "small".to_owned(),
        };
        let answer = store.begin_answer(OWNER, id, &asked).expect("begun");
        store.grow(answer, "half").expect("kept");
        say(format!("@ {id} half"));
        let end = AnswerEnd {
            content: "half and whole".to_owned(),
            state: State::Complete,
            reason: None,
            tokens: None,
            usage: json!({}),
        };
        store.finish(answer, &end).expect("kept");
        say(format!("@ {id} whole"));
    }
}

fn start(store: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "writer", "--nocapture"])
        .env(STORE, store)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("started")
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("chat.db");
    let mut interrupted = 0;
    for round in 0..60_u64 {
        if round >= 12 && interrupted > 0 {
            break;
        }
        let mut writer = start(&path);
        let lines = BufReader::new(writer.stdout.take().expect("piped")).lines();
        // The lines are read while it runs, so that it never waits for the reader.
        let reader = std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .filter_map(|line| line.find("@ ").map(|at| line[at + 2..].to_owned()))
                .collect::<Vec<_>>()
        });
        std::thread::sleep(Duration::from_millis(40 + 23 * (round % 12)));
        // On Unix this is SIGKILL: nothing in the program runs after it.
        writer.kill().expect("killed");
        writer.wait().expect("ended");
        let done = reader.join().expect("read");

        let mut store = match Store::open(&path) {
            Ok(store) => store,
            // The first writers may have been too slow to make it.
            Err(error) => {
                assert!(done.is_empty(), "{error}");
                continue;
            }
        };
        for line in &done {
            let (id, what) = line.split_once(' ').expect("number and words");
            let conversation = store
                .read(OWNER, id.parse().expect("a number"))
                .expect("is there");
            match what {
                "half" => assert!(conversation.messages[1].content.starts_with("half")),
                "whole" => assert_eq!(conversation.messages[1].state, State::Complete),
                question => assert_eq!(conversation.messages[0].content, question),
            }
        }
        interrupted += store.recover(Duration::ZERO).expect("marked");
        assert_eq!(store.recover(Duration::ZERO).expect("marked"), 0);
    }
    let stored = Store::open(&path)
        .expect("opens")
        .list(OWNER, "question", 0, 1_000_000)
        .expect("listed");
    assert!(
        stored.conversations.len() > 12,
        "something was written: {}",
        stored.conversations.len()
    );
    assert!(interrupted > 0, "a kill fell into an answer");
}
