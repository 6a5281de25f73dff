//! Two servers on one store of conversations, in a file and on a PostgreSQL server: what one writes the other reads, and does not take for
//! cut short.

mod postgres;
mod service;

use std::path::{Path, PathBuf};
use std::time::Duration;

use gigaro_models::gpt::WeightFormat;
use gigaro_serve::conversations::Store;
use gigaro_serve::server::Server;
use serde_json::{Value, json};
use service::{get, model, post, settings, source, until};

fn serve(place: &Path) -> Server {
    let store = Store::open_or_create(place).expect("opens");
    let source = source("small", model(), WeightFormat::F32, Duration::ZERO);
    let host = std::net::Ipv4Addr::LOCALHOST.into();
    let server = Server::start(host, 0, vec![source], settings(), Some(store)).expect("starts");
    until(|| server.app().readiness().is_ok());
    server
}

fn state(server: &Server, path: &str) -> Value {
    get(server, path).json()["messages"][1]["state"].clone()
}

#[test]
fn a_server_that_starts_beside_another_leaves_its_replies_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut places: Vec<PathBuf> = vec![folder.path().join("chat.db")];
    places.extend(postgres::fresh().map(Into::into));
    for place in places {
        let one = serve(&place);
        let id = post(&one, "/api/conversations", &json!({})).json()["id"].clone();
        let path = format!("/api/conversations/{id}");
        let question = json!({ "content": "the king" });
        let asked = post(&one, &format!("{path}/messages"), &question).json();
        // A reply that is under way for as long as the store says so: begun as a server does, and not ended.
        let mut writer = Store::open(&place).expect("opens");
        let request = gigaro_serve::conversations::AnswerRequest {
            parent: asked["id"].as_i64().expect("a number"),
            system: String::new(),
            request: json!({}),
            model: "small".to_owned(),
        };
        let number = id.as_i64().expect("a number");
        let answer = writer
            .begin_answer("local", number, &request)
            .expect("begun");
        let other = serve(&place);
        assert_eq!(state(&other, &path), "streaming");
        assert_eq!(state(&one, &path), "streaming");
        // It says every few seconds that it lives, and the others believe it; then it falls silent.
        drop(writer);
        let mut third = Store::open(&place).expect("opens");
        assert_eq!(third.recover(Duration::ZERO).expect("marked"), 1);
        assert_eq!(state(&other, &path), "interrupted");
        // What one server has written is there for the other, word for word.
        let body =
            json!({ "parent": asked["id"], "request": { "max_tokens": 5, "ignore_eos": true } });
        assert_eq!(post(&other, &format!("{path}/answers"), &body).status, 200);
        let read = get(&one, &path).json();
        assert_eq!(read, get(&other, &path).json());
        assert_eq!(read["messages"][2]["state"], "complete", "{read}");
        assert!(answer > 0);
        // Servers end while their connections to the store stand.
        one.drain();
        until(|| one.is_finished());
        drop((one, other));
    }
}
