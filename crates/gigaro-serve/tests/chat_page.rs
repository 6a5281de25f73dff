//! The chat page from outside: its files, conversations over HTTP, and replies that outlive whoever asked for them.

mod service;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use gigaro_models::gpt::WeightFormat;
use gigaro_serve::conversations::{Outcome, State, Store, Training};
use gigaro_serve::server::{Access, Keys, Server, Settings};
use serde_json::{Value, json};
use service::{Answer, get, model, post, post_text, raw, request, settings, source, until};

/// A server with the page, and the folder that its store is in.
fn serve(settings: Settings) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serve_in(folder.path(), settings);
    (folder, server)
}

fn serve_in(folder: &Path, settings: Settings) -> Server {
    let store = Store::open_or_create(folder.join("chat.db")).expect("made");
    let source = source("small", model(), WeightFormat::F32, Duration::ZERO);
    let host = Ipv4Addr::LOCALHOST.into();
    let server = Server::start(host, 0, vec![source], settings, Some(store)).expect("starts");
    until(|| server.app().readiness().is_ok());
    server
}

fn send(server: &Server, method: &str, path: &str, headers: &str, body: &Value) -> Answer {
    let headers = format!("Content-Type: application/json\r\n{headers}");
    let text = request(method, path, &headers, &body.to_string());
    raw(server.address(), text.as_bytes())
}

/// A new conversation with one question: their numbers.
fn begun(server: &Server, question: &str) -> (i64, i64) {
    let id = number(&post(server, "/api/conversations", &json!({})));
    let asked = json!({ "content": question });
    let message = post(server, &format!("/api/conversations/{id}/messages"), &asked);
    (id, number(&message))
}

fn number(answer: &Answer) -> i64 {
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()["id"].as_i64().expect("a number")
}

/// Asks for `n` tokens, whatever they are, in answer to `parent`.
fn long(parent: i64, n: usize) -> Value {
    json!({ "parent": parent, "request": { "max_tokens": n, "ignore_eos": true, "seed": 5 } })
}

fn read(server: &Server, conversation: i64) -> Value {
    get(server, &format!("/api/conversations/{conversation}")).json()
}

/// Asks for an answer and leaves when it has begun: the number of the answer.
fn begin_and_leave(server: &Server, conversation: i64, body: &Value) -> i64 {
    let path = format!("/api/conversations/{conversation}/answers");
    let text = request(
        "POST",
        &path,
        "Content-Type: application/json\r\n",
        &body.to_string(),
    );
    let mut stream = TcpStream::connect(server.address()).expect("connects");
    stream.write_all(text.as_bytes()).expect("sent");
    let mut seen = String::new();
    let mut buffer = [0; 512];
    loop {
        let n = stream.read(&mut buffer).expect("read");
        assert!(n > 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..n]));
        let begun = seen.split("event: answer\ndata: {\"id\":").nth(1);
        if let Some((id, _)) = begun.and_then(|rest| rest.split_once('}')) {
            return id.trim().parse().expect("a number");
        }
    }
}

#[test]
fn a_browser_is_told_to_run_nothing_but_the_pages_own_files() {
    let (_folder, server) = serve(settings());
    let page = get(&server, "/");
    assert_eq!(page.status, 200);
    let headers = page.headers.to_ascii_lowercase();
    let policy = headers
        .lines()
        .find(|line| line.starts_with("content-security-policy:"))
        .expect("a policy");
    assert!(
        policy.contains("default-src 'none'; script-src 'self'"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    for header in [
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "x-frame-options: deny",
    ] {
        assert!(headers.contains(header), "{header}");
    }
    let html = &page.body;
    for inline in ["<script>", " style=", "<style", " onclick=", "javascript:"] {
        assert!(!html.contains(inline), "{inline} would not be run");
    }
}

#[test]
fn every_file_and_every_part_that_the_page_names_is_there() {
    let (_folder, server) = serve(settings());
    let html = &get(&server, "/").body;
    // What the page names, and what its scripts import, from file to file.
    let mut names: Vec<String> = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        names.extend(
            quoted(html, attribute)
                .filter(|name| name.starts_with('/'))
                .map(str::to_owned),
        );
    }
    assert!(names.len() >= 2, "{names:?}");
    let ids: BTreeSet<&str> = quoted(html, " id=\"").collect();
    let mut seen = BTreeSet::new();
    while let Some(name) = names.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        let file = get(&server, &name);
        assert_eq!(file.status, 200, "{name}");
        let kind = if name.ends_with(".css") {
            "text/css"
        } else {
            "text/javascript"
        };
        assert!(file.headers.contains(kind), "{name}: {}", file.headers);
        for imported in quoted(&file.body, "from \"./") {
            names.push(format!("/page/{imported}"));
        }
        for id in quoted(&file.body, "at(\"") {
            assert!(ids.contains(id), "{name} looks for #{id}");
        }
        for markup in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(
                !file.body.contains(markup),
                "{name} makes markup of text: {markup}"
            );
        }
    }
    assert!(seen.len() >= 10, "{seen:?}");
}

/// What stands between `begin` and the next quotation mark, wherever it occurs.
fn quoted<'a>(text: &'a str, begin: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(begin)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
}

#[test]
fn an_answer_streams_is_kept_and_is_what_the_api_gives() {
    let (_folder, server) = serve(settings());
    let system = json!({ "system": "Be brief." });
    let id = number(&post(&server, "/api/conversations", &system));
    let question = json!({ "content": "the king of the city" });
    let question = number(&post(
        &server,
        &format!("/api/conversations/{id}/messages"),
        &question,
    ));
    let path = format!("/api/conversations/{id}/answers");
    let answer = post(&server, &path, &long(question, 20));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.headers.contains("text/event-stream"));
    let events = answer.events();
    let parts: Vec<Value> = events
        .iter()
        .map(|event| serde_json::from_str(event).expect("JSON"))
        .collect();
    let content: String = parts
        .iter()
        .filter_map(|part| part["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(parts.last().expect("an end")["state"], "complete");

    let kept = read(&server, id);
    let message = &kept["messages"][1];
    assert_eq!(message["content"], json!(content));
    assert_eq!(message["state"], "complete");
    assert_eq!(message["reason"], "length");
    assert_eq!(message["model"], "small");
    assert_eq!(message["usage"]["completion_tokens"], 20);
    assert!(message["usage"]["first_token_ms"].as_f64() <= message["usage"]["total_ms"].as_f64());
    assert_eq!(kept["leaf"], message["id"]);
    assert_eq!(kept["title"], "the king of the city");
    let tokens = get(&server, &format!("/api/answers/{}/tokens", message["id"])).json();
    assert_eq!(tokens["tokens"].as_array().map(Vec::len), Some(20));
    assert_eq!(
        tokens["tokens"][0]["top_logprobs"].as_array().map(Vec::len),
        Some(5)
    );

    let asked = json!({
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "the king of the city"}],
        "max_tokens": 20, "ignore_eos": true, "seed": 5,
    });
    let api = post(&server, "/v1/chat/completions", &asked).json();
    assert_eq!(api["choices"][0]["message"]["content"], json!(content));
}

#[test]
fn a_reply_outlives_the_page_that_asked_for_it_and_can_be_joined() {
    let (_folder, server) = serve(settings());
    let (id, question) = begun(&server, "the king");
    let answer = begin_and_leave(&server, id, &long(question, 200));
    // Whether it is over already or not: either the stream from its beginning, or word that there is none.
    let joined = get(&server, &format!("/api/answers/{answer}/stream"));
    if joined.status == 200 {
        assert!(joined.body.contains("event: answer") && joined.body.contains("event: end"));
    } else {
        assert!(
            joined.sentence().contains("is not being written"),
            "{}",
            joined.body
        );
    }
    until(|| read(&server, id)["messages"][1]["state"] == "complete");
    assert_eq!(
        read(&server, id)["messages"][1]["usage"]["completion_tokens"],
        200
    );
}

#[test]
fn a_server_that_drains_writes_replies_to_their_end_though_nobody_looks() {
    let (folder, server) = serve(settings());
    let (id, question) = begun(&server, "the king");
    begin_and_leave(&server, id, &long(question, 200));
    server.drain();
    until(|| server.is_finished());
    drop(server);
    let mut store = Store::open(folder.path().join("chat.db")).expect("opens");
    let message = store.read("local", id).expect("read").messages[1].clone();
    assert_eq!(message.state, State::Complete);
    assert!(message.has_tokens);
}

#[test]
fn a_reply_is_stopped_where_it_is() {
    let (_folder, server) = serve(settings());
    // The small model is quick: it may be done before the order comes, but not every time.
    let stopped = (0..20).any(|_| {
        let (id, question) = begun(&server, "the king");
        let answer = begin_and_leave(&server, id, &long(question, 230));
        post(&server, &format!("/api/answers/{answer}/stop"), &json!({}));
        until(|| read(&server, id)["messages"][1]["state"] != "streaming");
        let message = read(&server, id)["messages"][1].clone();
        message["state"] == "stopped" && message["usage"]["completion_tokens"].as_u64() < Some(230)
    });
    assert!(stopped);
}

#[test]
fn a_deleted_conversation_takes_its_reply_with_it() {
    let (_folder, server) = serve(settings());
    let (id, question) = begun(&server, "the king");
    begin_and_leave(&server, id, &long(question, 230));
    let path = format!("/api/conversations/{id}");
    assert_eq!(send(&server, "DELETE", &path, "", &json!({})).status, 204);
    assert_eq!(get(&server, &path).status, 404);
    until(|| service::metric(&server, "gigaro_requests_running") == 0.0);
    assert_eq!(get(&server, &path).status, 404);
}

#[test]
fn what_the_api_refuses_is_refused_in_its_words_and_leaves_nothing() {
    let (_folder, server) = serve(settings());
    let (id, question) = begun(&server, &"the king ".repeat(400));
    let path = format!("/api/conversations/{id}/answers");
    let refused = |request: Value| {
        let answer = post(
            &server,
            &path,
            &json!({ "parent": question, "request": request }),
        );
        assert_eq!(answer.status / 100, 4, "{}", answer.body);
        answer.sentence()
    };
    assert!(refused(json!({})).contains("tokens"));
    assert!(refused(json!({ "temperature": -1 })).contains("temperature"));
    assert!(refused(json!({ "no_such_field": 1 })).contains("no_such_field"));
    assert!(refused(json!({ "messages": [] })).contains("messages"));
    assert!(refused(json!({ "model": "large" })).contains("large"));
    assert_eq!(
        read(&server, id)["messages"].as_array().map(Vec::len),
        Some(1)
    );
    for (path, body) in [
        ("/api/conversations", "{\"title\": 3}"),
        ("/api/conversations", "not JSON"),
        ("/api/conversations", "{\"color\": \"red\"}"),
        ("/api/choices", "{\"answers\": [1]}"),
        ("/api/conversations/1/messages", "{\"content\": \"  \"}"),
        ("/api/conversations/99/messages", "{\"content\": \"x\"}"),
        ("/api/conversations/x/messages", "{\"content\": \"x\"}"),
        (
            "/api/conversations/99999999999999999999/messages",
            "{\"content\": \"x\"}",
        ),
    ] {
        let answer = service::post_text(&server, path, body);
        assert_eq!(answer.status / 100, 4, "{path} {body}: {}", answer.body);
        assert!(!answer.sentence().is_empty());
    }
    assert_eq!(get(&server, "/api/conversations?skip=-1").status, 400);
    assert_eq!(
        get(&server, "/api/conversations/1/export?form=exe").status,
        400
    );
}

#[test]
fn each_key_has_conversations_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys");
    std::fs::write(&file, "the-key-of-ann\nthe-key-of-bob\n").expect("written");
    let settings = Settings {
        access: Access::Keys(Keys::read(&file).expect("two keys")),
        ..settings()
    };
    let server = serve_in(folder.path(), settings);
    let [ann, bob] =
        ["ann", "bob"].map(|name| format!("Authorization: Bearer the-key-of-{name}\r\n"));
    let make = |path: &str, body: &Value| number(&send(&server, "POST", path, &ann, body));
    let id = make("/api/conversations", &json!({}));
    let path = format!("/api/conversations/{id}");
    let asked = json!({ "content": "the king" });
    let question = make(&format!("{path}/messages"), &asked);
    let answers = format!("{path}/answers");
    let answer = send(&server, "POST", &answers, &ann, &long(question, 5));
    assert!(answer.body.contains("event: end"), "{}", answer.body);

    assert_eq!(send(&server, "GET", &path, &ann, &json!({})).status, 200);
    for (method, path, body) in [
        ("GET", path.clone(), json!({})),
        ("PATCH", path.clone(), json!({ "title": "mine" })),
        ("DELETE", path.clone(), json!({})),
        ("GET", format!("{path}/export"), json!({})),
        ("POST", answers, long(question, 5)),
        (
            "PUT",
            format!("/api/answers/{}/rating", question + 1),
            json!({ "rating": 1 }),
        ),
        (
            "GET",
            format!("/api/answers/{}/tokens", question + 1),
            json!({}),
        ),
        (
            "POST",
            format!("/api/answers/{}/stop", question + 1),
            json!({}),
        ),
    ] {
        assert_eq!(
            send(&server, method, &path, &bob, &body).status,
            404,
            "{method} {path}"
        );
        assert_eq!(
            send(&server, method, &path, "", &body).status,
            401,
            "{method} {path}"
        );
    }
    let listed = send(&server, "GET", "/api/conversations", &bob, &json!({})).json();
    assert_eq!(listed["conversations"], json!([]));
    assert_eq!(
        get(&server, "/").status,
        200,
        "the page itself asks for the key"
    );
}

#[test]
fn thumbs_and_choices_come_out_as_preference_data() {
    let (folder, server) = serve(settings());
    let (id, question) = begun(&server, "the king");
    let path = format!("/api/conversations/{id}/answers");
    for seed in [1, 2] {
        let request = json!({ "max_tokens": 8, "ignore_eos": true, "seed": seed });
        let body = json!({ "parent": question, "request": request });
        assert_eq!(post(&server, &path, &body).status, 200);
    }
    let (first, second) = (question + 1, question + 2);
    let choice = json!({ "answers": [first, second], "chosen": second });
    assert_eq!(post(&server, "/api/choices", &choice).status, 204);
    let rating = format!("/api/answers/{first}/rating");
    assert_eq!(
        send(&server, "PUT", &rating, "", &json!({ "rating": -1 })).status,
        204
    );
    let counts = get(&server, "/api/feedback").json();
    assert_eq!(
        counts,
        json!({ "up": 0, "down": 1, "compared": 1, "pairs": 1 })
    );
    for (form, pairs, judgements) in [("pairs", 1, 0), ("judgements", 0, 1)] {
        let rows = get(&server, &format!("/api/feedback.jsonl?form={form}"));
        let file = folder.path().join("rows.jsonl");
        std::fs::write(&file, &rows.body).expect("written");
        let found = gigaro_data::preferences::read(&file).expect("preferences");
        assert_eq!(
            (found.pairs.len(), found.judgements.len()),
            (pairs, judgements)
        );
    }
    assert_eq!(read(&server, id)["leaf"], json!(second));
}

#[test]
fn another_site_in_the_same_browser_reaches_nothing() {
    let (_folder, server) = serve(settings());
    let (id, _) = begun(&server, "the king");
    let path = format!("/api/conversations/{id}");
    let foreign = "Origin: http://evil.example\r\n";
    assert_eq!(
        send(&server, "DELETE", &path, foreign, &json!({})).status,
        403
    );
    assert_eq!(get(&server, &path).status, 200);
}

#[test]
fn what_was_said_is_told_by_day_and_what_was_trained_on_it_beside() {
    let (folder, server) = serve(settings());
    let history = || get(&server, "/api/feedback/history").json();
    assert_eq!(history(), json!({ "days": [], "trainings": [] }));
    let (id, question) = begun(&server, "the king");
    let path = format!("/api/conversations/{id}/answers");
    post(&server, &path, &long(question, 4));
    let rating = format!("/api/answers/{}/rating", question + 1);
    send(&server, "PUT", &rating, "", &json!({ "rating": 1 }));
    let days = history()["days"].clone();
    assert_eq!(days.as_array().map(Vec::len), Some(1), "{days}");
    assert_eq!(
        (&days[0]["up"], &days[0]["down"], &days[0]["compared"]),
        (&json!(1), &json!(0), &json!(0))
    );
    let training = Training {
        at_ms: 1_764_000_000_000,
        run: "speedrun-dpo".into(),
        algorithm: "dpo".into(),
        learned_from: 24,
        win_rate: Some([0.6, 0.55, 0.65]),
        outcome: Outcome::Better,
        taken: true,
        swapped: None,
    };
    let mut store = Store::open(folder.path().join("chat.db")).expect("the same store");
    store.note_training(&training).expect("noted");
    store
        .note_training(&Training {
            outcome: Outcome::Undecided,
            ..training
        })
        .expect("noted");
    let trainings = history()["trainings"].clone();
    assert_eq!(trainings.as_array().map(Vec::len), Some(2), "{trainings}");
    assert_eq!(
        (&trainings[0]["outcome"], &trainings[1]["outcome"]),
        (&json!("undecided"), &json!("better"))
    );
    assert_eq!(trainings[1]["win_rate"], json!([0.6, 0.55, 0.65]));
}

#[test]
fn what_a_token_was_drawn_by_looking_at_is_told_for_one_head_or_all() {
    let (_folder, server) = serve(settings());
    let (id, question) = begun(&server, "who reads about rivers?");
    let path = format!("/api/conversations/{id}/answers");
    post(&server, &path, &long(question, 6));
    let look = |more: Value| {
        let mut body = json!({ "answer": question + 1, "token": 4 });
        let fields = body.as_object_mut().expect("an object");
        fields.extend(more.as_object().expect("an object").clone());
        post(&server, "/api/attention", &body)
    };
    let all = look(json!({})).json();
    let of = |told: &Value| -> Vec<f64> {
        let weights = told["weights"].as_array().expect("weights").iter();
        weights.map(|w| w.as_f64().expect("a number")).collect()
    };
    let prompt = all["prompt"].as_array().expect("the prompt's tokens");
    assert_eq!(of(&all).len(), prompt.len() + 4);
    assert!((of(&all).iter().sum::<f64>() - 1.0).abs() < 1e-2);
    let text: String = prompt.iter().filter_map(Value::as_str).collect();
    assert_eq!(
        text,
        "<|endoftext|><|user|> who reads about rivers?<|end|><|assistant|>"
    );
    let [layers, heads] = [&all["layers"], &all["heads"]].map(|n| n.as_u64().expect("a number"));
    let mut sums = vec![0.0; of(&all).len()];
    for layer in 0..layers {
        for head in 0..heads {
            let one = of(&look(json!({ "layer": layer, "head": head })).json());
            for (sum, weight) in sums.iter_mut().zip(one) {
                *sum += weight / (layers * heads) as f64;
            }
        }
    }
    for (mean, sum) in of(&all).iter().zip(sums) {
        assert!((mean - sum).abs() < 1e-4, "{mean} {sum}");
    }
    for (more, part) in [
        (json!({ "token": 6 }), "the answer has 6 tokens"),
        (json!({ "layer": layers }), "the model has 2 of them"),
        (json!({ "head": heads }), "the model has 4 of them"),
        (json!({ "eyes": 2 }), "eyes"),
    ] {
        let answer = look(more);
        assert_eq!(answer.status, 400);
        assert!(answer.sentence().contains(part), "{}", answer.body);
    }
    assert_eq!(look(json!({ "answer": question })).status, 404);
}

#[test]
fn a_body_that_does_not_arrive_is_given_up_here_too() {
    let mut settings = settings();
    settings.limits.body_time = Duration::from_millis(100);
    let (_folder, server) = serve(settings);
    let (id, question) = begun(&server, "rain");
    for path in [
        "/api/conversations".to_owned(),
        format!("/api/conversations/{id}/messages"),
        format!("/api/conversations/{id}/answers"),
        "/api/choices".to_owned(),
    ] {
        let mut stream = TcpStream::connect(server.address()).expect("connects");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n\r\n{{\"parent\": {question}"
        );
        stream.write_all(head.as_bytes()).expect("writes");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 408", "{path}");
    }
}

#[test]
fn ratings_beyond_all_measure_and_odd_searches_are_refused_or_find_nothing() {
    let (_folder, server) = serve(settings());
    let (_, question) = begun(&server, "rain");
    let path = format!("/api/answers/{question}/rating");
    for rating in [i64::MIN, i64::MAX, 0, 2] {
        let answer = send(&server, "PUT", &path, "", &json!({ "rating": rating }));
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert!(!answer.sentence().is_empty());
    }
    // A list of the fields in their order is no object, and a whole number is one however it is written.
    let list = json!([null, null]);
    assert_eq!(
        send(&server, "PATCH", "/api/conversations/1", "", &list).status,
        400
    );
    let body = r#"{"parent": 1.0, "request": {"max_tokens": 1}}"#;
    let answer = post_text(&server, "/api/conversations/1/answers", body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    for search in [
        "%00",
        "%22",
        "%22%22%22",
        "*",
        "a%00b",
        "NEAR(",
        "%27%3B",
        "-",
        "%F0%9F%99%82",
        "%ff",
    ] {
        let answer = get(&server, &format!("/api/conversations?search={search}"));
        assert_eq!(answer.status, 200, "{search}: {}", answer.body);
    }
    for query in [
        "skip=-1",
        "limit=99999999999",
        "search=a&search=b",
        "sort=up",
    ] {
        let answer = get(&server, &format!("/api/conversations?{query}"));
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
        assert!(!answer.sentence().is_empty());
    }
    assert_eq!(get(&server, "/page/../index.html").status, 404);
    assert_eq!(get(&server, "/page/%2e%2e%2fCargo.toml").status, 404);
}
