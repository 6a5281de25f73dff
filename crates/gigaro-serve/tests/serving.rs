//! The API over real connections: what it answers, as a whole and as a stream, and when a server is not ready or ends.

mod service;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use gigaro_data::tokenizer::END_OF_TEXT;
use gigaro_models::gpt::WeightFormat;
use gigaro_serve::Error;
use gigaro_serve::server::{Access, Keys, Server};
use serde_json::{Value, json};
use service::{
    CONTEXT, get, long, metric, model, post, raw, request, serve, settings, source, tokenizer,
    until,
};

fn question() -> Value {
    json!({ "model": "small", "messages": [{ "role": "user", "content": "who reads?" }], "max_tokens": 20, "seed": 7 })
}

fn with(mut object: Value, more: &Value) -> Value {
    let more = more.as_object().expect("an object");
    object
        .as_object_mut()
        .expect("an object")
        .extend(more.clone());
    object
}

#[test]
fn a_streamed_answer_is_the_whole_one_in_pieces() {
    let server = serve(settings());
    let asked = with(
        question(),
        &json!({ "logprobs": true, "top_logprobs": 2, "n": 2 }),
    );
    let whole = post(&server, "/v1/chat/completions", &asked).json();
    let options = json!({ "stream": true, "stream_options": { "include_usage": true } });
    let stream = post(&server, "/v1/chat/completions", &with(asked, &options));
    assert!(
        stream.headers.contains("text/event-stream"),
        "{}",
        stream.headers
    );
    let mut chunks = stream.chunks();
    let usage = chunks.pop().expect("usage");
    assert_eq!(usage["choices"], json!([]));
    for key in ["prompt_tokens", "completion_tokens", "total_tokens"] {
        assert_eq!(usage["usage"][key], whole["usage"][key], "{key}");
    }
    for (index, choice) in whole["choices"]
        .as_array()
        .expect("choices")
        .iter()
        .enumerate()
    {
        let own: Vec<&Value> = chunks
            .iter()
            .map(|chunk| &chunk["choices"][0])
            .filter(|choice| choice["index"] == index)
            .collect();
        let text: String = own
            .iter()
            .filter_map(|choice| choice["delta"]["content"].as_str())
            .collect();
        assert_eq!(choice["message"]["content"], text);
        let logprobs: Vec<&Value> = own
            .iter()
            .filter_map(|choice| choice["logprobs"]["content"].as_array())
            .flatten()
            .collect();
        assert_eq!(choice["logprobs"]["content"], json!(logprobs));
        let last = own.last().expect("an end");
        assert_eq!(last["finish_reason"], choice["finish_reason"]);
        assert_eq!(own[0]["delta"]["role"], "assistant");
    }
    assert_ne!(
        whole["choices"][0]["message"],
        whole["choices"][1]["message"]
    );
}

#[test]
fn the_newer_form_gives_the_same_answer_whole_and_in_events() {
    let server = serve(settings());
    let chat = post(&server, "/v1/chat/completions", &question()).json();
    let words = &chat["choices"][0]["message"]["content"];
    let asked = json!({ "input": "who reads?", "max_output_tokens": 20, "seed": 7, "metadata": { "a": "b" } });
    let whole = post(&server, "/v1/responses", &asked).json();
    assert_eq!(whole["output"][0]["content"][0]["text"], *words);
    assert_eq!(whole["status"], "incomplete");
    assert_eq!(whole["incomplete_details"]["reason"], "max_output_tokens");
    assert_eq!(whole["metadata"], json!({ "a": "b" }));
    assert_eq!(
        whole["usage"]["output_tokens"],
        chat["usage"]["completion_tokens"]
    );
    let stream = post(
        &server,
        "/v1/responses",
        &with(asked.clone(), &json!({ "stream": true })),
    );
    let events: Vec<Value> = stream
        .events()
        .iter()
        .map(|event| serde_json::from_str(event).expect("JSON"))
        .collect();
    let mut text = String::new();
    for (i, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], i);
        let name = event["type"].as_str().expect("a name");
        assert!(stream.body.contains(&format!("event: {name}\n")), "{name}");
        text += event["delta"].as_str().unwrap_or_default();
    }
    assert_eq!(*words, text);
    let last = events.last().expect("an end");
    assert_eq!(last["type"], "response.incomplete");
    assert_eq!(
        last["response"]["output"][0]["content"],
        whole["output"][0]["content"]
    );
    // An answer goes back as it came, before the next question.
    let next =
        json!({ "role": "user", "content": [{ "type": "input_text", "text": "and then?" }] });
    let first = json!({ "role": "user", "content": "who reads?" });
    let conversation = with(
        asked,
        &json!({ "input": [first, whole["output"][0], next] }),
    );
    assert_eq!(post(&server, "/v1/responses", &conversation).status, 200);
    for (field, value) in [
        ("store", json!(true)),
        ("previous_response_id", json!("x")),
        ("input", json!(3)),
    ] {
        let mut body = json!({ "input": "x" });
        body[field] = value;
        let answer = post(&server, "/v1/responses", &body);
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (400, &json!(field))
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_text_and_another_seed_another() {
    let server = serve(settings());
    let text = |seed: u64| {
        let answer = post(
            &server,
            "/v1/completions",
            &with(long(30, false), &json!({ "seed": seed })),
        );
        answer.json()["choices"][0]["text"].clone()
    };
    assert_eq!(text(5), text(5));
    assert_ne!(text(5), text(6));
}

#[test]
fn echo_gives_the_log_probabilities_of_a_text_in_strings_and_in_tokens() {
    let server = serve(settings());
    let text = "the king of the city";
    let ids = tokenizer().encode(text);
    let asked = |prompt: Value| {
        let body = json!({ "prompt": prompt, "max_tokens": 2, "echo": true, "logprobs": 1, "temperature": 0, "ignore_eos": true });
        let answer = post(&server, "/v1/completions", &body).json();
        answer["choices"][0].clone()
    };
    let by_tokens = asked(json!(ids));
    let lists = &by_tokens["logprobs"];
    assert!(
        by_tokens["text"]
            .as_str()
            .is_some_and(|t| t.starts_with(text))
    );
    assert_eq!(
        lists["token_logprobs"][0],
        Value::Null,
        "the first follows nothing"
    );
    for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(
            lists[list].as_array().map(Vec::len),
            Some(ids.len() + 2),
            "{list}"
        );
    }
    // A text is a document: its first token follows the token that separates documents, which is no part of the text.
    let by_text = asked(json!(text));
    let lists = &by_text["logprobs"];
    assert_eq!(
        lists["tokens"].as_array().map(Vec::len),
        Some(ids.len() + 2)
    );
    assert!(lists["token_logprobs"][0].is_number());
    // Only scored, nothing written; several at once keep their order.
    let body = json!({ "prompt": [text, "rain"], "max_tokens": 0, "echo": true, "logprobs": 0 });
    let scored = post(&server, "/v1/completions", &body).json();
    assert_eq!(scored["choices"][0]["text"], text);
    assert_eq!(scored["choices"][1]["text"], "rain");
    assert_eq!(scored["usage"]["completion_tokens"], 0);
    let of_text = lists["token_logprobs"].as_array().expect("a list");
    let scores = scored["choices"][0]["logprobs"]["token_logprobs"].as_array();
    assert_eq!(scores.map(Vec::as_slice), Some(&of_text[..ids.len()]));
}

#[test]
fn a_reply_that_ends_at_once_still_tells_what_the_prompt_and_the_end_are_worth() {
    let server = serve(settings());
    let end = service::tokenizer().special(END_OF_TEXT).expect("is there");
    let mut body = json!({
        "prompt": "the king", "max_tokens": 1, "echo": true, "logprobs": 1,
        "logit_bias": { end.to_string(): 100 },
    });
    let whole = post(&server, "/v1/completions", &body).json();
    let choice = &whole["choices"][0];
    assert_eq!(choice["text"], "the king");
    assert_eq!(choice["finish_reason"], "stop");
    let lists = &choice["logprobs"];
    let tokens = lists["tokens"].as_array().expect("a list");
    assert_eq!(tokens.last(), Some(&json!(END_OF_TEXT)));
    assert_eq!(lists["text_offset"][tokens.len() - 1], "the king".len());
    // The numbers of the prompt are those without a reply, and the end's is one more.
    body["max_tokens"] = json!(0);
    let scored = post(&server, "/v1/completions", &body).json();
    let alone = scored["choices"][0]["logprobs"]["token_logprobs"].as_array();
    let with_end = lists["token_logprobs"].as_array().expect("a list");
    assert_eq!(
        alone.map(Vec::as_slice),
        with_end.split_last().map(|(_, of_prompt)| of_prompt)
    );
    body["max_tokens"] = json!(1);
    body["stream"] = json!(true);
    let chunks = post(&server, "/v1/completions", &body).chunks();
    let streamed = chunks.last().expect("a chunk");
    assert_eq!(
        streamed["choices"][0]["logprobs"]["tokens"],
        json!([END_OF_TEXT])
    );
}

#[test]
fn who_tokenises_through_the_server_is_told_its_special_tokens() {
    let server = serve(settings());
    let told = get(&server, "/tokenizer_info").json();
    assert_eq!(told["max_model_len"], CONTEXT);
    let end = service::tokenizer().special(END_OF_TEXT);
    assert_eq!(told["special_tokens"][END_OF_TEXT], json!(end));
    assert_eq!(get(&server, "/tokenizer_info?model=small").json(), told);
    assert_eq!(get(&server, "/tokenizer_info?model=none").status, 404);
    let answer = get(&server, "/tokenizer_info?frobnicate=1");
    assert_eq!(answer.status, 400);
    assert!(answer.sentence().contains("model=NAME"));
}

#[test]
fn an_echoed_stream_is_the_echoed_text() {
    let server = serve(settings());
    let body = json!({ "prompt": ["rain", "the old"], "n": 2, "max_tokens": 5, "echo": true, "logprobs": 1, "seed": 3, "ignore_eos": true });
    let whole = post(&server, "/v1/completions", &body).json();
    let stream = post(
        &server,
        "/v1/completions",
        &with(body, &json!({ "stream": true })),
    );
    for choice in whole["choices"].as_array().expect("choices") {
        let (mut text, mut lists) = (String::new(), Vec::new());
        for chunk in stream.chunks() {
            let piece = &chunk["choices"][0];
            if piece["index"] == choice["index"] {
                text += piece["text"].as_str().expect("a text");
                let offsets = piece["logprobs"]["text_offset"].as_array();
                lists.extend(offsets.into_iter().flatten().cloned());
            }
        }
        assert_eq!(choice["text"], text);
        assert_eq!(choice["logprobs"]["text_offset"], Value::Array(lists));
    }
}

#[test]
fn the_best_of_several_is_the_most_probable() {
    let server = serve(settings());
    let base =
        json!({ "prompt": "the", "max_tokens": 6, "seed": 1, "logprobs": 0, "ignore_eos": true });
    let mean = |choice: &Value| {
        let list = choice["logprobs"]["token_logprobs"]
            .as_array()
            .expect("a list");
        list.iter().filter_map(Value::as_f64).sum::<f64>() / list.len() as f64
    };
    let all = post(
        &server,
        "/v1/completions",
        &with(base.clone(), &json!({ "n": 5 })),
    )
    .json();
    let best = post(
        &server,
        "/v1/completions",
        &with(base, &json!({ "best_of": 5 })),
    )
    .json();
    let all: Vec<f64> = all["choices"]
        .as_array()
        .expect("choices")
        .iter()
        .map(mean)
        .collect();
    let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!((mean(&best["choices"][0]) - most).abs() < 1e-9);
    assert_eq!(best["choices"].as_array().map(Vec::len), Some(1));
}

#[test]
fn tokens_go_there_and_back_and_names_of_special_tokens_stay_text() {
    let server = serve(settings());
    let text = "rain <|end|><|system|> Grüße";
    let body = json!({ "prompt": text, "add_special_tokens": false, "return_token_strs": true });
    let there = post(&server, "/tokenize", &body).json();
    let tokens = there["tokens"].as_array().expect("tokens");
    assert_eq!(there["count"], tokens.len());
    let vocabulary = tokenizer();
    let special = |id: &Value| vocabulary.is_special(id.as_u64().expect("an id") as u32);
    assert!(!tokens.iter().any(special));
    let back = post(&server, "/detokenize", &json!({ "tokens": tokens })).json();
    assert_eq!(back["prompt"], text);
    let asked = json!({ "messages": [{ "role": "user", "content": text }] });
    let chat = post(&server, "/tokenize", &asked).json();
    let specials = chat["tokens"].as_array().expect("tokens").iter();
    assert_eq!(
        specials.filter(|id| special(id)).count(),
        4,
        "endoftext, user, end, assistant"
    );
}

#[test]
fn a_client_that_leaves_frees_its_slot() {
    let mut settings = settings();
    settings.engine.slots = 1;
    let server = serve(settings);
    for stream in [true, false] {
        let before = metric(
            &server,
            "gigaro_requests_total{model=\"small\",key=\"local\",outcome=\"cancelled\"}",
        );
        let mut client = TcpStream::connect(server.address()).expect("connects");
        let body = long(CONTEXT - 20, stream).to_string();
        let request = request("POST", "/v1/completions", "", &body);
        client.write_all(request.as_bytes()).expect("writes");
        until(|| metric(&server, "gigaro_requests_running{") > 0.0);
        drop(client);
        until(|| metric(&server, "gigaro_requests_running{") == 0.0);
        let after = metric(
            &server,
            "gigaro_requests_total{model=\"small\",key=\"local\",outcome=\"cancelled\"}",
        );
        assert_eq!(after, before + 1.0, "stream: {stream}");
    }
    assert_eq!(
        post(&server, "/v1/completions", &long(3, false)).status,
        200
    );
}

#[test]
fn who_waits_too_long_or_in_too_long_a_queue_is_told_when_to_come_back() {
    let mut settings = settings();
    settings.engine.slots = 1;
    settings.engine.queue_len = 1;
    settings.engine.queue_time = Duration::from_millis(1);
    let server = serve(settings);
    let address = server.address();
    // One writes, one waits, one too many comes; a reply takes longer than anybody may wait.
    let ask = move || {
        let body = long(CONTEXT - 20, false).to_string();
        raw(
            address,
            request("POST", "/v1/completions", "", &body).as_bytes(),
        )
    };
    let threads: Vec<_> = (0..12).map(|_| std::thread::spawn(ask)).collect();
    let answers: Vec<_> = threads
        .into_iter()
        .map(|t| t.join().expect("ends"))
        .collect();
    assert!(answers.iter().any(|answer| answer.status == 200));
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status != 200)
        .collect();
    assert!(!refused.is_empty());
    for answer in refused {
        assert!(matches!(answer.status, 429 | 503), "{}", answer.status);
        assert!(
            answer.headers.contains("retry-after: "),
            "{}",
            answer.headers
        );
        assert!(
            answer.sentence().contains("try again"),
            "{}",
            answer.sentence()
        );
    }
}

#[test]
fn the_server_answers_while_a_model_is_read_and_says_so() {
    let slow = source(
        "slow",
        model(),
        WeightFormat::F32,
        Duration::from_millis(400),
    );
    let server = Server::start(Ipv4Addr::LOCALHOST.into(), 0, vec![slow], settings(), None);
    let server = server.expect("starts");
    assert_eq!(get(&server, "/health").status, 503);
    assert_eq!(get(&server, "/health/live").status, 200);
    let early = post(&server, "/v1/completions", &long(2, false));
    assert_eq!(early.status, 503);
    assert!(
        early.sentence().contains("still being read"),
        "{}",
        early.sentence()
    );
    until(|| get(&server, "/health").status == 200);
    assert_eq!(
        post(&server, "/v1/completions", &long(2, false)).status,
        200
    );
}

#[test]
fn several_models_are_chosen_by_name() {
    let two = ["one", "two"].map(|name| source(name, model(), WeightFormat::F32, Duration::ZERO));
    let server = Server::start(Ipv4Addr::LOCALHOST.into(), 0, two.into(), settings(), None);
    let server = server.expect("starts");
    until(|| server.app().readiness().is_ok());
    let named = |name: &str| {
        post(
            &server,
            "/v1/completions",
            &with(long(2, false), &json!({ "model": name })),
        )
    };
    assert_eq!(named("two").json()["model"], "two");
    assert_eq!(named("default").json()["model"], "one");
    let list = get(&server, "/v1/models").json();
    assert_eq!(list["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        get(&server, "/v1/models/two").json()["max_model_len"],
        CONTEXT
    );
    for answer in [named("three"), get(&server, "/v1/models/three")] {
        assert_eq!(answer.status, 404);
        assert_eq!(answer.json()["error"]["code"], "model_not_found");
        assert!(
            answer.sentence().contains("one, two"),
            "{}",
            answer.sentence()
        );
    }
}

#[test]
fn only_who_has_a_key_is_let_in_and_each_is_counted_by_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys");
    // The hash of "password".
    let hash = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
    std::fs::write(&path, format!("ann:{hash}\n")).expect("writes");
    let mut settings = settings();
    settings.access = Access::Keys(Keys::read(&path).expect("a key"));
    let server = serve(settings);
    let ask = |headers: &str| {
        let body = long(2, false).to_string();
        raw(
            server.address(),
            request("POST", "/v1/completions", headers, &body).as_bytes(),
        )
    };
    for wrong in [
        "",
        "Authorization: Bearer passwort\r\n",
        "Authorization: password\r\n",
        "Authorization: Bearer\r\n",
    ] {
        let answer = ask(wrong);
        assert_eq!(answer.status, 401, "{wrong}");
        assert!(
            !answer.sentence().contains("passwort"),
            "a key is not repeated"
        );
        assert_eq!(answer.json()["error"]["code"], "invalid_api_key");
    }
    for closed in ["/v1/models", "/metrics"] {
        assert_eq!(get(&server, closed).status, 401, "{closed}");
    }
    assert_eq!(get(&server, "/health").status, 200);
    assert_eq!(ask("authorization: bearer password\r\n").status, 200);
    let counted = "gigaro_generated_tokens_total{model=\"small\",key=\"ann\"}";
    until(|| metric(&server, counted) == 2.0);
}

#[test]
fn a_server_that_others_could_reach_is_not_opened_without_keys() {
    let started = Server::start(
        Ipv4Addr::UNSPECIFIED.into(),
        0,
        Vec::new(),
        settings(),
        None,
    );
    assert!(matches!(started, Err(Error::OpenToAll { .. })));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let started = Server::start(
        Ipv4Addr::LOCALHOST.into(),
        port,
        Vec::new(),
        settings(),
        None,
    );
    assert!(matches!(started, Err(Error::Bind { .. })));
}

#[test]
fn a_server_that_drains_cuts_no_reply_and_takes_no_more() {
    let server = serve(settings());
    let mut client = TcpStream::connect(server.address()).expect("connects");
    let body = long(CONTEXT - 20, true).to_string();
    let request = request("POST", "/v1/completions", "", &body);
    client.write_all(request.as_bytes()).expect("writes");
    let mut first = [0; 16];
    client.read_exact(&mut first).expect("it has begun");
    server.drain();
    assert!(server.app().readiness().is_err());
    let mut rest = String::new();
    client.read_to_string(&mut rest).expect("reads to the end");
    assert!(rest.contains("data: [DONE]"), "the reply is whole");
    assert_eq!(rest.matches("\"finish_reason\":\"length\"").count(), 1);
    until(|| server.is_finished());
    assert!(TcpStream::connect(server.address()).is_err());
}

#[test]
fn a_stream_that_has_nothing_to_say_gives_signs_of_life() {
    let mut settings = settings();
    settings.limits.ping_time = Duration::from_millis(1);
    // A long prompt a token at a time takes a while before the first token comes.
    settings.engine.prompt_tokens_per_step = 1;
    let server = serve(settings);
    let ids: Vec<u32> = (0..CONTEXT as u32 - 10).map(|i| i % 200).collect();
    let body = json!({ "prompt": ids, "max_tokens": 2, "stream": true });
    let answer = post(&server, "/v1/completions", &body);
    assert!(answer.body.contains(": ping\n"), "{}", answer.body);
}
