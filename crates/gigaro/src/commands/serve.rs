//! `gigaro serve`: a trained model behind an address, in OpenAI's API.
//!
//! The service is gigaro-serve's. Here are the flags, the models it is given, and the end: the first Ctrl-C or SIGTERM lets the
//! replies under way finish, a second one leaves.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use gigaro_models::GptConfig;
use gigaro_models::gpt::WeightFormat;
use gigaro_models::lora::ADAPTER_CONFIG;
use gigaro_serve::conversations::Store;
use gigaro_serve::engine::{
    AdapterSource, EngineSettings, LoadedModel, ModelSource, ModelState, PromptWriter,
    ToolPromptWriter,
};
use gigaro_serve::keys::{Keys, default_usage};
use gigaro_serve::server::{Access, Front, Limits, Origin, Server, Settings, Tls};
use gigaro_train::quantity::{Bytes, Count};
use gigaro_train::resources::memory_available;
use serde_json::Value;

use crate::failure::Usage;
use crate::flags::{MachineArgs, Weights};
use crate::interrupt;
use crate::logs;
use crate::output::Output;
use crate::pipeline::job::RUNS;
use crate::trained::{Trained, chosen_checkpoint, open_config};
use crate::turns::{Turns, today};

const EXAMPLE: &str = "\
Examples:
  gigaro serve                                     the last finished run, on http://127.0.0.1:8000
  gigaro serve runs/speedrun --dtype bf16 --slots 32
  gigaro serve SmolLM2-135M-Instruct.Q4_1.gguf
  gigaro serve runs/speedrun --adapter brief=runs/brief/adapter
  gigaro keys create ann && gigaro serve --host 0.0.0.0 --api-key-file keys.toml
  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'";

/// How often it looks whether to end and whether the models are read.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Serve trained models by OpenAI's API
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// Checkpoints, folders of runs, Hugging Face folders or .gguf files, each served under its name [default: the last finished run]
    checkpoints: Vec<PathBuf>,

    /// Serve a LoRA adapter too, as the model MODEL:NAME beside the one that it changes; without MODEL= it is the first one's
    #[arg(long, value_name = "[MODEL=]NAME=DIR", value_parser = AdapterFlag::parse)]
    adapter: Vec<AdapterFlag>,

    /// Port to listen on; 0 takes one that is free
    #[arg(long, value_name = "N", default_value_t = 8000)]
    port: u16,

    /// Address to listen on; others than this machine's own need --api-key-file, or --no-auth
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,

    /// Let in only whoever has one of the keys in this file, which gigaro keys makes, and read it again when it changes
    #[arg(long, value_name = "FILE", conflicts_with = "no_auth")]
    api_key_file: Option<PathBuf>,

    /// Where to keep what keys have used today: a file, or postgres://USER@HOST/NAME, which servers share [default: beside the keys]
    #[arg(long, value_name = "PLACE", requires = "api_key_file")]
    key_usage: Option<PathBuf>,

    /// Let in everybody who can reach the address
    #[arg(long)]
    no_auth: bool,

    #[command(flatten)]
    machine: MachineArgs,

    /// What weights are held in
    #[arg(long, value_enum, value_name = "TYPE", default_value = "auto")]
    dtype: Weights,

    /// Replies written at the same time, at most
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    slots: u16,

    /// Longest text, prompt and reply together, in tokens [default: what the model was trained for]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,

    /// Memory for keys and values of each model, in MiB, at most; a text waits until there is room for all that it may come to hold
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    kv_mib: u64,

    /// How long a request may wait for a slot
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    queue_seconds: u32,

    /// How many requests may wait for a slot
    #[arg(long, value_name = "N", default_value_t = 1024)]
    queue_len: u32,

    /// Where the chat page keeps its conversations: one file, made if it is not there, or postgres://USER@HOST/NAME with its password
    /// in PGPASSWORD [default: runs/conversations.db]
    #[arg(long, value_name = "PLACE", conflicts_with = "no_page")]
    conversations: Option<PathBuf>,

    /// Serve the API only, without the chat page
    #[arg(long)]
    no_page: bool,

    #[command(flatten)]
    front: FrontArgs,

    /// How to write what happens, on stderr; never texts of users or keys
    #[arg(long, value_enum, value_name = "FORM", default_value = "text")]
    log: logs::Form,

    /// From which level on, or levels by part, as in info,gigaro_serve=debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

/// How the server looks to those who come from elsewhere.
#[derive(Debug, clap::Args)]
struct FrontArgs {
    /// Certificates in PEM, the server's own first: connections are encrypted, and the files read again when they change
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of that certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Let pages of this site ask too, as in https://app.example; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<Origin>,

    /// Under which address browsers find the page, where a proxy stands before the server, as in https://chat.example
    #[arg(long, value_name = "URL")]
    public_url: Option<Origin>,

    /// How long to go on taking requests after being asked to end, until a load balancer has noticed
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    drain_delay: u32,
}

impl FrontArgs {
    fn front(&self) -> Result<Front> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(Tls::read(certificate, key)?),
            _ => None,
        };
        Ok(Front {
            tls,
            cors_origins: self.cors_origin.clone(),
            public_url: self.public_url.clone(),
            drain_delay: Duration::from_secs(self.drain_delay.into()),
        })
    }

    /// Where a browser finds the server that listens there.
    fn address(&self, listens: SocketAddr) -> String {
        let scheme = if self.tls_cert.is_some() {
            "https"
        } else {
            "http"
        };
        match &self.public_url {
            Some(url) => url.to_string(),
            None => format!("{scheme}://{listens}"),
        }
    }
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    args.machine.apply()?;
    let _log = logs::start(args.log, &args.log_level)?;
    #[cfg(feature = "otel")]
    let _traces = gigaro_serve::otel::start(None)?;
    let settings = settings(args)?;
    let paths = paths(&args.checkpoints)?;
    let (models, _) = models(&paths, args.dtype, &args.adapter, &settings.engine, output)?;
    let notice = "finishing the replies under way; again to leave at once";
    let (stop, wants_newer) = interrupt::catch_for_server(notice)?;
    let server = Server::start(args.host, args.port, models, settings, conversations(args)?)
        .context("cannot serve the model")?;
    output.say(format_args!(
        "Listening on {}://{}/v1, documented in /openapi.json.",
        if args.front.tls_cert.is_some() {
            "https"
        } else {
            "http"
        },
        server.address()
    ));
    if !args.no_page {
        output.say(format_args!(
            "Chat: {}/",
            args.front.address(server.address())
        ));
    }
    wait_until_ready(&server, &stop, output)?;
    while !stop.is_requested() && !server.is_finished() {
        std::thread::sleep(LOOK_AGAIN);
        if wants_newer.swap(false, Ordering::SeqCst) {
            serve_newer(&server, &paths, output);
        }
    }
    server.drain();
    while !server.is_finished() {
        std::thread::sleep(LOOK_AGAIN);
    }
    Ok(())
}

/// The store of the chat page, if there is to be one.
fn conversations(args: &Args) -> Result<Option<Store>> {
    if args.no_page {
        return Ok(None);
    }
    let path = match &args.conversations {
        Some(path) => path.clone(),
        None => {
            fs::create_dir_all(RUNS).with_context(|| format!("cannot make the folder {RUNS}"))?;
            Path::new(RUNS).join("conversations.db")
        }
    };
    Ok(Some(Store::open_or_create(path)?))
}

/// The keys, with what they have used today.
fn keys(path: &Path, usage: Option<&Path>) -> Result<Keys> {
    let keys = Keys::read(path)?;
    let place = usage.map_or_else(|| default_usage(path), Path::to_owned);
    keys.keep_usage(&place)
        .context("give a place that can be written with --key-usage")?;
    Ok(keys)
}

fn settings(args: &Args) -> Result<Settings> {
    let access = match &args.api_key_file {
        Some(path) => Access::Keys(keys(path, args.key_usage.as_deref())?),
        None if args.no_auth => Access::Anyone,
        None => Access::LoopbackOnly,
    };
    Ok(Settings {
        access,
        limits: Limits::default(),
        front: args.front.front()?,
        engine: EngineSettings {
            slots: args.slots.into(),
            context: args.context.map(|tokens| tokens as usize),
            kv_bytes: args.kv_mib << 20,
            queue_len: args.queue_len as usize,
            queue_time: Duration::from_secs(args.queue_seconds.into()),
            ..EngineSettings::default()
        },
    })
}

/// The checkpoints or folders to serve.
pub(super) fn paths(checkpoints: &[PathBuf]) -> Result<Vec<PathBuf>> {
    Ok(match checkpoints {
        [] => vec![chosen_checkpoint(None)?],
        given => given.to_vec(),
    })
}

/// Swaps every model in whose place lies a newer checkpoint than the one that serves. What goes wrong is told, and the model stays as it is.
fn serve_newer(server: &Server, paths: &[PathBuf], output: &Output) {
    for path in paths {
        let swapped = newer(server, path);
        match swapped {
            Ok(Some(line)) => output.say(line),
            Ok(None) => {}
            Err(error) => output.complain(format_args!("error: {error:#}")),
        }
    }
}

/// Swaps one model, if there is a newer checkpoint; a line for people if so.
fn newer(server: &Server, path: &Path) -> Result<Option<String>> {
    let name = name_of(path)?;
    let (checkpoint, _) = open_config(path)?;
    let served = server.app().served(Some(&name));
    let served = served.map_err(|e| anyhow!(e.message().to_owned()))?;
    let there = shown(&checkpoint);
    match served.state() {
        ModelState::Ready(ready) if ready.facts.checkpoint == there => return Ok(None),
        _ => served.swap(None)?,
    }
    Ok(Some(format!("{name} serves {there} now.")))
}

/// The models to read, each with a name of its own, and the memory that they take.
pub(super) fn models(
    paths: &[PathBuf],
    weights: Weights,
    adapters: &[AdapterFlag],
    engine: &EngineSettings,
    output: &Output,
) -> Result<(Vec<ModelSource>, u64)> {
    let (mut sources, mut needed) = (Vec::<ModelSource>::new(), 0);
    for path in paths {
        let path = path.clone();
        // What is wrong with a checkpoint is said before anything else is begun.
        let (place, config) = open_config(&path)?;
        let bytes = memory(&place, &config, weights, engine);
        needed += bytes;
        let name = name_of(&path)?;
        if sources.iter().any(|source| source.name == name) {
            let sentence =
                format!("two models would be called {name}: serve folders of different names");
            return Err(Usage(sentence).into());
        }
        output.say(format_args!(
            "{name}: {} parameters in {}, up to {} of memory, from {}",
            Count(config.num_params() as f64),
            weights.name(),
            Bytes(bytes),
            place.display()
        ));
        sources.push(ModelSource {
            name,
            load: Arc::new(move |other| {
                load(other.unwrap_or(&path), weights).map_err(|e| format!("{e:#}"))
            }),
            adapters: Vec::new(),
        });
    }
    for flag in adapters {
        adapter(flag, &mut sources)?;
    }
    if let Some(available) = memory_available().filter(|available| needed > *available) {
        bail!(
            "that needs {} of memory, but only {} are available: serve fewer models, or give fewer --slots, a shorter --context or a smaller --dtype",
            Bytes(needed),
            Bytes(available)
        );
    }
    Ok((sources, needed))
}

/// The weights while they are read, which is in 32 bits, and as they are held, and the keys and values at most. Those of one file that are
/// held as they are stored take what the file does.
fn memory(place: &Path, config: &GptConfig, weights: Weights, engine: &EngineSettings) -> u64 {
    let file = std::fs::metadata(place)
        .ok()
        .filter(std::fs::Metadata::is_file);
    let weights = match (weights, file) {
        (Weights::Auto, Some(file)) => file.len(),
        (Weights::Auto | Weights::F32, _) => config.num_params() * 4,
        (rounded, _) => config.num_params() * (4 + rounded.bytes()),
    };
    let context = engine
        .context
        .unwrap_or(config.max_seq_len)
        .min(config.max_seq_len);
    let per_token = 2 * 4 * config.n_layer * config.n_kv_head * config.head_dim();
    let row = (context * per_token) as u64;
    let rows = (engine.kv_bytes / row.max(1)).clamp(1, engine.slots as u64);
    weights + rows * row
}

/// The name of the folder that was given, or of the file without its end.
fn name_of(path: &Path) -> Result<String> {
    let whole = std::path::absolute(path);
    let whole = whole.with_context(|| format!("cannot use the path {}", path.display()))?;
    let name = if path.is_file() {
        whole.file_stem()
    } else {
        whole.file_name()
    };
    let name = name.and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| {
        Usage(format!(
            "{} has no name that a client could write: give a folder whose name is UTF-8",
            path.display()
        ))
        .into()
    })
}

/// What `--adapter` says.
#[derive(Clone, Debug)]
pub(super) struct AdapterFlag {
    model: Option<String>,
    name: String,
    dir: PathBuf,
}

impl AdapterFlag {
    fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.splitn(3, '=').collect();
        let (model, name, dir) = match parts[..] {
            [model, name, dir] => (Some(model.to_owned()), name, dir),
            [name, dir] => (None, name, dir),
            _ => return Err("it must be NAME=DIR or MODEL=NAME=DIR".into()),
        };
        if name.is_empty() || dir.is_empty() {
            return Err("it must be NAME=DIR or MODEL=NAME=DIR, none of them empty".into());
        }
        Ok(Self {
            model,
            name: name.to_owned(),
            dir: dir.into(),
        })
    }
}

/// Puts an adapter beside its model.
fn adapter(flag: &AdapterFlag, sources: &mut [ModelSource]) -> Result<()> {
    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    let asked = flag.model.as_ref();
    let of = |source: &&mut ModelSource| asked.is_none_or(|name| *name == source.name);
    let Some(source) = sources.iter_mut().find(of) else {
        let known = names.join(", ");
        let asked = asked.map_or("", String::as_str);
        return Err(Usage(format!(
            "--adapter names the model {asked}, which is not served; there are: {known}"
        ))
        .into());
    };
    let name = format!("{}:{}", source.name, flag.name);
    if source.adapters.iter().any(|other| other.name == name) {
        return Err(Usage(format!(
            "two adapters would be called {name}: give each a name of its own"
        ))
        .into());
    }
    let dir = flag.dir.clone();
    if !dir.join(ADAPTER_CONFIG).is_file() {
        bail!(
            "{} holds no {ADAPTER_CONFIG}: give the folder of a LoRA adapter as --adapter {}=DIR",
            dir.display(),
            flag.name
        );
    }
    source.adapters.push(AdapterSource { name, dir });
    Ok(())
}

fn load(path: &Path, weights: Weights) -> Result<LoadedModel> {
    let trained = Trained::open_in(path, weights.format())?;
    let (chat, tools) = match prompt_writers(&trained) {
        Ok((chat, tools)) => (Ok(chat), tools),
        Err(e) => (Err(format!("{e:#}")), None),
    };
    Ok(LoadedModel {
        checkpoint: shown(&trained.dir),
        model: trained.model,
        tokenizer: trained.tokenizer,
        chat,
        tools,
        weights: weights.format().unwrap_or(WeightFormat::F32),
    })
}

/// The end of a checkpoint's path: clients need not know where on the disk it lies.
fn shown(dir: &Path) -> String {
    let parts: Vec<_> = dir.iter().map(|part| part.to_string_lossy()).collect();
    parts[parts.len().saturating_sub(4)..].join("/")
}

/// Write conversations in the model's own format, always with today's date; the second one those with functions, if it has words for
/// them.
fn prompt_writers(trained: &Trained) -> Result<(PromptWriter, Option<ToolPromptWriter>)> {
    let (tokenizer, beside) = (trained.tokenizer.clone(), trained.beside.clone());
    let dir = trained.dir.clone();
    let read = move || Turns::beside(&tokenizer, &beside, &dir).map(Turns::today);
    let first = read()?;
    let knows_tools = first.knows_tools();
    let turns = RwLock::new((today(), Arc::new(first)));
    let format = Arc::new(move || {
        let (date, mut format) = turns.read().unwrap_or_else(PoisonError::into_inner).clone();
        if date != today()
            && let Ok(newer) = read()
        {
            format = Arc::new(newer);
            *turns.write().unwrap_or_else(PoisonError::into_inner) = (today(), format.clone());
        }
        format
    });
    let plain = format.clone();
    let chat: PromptWriter = Arc::new(move |messages| plain().prompt(messages));
    let tools: Option<ToolPromptWriter> = knows_tools.then(|| {
        let write =
            move |messages: &[Value], tools: &[Value]| format().prompt_with_tools(messages, tools);
        Arc::new(write) as ToolPromptWriter
    });
    Ok((chat, tools))
}

/// Says of each model when it is there.
///
/// # Errors
/// If one of them cannot be read.
fn wait_until_ready(
    server: &Server,
    stop: &gigaro_train::interrupt::StopFlag,
    output: &Output,
) -> Result<()> {
    for model in server.app().models() {
        while !stop.is_requested() {
            match model.state() {
                ModelState::Loading => std::thread::sleep(LOOK_AGAIN),
                ModelState::Failed(sentence) => bail!("cannot serve {}: {sentence}", model.name()),
                ModelState::Ready(ready) => {
                    let facts = &ready.facts;
                    output.say(format_args!(
                        "{} is ready: {} replies at once of up to {} tokens, up to {} of keys and values.",
                        model.name(),
                        facts.slots,
                        facts.context,
                        Bytes(facts.kv_bytes)
                    ));
                    break;
                }
            }
        }
    }
    Ok(())
}
