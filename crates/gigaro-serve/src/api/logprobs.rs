//! Log-probabilities in the two forms of OpenAI's API: a list of objects for chats, four lists side by side for completions.

use gigaro_data::Tokenizer;
use gigaro_models::generate::TokenLogprobs;
use serde_json::{Map, Value, json};

/// JSON has no minus infinity; OpenAI writes this number for a token that cannot come.
const IMPOSSIBLE: f32 = -9999.0;

fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() {
        logprob
    } else {
        IMPOSSIBLE
    }
}

/// A token as text; one that is no whole character is written as its bytes, so that different tokens stay different.
pub(crate) fn token_text(tokenizer: &Tokenizer, token: u32) -> String {
    let bytes = tokenizer.token_bytes(token);
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let digits = bytes.iter().map(|byte| format!("\\x{byte:02x}"));
            format!("bytes:{}", digits.collect::<String>())
        }
    }
}

/// A token of a chat with its alternatives.
pub(super) fn chat_token(tokenizer: &Tokenizer, token: u32, report: &TokenLogprobs) -> Value {
    let entry = |token: u32, logprob: f32| {
        json!({
            "token": String::from_utf8_lossy(tokenizer.token_bytes(token)),
            "logprob": finite(logprob),
            "bytes": tokenizer.token_bytes(token),
        })
    };
    let mut object = entry(token, report.chosen);
    let top = report.top.iter().map(|t| entry(t.token, t.logprob));
    object["top_logprobs"] = top.collect();
    object
}

/// The lists of a completion, which grow by a token at a time.
#[derive(Debug)]
pub(super) struct Lists {
    tokens: Vec<Value>,
    logprobs: Vec<Value>,
    top: Vec<Value>,
    offsets: Vec<Value>,
    /// Characters before the next token.
    at: usize,
}

impl Lists {
    /// Empty lists that go on after so many characters.
    pub(super) fn from(at: usize) -> Self {
        Self {
            tokens: Vec::new(),
            logprobs: Vec::new(),
            top: Vec::new(),
            offsets: Vec::new(),
            at,
        }
    }

    /// Characters before the next token.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Another token; the first of a prompt follows nothing and has no probability.
    pub(super) fn push(
        &mut self,
        tokenizer: &Tokenizer,
        token: u32,
        report: Option<&TokenLogprobs>,
    ) {
        self.list(tokenizer, token, report);
        self.at += String::from_utf8_lossy(tokenizer.token_bytes(token))
            .chars()
            .count();
    }

    /// The token that ended a text and is no part of it.
    pub(super) fn push_end(&mut self, tokenizer: &Tokenizer, token: u32, report: &TokenLogprobs) {
        self.list(tokenizer, token, Some(report));
    }

    fn list(&mut self, tokenizer: &Tokenizer, token: u32, report: Option<&TokenLogprobs>) {
        let text = token_text(tokenizer, token);
        self.offsets.push(self.at.into());
        self.logprobs.push(json!(report.map(|r| finite(r.chosen))));
        self.top.push(json!(report.map(|r| {
            let tops = r.top.iter().map(|t| (t.token, t.logprob));
            // The token itself is always among its alternatives.
            let all = tops.chain([(token, r.chosen)]);
            all.map(|(token, logprob)| (token_text(tokenizer, token), finite(logprob).into()))
                .collect::<Map<String, Value>>()
        })));
        self.tokens.push(text.into());
    }

    /// The object.
    pub(super) fn object(self) -> Value {
        json!({
            "tokens": self.tokens,
            "token_logprobs": self.logprobs,
            "top_logprobs": self.top,
            "text_offset": self.offsets,
        })
    }
}
