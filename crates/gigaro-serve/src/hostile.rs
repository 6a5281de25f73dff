//! Every parser of foreign bytes in this crate, each behind one function of arbitrary bytes.
//!
//! A function feeds the bytes to a parser and checks that what comes out holds together: what is refused has a sentence and a status that
//! blames the client. It panics where that fails. The fuzz targets in `fuzz/` call these and nothing else, and an ordinary test calls them
//! with thousands of mutations of valid requests.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use gigaro_data::Tokenizer;
use gigaro_data::chat::ChatFormat;
use gigaro_data::tokenizer::SPECIAL_TOKENS;
use gigaro_models::gpt::WeightFormat;
use gigaro_models::{Gpt, GptConfig};

use crate::api::{self, ApiError};
use crate::engine::{EngineSettings, LoadedModel, ModelSource};
use crate::server::{self, Access, App, Caller, Front, Keys, LOCAL, Limits, Settings};
use crate::{endpoint, page};

/// A key file in which each line is one that is let in.
const KEYS: &str =
    "a-key-of-its-own\nann:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8\n";

/// A body of `/v1/chat/completions`.
pub fn chat_request(bytes: &[u8]) {
    check(api::read_chat(&APP, &local(), bytes));
}

/// A body of `/v1/completions`.
pub fn completion_request(bytes: &[u8]) {
    check(api::read_completion(&APP, &local(), bytes));
}

/// A body of `/v1/responses`.
pub fn response_request(bytes: &[u8]) {
    check(api::read_response(&APP, &local(), bytes));
}

/// A body of any request of the chat page.
pub fn page_request(bytes: &[u8]) {
    for read in page::read_each(bytes) {
        check(read);
    }
}

/// A file of keys.
pub fn key_file(bytes: &[u8]) {
    match Keys::from_bytes(bytes.to_vec(), Path::new("foreign")) {
        Ok(keys) => assert!(keys.len() > 0, "nobody could be let in"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The headers `Host`, `Origin` and `Authorization`, a line feed between them, at a server with keys and at one without.
pub fn headers(bytes: &[u8]) {
    let names = [header::HOST, header::ORIGIN, header::AUTHORIZATION];
    let values = bytes.splitn(names.len(), |&byte| byte == b'\n');
    let pairs = names.into_iter().zip(values);
    let headers: HeaderMap = pairs
        .filter_map(|(name, value)| Some((name, HeaderValue::from_bytes(value).ok()?)))
        .collect::<Vec<(HeaderName, HeaderValue)>>()
        .into_iter()
        .collect();
    for app in APPS.iter() {
        let admitted = server::admit(app, &headers);
        if let (Access::Keys(_), Ok(caller)) = (app.access(), &admitted) {
            assert_ne!(&*caller.name, LOCAL, "let in without a key");
        }
        check(admitted.map(drop));
    }
}

/// A stream of server-sent events, which must come out the same wherever its pieces end.
pub fn events(bytes: &[u8]) {
    let whole = page::event_data(&[bytes]);
    let middle = bytes.len() / 2;
    let cut = page::event_data(&[&bytes[..middle], &bytes[middle..]]);
    assert_eq!(whole, cut, "an event depends on where a piece ends");
}

/// What somebody else's model replies, and the same bytes as its address.
pub fn endpoint(bytes: &[u8]) {
    endpoint::read_reply(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        endpoint::read_address(text);
    }
}

/// A refusal is the client's fault and has a sentence.
fn check(read: Result<(), ApiError>) {
    let Err(error) = read else {
        return;
    };
    assert!(!error.message().is_empty(), "a refusal without a word");
    let status = error.into_response().status();
    assert!(status.is_client_error(), "{status} for a foreign body");
}

fn local() -> Caller {
    Caller { name: LOCAL.into() }
}

/// A server's inside with a model that is never asked.
static APP: LazyLock<Arc<App>> = LazyLock::new(|| {
    let source = ModelSource {
        name: "small".to_owned(),
        adapters: Vec::new(),
        load: Arc::new(|_| {
            let tokenizer = Tokenizer::train(["a king reads"], 270, &SPECIAL_TOKENS)
                .map_err(|e| e.to_string())?;
            let format = ChatFormat::new(&tokenizer).map_err(|e| e.to_string())?;
            Ok(LoadedModel {
                checkpoint: String::new(),
                tools: None,
                model: Gpt::zeroed(&GptConfig::modern(tokenizer.vocab_size(), 64, 1, 1, 8)),
                tokenizer,
                chat: Ok(Arc::new(move |messages| Ok(format.prompt(messages)))),
                weights: WeightFormat::F32,
            })
        }),
    };
    let app = App::start(vec![source], settings(Access::LoopbackOnly)).expect("a thread");
    while app.readiness().is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    app
});

/// Servers without a model, one for each way of letting people in.
static APPS: LazyLock<[Arc<App>; 3]> = LazyLock::new(|| {
    let keys = Keys::from_bytes(KEYS.into(), Path::new("ours")).expect("two keys");
    [Access::Keys(keys), Access::LoopbackOnly, Access::Anyone]
        .map(|access| App::start(Vec::new(), settings(access)).expect("no thread is needed"))
});

fn settings(access: Access) -> Settings {
    Settings {
        access,
        limits: Limits::default(),
        front: Front::default(),
        engine: EngineSettings::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gigaro_tensor::{Generator, testing::mutated};

    /// Mutations tried per parser.
    const CASES: u64 = 3000;

    fn check(parser: fn(&[u8]), seeds: &[&str]) {
        let dice = Generator::new(seeds.len() as u64);
        for seed in seeds {
            parser(seed.as_bytes());
        }
        for case in 0..CASES as usize {
            parser(&mutated(seeds[case % seeds.len()].as_bytes(), &dice));
        }
    }

    #[test]
    fn no_body_of_a_request_for_a_reply_panics() {
        let sampling = r#""temperature": 0.5, "top_p": 0.9, "top_k": 3, "min_p": 0.1, "seed": -1, "stop": ["x"], "n": 2, "logit_bias": {"3": -100}"#;
        check(
            chat_request,
            &[
                r#"{"messages": [{"role": "user", "content": "a"}]}"#,
                r#"{"messages": [{"role": "system", "content": [{"type": "text", "text": "b"}]}], "logprobs": true, "top_logprobs": 2}"#,
                &format!(
                    r#"{{"messages": [{{"role": "user", "content": "a"}}], "stream": true, "stream_options": {{"include_usage": true}}, {sampling}}}"#
                ),
            ],
        );
        check(
            completion_request,
            &[
                r#"{"prompt": "a", "echo": true, "logprobs": 1, "max_tokens": 0}"#,
                r#"{"prompt": [[1, 2], [3]], "best_of": 3}"#,
                &format!(r#"{{"prompt": ["a", "b"], {sampling}}}"#),
            ],
        );
        check(
            response_request,
            &[
                r#"{"input": "a", "instructions": "b", "metadata": {"a": "b"}, "max_output_tokens": 3}"#,
                r#"{"input": [{"type": "message", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "b", "annotations": []}]}]}"#,
            ],
        );
    }

    #[test]
    fn no_body_of_the_page_panics() {
        let seeds = [
            r#"{"title": "a", "system": "b", "settings": {"temperature": 1}}"#,
            r#"{"leaf": 3, "title": null}"#,
            r#"{"parent": 1, "content": "a"}"#,
            r#"{"parent": 1, "request": {"max_tokens": 3}}"#,
            r#"{"answers": [1, 2], "chosen": 2}"#,
            r#"{"rating": -1}"#,
            "",
        ];
        check(page_request, &seeds);
    }

    #[test]
    fn no_file_of_keys_and_no_header_panics() {
        check(key_file, &[KEYS, "# ours\n\nkey-of-mine"]);
        let seeds = [
            "127.0.0.1:80\nhttp://127.0.0.1:80\nBearer a-key-of-its-own",
            "[::1]\nnull\nbearer  password",
            "LOCALHOST\nhttps://evil.example\nBasic x",
        ];
        check(headers, &seeds);
    }

    #[test]
    fn no_stream_and_no_reply_panics() {
        check(
            events,
            &["event: a\ndata: {\"b\": \"ü\"}\n\n: ping\n\ndata:[DONE]\r\n\r\n"],
        );
        let seeds = [
            r#"{"choices": [{"message": {"content": "A"}}]}"#,
            "http://[::1]:8080/v1/",
            "https://me:hush@a/v1?key=1",
        ];
        check(endpoint, &seeds);
    }
}
