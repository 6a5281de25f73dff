//! Asking a model behind an address, over real connections to a server that behaves well and in every way badly.

mod peer;

use std::time::{Duration, Instant};

use gigaro_data::chat::Message;
use gigaro_serve::endpoint::{Endpoint, EndpointError, Heard, Key, Patience};

use peer::{Asked, Peer, Say};

/// Pauses that a test can wait for.
const QUICK: Patience = Patience {
    timeout: Duration::from_millis(400),
    attempts: 3,
    pause: Duration::from_millis(1),
};

fn endpoint(peer: &Peer, secret: Option<&str>) -> Endpoint {
    let key = Key {
        from: "SOME_KEY".into(),
        secret: secret.map(str::to_owned),
    };
    Endpoint::new(&peer.address, "judge-1", key, QUICK).expect("a good address")
}

fn ask(endpoint: &mut Endpoint) -> Result<String, EndpointError> {
    endpoint.ask(&[Message::system("Be brief."), Message::user("Who?")])
}

/// A server that says these, one after another, and the last one from then on.
fn saying(mut script: Vec<fn() -> Say>) -> Peer {
    Peer::start(move |_: &Asked| {
        let now = if script.len() > 1 {
            script.remove(0)
        } else {
            script[0]
        };
        now()
    })
}

fn status(line: &'static str, body: &str) -> Say {
    Say::Status(line, "", body.to_owned())
}

#[test]
fn a_question_goes_out_as_the_api_has_it_and_the_words_come_back() {
    let peer = saying(vec![|| Say::Words("You.".into())]);
    let mut model = endpoint(&peer, Some("sk-1"));
    assert_eq!(ask(&mut model).expect("an answer"), "You.");
    assert_eq!(ask(&mut model).expect("another"), "You.");
    let seen = peer.seen();
    assert_eq!(seen.len(), 2);
    let head = seen[0].head.to_lowercase();
    assert!(
        head.starts_with("post /v1/chat/completions http/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("\r\nauthorization: bearer sk-1\r\n"),
        "{head}"
    );
    assert!(
        head.contains("\r\ncontent-type: application/json\r\n"),
        "{head}"
    );
    let body = &seen[0].body;
    assert_eq!(body["model"], "judge-1");
    assert_eq!(body["temperature"], 0);
    assert_eq!(body["messages"][0]["role"], "system");
    assert_eq!(body["messages"][1]["content"], "Who?");
    assert_eq!(body["stream"], serde_json::Value::Null);
}

#[test]
fn without_a_key_none_is_sent() {
    let peer = saying(vec![|| Say::Words(String::new())]);
    assert_eq!(ask(&mut endpoint(&peer, None)).expect("silence"), "");
    assert!(!peer.seen()[0].head.to_lowercase().contains("authorization"));
}

#[test]
fn what_passes_is_tried_again() {
    let peer = saying(vec![
        || status("503 Service Unavailable", "starting"),
        || status("429 Too Many Requests", "{}"),
        || Say::Words("now".into()),
    ]);
    assert_eq!(ask(&mut endpoint(&peer, None)).expect("an answer"), "now");
    assert_eq!(peer.seen().len(), 3);
    let broken = saying(vec![|| Say::Nothing, || Say::Half, || {
        Say::Words("now".into())
    }]);
    assert_eq!(ask(&mut endpoint(&broken, None)).expect("an answer"), "now");
    let garbage = saying(vec![|| status("200 OK", "<html>"), || {
        Say::Words("now".into())
    }]);
    assert_eq!(
        ask(&mut endpoint(&garbage, None)).expect("an answer"),
        "now"
    );
}

#[test]
fn a_server_that_names_a_pause_is_left_alone_so_long() {
    let peer = saying(vec![
        || Say::Status("429 Too Many Requests", "Retry-After: 1\r\n", "{}".into()),
        || Say::Words("now".into()),
    ]);
    let start = Instant::now();
    assert_eq!(ask(&mut endpoint(&peer, None)).expect("an answer"), "now");
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn what_will_not_pass_is_told_at_once_with_what_to_do() {
    let check = |say: fn() -> Say, secret, expected: &[&str]| {
        let peer = saying(vec![say]);
        let error = ask(&mut endpoint(&peer, secret))
            .expect_err("refused")
            .to_string();
        for part in expected {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(error.contains(&peer.address), "{error}");
        assert_eq!(peer.seen().len(), 1, "{error}");
        error
    };
    let wrong_key = || {
        status(
            "401 Unauthorized",
            r#"{"error": {"message": "Incorrect key sk-1"}}"#,
        )
    };
    let said = check(
        wrong_key,
        Some("sk-1"),
        &["401", "Incorrect key", "check the key in SOME_KEY"],
    );
    assert!(!said.contains("sk-1"), "{said}");
    check(wrong_key, None, &["set SOME_KEY"]);
    let no_model = || {
        status(
            "404 Not Found",
            r#"{"error": {"message": "no model judge-1"}}"#,
        )
    };
    check(
        no_model,
        None,
        &["404", "no model judge-1", "the model's name"],
    );
    let elsewhere = || {
        Say::Status(
            "307 Temporary Redirect",
            "Location: http://127.0.0.1:1/\r\n",
            String::new(),
        )
    };
    check(
        elsewhere,
        Some("sk-1"),
        &["307", "give the address where it is"],
    );
}

#[test]
fn trouble_that_stays_is_told_after_the_last_attempt() {
    let check = |say: fn() -> Say, tries: usize, expected: &[&str]| {
        let peer = saying(vec![say]);
        let error = ask(&mut endpoint(&peer, None))
            .expect_err("in trouble")
            .to_string();
        for part in expected {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(
            error.starts_with(&format!("tried {tries} times: ")),
            "{error}"
        );
        assert_eq!(peer.seen().len(), tries, "{error}");
    };
    check(
        || status("500 Internal Server Error", "out of memory"),
        3,
        &["500", "out of memory", "see its log"],
    );
    check(
        || status("200 OK", "<html>Welcome</html>"),
        3,
        &["not JSON", "Welcome", "/v1"],
    );
    check(
        || status("200 OK", r#"{"choices": []}"#),
        3,
        &["choices[0].message"],
    );
    check(|| Say::Half, 3, &["cannot be reached"]);
    let endless = || status("200 OK", &" ".repeat(5 << 20));
    check(endless, 3, &["longer than 4194304 bytes"]);
}

#[test]
fn a_slow_server_is_waited_for_twice_and_no_longer() {
    let peer = saying(vec![|| Say::Late(Duration::from_secs(20))]);
    let start = Instant::now();
    let error = ask(&mut endpoint(&peer, None))
        .expect_err("too slow")
        .to_string();
    assert!(
        error.contains("tried 2 times") && error.contains("within 0.4 seconds"),
        "{error}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(peer.seen().len(), 2);
}

#[test]
fn time_that_runs_out_after_other_trouble_is_given_another_chance() {
    let peer = saying(vec![
        || status("503 Service Unavailable", "{}"),
        || Say::Late(Duration::from_secs(20)),
        || Say::Words("at last".into()),
    ]);
    assert_eq!(ask(&mut endpoint(&peer, None)).expect("words"), "at last");
    assert_eq!(peer.seen().len(), 3);
}

#[test]
fn a_setting_is_left_out_however_late_its_name_comes_and_whatever_the_key_is() {
    let long = format!("{} max_tokens", "no ".repeat(200));
    let mut first = true;
    let peer = Peer::start(move |_: &Asked| {
        if std::mem::take(&mut first) {
            status("400 Bad Request", &long)
        } else {
            Say::Words("yes".into())
        }
    });
    let words = ask(&mut endpoint(&peer, Some("token")));
    assert_eq!(words.expect("words"), "yes");
    assert!(peer.seen()[1].body.get("max_tokens").is_none());
}

#[test]
fn nobody_there_is_told() {
    let peer = saying(vec![|| Say::Nothing]);
    let mut absent = endpoint(&peer, None);
    assert!(matches!(
        ask(&mut absent),
        Err(EndpointError::GaveUp { .. })
    ));
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    let key = Key {
        from: "SOME_KEY".into(),
        secret: None,
    };
    let mut absent = Endpoint::new(&address, "m", key, QUICK).expect("an address");
    let error = ask(&mut absent).expect_err("nobody there").to_string();
    assert!(
        error.contains(&address) && error.contains("cannot be reached"),
        "{error}"
    );
}

#[test]
fn a_setting_that_the_model_does_not_take_is_left_out_from_then_on() {
    let peer = Peer::start(|asked: &Asked| {
        let refuse = |name: &str| {
            let said = format!(r#"{{"error": {{"message": "Unsupported parameter: '{name}'"}}}}"#);
            Say::Status("400 Bad Request", "", said)
        };
        let has = |name: &str| asked.body.get(name).is_some();
        match () {
            () if has("max_tokens") => refuse("max_tokens"),
            () if has("temperature") => refuse("temperature"),
            () => Say::Words("fine".into()),
        }
    });
    let mut model = endpoint(&peer, None);
    assert_eq!(ask(&mut model).expect("an answer"), "fine");
    assert_eq!(peer.seen().len(), 3);
    assert_eq!(ask(&mut model).expect("an answer"), "fine");
    assert_eq!(peer.seen().len(), 4);
    let stubborn = saying(vec![|| {
        status("400 Bad Request", "temperature and max_tokens")
    }]);
    let error = ask(&mut endpoint(&stubborn, None)).expect_err("refused");
    assert!(
        matches!(error, EndpointError::Refused { status: 400, .. }),
        "{error}"
    );
    assert_eq!(stubborn.seen().len(), 3);
}

/// All that a stream said, and how it ended.
fn follow(peer: &Peer) -> (String, Result<Option<String>, EndpointError>) {
    let mut words = String::new();
    for heard in endpoint(peer, None).stream(&[Message::user("Who?")]) {
        match heard {
            Ok(Heard::Piece(piece)) => words += &piece,
            Ok(Heard::End(reason)) => return (words, Ok(reason)),
            Err(error) => return (words, Err(error)),
        }
    }
    panic!("a stream without an end")
}

fn streamed(events: &str) -> Say {
    let body = events.replace('|', "\n\n");
    Say::Status("200 OK", "Content-Type: text/event-stream\r\n", body)
}

#[test]
fn a_streamed_reply_comes_piece_by_piece_and_says_why_it_ended() {
    let peer = saying(vec![|| {
        streamed(
            r#"data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}|: ping|data: {"choices": [{"delta": {"content": "Yo"}}]}|data: {"choices": [{"delta": {"content": "u."}, "finish_reason": "length"}]}|data: {"choices": [], "usage": {}}|data: [DONE]|"#,
        )
    }]);
    let (words, end) = follow(&peer);
    assert_eq!(
        (words.as_str(), end.expect("an end").as_deref()),
        ("You.", Some("length"))
    );
    assert_eq!(peer.seen()[0].body["stream"], true);
}

#[test]
fn a_stream_that_breaks_off_says_so_after_what_there_was() {
    for (say, part) in [
        (
            r#"data: {"choices": [{"delta": {"content": "Yo"}}]}|"#,
            "closed before the end",
        ),
        (
            r#"data: {"choices": [{"delta": {"content": "Yo"}}]}|data: {"error": {"message": "the model is gone"}}|"#,
            "the model is gone",
        ),
        (
            r#"data: {"choices": [{"delta": {"content": "Yo"}}]}|data: nonsense|"#,
            "not JSON",
        ),
    ] {
        let peer = Peer::start(move |_: &Asked| streamed(say));
        let (words, end) = follow(&peer);
        let told = end.expect_err(part).to_string();
        assert!(words == "Yo" && told.contains(part), "{words}: {told}");
    }
    let peer = saying(vec![|| {
        status("401 Unauthorized", r#"{"error": {"message": "no"}}"#)
    }]);
    let told = follow(&peer).1.expect_err("a refusal").to_string();
    assert!(told.contains("refuses with status 401 (no)"), "{told}");
}

#[test]
fn whoever_leaves_a_stream_ends_it() {
    let peer = Peer::start(move |_: &Asked| streamed(&"data: {\"choices\": []}|".repeat(200_000)));
    let told = endpoint(&peer, None).stream(&[Message::user("Who?")]);
    assert!(told.recv().is_ok());
    drop(told);
    assert_eq!(peer.seen().len(), 1);
}
