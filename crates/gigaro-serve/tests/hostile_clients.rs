//! Clients that send nonsense, too much, too little or too slowly: each gets a sentence, and nobody else notices.

mod service;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use gigaro_serve::server::{Access, Keys, Server};
use serde_json::{Value, json};
use service::{CONTEXT, get, long, metric, post, post_text, raw, request, serve, settings, until};

/// Whether the server still answers.
fn check_alive(server: &Server) {
    assert_eq!(post(server, "/v1/completions", &long(2, false)).status, 200);
}

/// A request that is fine.
fn text() -> Value {
    json!({ "prompt": "rain" })
}

/// Another one.
fn chat() -> Value {
    json!({ "messages": [{ "role": "user", "content": "rain" }] })
}

/// With this value in a field a request is refused, and told which.
fn check(server: &Server, path: &str, mut body: Value, field: &str, value: Value, param: &str) {
    body[field] = value.clone();
    let answer = post(server, path, &body);
    assert_eq!(answer.status, 400, "{field}: {value}: {}", answer.body);
    assert!(!answer.sentence().is_empty());
    assert_eq!(answer.json()["error"]["param"], param, "{}", answer.body);
}

#[test]
fn each_field_that_cannot_be_meant_is_refused_by_its_name() {
    let server = serve(settings());
    for (field, value) in [
        ("temperature", json!("hot")),
        ("temperature", json!(-0.1)),
        ("top_p", json!(1.1)),
        ("min_p", json!(-1)),
        ("top_k", json!(1.5)),
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(1e300)),
        ("max_tokens", json!(CONTEXT + 1)),
        ("n", json!(0)),
        ("n", json!(10_000)),
        ("seed", json!("x")),
        ("stop", json!([""])),
        ("presence_penalty", json!(3)),
        ("frequency_penalty", json!(-3)),
        ("repetition_penalty", json!(0)),
        ("logit_bias", json!({ "9999": 1 })),
        ("stream", json!("yes")),
        ("stream_options", json!({ "include_usage": true })),
        ("response_format", json!(7)),
        ("grammar", json!("start: missing")),
        ("grammar", json!("root ::= 'x'")),
        ("metadata", json!({ "a": "b" })),
        ("store", json!(true)),
        ("service_tier", json!("flex")),
        ("user", json!(7)),
        ("frobnicate", json!(1)),
    ] {
        check(
            &server,
            "/v1/completions",
            text(),
            field,
            value.clone(),
            field,
        );
        check(&server, "/v1/chat/completions", chat(), field, value, field);
    }
    check_alive(&server);
}

#[test]
fn fields_of_completions_that_cannot_be_meant_are_too() {
    let server = serve(settings());
    for (field, value) in [
        ("suffix", json!("x")),
        ("best_of", json!(0)),
        ("logprobs", json!(true)),
        ("logprobs", json!(1000)),
        ("echo", json!(1)),
        ("prompt", json!({})),
        ("prompt", json!([])),
        ("prompt", json!([[]])),
        ("prompt", json!(vec!["x"; 300])),
    ] {
        let param = if value == json!([[]]) {
            "prompt"
        } else {
            field
        };
        check(&server, "/v1/completions", text(), field, value, param);
    }
    check(
        &server,
        "/v1/completions",
        text(),
        "prompt",
        json!([1, "x"]),
        "prompt[0]",
    );
    check(
        &server,
        "/v1/completions",
        text(),
        "prompt",
        json!([1, 1_000_000]),
        "prompt[1]",
    );
    check_alive(&server);
}

#[test]
fn fields_of_chats_that_cannot_be_meant_are_too() {
    let server = serve(settings());
    for (field, value) in [
        ("messages", json!([])),
        ("messages", json!("hello")),
        ("max_completion_tokens", json!(0)),
        ("top_logprobs", json!(2)),
        ("logprobs", json!(2)),
        ("tools", json!({})),
        ("functions", json!([{ "name": "f" }])),
        ("tool_choice", json!("auto")),
        ("modalities", json!(["audio"])),
        ("reasoning_effort", json!("high")),
    ] {
        check(&server, "/v1/chat/completions", chat(), field, value, field);
    }
    check_alive(&server);
}

#[test]
fn a_prompt_over_the_context_is_refused_with_both_numbers() {
    let server = serve(settings());
    let long = "rain ".repeat(2000);
    let answer = post(&server, "/v1/completions", &json!({ "prompt": long }));
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["code"], "context_length_exceeded");
    assert!(
        answer.sentence().contains("256 at most"),
        "{}",
        answer.sentence()
    );
    // Exactly full leaves no room for a token; one less does.
    let fits = |n: usize| post(&server, "/v1/completions", &json!({ "prompt": vec![1; n] })).status;
    assert_eq!((fits(CONTEXT), fits(CONTEXT - 1)), (400, 200));
    let messages: Vec<Value> = (0..100_000)
        .map(|_| json!({ "role": "user", "content": "x" }))
        .collect();
    let answer = post(
        &server,
        "/v1/chat/completions",
        &json!({ "messages": messages }),
    );
    assert_eq!(answer.json()["error"]["code"], "context_length_exceeded");
    check_alive(&server);
}

#[test]
fn bodies_that_are_no_requests_get_a_sentence() {
    let server = serve(settings());
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{\"prompt\": \"\\ud800\"}",
        "{\"prompt\": 1e999}",
        "\u{feff}{}",
    ] {
        for path in [
            "/v1/completions",
            "/v1/chat/completions",
            "/tokenize",
            "/detokenize",
        ] {
            let answer = post_text(&server, path, body);
            assert_eq!(answer.status, 400, "{path} {body:?}: {}", answer.body);
            assert!(!answer.sentence().is_empty());
        }
    }
    let deep = format!("{{\"prompt\": {}}}", "[".repeat(100_000));
    assert_eq!(post_text(&server, "/v1/completions", &deep).status, 400);
    let mut not_utf8 = request("POST", "/v1/completions", "", "{\"prompt\": \"??\"}").into_bytes();
    let at = not_utf8.len() - 4;
    not_utf8[at] = 0xff;
    assert_eq!(raw(server.address(), &not_utf8).status, 400);
    check_alive(&server);
}

#[test]
fn addresses_and_methods_that_are_not_there_are_refused_in_the_same_form() {
    let server = serve(settings());
    for path in [
        "/v1",
        "/v1/nothing",
        "/../../etc/passwd",
        "/v1/models/../../etc/passwd",
        "/%2e%2e/x",
        "/v1/models/%00",
    ] {
        let answer = get(&server, path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.sentence().is_empty());
    }
    let answer = get(&server, "/v1/completions");
    assert_eq!(answer.status, 405);
    assert!(!answer.sentence().is_empty());
}

#[test]
fn other_web_sites_are_kept_out_of_a_server_without_keys() {
    let server = serve(settings());
    let body = long(2, false).to_string();
    let from = |headers: &str| {
        let request = request("POST", "/v1/completions", headers, &body);
        raw(server.address(), request.as_bytes()).status
    };
    assert_eq!(from("Origin: https://evil.example\r\n"), 403);
    assert_eq!(from("Origin: http://127.0.0.1\r\n"), 200);
    let renamed =
        request("POST", "/v1/completions", "", &body).replace("127.0.0.1", "evil.example");
    let answer = raw(server.address(), renamed.as_bytes());
    assert_eq!(answer.status, 403);
    assert!(
        !answer.headers.contains("access-control"),
        "{}",
        answer.headers
    );
}

#[test]
fn too_long_bodies_and_heads_are_cut_off() {
    let mut settings = settings();
    settings.limits.body_bytes = 1000;
    let server = serve(settings);
    let answer = post(
        &server,
        "/v1/completions",
        &json!({ "prompt": "x".repeat(2000) }),
    );
    assert_eq!(answer.status, 413);
    assert!(
        answer.sentence().contains("1000 bytes"),
        "{}",
        answer.sentence()
    );
    let many: String = (0..500).map(|i| format!("X-{i}: y\r\n")).collect();
    let flood = request("GET", "/health", &many, "");
    assert_eq!(raw(server.address(), flood.as_bytes()).status, 431);
    let wide = format!("X: {}\r\n", "y".repeat(200_000));
    let flood = request("GET", "/health", &wide, "");
    let status = raw(server.address(), flood.as_bytes()).status;
    assert!(matches!(status, 0 | 431), "{status}");
    check_alive(&server);
}

#[test]
fn half_requests_and_slow_ones_are_given_up_in_time() {
    let mut settings = settings();
    settings.limits.head_time = Duration::from_millis(100);
    settings.limits.body_time = Duration::from_millis(100);
    let server = serve(settings);
    let mut halves = Vec::new();
    for half in [
        "",
        "POST /v1/comp",
        "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le",
        "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n\r\n{\"prompt\"",
    ] {
        let mut stream = TcpStream::connect(server.address()).expect("connects");
        stream.write_all(half.as_bytes()).expect("writes");
        halves.push(stream);
    }
    check_alive(&server);
    let last = halves.len() - 1;
    for (i, mut stream) in halves.into_iter().enumerate() {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(answer.contains(" 408 "), i == last, "{answer}");
    }
    let noise: Vec<u8> = (0..5000_u32).map(|i| (i * 7919 % 251) as u8).collect();
    let status = raw(server.address(), &noise).status;
    assert!(matches!(status, 0 | 400), "{status}");
    check_alive(&server);
}

#[test]
fn a_client_that_reads_nothing_is_left_and_holds_no_slot() {
    let mut settings = settings();
    settings.limits.write_time = Duration::from_millis(100);
    let server = serve(settings);
    // Long answers that nobody reads: more than the system's buffers take.
    let body = json!({
        "prompt": vec!["the"; 32], "n": 8, "max_tokens": CONTEXT - 20, "ignore_eos": true,
        "stream": true, "logprobs": 20,
    });
    let mut silent = TcpStream::connect(server.address()).expect("connects");
    let request = request("POST", "/v1/completions", "", &body.to_string());
    silent.write_all(request.as_bytes()).expect("writes");
    until(|| metric(&server, "gigaro_requests_running{") > 0.0);
    check_alive(&server);
    until(|| metric(&server, "gigaro_requests_running{") == 0.0);
    check_alive(&server);
    drop(silent);
}

#[test]
fn a_model_that_is_not_there_is_refused_by_name_everywhere() {
    let server = serve(settings());
    for (path, mut body) in [
        ("/v1/completions", text()),
        ("/v1/chat/completions", chat()),
        ("/v1/responses", json!({ "input": "rain" })),
        ("/tokenize", text()),
        ("/detokenize", json!({ "tokens": [1] })),
    ] {
        body["model"] = json!("../small");
        let answer = post(&server, path, &body);
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
        assert_eq!(answer.json()["error"]["code"], "model_not_found");
        assert!(answer.sentence().contains("this server has: small"));
    }
}

#[test]
fn numbers_beyond_all_measure_are_refused_or_taken_as_they_are() {
    let server = serve(settings());
    for field in [
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "max_tokens",
        "n",
        "best_of",
        "logprobs",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
    ] {
        for number in [
            "-9223372036854775808",
            "9223372036854775807",
            "18446744073709551615",
            "18446744073709551616",
            "1e308",
            "-1e308",
            "1e-320",
            "-0.0",
            "0.1e1",
            "123456789012345678901234567890",
        ] {
            let body = format!(r#"{{"prompt": "rain", "max_tokens": 2, "{field}": {number}}}"#);
            let answer = post_text(&server, "/v1/completions", &body);
            let fine = matches!(answer.status, 200 | 400);
            assert!(fine, "{field}: {number}: {}", answer.body);
            if answer.status == 400 {
                assert_eq!(answer.json()["error"]["param"], field, "{}", answer.body);
            }
        }
    }
    check_alive(&server);
}

#[test]
fn heads_and_addresses_of_odd_bytes_are_refused_and_harm_nobody() {
    let server = serve(settings());
    for path in [
        "/v1/models/%ff",
        "/v1/models/%c0%af",
        "/%ff",
        "/tokenizer_info?model=%ff",
    ] {
        let answer = get(&server, path);
        assert!(
            matches!(answer.status, 400 | 404),
            "{path}: {}",
            answer.body
        );
        assert!(!answer.sentence().is_empty());
    }
    let long = format!("/{}", "a".repeat(100_000));
    let status = get(&server, &long).status;
    assert!(matches!(status, 0 | 414 | 431), "{status}");
    for head in [
        "GET / HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: a\r\nHost: 127.0.0.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "\r\n\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}",
    ] {
        let mut stream = TcpStream::connect(server.address()).expect("connects");
        stream.write_all(head.as_bytes()).expect("writes");
        stream
            .shutdown(Shutdown::Write)
            .expect("says that this is all");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(
            !answer.contains(" 200 ") && !answer.contains(" 500 "),
            "{head:?}: {answer}"
        );
    }
    check_alive(&server);
}

#[test]
fn a_key_of_odd_bytes_is_a_wrong_key() {
    let mut settings = settings();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys");
    std::fs::write(&file, "a-key-of-its-own\n").expect("written");
    settings.access = Access::Keys(Keys::read(&file).expect("a key"));
    let server = serve(settings);
    let status = |value: &[u8]| {
        let head = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: ";
        raw(server.address(), &[&head[..], value, b"\r\n\r\n"].concat()).status
    };
    assert_eq!(status(b"bearer a-key-of-its-own"), 200);
    let long = [b"Bearer ".to_vec(), vec![b'a'; 10_000]].concat();
    for wrong in [
        &b"Bearer"[..],
        b"Bearer \xff\xfe",
        b"Basic a-key-of-its-own",
        b"a-key-of-its-own",
        &long,
    ] {
        assert_eq!(status(wrong), 401, "{}", String::from_utf8_lossy(wrong));
    }
}
