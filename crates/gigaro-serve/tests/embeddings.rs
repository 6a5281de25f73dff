//! Embeddings: what they are, in which forms they come, and that they depend on nobody else.

mod service;

use std::net::Ipv4Addr;

use gigaro_nn::Mode;
use gigaro_serve::server::Server;
use gigaro_tensor::{DType, Tensor};
use serde_json::{Value, json};
use service::{long, model, post, serve, serve_all, settings, source, tokenizer};

const TEXT: &str =
    "the king of the old city reads a book about rivers, bridges and trains while rain falls";

fn vectors(server: &Server, body: &Value) -> Vec<Vec<f32>> {
    let answer = post(server, "/v1/embeddings", body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let json = answer.json();
    let data = json["data"].as_array().expect("a list");
    let numbers = |(i, one): (usize, &Value)| {
        assert_eq!(one["index"], i);
        let list = one["embedding"].as_array().expect("numbers").iter();
        list.map(|x| x.as_f64().expect("a number") as f32).collect()
    };
    data.iter().enumerate().map(numbers).collect()
}

#[test]
fn an_embedding_is_the_mean_of_the_last_hidden_states_at_length_one() {
    let server = serve(settings());
    let ids = tokenizer().encode(TEXT);
    let got = vectors(&server, &json!({ "input": ids })).remove(0);
    let n = ids.len();
    let ids = Tensor::from_vec(ids.iter().map(|&id| i64::from(id)).collect(), [1, n]);
    let hidden = model()
        .hidden(&ids, None, &Mode::Eval)
        .to_dtype(DType::F32)
        .to_vec::<f32>();
    let width = got.len();
    let mut mean = vec![0.0_f64; width];
    for (i, x) in hidden.iter().enumerate() {
        mean[i % width] += f64::from(*x) / n as f64;
    }
    let length = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
    for (x, expected) in got.iter().zip(&mean) {
        assert!((f64::from(*x) - expected / length).abs() < 1e-6);
    }
}

#[test]
fn it_is_the_same_alone_in_pieces_and_in_company() {
    let texts: Vec<String> = (0..12).map(|i| TEXT[..20 + 5 * i].to_owned()).collect();
    let alone: Vec<Vec<f32>> = {
        let server = serve(settings());
        let each = texts.iter();
        each.map(|text| vectors(&server, &json!({ "input": text })).remove(0))
            .collect()
    };
    let mut small_steps = settings();
    small_steps.engine.prompt_tokens_per_step = 7;
    small_steps.engine.slots = 5;
    let server = serve(small_steps);
    std::thread::scope(|scope| {
        let server = &server;
        let writing =
            scope.spawn(move || post(server, "/v1/completions", &long(150, false)).json());
        let together = vectors(server, &json!({ "input": texts }));
        assert!(together == alone);
        let written = writing.join().expect("a reply");
        assert_eq!(written["usage"]["completion_tokens"], 150);
    });
    // Nobody goes on from what was only read for its embedding in a way that shows.
    let quiet = serve(settings());
    let ask = json!({ "prompt": TEXT, "max_tokens": 12, "seed": 2, "logprobs": 1 });
    let expected = post(&quiet, "/v1/completions", &ask).json()["choices"].clone();
    vectors(&server, &json!({ "input": TEXT }));
    let got = post(&server, "/v1/completions", &ask).json()["choices"].clone();
    assert_eq!(got, expected);
}

#[test]
fn it_comes_as_numbers_or_bytes_and_as_short_as_is_asked() {
    let server = serve(settings());
    let whole = vectors(&server, &json!({ "input": ["rain", "trains"] }));
    assert_eq!(whole.len(), 2);
    assert_ne!(whole[0], whole[1]);
    let body = json!({ "input": "rain", "encoding_format": "base64" });
    let answer = post(&server, "/v1/embeddings", &body).json();
    let text = answer["data"][0]["embedding"].as_str().expect("a text");
    let bytes = from_base64(text);
    let numbers: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|four| f32::from_le_bytes(four.try_into().expect("four")))
        .collect();
    assert_eq!(numbers, whole[0]);
    assert_eq!(
        answer["usage"]["prompt_tokens"],
        answer["usage"]["total_tokens"]
    );
    let short = vectors(&server, &json!({ "input": "rain", "dimensions": 8 })).remove(0);
    let length: f32 = short.iter().map(|x| x * x).sum();
    assert!(short.len() == 8 && (length - 1.0).abs() < 1e-5);
    let ratio = short[0] / whole[0][0];
    assert!(
        short
            .iter()
            .zip(&whole[0])
            .all(|(a, b)| (a - b * ratio).abs() < 1e-5)
    );
}

/// Written out, so that it is another witness than the server's own library.
fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.trim_end_matches('=').chars() {
        bits = bits << 6 | DIGITS.find(digit).expect("a digit") as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

#[test]
fn what_cannot_be_embedded_is_refused_by_name() {
    let server = serve(settings());
    for (body, param) in [
        (json!({}), "input"),
        (json!({ "input": [] }), "input"),
        (json!({ "input": [1, "x"] }), "input[0]"),
        (json!({ "input": TEXT.repeat(20) }), "input"),
        (json!({ "input": "x", "dimensions": 33 }), "dimensions"),
        (json!({ "input": "x", "dimensions": 0 }), "dimensions"),
        (
            json!({ "input": "x", "encoding_format": "int8" }),
            "encoding_format",
        ),
        (json!({ "input": "x", "temperature": 1 }), "temperature"),
    ] {
        let answer = post(&server, "/v1/embeddings", &body);
        assert_eq!(answer.status, 400, "{body}");
        let json = answer.json();
        let named = json["error"]["param"].as_str().unwrap_or_default();
        let unknown = answer.sentence().contains("there is no field temperature");
        assert!(named == param || unknown, "{body}: {}", answer.body);
    }
}

#[test]
fn weights_in_fewer_bits_embed_too() {
    use gigaro_models::gpt::WeightFormat;
    for weights in [WeightFormat::Bf16, WeightFormat::Int8] {
        let source = source("small", model(), weights, std::time::Duration::ZERO);
        let server = serve_all(vec![source], settings());
        assert_eq!(server.address().ip(), Ipv4Addr::LOCALHOST);
        let exact = vectors(&serve(settings()), &json!({ "input": TEXT })).remove(0);
        let near = vectors(&server, &json!({ "input": TEXT })).remove(0);
        let cosine: f32 = exact.iter().zip(&near).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.95 && exact != near, "{weights:?}: {cosine}");
    }
}
