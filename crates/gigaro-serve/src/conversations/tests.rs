//! Conversations from the first question to the file of preferences, owners kept apart, and files that are no stores.

use super::*;
use crate::database::{Dialect, testing};
use gigaro_data::chat::Role;
use gigaro_data::preferences::{self, Pair};
use serde_json::json;
use std::time::Duration;

const ANN: &str = "ann";
const BOB: &str = "bob";

/// An empty store in a file and, where there is PostgreSQL, one on a server: the same holds for both. The check gets the place too.
fn each(check: impl Fn(&Path, &mut Store)) {
    let (folder, mut store) = store();
    check(&folder.path().join("chat.db"), &mut store);
    if let Some(url) = testing::fresh() {
        let mut store = Store::open_or_create(&url).expect("made");
        check(Path::new(&url), &mut store);
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open_or_create(folder.path().join("chat.db")).expect("made");
    (folder, store)
}

fn begun(store: &mut Store, owner: &str, question: &str) -> (i64, i64) {
    let id = store.create(owner, &New::default()).expect("created");
    let asked = store.ask(owner, id, None, question).expect("asked");
    (id, asked)
}

/// A whole answer to `parent`, written under the instructions `system`.
fn answered(
    store: &mut Store,
    owner: &str,
    conversation: i64,
    parent: i64,
    system: &str,
    content: &str,
) -> i64 {
    let asked = AnswerRequest {
        parent,
        system: system.to_owned(),
        request: json!({"temperature": 0.5}),
        model: "small".to_owned(),
    };
    let id = store
        .begin_answer(owner, conversation, &asked)
        .expect("begun");
    store
        .finish(id, &end(content, State::Complete))
        .expect("kept");
    id
}

fn end(content: &str, state: State) -> AnswerEnd {
    AnswerEnd {
        content: content.to_owned(),
        state,
        reason: Some("stop".to_owned()),
        tokens: Some(json!([{"token": content, "logprob": -0.5}])),
        usage: json!({"completion_tokens": 1}),
    }
}

#[test]
fn editing_and_regenerating_add_branches_and_delete_nothing() {
    each(|_, store| {
        let (id, first) = begun(store, ANN, "Why is the sky blue?");
        let answer = answered(store, ANN, id, first, "", "Because.");
        let again = answered(store, ANN, id, first, "", "Light scatters.");
        let edited = store
            .ask(ANN, id, None, "Why is the sea blue?")
            .expect("asked");
        let other = answered(store, ANN, id, edited, "", "It mirrors the sky.");
        let further = store.ask(ANN, id, Some(again), "How?").expect("asked");

        let whole = store.read(ANN, id).expect("read");
        assert_eq!(whole.title, "Why is the sky blue?");
        assert_eq!(whole.leaf, Some(further));
        let parents: Vec<_> = whole.messages.iter().map(|m| (m.id, m.parent)).collect();
        assert_eq!(
            parents,
            [
                (first, None),
                (answer, Some(first)),
                (again, Some(first)),
                (edited, None),
                (other, Some(edited)),
                (further, Some(again))
            ]
        );
        let branch = store.branch(ANN, id, further).expect("a branch");
        let said: Vec<_> = branch
            .iter()
            .map(|m| (m.role, m.content.as_str()))
            .collect();
        assert_eq!(
            said,
            [
                (Role::User, "Why is the sky blue?"),
                (Role::Assistant, "Light scatters."),
                (Role::User, "How?")
            ]
        );
        let back = Change {
            leaf: Some(other),
            ..Change::default()
        };
        store.alter(ANN, id, &back).expect("changed");
        let shown: Vec<i64> = store
            .read(ANN, id)
            .expect("read")
            .shown()
            .iter()
            .map(|m| m.id)
            .collect();
        assert_eq!(shown, [edited, other]);
    });
}

#[test]
fn what_is_one_owners_is_not_there_for_another() {
    each(|_, store| {
        let (id, question) = begun(store, ANN, "A secret question");
        let answer = answered(store, ANN, id, question, "", "a secret answer");
        let second = answered(store, ANN, id, question, "", "another one");
        let asked = AnswerRequest {
            parent: question,
            system: String::new(),
            request: json!({}),
            model: "small".to_owned(),
        };
        let refused = [
            store.read(BOB, id).map(|_| ()),
            store.export(BOB, id, ExportForm::Json).map(|_| ()),
            store.branch(BOB, id, answer).map(|_| ()),
            store.tokens(BOB, answer).map(|_| ()),
            store.ask(BOB, id, Some(answer), "hello").map(|_| ()),
            store.begin_answer(BOB, id, &asked).map(|_| ()),
            store.alter(BOB, id, &Change::default()),
            store.rate(BOB, answer, Some(1)),
            store.choose(BOB, [answer, second], Some(answer)),
            store.delete(BOB, id),
        ];
        for refusal in refused {
            assert!(matches!(refusal, Err(Error::Missing { .. })), "{refusal:?}");
        }
        for search in ["", "secret", "se"] {
            assert_eq!(
                store
                    .list(BOB, search, 0, 10)
                    .expect("listed")
                    .conversations,
                []
            );
        }
        store.rate(ANN, answer, Some(1)).expect("rated");
        assert_eq!(store.judgements(Some(BOB)).expect("read"), []);
        assert_eq!(store.judgements(None).expect("read").len(), 1);
    });
}

#[test]
fn a_search_finds_parts_of_words_in_titles_and_messages() {
    each(|_, store| {
        let (sky, question) = begun(store, ANN, "Warum leuchtet der Himmel blau?");
        answered(
            store,
            ANN,
            sky,
            question,
            "",
            "Wegen der Rayleighstreuung, 100% sicher. 空は青い",
        );
        let (sea, _) = begun(store, ANN, "Tell me about the sea");
        let mut found = |search: &str| -> Vec<i64> {
            let listed = store.list(ANN, search, 0, 10).expect("listed");
            listed.conversations.iter().map(|c| c.id).collect()
        };
        assert_eq!(found(""), [sea, sky]);
        for search in [
            "himmel",
            "STREUUNG",
            "immel treuung",
            "青い",
            "空は青",
            "0%",
            "blau?",
        ] {
            assert_eq!(found(search), [sky], "{search}");
        }
        for search in ["himmel sea", "\"", "NEAR(", "a_b", "-x*", "ä' OR 1=1"] {
            assert_eq!(found(search), [] as [i64; 0], "{search}");
        }
        let snippet = store
            .list(ANN, "rayleigh", 0, 10)
            .expect("listed")
            .conversations[0]
            .snippet
            .clone();
        assert!(snippet.is_some_and(|words| words.contains("Rayleighstreuung")));
        let listed = store.list(ANN, "", 1, 1).expect("listed");
        assert_eq!((listed.conversations[0].id, listed.more), (sky, false));
        assert!(store.list(ANN, "", 0, 1).expect("listed").more);
    });
}

#[test]
fn what_is_deleted_is_not_found_any_more() {
    each(|_, store| {
        let (id, question) = begun(store, ANN, "Remember the password");
        let one = answered(store, ANN, id, question, "", "swordfish");
        let two = answered(store, ANN, id, question, "", "hunter");
        store.choose(ANN, [one, two], Some(two)).expect("chosen");
        store.delete(ANN, id).expect("deleted");
        for table in ["conversations", "messages", "choices", "writing", "words"] {
            if table == "words" && store.database.dialect() == Dialect::Postgres {
                continue;
            }
            let query = format!("SELECT count(*) FROM {table}");
            let rows: Option<i64> = store
                .database
                .row(&query, &[], |row| row.get(0))
                .expect("counted");
            assert_eq!(rows, Some(0), "{table}");
        }
        store
            .finish(one, &end("late words", State::Complete))
            .expect("nothing to keep");
        assert!(matches!(store.read(ANN, id), Err(Error::Missing { .. })));
    });
}

#[test]
fn an_answer_that_the_server_did_not_finish_is_marked_and_searched() {
    each(|place, store| {
        let (id, question) = begun(store, ANN, "Count to ten");
        let asked = AnswerRequest {
            parent: question,
            system: String::new(),
            request: json!({}),
            model: "small".to_owned(),
        };
        let answer = store.begin_answer(ANN, id, &asked).expect("begun");
        store.grow(answer, "one two three").expect("kept");
        assert!(
            store.rate(ANN, answer, Some(1)).is_err(),
            "it is not whole yet"
        );
        // This one still writes it, as another server can tell.
        let mut other = Store::open(place).expect("opens");
        assert_eq!(other.recover(SILENCE).expect("marked"), 0);
        assert_eq!(store.recover(SILENCE).expect("marked"), 0);
        // Now it is dead.
        assert_eq!(other.recover(Duration::ZERO).expect("marked"), 1);
        let store = &mut other;
        let message = store.read(ANN, id).expect("read").messages[1].clone();
        assert_eq!(message.state, State::Interrupted);
        assert_eq!(message.content, "one two three");
        assert_eq!(
            store
                .list(ANN, "two", 0, 10)
                .expect("listed")
                .conversations
                .len(),
            1
        );
        let text = store
            .export(ANN, id, ExportForm::Markdown)
            .expect("exported");
        assert!(
            text.contains("## small\n\none two three\n\n*(interrupted here"),
            "{text}"
        );
    });
}

#[test]
fn choices_and_thumbs_become_pairs_that_preferences_read() {
    each(|_, store| {
        let (id, question) = begun(store, ANN, "Greet me");
        let [good, bad, worst, level] = ["Hello!", "Hm.", "No.", "Hi!"]
            .map(|content| answered(store, ANN, id, question, "Be kind", content));
        let elsewhere = answered(store, ANN, id, question, "Be rude", "Go away.");
        store.choose(ANN, [bad, good], Some(good)).expect("chosen");
        store.choose(ANN, [good, level], None).expect("level");
        for (answer, rating) in [
            (good, 1),
            (bad, -1),
            (worst, -1),
            (level, -1),
            (elsewhere, -1),
        ] {
            store.rate(ANN, answer, Some(rating)).expect("rated");
        }
        store.rate(ANN, level, None).expect("taken back");
        let pair = |rejected: &str| Pair {
            prompt: vec![
                chat_message("system", "Be kind"),
                chat_message("user", "Greet me"),
            ]
            .into(),
            chosen: "Hello!".to_owned(),
            rejected: rejected.to_owned(),
        };
        // The choice once, though there are thumbs too; nothing across different instructions; nothing of those that are level.
        let pairs = store.pairs(None).expect("pairs");
        assert_eq!(pairs, [pair("Hm."), pair("No.")]);
        let counts = store.feedback_counts(Some(ANN)).expect("counted");
        assert_eq!(
            (counts.up, counts.down, counts.compared, counts.pairs),
            (1, 3, 2, 2)
        );

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pairs.jsonl");
        std::fs::write(&path, preferences::pairs_jsonl(pairs.iter())).expect("written");
        assert_eq!(preferences::read(&path).expect("read back").pairs, pairs);
        let judgements = store.judgements(None).expect("judgements");
        std::fs::write(&path, preferences::judgements_jsonl(&judgements)).expect("written");
        let read = preferences::read(&path).expect("read back");
        assert_eq!((read.report.good, read.report.bad), (1, 3));
    });
}

fn chat_message(role: &str, content: &str) -> gigaro_data::chat::Message {
    gigaro_data::chat::Message::new(Role::from_name(role).expect("a role"), content)
}

#[test]
fn what_cannot_be_is_refused_with_a_sentence() {
    each(|_, store| {
        let (id, question) = begun(store, ANN, "One");
        let (other, foreign) = begun(store, ANN, "Two");
        let answer = answered(store, ANN, id, question, "", "Ja.");
        let far = answered(store, ANN, other, foreign, "", "Nein.");
        let said = |refusal: Result<()>| refusal.expect_err("refused").to_string();
        let empty = said(store.ask(ANN, id, None, " \n").map(|_| ()));
        assert!(empty.contains("empty"), "{empty}");
        let twice = said(store.ask(ANN, id, Some(question), "x").map(|_| ()));
        assert!(twice.contains("questions after answers"), "{twice}");
        let elsewhere = said(store.ask(ANN, id, Some(far), "x").map(|_| ()));
        assert!(elsewhere.contains("no message"), "{elsewhere}");
        let long = said(store.ask(ANN, id, None, &"x".repeat(2 << 20)).map(|_| ()));
        assert!(long.contains("bytes"), "{long}");
        let apart = said(store.choose(ANN, [answer, far], Some(far)));
        assert!(apart.contains("same question"), "{apart}");
        let third = said(store.choose(ANN, [answer, far], Some(question)));
        assert!(third.contains("between two"), "{third}");
        let much = said(store.rate(ANN, answer, Some(5)));
        assert!(much.contains("neither 1 nor -1"), "{much}");
        let leaf = Change {
            leaf: Some(far),
            ..Change::default()
        };
        assert!(said(store.alter(ANN, id, &leaf)).contains("no message"));
    });
}

#[test]
fn files_that_are_no_stores_are_refused_and_left_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let refusal = |name: &str| Store::open(at(name)).expect_err(name).to_string();
    assert!(refusal("none.db").contains("there is no store"));
    std::fs::write(at("text.db"), "some text that is no database\n".repeat(80)).expect("written");
    assert!(refusal("text.db").contains("no store of conversations"));
    let other = rusqlite::Connection::open(at("other.db")).expect("made");
    other.execute_batch("CREATE TABLE x (y)").expect("made");
    drop(other);
    let before = std::fs::read(at("other.db")).expect("read");
    let error = Store::open_or_create(at("other.db"))
        .expect_err("foreign")
        .to_string();
    assert!(error.contains("not a store of conversations"), "{error}");
    assert_eq!(std::fs::read(at("other.db")).expect("read"), before);
    let error = Store::open_or_create(at("no/such/folder.db"))
        .expect_err("no folder")
        .to_string();
    assert!(error.contains("cannot be opened"), "{error}");
}

#[test]
fn a_damaged_store_is_refused_or_read_but_never_panics() {
    let (folder, mut store) = store();
    for number in 0..40 {
        let (id, question) = begun(&mut store, ANN, &format!("Question {number}"));
        answered(
            &mut store,
            ANN,
            id,
            question,
            "",
            "An answer of some length, to fill pages.",
        );
    }
    drop(store);
    let whole = std::fs::read(folder.path().join("chat.db")).expect("read");
    let path = folder.path().join("damaged.db");
    let mut refused = 0;
    for at in (0..whole.len()).step_by(whole.len() / 100) {
        let mut bytes = whole.clone();
        let end = (at + 64).min(bytes.len());
        bytes[at..end].fill(0xA5);
        std::fs::write(&path, bytes).expect("written");
        for name in ["damaged.db-shm", "damaged.db-wal"] {
            let _ = std::fs::remove_file(folder.path().join(name));
        }
        let used = Store::open(&path).and_then(|mut store| {
            store.recover(SILENCE)?;
            for listed in store.list(ANN, "answer", 0, 50)?.conversations {
                store.read(ANN, listed.id)?;
            }
            store.judgements(None)
        });
        if let Err(error) = used {
            assert!(!error.to_string().is_empty());
            refused += 1;
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn an_answer_that_was_given_up_too_early_is_whole_in_the_end() {
    each(|place, store| {
        let (id, question) = begun(store, ANN, "Count to ten");
        let asked = AnswerRequest {
            parent: question,
            system: String::new(),
            request: json!({}),
            model: "small".to_owned(),
        };
        let answer = store.begin_answer(ANN, id, &asked).expect("begun");
        let mut other = Store::open(place).expect("opens");
        assert_eq!(other.recover(Duration::ZERO).expect("marked"), 1);
        store
            .finish(answer, &end("one to ten", State::Complete))
            .expect("kept");
        let message = other.read(ANN, id).expect("read").messages[1].clone();
        assert_eq!(
            (message.state, message.content.as_str()),
            (State::Complete, "one to ten")
        );
    });
}

#[test]
fn texts_with_zeros_and_all_scripts_are_kept() {
    each(|_, store| {
        let (id, question) = begun(store, ANN, "nul \0 and 空は青い \u{1f600} \\ ' \" %");
        answered(store, ANN, id, question, "be \0 kind", "an \0 answer");
        let read = store.read(ANN, id).expect("read");
        let content = &read.messages[0].content;
        assert_eq!(content, "nul \u{fffd} and 空は青い \u{1f600} \\ ' \" %");
        assert_eq!(read.messages[1].content, "an \u{fffd} answer");
        assert_eq!(
            store
                .list(ANN, "\0", 0, 9)
                .expect("listed")
                .conversations
                .len(),
            1
        );
    });
}
