//! A server of OpenAI's chat completions that says what a test wants it to say, over real connections.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Request line and headers.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Value,
}

/// What the server does with a request.
#[allow(dead_code, reason = "each test that shares this file needs some of it")]
pub(crate) enum Say {
    /// Answers as a model does.
    Words(String),
    /// Answers with a status line behind `HTTP/1.1`, further header lines, and a body.
    Status(&'static str, &'static str, String),
    /// Waits so long, then answers well.
    Late(Duration),
    /// Announces more than it sends, and hangs up.
    Half,
    /// Hangs up.
    Nothing,
}

type Answer = dyn FnMut(&Asked) -> Say + Send;

/// The server. It ends with the test's process.
pub(crate) struct Peer {
    /// Its address as a user would give it.
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Peer {
    /// Listens on a port of its own.
    pub(crate) fn start(answer: impl FnMut(&Asked) -> Say + Send + 'static) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let answer: Arc<Mutex<Box<Answer>>> = Arc::new(Mutex::new(Box::new(answer)));
        let kept = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (kept.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &seen, &answer));
            }
        });
        Peer { address, seen }
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().expect("no test panicked here").clone()
    }
}

/// Answers one request after another, as long as the connection stands.
fn serve(stream: TcpStream, seen: &Mutex<Vec<Asked>>, answer: &Mutex<Box<Answer>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut writer = stream;
    while let Some(asked) = read(&mut reader) {
        seen.lock().expect("no panic").push(asked.clone());
        let say = answer.lock().expect("no panic")(&asked);
        let whole = |status: &str, headers: &str, body: &str| {
            let length = body.len();
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
        };
        let bytes = match say {
            Say::Words(words) => whole("200 OK", "", &reply(&words)),
            Say::Status(status, headers, body) => whole(status, headers, &body),
            Say::Late(pause) => {
                std::thread::sleep(pause);
                whole("200 OK", "", &reply("late"))
            }
            Say::Half => {
                let text = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"choices\"";
                let _ = writer.write_all(text.as_bytes());
                return;
            }
            Say::Nothing => return,
        };
        // Whoever asked may have gone.
        if writer.write_all(bytes.as_bytes()).is_err() {
            return;
        }
    }
}

/// What OpenAI's API returns.
fn reply(words: &str) -> String {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": words },
            "finish_reason": "stop",
        }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2 },
    })
    .to_string()
}

fn read(reader: &mut impl BufRead) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<u64>().ok())?
    })?;
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body).ok()?;
    let body = serde_json::from_slice(&body).ok()?;
    Some(Asked { head, body })
}
