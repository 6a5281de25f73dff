//! `gigaro keys` from outside: a key is shown once, and its file is one that a server takes.

mod running;

use std::fs;

use gigaro_serve::keys::{Keys, Scope};
use running::{gigaro_in, succeeded, told};

#[test]
fn a_key_is_made_shown_once_listed_rotated_and_revoked() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let keys = |args: &[&str]| gigaro_in(here, &[&["keys"], args].concat());
    let made = succeeded(keys(&[
        "create",
        "ann",
        "--scopes",
        "inference,metrics",
        "--requests-per-minute",
        "60",
        "--tokens-per-day",
        "1000",
        "--expires",
        "2099-01-01",
        "--json",
    ]));
    let secret = made.json()["key"].as_str().expect("a key").to_owned();
    assert!(
        secret.starts_with("gigaro-") && secret.len() == 71,
        "{secret}"
    );
    assert!(made.stderr.contains(&secret), "for people: {}", made.stderr);
    let text = fs::read_to_string(here.join("keys.toml")).expect("a file");
    assert!(!text.contains(&secret[7..]), "{text}");
    let known = Keys::read(&here.join("keys.toml")).expect("keys").all();
    assert_eq!(known[0].scopes, [Scope::Inference, Scope::Metrics]);
    assert_eq!(known[0].limits.tokens_per_day.map(u64::from), Some(1000));

    let listed = succeeded(keys(&["list", "--json"])).json();
    let key = &listed["keys"][0];
    assert_eq!(
        (&key["name"], &key["expires"]),
        (&"ann".into(), &"2099-01-01T00:00:00Z".into())
    );
    assert_eq!(key["used_today"]["requests"], 0);
    let words = succeeded(keys(&["list"])).stdout;
    assert!(
        words.contains("60 requests/min") && words.contains("ends 2099-01-01"),
        "{words}"
    );

    let rotated = succeeded(keys(&["rotate", "ann", "--json"])).json();
    assert_ne!(rotated["key"], secret.as_str());
    let words = succeeded(keys(&["list"])).stdout;
    assert!(words.contains("an old secret still counts"), "{words}");
    succeeded(keys(&["create", "bob"]));
    succeeded(keys(&["revoke", "ann"]));
    let listed = succeeded(keys(&["list", "--json"])).json();
    assert_eq!(listed["keys"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_cannot_be_is_told_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    let keys = |args: &[&str]| gigaro_in(here, &[&["keys"], args].concat());
    told(&keys(&["revoke", "ann"]), "no file of keys keys.toml");
    told(&keys(&["list"]), "gigaro keys create");
    told(&keys(&["create", "a b"]), "no name for a key");
    told(
        &keys(&["create", "ann", "--scopes", "everything"]),
        "inference, conversations, metrics, admin",
    );
    told(
        &keys(&["create", "ann", "--tokens-per-day", "0"]),
        "--tokens-per-day",
    );
    told(&keys(&["create", "ann", "--expires", "soon"]), "no");
    told(
        &keys(&["create", "ann", "--expires", "2001-01-01"]),
        "has passed already",
    );
    assert!(!here.join("keys.toml").exists());
    succeeded(keys(&["create", "ann"]));
    let before = fs::read(here.join("keys.toml")).expect("a file");
    told(&keys(&["create", "ann"]), "\"ann\"");
    told(&keys(&["rotate", "bob"]), "it has: ann");
    fs::write(here.join("short"), "some-long-key\n").expect("written");
    told(
        &keys(&["create", "bob", "--file", "short"]),
        "begin a new file",
    );
    assert_eq!(fs::read(here.join("keys.toml")).expect("a file"), before);
}

#[test]
fn a_server_that_is_not_there_is_not_healthy() {
    let folder = tempfile::tempdir().expect("a folder");
    told(
        &gigaro_in(folder.path(), &["health", "http://127.0.0.1:9"]),
        "does not answer",
    );
}
