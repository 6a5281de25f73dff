//! `gigaro serve` from outside: from a run's folder to an answer, to an end that cuts no reply, and the sentences about what cannot
//! be.

mod running;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gigaro_data::chat::Message;
use gigaro_serve::endpoint::{Endpoint, Key, Patience};
use running::{gigaro_in, ran, succeeded, tiny_recipe, told};

/// A fine-tuned model in the folder `tiny`.
fn train(folder: &Path) {
    fs::write(folder.join("tiny.toml"), tiny_recipe(4)).expect("written");
    let run = gigaro_in(
        folder,
        &["speedrun", "--recipe", "tiny.toml", "--out", "tiny"],
    );
    succeeded(run);
}

/// `gigaro serve ARGS` on a port that is free.
fn start(folder: &Path, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_gigaro"))
        .args(["serve", "--port", "0", "--no-page"])
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

/// Waits until it is ready; gives its address.
fn ready(server: &mut Child) -> String {
    let (mut address, mut said) = (None, String::new());
    for line in BufReader::new(server.stdout.take().expect("a pipe")).lines() {
        let line = line.expect("the binary speaks UTF-8");
        if let Some(rest) = line.strip_prefix("Listening on http://") {
            address = rest.split('/').next().map(str::to_owned);
        }
        if line.contains(" is ready: ") {
            return address.expect("it listens before it is ready");
        }
        said += &line;
    }
    panic!("it never was ready: {said}");
}

fn signal(server: &Child, name: &str) {
    let pid = server.id().to_string();
    let sent = Command::new("kill").args([name, &pid]).status();
    assert!(sent.expect("kill").success());
}

fn terminate(server: &Child) {
    signal(server, "-TERM");
}

/// What a server tells under a path.
fn get(address: &str, path: &str) -> String {
    let mut client = TcpStream::connect(address).expect("connects");
    let asked = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    client.write_all(asked.as_bytes()).expect("writes");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("reads");
    answer
}

/// Copies the folder of a stage.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// `gigaro chat ARGS` with these lines.
fn chat(folder: &Path, args: &[&str], lines: &str) -> running::Ran {
    let mut chat = Command::new(env!("CARGO_BIN_EXE_gigaro"))
        .arg("chat")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut input = chat.stdin.take().expect("a pipe");
    input.write_all(lines.as_bytes()).expect("written");
    drop(input);
    ran(chat.wait_with_output().expect("it ends"))
}

#[test]
fn a_trained_model_answers_and_its_last_reply_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    train(folder.path());
    // Without an argument it is the last finished run; the speedrun above is one.
    for args in [&["tiny", "--dtype", "int8"][..], &[]] {
        let mut server = start(folder.path(), args);
        let address = ready(&mut server);
        let key = Key {
            from: "NO_KEY".into(),
            secret: None,
        };
        let patience = Patience {
            timeout: Duration::from_secs(60),
            attempts: 1,
            pause: Duration::from_millis(1),
        };
        let endpoint = Endpoint::new(&format!("http://{address}/v1"), "tiny", key, patience);
        let words = endpoint
            .expect("an address")
            .ask(&[Message::user("What is the capital of Estia?")]);
        words.expect("an answer");
        succeeded(gigaro_in(
            folder.path(),
            &["health", &format!("http://{address}")],
        ));

        let body = r#"{"prompt": "The", "max_tokens": 60, "ignore_eos": true, "stream": true}"#;
        let mut client = TcpStream::connect(&address).expect("connects");
        write!(
            client,
            "POST /v1/completions HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("writes");
        let mut first = [0; 1];
        client.read_exact(&mut first).expect("it has begun");
        terminate(&server);
        let mut rest = String::new();
        client.read_to_string(&mut rest).expect("reads to the end");
        assert!(rest.contains("data: [DONE]"), "{rest}");
        assert_eq!(server.wait().expect("gone").code(), Some(0));
    }
}

#[test]
fn what_cannot_be_served_is_said_before_anything_is_begun() {
    let folder = tempfile::tempdir().expect("a folder");
    let serve = |args: &[&str]| {
        let all = [&["serve", "--port", "0", "--no-page"], args].concat();
        gigaro_in(folder.path(), &all)
    };
    told(&serve(&[]), "gigaro speedrun");
    told(&serve(&["nothing"]), "nothing");
    train(folder.path());
    told(&serve(&["tiny", "tiny"]), "two models would be called tiny");
    told(
        &serve(&["tiny", "--api-key-file", "keys"]),
        "cannot read the keys in keys",
    );
    told(
        &serve(&["tiny", "--host", "0.0.0.0"]),
        "--api-key-file FILE",
    );
    fs::write(folder.path().join("keys"), "short\n").expect("written");
    told(
        &serve(&["tiny", "--api-key-file", "keys"]),
        "line 1 of keys",
    );
    told(&serve(&["tiny", "--host", "somewhere"]), "--host");
    told(&serve(&["tiny", "--log-level", "loud"]), "--log-level loud");
    told(&serve(&["tiny", "--tls-cert", "c.pem"]), "--tls-key");
    told(
        &serve(&["tiny", "--tls-cert", "c.pem", "--tls-key", "k.pem"]),
        "cannot read c.pem",
    );
    told(
        &serve(&["tiny", "--public-url", "chat.example"]),
        "https://chat.example",
    );
    told(
        &serve(&["tiny", "--public-url", "https://chat.example"]),
        "nothing would keep them out",
    );
}

#[test]
fn capacity_is_measured_and_computed_in_one_run() {
    let folder = tempfile::tempdir().expect("a folder");
    train(folder.path());
    let capacity = |more: &[&str]| {
        let args = [
            "capacity",
            "tiny",
            "--clients",
            "1,2",
            "--prompt-tokens",
            "8",
        ];
        gigaro_in(folder.path(), &[&args[..], more].concat())
    };
    let run = succeeded(capacity(&[
        "--reply-tokens",
        "4",
        "--price-per-hour",
        "0.5",
        "--json",
    ]));
    let object = run.json();
    let points = object["measured"].as_array().expect("a list");
    assert_eq!(points.len(), 2, "{object}");
    let best = points.iter().filter_map(|p| p["exchanges_per_s"].as_f64());
    let best = best.fold(0.0, f64::max);
    let users = object["replica"]["users_per_day"]
        .as_f64()
        .expect("a number");
    // Ten messages a day and three times as many in the busiest hour, as nothing else was said.
    assert!(
        (users / (best * 86_400.0 / 30.0) - 1.0).abs() < 1e-9,
        "{object}"
    );
    let million = &object["fleets"][3];
    assert_eq!(million["users"], 1e6);
    let machines = million["replicas"].as_f64().expect("a number");
    assert_eq!(machines, (1e6 / users).ceil());
    assert_eq!(million["price_per_day"].as_f64(), Some(machines * 12.0));
    assert_eq!(object["launch"].as_array().map(Vec::len), Some(5));
    told(&capacity(&["--reply-tokens", "4000"]), "64 at most");
    told(&capacity(&["--peak-factor", "0"]), "above 0");
}

#[test]
fn a_chat_with_a_server_has_the_commands_of_a_chat_with_a_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    train(here);
    let mut server = start(here, &["tiny"]);
    let url = format!("http://{}", ready(&mut server));
    let lines = "What is the capital of Estia?\n/save one.jsonl\n/reset\n/dance\n/system Be brief.\nWho?\n/save two.jsonl\n/quit\n";
    let args = ["--server", &url, "--temperature", "0", "--max-tokens", "6"];
    let run = succeeded(chat(here, &args, lines));
    assert!(
        run.stdout.contains("(saved to two.jsonl)") && run.stdout.contains("(begun anew)"),
        "{}",
        run.stdout
    );
    assert!(
        run.stderr.contains("there is no command /dance"),
        "{}",
        run.stderr
    );
    let saved = |name: &str| -> serde_json::Value {
        let text = fs::read_to_string(here.join(name)).expect("saved");
        serde_json::from_str(&text).expect("JSON")
    };
    assert_eq!(saved("one.jsonl")["messages"][1]["role"], "assistant");
    let two = saved("two.jsonl");
    assert_eq!(two["messages"][0]["content"], "Be brief.");
    assert_eq!(two["messages"][1]["content"], "Who?");
    // A reply that fails is told, and the chat goes on.
    let long = format!("{}\n/quit\n", "rain ".repeat(300));
    let run = succeeded(chat(here, &args, &long));
    assert!(
        run.stderr.contains("error: ") && run.stderr.contains("shorten it"),
        "{}",
        run.stderr
    );
    terminate(&server);
    server.wait().expect("gone");
    told(
        &chat(here, &["--server", &url], "Hello\n"),
        "cannot be reached",
    );
    told(
        &chat(here, &["--server", "somewhere"], ""),
        "is no address of a model",
    );
    told(
        &chat(here, &["--server", &url, "--api-key-file", "no"], ""),
        "cannot read the key in no",
    );
}

#[test]
fn a_newer_checkpoint_is_served_when_the_server_is_told_so_and_an_adapter_beside() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    train(here);
    let lora = [
        "sft",
        "--recipe",
        "tiny.toml",
        "--checkpoint",
        "tiny/pretrain",
        "--lora",
        "2",
        "--out",
        "brief",
    ];
    succeeded(gigaro_in(here, &lora));
    copy(&here.join("tiny/pretrain"), &here.join("served/pretrain"));
    told(
        &gigaro_in(here, &["serve", "served", "--adapter", "brief=tiny"]),
        "adapter_config.json",
    );
    told(
        &gigaro_in(here, &["serve", "served", "--adapter", "x=brief=tiny"]),
        "names the model x",
    );
    told(
        &gigaro_in(here, &["serve", "served", "--adapter", "brief"]),
        "NAME=DIR",
    );
    let mut server = start(here, &["served", "--adapter", "brief=brief/adapter"]);
    let address = ready(&mut server);
    let about = get(&address, "/v1/models/served:brief");
    assert!(about.contains(r#""parent":"served""#), "{about}");
    let run = succeeded(chat(
        here,
        &[
            "--server",
            &format!("http://{address}"),
            "--model",
            "served:brief",
        ],
        "Hi\n",
    ));
    assert!(!run.stdout.is_empty());
    assert!(get(&address, "/v1/models/served").contains(r#""version":1"#));
    copy(&here.join("tiny/sft"), &here.join("served/sft"));
    signal(&server, "-HUP");
    let newer = || get(&address, "/v1/models/served").contains(r#""version":2"#);
    for _ in 0..600 {
        if newer() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let about = get(&address, "/v1/models/served");
    assert!(newer() && about.contains("served/sft/"), "{about}");
    // There is nothing newer now.
    signal(&server, "-HUP");
    terminate(&server);
    assert_eq!(server.wait().expect("gone").code(), Some(0));
}
