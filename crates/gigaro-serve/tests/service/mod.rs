//! A server with a small random model, and requests to it.
//!
//! Not tests themselves: `serving.rs`, `company.rs` and `hostile_clients.rs` are.

// Each test file is a program of its own and uses another part of this.
#![allow(dead_code, reason = "not every test program needs every function")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gigaro_data::Tokenizer;
use gigaro_data::chat::ChatFormat;
use gigaro_data::tokenizer::SPECIAL_TOKENS;
use gigaro_models::gpt::WeightFormat;
use gigaro_models::{Gpt, GptConfig};
use gigaro_nn::Module;
use gigaro_serve::engine::{EngineSettings, LoadedModel, ModelSource, ModelState, ReadyModel};
use gigaro_serve::server::{Access, App, Front, Limits, Server, Settings};
use gigaro_tensor::{DType, Device, Generator, Tensor, no_grad};
use serde_json::{Value, json};

/// Longest text of the models here.
pub(crate) const CONTEXT: usize = 256;

/// A tokenizer with the tokens of the chat format.
pub(crate) fn tokenizer() -> Tokenizer {
    let text =
        "the king of the old city reads a book about rivers, bridges and trains while rain falls";
    Tokenizer::train([text], 300, &SPECIAL_TOKENS).expect("trains")
}

/// GPT-2's form, the modern one, and Llama's with shared key-value heads.
pub(crate) fn models() -> Vec<Gpt> {
    let vocab = tokenizer().vocab_size();
    [
        GptConfig::gpt2(vocab, CONTEXT, 2, 4, 32),
        GptConfig::modern(vocab, CONTEXT, 2, 4, 32),
        GptConfig::llama(vocab, CONTEXT, 2, 4, 2, 32, 64),
    ]
    .iter()
    .map(randomised)
    .collect()
}

/// One of them.
pub(crate) fn model() -> Gpt {
    models().swap_remove(1)
}

/// One that looks at longer texts, such as descriptions of functions.
pub(crate) fn wide_model() -> Gpt {
    randomised(&GptConfig::modern(
        tokenizer().vocab_size(),
        8 * CONTEXT,
        2,
        4,
        32,
    ))
}

/// Fresh modern weights have zero output projections, which would hide everything.
fn randomised(config: &GptConfig) -> Gpt {
    let model = Gpt::new(config, &Generator::new(3));
    let g = Generator::new(8);
    no_grad(|| {
        for (_, p) in model.named_parameters() {
            p.add_(&(Tensor::randn(p.shape(), DType::F32, Device::Cpu, &g) * 0.2));
        }
    });
    model
}

/// A model to serve under a name, which takes `delay` to be read.
pub(crate) fn source(
    name: &str,
    model: Gpt,
    weights: WeightFormat,
    delay: Duration,
) -> ModelSource {
    ModelSource {
        name: name.to_owned(),
        load: Arc::new(move |_| {
            std::thread::sleep(delay);
            loaded(model.clone(), weights, "first")
        }),
        adapters: Vec::new(),
    }
}

/// A model as it comes from disk.
pub(crate) fn loaded(
    model: Gpt,
    weights: WeightFormat,
    checkpoint: &str,
) -> Result<LoadedModel, String> {
    let tokenizer = tokenizer();
    let format = ChatFormat::new(&tokenizer).map_err(|e| e.to_string())?;
    Ok(LoadedModel {
        model,
        tokenizer,
        chat: Ok(Arc::new(move |messages| Ok(format.prompt(messages)))),
        tools: None,
        weights,
        checkpoint: checkpoint.to_owned(),
    })
}

/// Settings for a server that only this machine can reach.
pub(crate) fn settings() -> Settings {
    Settings {
        access: Access::LoopbackOnly,
        limits: Limits::default(),
        front: Front::default(),
        engine: EngineSettings {
            slots: 8,
            ..EngineSettings::default()
        },
    }
}

/// A server of such models, ready to answer.
pub(crate) fn serve_all(sources: Vec<ModelSource>, settings: Settings) -> Server {
    let server = Server::start(Ipv4Addr::LOCALHOST.into(), 0, sources, settings, None);
    let server = server.expect("starts");
    until(|| server.app().readiness().is_ok());
    server
}

/// An engine without a server.
pub(crate) fn engine(model: Gpt, weights: WeightFormat, engine: EngineSettings) -> Arc<ReadyModel> {
    let settings = Settings {
        engine,
        ..settings()
    };
    let app = App::start(vec![source("m", model, weights, Duration::ZERO)], settings);
    let app = app.expect("starts");
    let served = app.served(None).expect("one model");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match served.state() {
            ModelState::Ready(ready) => return ready,
            ModelState::Failed(sentence) => panic!("{sentence}"),
            ModelState::Loading => assert!(Instant::now() < deadline, "it never gets ready"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A server of one model called `small`, ready to answer.
pub(crate) fn serve(settings: Settings) -> Server {
    let source = source("small", model(), WeightFormat::F32, Duration::ZERO);
    serve_all(vec![source], settings)
}

/// Waits until something is so.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "it never happens");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An answer: status, header lines, body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    /// The sentence of an error, after checking that it has OpenAI's form.
    pub(crate) fn sentence(&self) -> String {
        let json = self.json();
        let error = json["error"]
            .as_object()
            .unwrap_or_else(|| panic!("{json}"));
        let keys: Vec<&str> = error.keys().map(String::as_str).collect();
        assert_eq!(keys, ["message", "type", "param", "code"]);
        error["message"].as_str().expect("a sentence").to_owned()
    }

    /// What the events of a stream hold.
    pub(crate) fn events(&self) -> Vec<String> {
        let lines = self.body.lines();
        lines
            .filter_map(|line| line.strip_prefix("data: "))
            .map(str::to_owned)
            .collect()
    }

    /// The same as JSON, without the `[DONE]` that has to end them.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let mut events = self.events();
        assert_eq!(events.pop().as_deref(), Some("[DONE]"));
        let parse = |event: &String| serde_json::from_str(event).expect("JSON");
        events.iter().map(parse).collect()
    }
}

/// Sends bytes and reads until the other side closes.
pub(crate) fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("connects");
    // A server may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    parse(&answer)
}

fn parse(answer: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(answer);
    let (headers, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = headers.split(' ').nth(1).and_then(|s| s.parse().ok());
    let body = if headers
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        dechunked(body)
    } else {
        body.to_owned()
    };
    Answer {
        status: status.unwrap_or(0),
        headers: headers.to_owned(),
        body,
    }
}

fn dechunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 || rest.len() < size {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

/// A request that closes its connection.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let n = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}Content-Length: {n}\r\n\r\n{body}"
    )
}

/// GETs a path.
pub(crate) fn get(server: &Server, path: &str) -> Answer {
    raw(server.address(), request("GET", path, "", "").as_bytes())
}

/// POSTs JSON to a path.
pub(crate) fn post(server: &Server, path: &str, body: &Value) -> Answer {
    post_text(server, path, &body.to_string())
}

/// POSTs a text to a path.
pub(crate) fn post_text(server: &Server, path: &str, body: &str) -> Answer {
    let headers = "Content-Type: application/json\r\n";
    let request = request("POST", path, headers, body);
    raw(server.address(), request.as_bytes())
}

/// A request for a completion that goes on for `n` tokens whatever they are.
pub(crate) fn long(n: usize, stream: bool) -> Value {
    json!({ "prompt": "the king", "max_tokens": n, "ignore_eos": true, "stream": stream, "seed": 1 })
}

/// The value of a counter or gauge; 0 if it was never touched.
pub(crate) fn metric(server: &Server, begin: &str) -> f64 {
    let text = server.app().metrics().text();
    let line = text.lines().find(|line| line.starts_with(begin));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or(0.0)
}
