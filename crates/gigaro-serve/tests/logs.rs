//! The log: a line for each request with what it took, and never a text of users, a key or a body.
//!
//! One test in a program of its own, since a program has one log.

mod service;

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gigaro_models::gpt::WeightFormat;
use gigaro_serve::conversations::Store;
use gigaro_serve::keys::{Change, Entry, KeyFile, Keys, Scope};
use gigaro_serve::server::{Access, Server, Settings};
use serde_json::{Value, json};
use service::{Answer, model, raw, request, settings, source, until};

/// What no line may have in it; all of it is sent in some way below.
const PRIVATE: &str = "swordfish";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("no panic");
        String::from_utf8(bytes.clone()).expect("UTF-8")
    }

    /// The line about a request, once it is there.
    fn about(&self, id: &str) -> Value {
        let find = || {
            let text = self.text();
            let lines = text
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            lines.into_iter().find(|line| line["request_id"] == id)
        };
        until(|| find().is_some());
        find().expect("it was there")
    }
}

fn server(folder: &std::path::Path) -> (Server, String) {
    let file = folder.join("keys.toml");
    let entry = Entry::new("ann", Scope::ALL.to_vec());
    let secret = KeyFile::change(&file, Change::Create(entry)).expect("made");
    let settings = Settings {
        access: Access::Keys(Keys::read(&file).expect("keys")),
        ..settings()
    };
    let store = Store::open_or_create(folder.join("chat.db")).expect("made");
    let source = source("small", model(), WeightFormat::F32, Duration::ZERO);
    let host = std::net::Ipv4Addr::LOCALHOST.into();
    let server = Server::start(host, 0, vec![source], settings, Some(store)).expect("starts");
    until(|| server.app().readiness().is_ok());
    (server, secret.expect("a secret"))
}

/// A server, the secret of its key, and what it has logged.
struct Logged {
    server: Server,
    secret: String,
    lines: Lines,
}

impl Logged {
    fn send(&self, id: &str, method: &str, path: &str, body: &Value) -> Answer {
        let secret = &self.secret;
        let headers = format!("Authorization: Bearer {secret}\r\nX-Request-Id: {id}\r\n");
        let text = request(method, path, &headers, &body.to_string());
        raw(self.server.address(), text.as_bytes())
    }

    /// Replies: each line has what they took.
    fn replies(&self) {
        let words = format!("{PRIVATE} the king");
        let body = json!({ "prompt": words, "max_tokens": 5, "ignore_eos": true, "user": PRIVATE, "stop": [PRIVATE] });
        let answer = self.send("one", "POST", "/v1/completions", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let headers = &answer.headers;
        assert!(headers.contains("x-request-id: one"), "{headers}");
        let line = self.lines.about("one");
        for (name, value) in [
            ("key", json!("ann")),
            ("model", json!("small")),
            ("status", json!(200)),
            ("route", json!("/v1/completions")),
            ("completion_tokens", json!(5)),
        ] {
            assert_eq!(line[name], value, "{line}");
        }
        for time in ["queue_ms", "first_token_ms", "total_ms"] {
            let is_time = line[time].as_f64().is_some_and(|ms| ms >= 0.0);
            assert!(is_time, "{time}: {line}");
        }
        assert!(line["total_ms"].as_f64() >= line["first_token_ms"].as_f64());
        // A stream's line comes when it is over, and has its tokens.
        let stream =
            json!({ "prompt": words, "max_tokens": 7, "ignore_eos": true, "stream": true });
        self.send("two", "POST", "/v1/completions", &stream);
        assert_eq!(self.lines.about("two")["completion_tokens"], 7);
    }

    /// Whatever is refused has a line as well, and is told its name in its body.
    fn refusals(&self) {
        let body = json!({ PRIVATE: PRIVATE });
        let refused = self.send("three", "POST", "/v1/completions", &body);
        assert_eq!(refused.json()["request_id"], "three");
        assert_eq!(self.lines.about("three")["status"], 400);
        self.send("four", "GET", &format!("/{PRIVATE}?{PRIVATE}"), &json!({}));
        let line = self.lines.about("four");
        assert_eq!(
            (&line["status"], &line["route"]),
            (&json!(404), &json!("none"))
        );
        // A name that could forge a line is not taken over; a wrong key is nowhere.
        let forged =
            format!("Authorization: Bearer {PRIVATE}-key\r\nX-Request-Id: {PRIVATE} x\r\n");
        let text = request("GET", "/v1/models", &forged, "");
        let unknown = raw(self.server.address(), text.as_bytes());
        assert_eq!(unknown.status, 401);
        let unknown = unknown.json();
        let id = unknown["request_id"].as_str().expect("a name");
        assert!(id.starts_with("req-") && id.len() == 36, "{id}");
        assert_eq!(self.lines.about(id)["key"], Value::Null);
    }

    /// What the page asks.
    fn page(&self) {
        let new = json!({ "title": PRIVATE, "system": PRIVATE });
        let made = self.send("five", "POST", "/api/conversations", &new).json();
        let path = format!("/api/conversations/{}", made["id"]);
        let question = json!({ "content": format!("{PRIVATE} the king") });
        let asked = self.send("six", "POST", &format!("{path}/messages"), &question);
        let answer = json!({ "parent": asked.json()["id"], "request": { "max_tokens": 3, "ignore_eos": true } });
        self.send("seven", "POST", &format!("{path}/answers"), &answer);
        // The page's request, and what it asked of the API, bear one name.
        let seven = "\"request_id\":\"seven\"";
        until(|| self.lines.text().matches(seven).count() == 2);
        let search = format!("/api/conversations?search={PRIVATE}");
        self.send("eight", "GET", &search, &json!({}));
        assert_eq!(self.lines.about("eight")["route"], "/api/conversations");
    }
}

#[test]
fn each_request_has_a_line_and_no_line_has_anything_of_users() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let folder = tempfile::tempdir().expect("a folder");
    let (server, secret) = server(folder.path());
    let logged = Logged {
        server,
        secret,
        lines,
    };
    logged.replies();
    logged.refusals();
    logged.page();
    let Logged {
        server,
        secret,
        lines,
    } = logged;
    drop(server);
    let text = lines.text();
    let file = std::fs::read_to_string(folder.path().join("keys.toml")).expect("read");
    let hash = file.split("sha256 = \"").nth(1).expect("a hash");
    let hash = &hash[..64];
    for private in [
        PRIVATE,
        &secret,
        &secret[7..],
        hash,
        "127.0.0.1",
        "the king",
    ] {
        assert!(!text.contains(private), "{private} stands in the log");
    }
    assert!(!text.contains("Bearer"), "headers stand in the log");
}
