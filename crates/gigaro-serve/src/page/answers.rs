//! A reply: asked for at the API, stored as it grows, and told to whoever looks.

use super::Desk;
use super::live::Reply;
use super::requests::{Answered, Id, Whole, read_body};
use crate::api::{ApiError, Body};
use crate::conversations::{AnswerEnd, AnswerRequest, State};
use crate::record::Record;
use crate::server::observe::REQUEST_ID;
use crate::server::{App, Caller};
use axum::body::{Body as HttpBody, BodyDataStream, Bytes};
use axum::extract::{self, Extension};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use hyper::service::Service;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Where replies are asked for.
const COMPLETIONS: &str = "/v1/chat/completions";
/// What the page may not set, because this module does.
const OWN_FIELDS: [&str; 4] = ["messages", "stream", "stream_options", "n"];
/// How many alternatives are kept for each token.
const ALTERNATIVES: u32 = 5;
/// How often a growing answer is stored.
const STORE_EVERY: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The question to answer.
    parent: Whole,
    /// Fields of the API's request: the model and how it draws.
    #[serde(default)]
    request: Map<String, Value>,
}

/// `POST /api/conversations/{id}/answers`: begins an answer and streams it. First an event `answer` with its number, then the API's own
/// chunks, at last an event `end` with how it ended. What the API refuses is refused here in its words, and nothing is stored.
pub(super) async fn begin(
    extract::State(app): extract::State<Arc<App>>,
    Extension(desk): Extension<Arc<Desk>>,
    caller: Caller,
    Id(conversation): Id,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let asked: Asked = read_body(body)?;
    // In a task of its own: a client that leaves now must not leave an answer behind that nobody writes.
    let record = Record::current();
    let start = async move { start(&app, desk, &caller, conversation, &headers, asked).await };
    let begun = match record {
        None => tokio::spawn(start),
        Some(record) => tokio::spawn(async move { record.of(start).await }),
    };
    match begun.await {
        Ok(Ok(Started::Reply(reply))) => Ok(reply.follow()),
        Ok(Ok(Started::Refused(response))) => Ok(response),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(ApiError::bug()),
    }
}

/// What became of a request for an answer.
enum Started {
    Reply(Arc<Reply>),
    /// The API's own refusal.
    Refused(Response),
}

async fn start(
    app: &App,
    desk: Arc<Desk>,
    caller: &Caller,
    conversation: i64,
    headers: &HeaderMap,
    Asked { parent, request }: Asked,
) -> Result<Started, ApiError> {
    let parent = i64::from(parent);
    if let Some(field) = OWN_FIELDS
        .iter()
        .find(|field| request.contains_key(**field))
    {
        return Err(ApiError::bad_field(
            *field,
            format!("{field} is set by the server here; leave it out"),
        ));
    }
    let named = request.get("model").and_then(Value::as_str);
    let model = app.served(named)?.name().to_owned();
    let owner = caller.name.clone();
    let (system, branch) = desk
        .with(move |store| {
            let branch = store.branch(&owner, conversation, parent)?;
            Ok((store.read(&owner, conversation)?.system, branch))
        })
        .await?;
    let started = Instant::now();
    let mut messages: Vec<Value> = Vec::new();
    if !system.is_empty() {
        messages.push(json!({ "role": "system", "content": system }));
    }
    messages.extend(branch.iter().map(|message| json!(message)));
    let response = complete(&desk, headers, &request, &messages).await?;
    if response.status() != StatusCode::OK {
        return Ok(Started::Refused(response));
    }
    let pieces = read_on(response.into_body().into_data_stream());
    let asked = AnswerRequest {
        parent,
        system,
        request: Value::Object(request),
        model,
    };
    let owner = caller.name.clone();
    let answer = desk
        .with(move |store| store.begin_answer(&owner, conversation, &asked))
        .await?;
    let reply = desk.live.begin(answer, conversation, caller.name.clone());
    reply.say(Some("answer"), json!({ "id": answer }).to_string());
    let relay = Relay {
        desk,
        answer,
        reply: reply.clone(),
        started,
        written: Written::default(),
    };
    tokio::spawn(relay.run(pieces));
    Ok(Started::Reply(reply))
}

/// `GET /api/answers/{id}/stream`: an answer that is being written, from its beginning.
pub(super) async fn join(
    Extension(desk): Extension<Arc<Desk>>,
    caller: Caller,
    Id(answer): Id,
) -> Answered {
    Ok(under_way(&desk, answer, &caller)?.follow())
}

/// `POST /api/answers/{id}/stop`: ends an answer that is being written where it is.
pub(super) async fn stop(
    Extension(desk): Extension<Arc<Desk>>,
    caller: Caller,
    Id(answer): Id,
) -> Answered {
    under_way(&desk, answer, &caller)?.stop();
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn under_way(desk: &Desk, answer: i64, caller: &Caller) -> Result<Arc<Reply>, ApiError> {
    desk.live.get(answer, &caller.name).ok_or_else(|| {
        ApiError::not_found(format!(
            "answer {answer} is not being written; read the conversation, where it is if it exists"
        ))
    })
}

/// Asks the API with the caller's own key.
async fn complete(
    desk: &Desk,
    headers: &HeaderMap,
    request: &Map<String, Value>,
    messages: &[Value],
) -> Result<Response, ApiError> {
    let mut fields = request.clone();
    fields.entry("logprobs").or_insert_with(|| json!(true));
    if fields["logprobs"] == json!(true) {
        fields
            .entry("top_logprobs")
            .or_insert_with(|| json!(ALTERNATIVES));
    }
    fields.insert("messages".to_owned(), json!(messages));
    fields.insert("stream".to_owned(), json!(true));
    fields.insert(
        "stream_options".to_owned(),
        json!({ "include_usage": true }),
    );
    let mut asked = Request::builder()
        .method(Method::POST)
        .uri(COMPLETIONS)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(record) = Record::current() {
        asked = asked.header(REQUEST_ID, &record.id);
    }
    for name in [header::AUTHORIZATION, header::HOST] {
        if let Some(value) = headers.get(&name) {
            asked = asked.header(name, value);
        }
    }
    let asked = asked
        .body(HttpBody::from(Value::Object(fields).to_string()))
        .map_err(|_| ApiError::bug())?;
    // The router has no error of its own: whatever goes wrong is an answer.
    let Ok(response) = desk.api.call(asked).await;
    Ok(response)
}

/// A piece of the API's stream, and when it came.
type Piece = (Instant, Bytes);

/// Reads a stream as fast as it comes, so that times are the model's and not those of the disk. It stops, and with it the model, when
/// nobody takes its pieces any more.
fn read_on(mut body: BodyDataStream) -> mpsc::UnboundedReceiver<Piece> {
    let (pieces, taken) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let piece = tokio::select! {
                () = pieces.closed() => break,
                piece = body.next() => piece,
            };
            // How a stream ended badly is in its last piece; without one, it has just ended.
            let Some(Ok(bytes)) = piece else { break };
            if pieces.send((Instant::now(), bytes)).is_err() {
                break;
            }
        }
    });
    taken
}

/// What the API has written so far.
#[derive(Default)]
struct Written {
    content: String,
    tokens: Vec<Value>,
    usage: Map<String, Value>,
    reason: Option<String>,
    failed: bool,
}

impl Written {
    /// Takes one chunk of the API, or the error that ends its stream, `after` the request.
    fn take(&mut self, chunk: &Value, after: Duration) {
        if let Some(message) = chunk.pointer("/error/message").and_then(Value::as_str) {
            self.reason = Some(message.to_owned());
            self.failed = true;
            return;
        }
        let milliseconds = milliseconds(after);
        let choice = &chunk["choices"][0];
        if let Some(Value::Array(tokens)) = choice.pointer("/logprobs/content") {
            self.tokens.extend(tokens.iter().cloned());
        }
        if let Some(text) = choice.pointer("/delta/content").and_then(Value::as_str) {
            self.content.push_str(text);
            if !text.is_empty() {
                let first = || milliseconds.clone();
                self.usage.entry("first_token_ms").or_insert_with(first);
            }
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            self.reason = Some(reason.to_owned());
            self.usage.insert("total_ms".to_owned(), milliseconds);
        }
        if let Value::Object(usage) = &chunk["usage"] {
            for name in ["prompt_tokens", "completion_tokens"] {
                if let Some(count) = usage.get(name) {
                    self.usage.insert(name.to_owned(), count.clone());
                }
            }
        }
    }
}

/// In hundredths: a small model writes several tokens in one.
fn milliseconds(time: Duration) -> Value {
    json!((time.as_secs_f64() * 1e5).round() / 1e2)
}

/// The task that reads one reply to its end.
struct Relay {
    desk: Arc<Desk>,
    answer: i64,
    reply: Arc<Reply>,
    started: Instant,
    written: Written,
}

impl Relay {
    async fn run(mut self, mut pieces: mpsc::UnboundedReceiver<Piece>) {
        let mut lines = Lines::default();
        let mut stored = Instant::now();
        let mut stopped = false;
        loop {
            let piece = tokio::select! {
                () = self.reply.stopped() => {
                    stopped = true;
                    break;
                }
                piece = pieces.recv() => piece,
            };
            let Some((came, bytes)) = piece else { break };
            for data in lines.push(&bytes) {
                if let Ok(chunk) = serde_json::from_str::<Value>(&data) {
                    self.written.take(&chunk, came.duration_since(self.started));
                    self.reply.say(None, data);
                }
            }
            if stored.elapsed() >= STORE_EVERY {
                let (answer, content) = (self.answer, self.written.content.clone());
                // A full disk must not end the reply for whoever reads it; the end is tried again.
                let _ = self
                    .desk
                    .with(move |store| store.grow(answer, &content))
                    .await;
                stored = Instant::now();
            }
        }
        drop(pieces);
        self.end(stopped).await;
    }

    async fn end(self, stopped: bool) {
        let Written {
            content,
            tokens,
            mut usage,
            mut reason,
            failed,
        } = self.written;
        let state = match (stopped, failed, &reason) {
            (true, ..) => State::Stopped,
            (_, true, _) => State::Failed,
            (.., Some(_)) => State::Complete,
            (.., None) => {
                reason = Some("the model's stream ended before the answer did".to_owned());
                State::Failed
            }
        };
        usage
            .entry("total_ms")
            .or_insert_with(|| milliseconds(self.started.elapsed()));
        if !tokens.is_empty() {
            let count = json!(tokens.len());
            usage.entry("completion_tokens").or_insert(count);
        }
        let mut told = json!({ "state": state, "reason": reason, "usage": usage });
        let end = AnswerEnd {
            content,
            state,
            reason,
            tokens: (!tokens.is_empty()).then_some(Value::Array(tokens)),
            usage: Value::Object(usage),
        };
        let answer = self.answer;
        if let Err(error) = self
            .desk
            .with(move |store| store.finish(answer, &end))
            .await
        {
            told["not_stored"] = json!(error.message());
        }
        self.reply.say(Some("end"), told.to_string());
        self.desk.live.end(answer);
    }
}

/// Whether a body asks for an answer; for [`crate::hostile`].
pub(super) fn read(bytes: &[u8]) -> Result<(), ApiError> {
    read_body::<Asked>(Body(bytes.to_vec().into())).map(drop)
}

/// The data of the events in these pieces; for [`crate::hostile`].
pub(super) fn event_data(pieces: &[&[u8]]) -> Vec<String> {
    let mut lines = Lines::default();
    pieces.iter().flat_map(|piece| lines.push(piece)).collect()
}

/// The data of server-sent events out of pieces that end anywhere.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The data of all events whose line is whole by now.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let whole: Vec<u8> = self.rest.drain(..=end).collect();
        String::from_utf8_lossy(&whole)
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.strip_prefix(' ').unwrap_or(data).to_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_wherever_the_pieces_end() {
        let text = "data: {\"a\": \"ü\"}\n\n: ping\n\ndata:{}\r\ndata: [DONE]\n\n".as_bytes();
        for cut in 0..text.len() {
            let mut lines = Lines::default();
            let mut found = lines.push(&text[..cut]);
            found.extend(lines.push(&text[cut..]));
            assert_eq!(found, ["{\"a\": \"ü\"}", "{}", "[DONE]"], "cut at {cut}");
        }
    }
}
