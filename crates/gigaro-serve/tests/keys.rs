//! Keys from outside: what each opens, how much it may use, what it is told, and that nobody meets what is another's.

mod service;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use gigaro_serve::conversations::Store;
use gigaro_serve::keys::{Change, Entry, KeyFile, Keys, Scope};
use gigaro_serve::server::{Access, Server};
use serde_json::{Value, json};
use service::{Answer, long, model, raw, request, settings, source, until};

/// A server with the page, and a file of keys beside its store.
struct Guarded {
    folder: tempfile::TempDir,
    server: Server,
}

/// Makes a key and gives its secret.
fn create(file: &Path, entry: Entry) -> String {
    let secret = KeyFile::change(file, Change::Create(entry)).expect("made");
    secret.expect("a secret")
}

fn entry(name: &str, scopes: &[Scope]) -> Entry {
    Entry::new(name, scopes.to_vec())
}

impl Guarded {
    /// With keys that `make` makes in the file that it is given.
    fn start<T>(make: impl FnOnce(&Path) -> T) -> (Guarded, T) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys.toml");
        let made = make(&file);
        let server = serve_in(folder.path());
        (Guarded { folder, server }, made)
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("keys.toml")
    }

    fn ask(&self, key: &str, method: &str, path: &str, body: &Value) -> Answer {
        let headers = format!("Authorization: Bearer {key}\r\nContent-Type: application/json\r\n");
        let text = request(method, path, &headers, &body.to_string());
        raw(self.server.address(), text.as_bytes())
    }

    fn complete(&self, key: &str, tokens: usize) -> Answer {
        self.ask(key, "POST", "/v1/completions", &long(tokens, false))
    }
}

fn serve_in(folder: &Path) -> Server {
    let keys = Keys::read(&folder.join("keys.toml")).expect("keys");
    keys.keep_usage(&folder.join("usage.db")).expect("kept");
    let settings = gigaro_serve::server::Settings {
        access: Access::Keys(keys),
        ..settings()
    };
    let store = Store::open_or_create(folder.join("chat.db")).expect("made");
    let source = source(
        "small",
        model(),
        gigaro_models::gpt::WeightFormat::F32,
        Duration::ZERO,
    );
    let host = std::net::Ipv4Addr::LOCALHOST.into();
    let server = Server::start(host, 0, vec![source], settings, Some(store)).expect("starts");
    until(|| server.app().readiness().is_ok());
    server
}

/// The value of a header.
fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[test]
fn each_address_opens_to_the_keys_with_its_scope_and_to_no_others() {
    let (guarded, secrets) =
        Guarded::start(|file| Scope::ALL.map(|scope| create(file, entry(scope.name(), &[scope]))));
    let body = long(1, false);
    for (method, path, wanted) in [
        ("POST", "/v1/completions", Some(Scope::Inference)),
        ("GET", "/v1/models", Some(Scope::Inference)),
        ("GET", "/v1/models/small", Some(Scope::Inference)),
        ("POST", "/tokenize", Some(Scope::Inference)),
        ("GET", "/api/conversations", Some(Scope::Conversations)),
        ("GET", "/api/feedback", Some(Scope::Conversations)),
        ("GET", "/metrics", Some(Scope::Metrics)),
        ("GET", "/admin/keys", Some(Scope::Admin)),
        ("GET", "/health", None),
        ("GET", "/health/live", None),
        ("GET", "/openapi.json", None),
        ("GET", "/", None),
    ] {
        for (scope, secret) in Scope::ALL.iter().zip(&secrets) {
            let answer = guarded.ask(secret, method, path, &body);
            let is_refused = answer.status == 403;
            let is_open = wanted.is_none_or(|wanted| wanted == *scope);
            assert_eq!(
                is_refused,
                !is_open,
                "{path} with {}: {}",
                scope.name(),
                answer.body
            );
            if is_refused {
                assert_eq!(answer.json()["error"]["code"], "missing_scope");
                let said = answer.sentence();
                assert!(said.contains(wanted.map_or("", Scope::name)), "{said}");
            }
        }
        let without = raw(
            guarded.server.address(),
            request(method, path, "", &body.to_string()).as_bytes(),
        );
        assert_eq!(
            without.status == 401,
            wanted.is_some(),
            "{path}: {}",
            without.status
        );
    }
}

#[test]
fn who_has_used_his_requests_is_told_when_to_come_back_and_others_go_on() {
    let (guarded, (ann, bob)) = Guarded::start(|file| {
        let mut ann = entry("ann", &[Scope::Inference]);
        ann.limits.requests_per_minute = std::num::NonZeroU64::new(2);
        (
            create(file, ann),
            create(file, entry("bob", &[Scope::Inference])),
        )
    });
    let first = guarded.complete(&ann, 1);
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(header(&first, "x-ratelimit-limit-requests"), Some("2"));
    assert_eq!(header(&first, "x-ratelimit-remaining-requests"), Some("1"));
    assert_eq!(header(&first, "x-ratelimit-reset-requests"), Some("30s"));
    // What asks for no work is not counted.
    assert_eq!(
        guarded.ask(&ann, "GET", "/v1/models", &json!({})).status,
        200
    );
    assert_eq!(guarded.complete(&ann, 1).status, 200);
    let over = guarded.complete(&ann, 1);
    assert_eq!(over.status, 429);
    assert_eq!(over.json()["error"]["code"], "rate_limit_exceeded");
    let wait: u64 = header(&over, "retry-after")
        .and_then(|s| s.parse().ok())
        .expect("seconds");
    assert!((1..=30).contains(&wait), "{wait}");
    assert_eq!(header(&over, "x-ratelimit-remaining-requests"), Some("0"));
    assert!(
        over.sentence().contains("2 requests per minute"),
        "{}",
        over.sentence()
    );
    let other = guarded.complete(&bob, 1);
    assert_eq!(other.status, 200);
    assert_eq!(header(&other, "x-ratelimit-limit-requests"), None);
}

#[test]
fn a_days_tokens_are_counted_through_a_restart_and_a_reply_is_never_cut() {
    let (guarded, ann) = Guarded::start(|file| {
        let mut ann = entry("ann", &[Scope::Inference, Scope::Admin]);
        ann.limits.tokens_per_day = std::num::NonZeroU64::new(40);
        create(file, ann)
    });
    // It begins with tokens left, and is written to its end.
    let first = guarded.complete(&ann, 60);
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(first.json()["usage"]["completion_tokens"], 60);
    let over = guarded.complete(&ann, 1);
    assert_eq!(
        (over.status, &over.json()["error"]["code"]),
        (429, &json!("insufficient_quota"))
    );
    assert!(
        over.sentence().contains("40 tokens per day"),
        "{}",
        over.sentence()
    );
    let Guarded { folder, server } = guarded;
    drop(server);
    let server = serve_in(folder.path());
    let guarded = Guarded { folder, server };
    assert_eq!(guarded.complete(&ann, 1).status, 429);
    let keys = guarded.ask(&ann, "GET", "/admin/keys", &json!({})).json();
    let used = &keys["data"][0]["used_today"];
    assert_eq!(used["requests"], 1, "{keys}");
    assert!(
        used["tokens"].as_u64().is_some_and(|tokens| tokens > 60),
        "{keys}"
    );
}

#[test]
fn so_many_requests_of_a_key_run_at_once_also_those_that_the_page_asks() {
    let (guarded, ann) = Guarded::start(|file| {
        let mut ann = entry("ann", &[Scope::Inference, Scope::Conversations]);
        ann.limits.concurrent_requests = std::num::NonZeroU64::new(1);
        create(file, ann)
    });
    let body = long(200, true).to_string();
    let headers = format!("Authorization: Bearer {ann}\r\n");
    let mut stream = TcpStream::connect(guarded.server.address()).expect("connects");
    let text = request("POST", "/v1/completions", &headers, &body);
    stream.write_all(text.as_bytes()).expect("sent");
    stream.read_exact(&mut [0; 64]).expect("it has begun");
    let second = guarded.complete(&ann, 1);
    assert_eq!(second.status, 429, "{}", second.body);
    assert!(
        second.sentence().contains("1 requests at once"),
        "{}",
        second.sentence()
    );
    let made = guarded
        .ask(&ann, "POST", "/api/conversations", &json!({}))
        .json();
    let id = made["id"].as_i64().expect("a number");
    let path = format!("/api/conversations/{id}");
    let question = json!({ "content": "the king" });
    let asked = guarded
        .ask(&ann, "POST", &format!("{path}/messages"), &question)
        .json();
    let answer = json!({ "parent": asked["id"], "request": { "max_tokens": 1 } });
    let refused = guarded.ask(&ann, "POST", &format!("{path}/answers"), &answer);
    assert_eq!(refused.status, 429, "{}", refused.body);
    // Whoever leaves makes room.
    drop(stream);
    until(|| guarded.complete(&ann, 1).status == 200);
}

#[test]
fn a_running_server_takes_keys_that_are_made_rotated_and_revoked() {
    let (guarded, ann) = Guarded::start(|file| create(file, entry("ann", &[Scope::Inference])));
    let status = |key: &str| guarded.ask(key, "GET", "/v1/models", &json!({})).status;
    assert_eq!(status(&ann), 200);
    let bob = create(&guarded.file(), entry("bob", &[Scope::Inference]));
    until(|| status(&bob) == 200);
    let rotate = Change::Rotate {
        name: "ann".to_owned(),
        until: gigaro_serve::keys::moment::in_hours(0),
    };
    let new = KeyFile::change(&guarded.file(), rotate)
        .expect("rotated")
        .expect("a secret");
    until(|| status(&new) == 200);
    let ended = guarded.ask(&ann, "GET", "/v1/models", &json!({}));
    assert_eq!(ended.status, 401);
    assert!(
        ended.sentence().contains("has ended"),
        "{}",
        ended.sentence()
    );
    KeyFile::change(&guarded.file(), Change::Revoke("bob".to_owned())).expect("revoked");
    until(|| status(&bob) == 401);
    // A file that makes no sense changes nothing.
    std::fs::write(guarded.file(), "[[key]]\nname = 1\n").expect("written");
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(status(&new), 200);
}

#[test]
fn what_one_key_has_said_and_cached_is_not_there_for_another() {
    let (guarded, (ann, bob)) = Guarded::start(|file| {
        let scopes = [Scope::Inference, Scope::Conversations];
        (
            create(file, entry("ann", &scopes)),
            create(file, entry("bob", &scopes)),
        )
    });
    let made = guarded
        .ask(&ann, "POST", "/api/conversations", &json!({}))
        .json();
    let path = format!("/api/conversations/{}", made["id"]);
    assert_eq!(guarded.ask(&ann, "GET", &path, &json!({})).status, 200);
    for (method, path) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("GET", format!("{path}/export")),
    ] {
        assert_eq!(
            guarded.ask(&bob, method, &path, &json!({})).status,
            404,
            "{method} {path}"
        );
    }
    let cached = |key: &str| {
        let text = "the king of the old city reads a book about rivers, bridges and trains";
        let body = json!({ "prompt": text, "max_tokens": 1 });
        let answer = guarded.ask(key, "POST", "/v1/completions", &body).json();
        let cached = &answer["usage"]["prompt_tokens_details"]["cached_tokens"];
        cached.as_u64().expect("a number")
    };
    assert_eq!(cached(&ann), 0);
    assert!(cached(&ann) > 0, "her own text is there");
    assert_eq!(cached(&bob), 0, "hers is not his");
}
