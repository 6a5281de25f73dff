//! With the feature `otel`: a collector gets a trace of a request, with its parts and without anything of users.
#![cfg(feature = "otel")]

mod service;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use serde_json::json;
use service::{post, raw, request, serve, settings};

#[test]
fn a_collector_is_told_of_a_request_and_its_parts() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!(
        "http://{}/v1/traces",
        listener.local_addr().expect("an address")
    );
    let (sender, bodies) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut seen = Vec::new();
            let mut buffer = [0; 4096];
            // The length is that of the head and what it announces.
            while !is_whole(&seen) {
                match stream.read(&mut buffer) {
                    Ok(n) if n > 0 => seen.extend_from_slice(&buffer[..n]),
                    _ => break,
                }
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = sender.send(seen);
        }
    });
    let traces = gigaro_serve::otel::start(Some(&endpoint)).expect("starts");
    let server = serve(settings());
    let body = json!({ "prompt": "swordfish", "max_tokens": 4, "ignore_eos": true });
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("traceparent: 00-{trace}-b7ad6b7169203331-01\r\n");
    let text = request("POST", "/v1/completions", &parent, &body.to_string());
    assert_eq!(raw(server.address(), text.as_bytes()).status, 200);
    assert_eq!(
        post(&server, "/v1/completions", &json!({ "prompt": 7 })).status,
        400
    );
    drop(server);
    drop(traces);
    let sent: Vec<u8> = bodies.try_iter().flatten().collect();
    let has = |words: &[u8]| sent.windows(words.len()).any(|part| part == words);
    for words in [
        "POST /v1/completions",
        "queue",
        "prefill",
        "decode",
        "gen_ai.request.model",
        "small",
    ] {
        assert!(has(words.as_bytes()), "{words}");
    }
    let id: Vec<u8> = (0..16)
        .map(|i| u8::from_str_radix(&trace[2 * i..2 * i + 2], 16).expect("digits"))
        .collect();
    assert!(has(&id), "it is part of the trace that it came with");
    assert!(!has(b"swordfish"));
}

fn is_whole(seen: &[u8]) -> bool {
    let text = String::from_utf8_lossy(seen).to_ascii_lowercase();
    let Some(end) = seen.windows(4).position(|part| part == b"\r\n\r\n") else {
        return false;
    };
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    seen.len() >= end + 4 + length.unwrap_or(0_usize)
}
