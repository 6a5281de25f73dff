//! A reply as it is written.
//!
//! A stream is read by a thread of its own, so that whoever waits for it can stop waiting at any time; the connection is closed at the
//! next sign of life after that. Nothing is asked twice here: a person sits before it.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use gigaro_data::chat::Message;
use serde_json::{Map, Value, json};

use super::error::{Failure, Retry};
use super::{Endpoint, EndpointError, Result};

/// How long a stream may say nothing; servers send a comment every few seconds.
const SILENCE: Duration = Duration::from_secs(120);
/// Bytes of a line of a stream.
const MAX_LINE: u64 = 1 << 20;

/// What a stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// More words.
    Piece(String),
    /// That was all; why, in OpenAI's words, if the server said so.
    End(Option<String>),
}

impl Endpoint {
    /// The same, which draws as these fields of OpenAI's request say and not greedily.
    #[must_use]
    pub fn drawing(mut self, settings: Map<String, Value>) -> Endpoint {
        self.settings = settings;
        self
    }

    /// Begins to ask for the next answer of a conversation. What comes back ends with [`Heard::End`] or an error; dropping it ends the
    /// reply.
    pub fn stream(&self, messages: &[Message]) -> Receiver<Result<Heard>> {
        let (heard, told) = mpsc::channel();
        let mut body = json!({ "model": self.model, "messages": messages, "stream": true });
        if let Value::Object(body) = &mut body {
            body.extend(self.settings.clone());
        }
        let asked = self.clone();
        std::thread::spawn(move || {
            if let Err(failure) = asked.follow(&body, &heard) {
                // Nobody may be listening any more.
                let _ = heard.send(Err(failure.after(1)));
            }
        });
        told
    }

    /// One stream from its beginning.
    fn follow(&self, body: &Value, heard: &Sender<Result<Heard>>) -> Result<(), Failure> {
        let request = self
            .agent
            .post(&self.url)
            .config()
            // A long reply takes its time; only silence is a reason to give up.
            .timeout_global(None)
            .timeout_per_read(Some(SILENCE))
            .build();
        let request = self.with_key(request.header("Content-Type", "application/json"));
        let response = request.send(body.to_string());
        let response = self.successful(response.map_err(|e| self.no_reply(e))?, &self.url)?;
        let mut lines = BufReader::new(response.into_body().into_reader());
        let mut reason = None;
        let mut line = Vec::new();
        loop {
            line.clear();
            let broke = |why: String| {
                let url = self.url.clone();
                Failure::new(EndpointError::Broken { url, why }, Retry::Never)
            };
            let read = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
            if read.map_err(|e| broke(e.to_string()))? == 0 {
                return Err(broke("the connection was closed before the end".into()));
            }
            let Some(data) = line.strip_prefix(b"data:") else {
                // A comment or an empty line: only whether anybody listens is to be found out.
                if heard.send(Ok(Heard::Piece(String::new()))).is_err() {
                    return Ok(());
                }
                continue;
            };
            let data = data.trim_ascii();
            if data == b"[DONE]" {
                let _ = heard.send(Ok(Heard::End(reason)));
                return Ok(());
            }
            let chunk: Value = serde_json::from_slice(data).map_err(|e| {
                let (url, said) = (self.url.clone(), self.quoted(data));
                let why = format!("a piece of the stream is not JSON: {e}");
                Failure::new(EndpointError::Foreign { url, why, said }, Retry::Never)
            })?;
            if chunk["error"].is_object() {
                return Err(broke(self.quoted(data)));
            }
            let choice = &chunk["choices"][0];
            if let Some(why) = choice["finish_reason"].as_str() {
                reason = Some(why.to_owned());
            }
            let piece = choice["delta"]["content"].as_str().unwrap_or_default();
            if heard.send(Ok(Heard::Piece(piece.to_owned()))).is_err() {
                return Ok(());
            }
        }
    }
}
