//! The labelling page over a real socket: who may label, what is kept, and what a browser is told.

use gigaro_data::preferences::store::{Settings, Store};
use gigaro_serve::label::LabelServer;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

/// A page with three items of two answers, in a folder of its own.
struct House {
    folder: tempfile::TempDir,
    server: LabelServer,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    #[track_caller]
    fn error(&self) -> String {
        self.json()["error"]
            .as_str()
            .expect("a sentence")
            .to_owned()
    }
}

impl House {
    fn new() -> House {
        let folder = tempfile::tempdir().expect("a folder");
        let lines: String = (0..3)
            .map(|i| format!("{{\"prompt\": \"<b>q{i}</b>\", \"answers\": [\"a{i}\", \"<img src=x onerror=alert(1)>\"], \"sources\": [\"hidden-one\", \"hidden-two\"]}}\n"))
            .collect();
        let items = folder.path().join("items.jsonl");
        std::fs::write(&items, lines).expect("written");
        let settings = Settings {
            seed: 3,
            shared_percent: 100,
        };
        let mut store =
            Store::open_or_create(folder.path().join("labels.db"), settings).expect("made");
        store.import(items).expect("imported");
        let server = LabelServer::start(store, 0).expect("started");
        House { folder, server }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("labels.db")
    }

    /// Sends bytes as they are and reads what comes until the other side closes.
    fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.server.address()).expect("connected");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Answer {
            status: status.expect("a status"),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    fn get(&self, path: &str) -> Answer {
        let host = self.server.address();
        self.raw(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ))
    }

    fn post_from(&self, host: &str, origin: &str, kind: &str, path: &str, body: &str) -> Answer {
        let origin = if origin.is_empty() {
            String::new()
        } else {
            format!("Origin: {origin}\r\n")
        };
        self.raw(&format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\n{origin}Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let host = self.server.address().to_string();
        let origin = format!("http://{host}");
        self.post_from(&host, &origin, "application/json", path, &body.to_string())
    }

    fn label(&self, item: &Value, ranks: &Value) -> Answer {
        let verdict = json!({"ranks": ranks, "flag": false, "seconds": 2.5});
        self.post(
            "/api/label",
            &json!({"labeller": "ann", "item": item, "verdict": verdict}),
        )
    }
}

#[test]
fn a_person_labels_undoes_and_comes_to_the_end() {
    let house = House::new();
    let first = house.post("/api/next", &json!({"labeller": "ann"})).json();
    assert_eq!(first["progress"]["open"], 3);
    assert_eq!(
        first["task"]["answers"].as_array().expect("answers").len(),
        2
    );
    assert_eq!(
        first["agreement"],
        "No pair of answers has been judged by two people yet."
    );
    let second = house.label(&first["task"]["item"], &json!([1, 2])).json();
    assert_ne!(second["task"]["item"], first["task"]["item"]);
    let undone = house.post("/api/undo", &json!({"labeller": "ann"})).json();
    assert_eq!(
        (&undone["undone"], &undone["task"]),
        (&json!(true), &first["task"])
    );
    let mut turn = undone;
    for ranks in [json!([2, 1]), json!([1, 1]), Value::Null] {
        turn = house.label(&turn["task"]["item"], &ranks).json();
    }
    assert_eq!(turn["task"], Value::Null);
    assert_eq!(
        turn["progress"],
        json!({"ranked": 2, "skipped": 1, "open": 0})
    );
    let report = Store::open(house.store())
        .and_then(|store| store.report())
        .expect("a report");
    assert_eq!(
        (report.labellers[0].ranked, report.labellers[0].undone),
        (2, 1)
    );
    assert_eq!(report.labellers[0].median_seconds, 2.5);
}

#[test]
fn the_page_shows_no_source_and_brings_everything_with_it() {
    let house = House::new();
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
    ] {
        let file = house.get(path);
        assert_eq!(file.status, 200, "{path}");
        assert!(
            file.head.contains(&format!("content-type: {kind}")),
            "{}",
            file.head
        );
        assert!(
            !file.body.contains("//cdn") && !file.body.contains("https:"),
            "{path} loads from elsewhere"
        );
        for dangerous in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!file.body.contains(dangerous), "{path} has {dangerous}");
        }
    }
    let turn = house.post("/api/next", &json!({"labeller": "ann"}));
    assert!(!turn.body.contains("hidden-"), "{}", turn.body);
    // Foreign text travels as JSON text and nothing else; the page puts it in as text.
    assert!(
        turn.head.contains("content-type: application/json"),
        "{}",
        turn.head
    );
}

#[test]
fn every_answer_tells_the_browser_to_run_only_the_page() {
    let house = House::new();
    let refused = house.post_from("evil.example", "", "application/json", "/api/next", "{}");
    for answer in [
        house.get("/"),
        house.get("/nothing"),
        house.post("/api/next", &json!({"labeller": "a"})),
        refused,
    ] {
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'",
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "cache-control: no-store",
        ] {
            assert!(answer.head.contains(header), "{header}: {}", answer.head);
        }
        assert!(
            !answer.head.contains("unsafe-inline") && !answer.head.contains("access-control-allow"),
            "{}",
            answer.head
        );
    }
}

#[test]
fn another_site_cannot_read_or_label() {
    let house = House::new();
    let own = house.server.address().to_string();
    let origin = format!("http://{own}");
    let next = json!({"labeller": "mallory"}).to_string();
    let kind = "application/json";
    for (host, origin, kind, status) in [
        // A page elsewhere, one in a sandbox, none at all, another port of this machine, this one over another protocol.
        (own.as_str(), "https://evil.example", kind, 403),
        (own.as_str(), "null", kind, 403),
        (own.as_str(), "", kind, 403),
        (own.as_str(), "http://127.0.0.1:1", kind, 403),
        (own.as_str(), &origin.replace("http:", "https:"), kind, 403),
        // A name that was made to point here.
        ("evil.example", "http://evil.example", kind, 403),
        // What a plain form can send.
        (own.as_str(), origin.as_str(), "text/plain", 415),
    ] {
        let answer = house.post_from(host, origin, kind, "/api/next", &next);
        assert_eq!(
            answer.status, status,
            "{host} {origin} {kind}: {}",
            answer.body
        );
        assert!(answer.error().ends_with('.'), "{}", answer.body);
    }
    let foreign = house.raw("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert_eq!(foreign.status, 403);
    let local = format!("localhost:{}", house.server.address().port());
    let fine = house.post_from(
        &local,
        &format!("http://{local}"),
        "application/json; charset=utf-8",
        "/api/next",
        &next,
    );
    assert_eq!(fine.status, 200, "{}", fine.body);
}

#[test]
fn requests_that_make_no_sense_are_answered_in_a_sentence() {
    let house = House::new();
    let long = json!({"labeller": "x".repeat(20_000)});
    let verdict = json!({"ranks": [1], "flag": false, "seconds": 0});
    let label = |item: i64| json!({"labeller": "ann", "item": item, "verdict": verdict});
    for (path, body, status, expected) in [
        ("/api/next", json!({}), 400, "missing field `labeller`"),
        (
            "/api/next",
            json!({"labeller": "ann", "admin": true}),
            400,
            "unknown field",
        ),
        (
            "/api/next",
            json!({"labeller": ""}),
            422,
            "cannot be a labeller's name",
        ),
        ("/api/next", long, 413, "longer than"),
        (
            "/api/label",
            label(1),
            422,
            "2 answers and came with 1 ranks",
        ),
        ("/api/label", label(77), 422, "no item 77"),
        ("/api/none", json!({}), 404, "nothing under this address"),
    ] {
        let answer = house.post(path, &body);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert!(answer.error().contains(expected), "{path}: {}", answer.body);
    }
    assert_eq!(house.get("/api/next").status, 405);
    let report = Store::open(house.store())
        .and_then(|store| store.report())
        .expect("a report");
    assert!(report.labellers.is_empty(), "nothing was kept");
}

#[test]
fn the_page_listens_on_this_machine_only_and_stops_when_dropped() {
    let house = House::new();
    let address = house.server.address();
    assert!(address.ip().is_loopback());
    assert_eq!(house.server.url(), format!("http://{address}/"));
    let taken = LabelServer::start(Store::open(house.store()).expect("opens"), address.port());
    let error = taken.expect_err("the port is taken").to_string();
    assert!(
        error.contains("cannot listen on port") && error.contains("--port"),
        "{error}"
    );
    // A connection that stays open does not keep the page alive.
    let _idle = TcpStream::connect(address).expect("connected");
    drop(house.server);
    assert!(TcpStream::connect(address).is_err());
}
