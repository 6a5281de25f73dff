//! `gigaro serve`: a trained model behind an address, in OpenAI's API.
//!
//! The service is gigaro-serve's. Here are the flags, the models it is given, and the end: the first Ctrl-C or SIGTERM lets the
//! replies under way finish, a second one leaves.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use gigaro_models::GptConfig;
use gigaro_models::gpt::WeightFormat;
use gigaro_serve::conversations::Store;
use gigaro_serve::engine::{EngineSettings, LoadedModel, ModelSource, ModelState, PromptWriter};
use gigaro_serve::server::{Access, Keys, Limits, Server, Settings};
use gigaro_train::quantity::{Bytes, Count};
use gigaro_train::resources::memory_available;

use crate::failure::Usage;
use crate::flags::Weights;
use crate::interrupt;
use crate::output::Output;
use crate::pipeline::job::RUNS;
use crate::trained::{Trained, chosen_checkpoint, open_config};
use crate::turns::{Turns, today};

const EXAMPLE: &str = "\
Examples:
  gigaro serve                                     the last finished run, on http://127.0.0.1:8000
  gigaro serve runs/speedrun --dtype bf16 --slots 32
  gigaro serve SmolLM2-135M-Instruct.Q4_1.gguf
  gigaro serve --host 0.0.0.0 --api-key-file keys.txt
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

    /// Port to listen on; 0 takes one that is free
    #[arg(long, value_name = "N", default_value_t = 8000)]
    port: u16,

    /// Address to listen on; others than this machine's own need --api-key-file, or --no-auth
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,

    /// Let in only whoever has one of the keys in this file: a key on each line, or NAME:SHA256 of a key
    #[arg(long, value_name = "FILE", conflicts_with = "no_auth")]
    api_key_file: Option<PathBuf>,

    /// Let in everybody who can reach the address
    #[arg(long)]
    no_auth: bool,

    /// Processor threads to use [default: one per core]; results do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// What weights are held in
    #[arg(long, value_enum, value_name = "TYPE", default_value = "auto")]
    dtype: Weights,

    /// Replies written at the same time, at most
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    slots: u16,

    /// Longest text, prompt and reply together, in tokens [default: what the model was trained for]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,

    /// Memory for keys and values of each model, in MiB; where that is not enough for all slots, there are fewer
    #[arg(long, value_name = "MIB", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    kv_mib: u64,

    /// How long a request may wait for a slot
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    queue_seconds: u32,

    /// How many requests may wait for a slot
    #[arg(long, value_name = "N", default_value_t = 1024)]
    queue_len: u32,

    /// Where the chat page keeps its conversations: one file, made if it is not there [default: runs/conversations.db]
    #[arg(long, value_name = "FILE", conflicts_with = "no_page")]
    conversations: Option<PathBuf>,

    /// Serve the API only, without the chat page
    #[arg(long)]
    no_page: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    if let Some(threads) = args.threads {
        gigaro_tensor::cpu::threads::set_num_threads(threads.into());
    }
    let settings = settings(args)?;
    let models = models(args, &settings.engine, output)?;
    let stop = interrupt::catch("finishing the replies under way; again to leave at once")?;
    let server = Server::start(args.host, args.port, models, settings, conversations(args)?)
        .context("cannot serve the model")?;
    output.say(format_args!(
        "Listening on http://{}/v1, documented in /openapi.json.",
        server.address()
    ));
    if !args.no_page {
        output.say(format_args!("Chat: http://{}/", server.address()));
    }
    wait_until_ready(&server, &stop, output)?;
    while !stop.is_requested() && !server.is_finished() {
        std::thread::sleep(LOOK_AGAIN);
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

fn settings(args: &Args) -> Result<Settings> {
    let access = match &args.api_key_file {
        Some(path) => Access::Keys(Keys::read(path)?),
        None if args.no_auth => Access::Anyone,
        None => Access::LoopbackOnly,
    };
    Ok(Settings {
        access,
        limits: Limits::default(),
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

/// The models to read, each with a name of its own.
fn models(args: &Args, engine: &EngineSettings, output: &Output) -> Result<Vec<ModelSource>> {
    let paths = match &args.checkpoints[..] {
        [] => vec![chosen_checkpoint(None)?],
        given => given.to_vec(),
    };
    let (mut sources, mut needed) = (Vec::<ModelSource>::new(), 0);
    for path in paths {
        // What is wrong with a checkpoint is said before anything else is begun.
        let (place, config) = open_config(&path)?;
        let bytes = memory(&config, args.dtype, engine);
        needed += bytes;
        let name = name_of(&path)?;
        if sources.iter().any(|source| source.name == name) {
            let sentence =
                format!("two models would be called {name}: serve folders of different names");
            return Err(Usage(sentence).into());
        }
        output.say(format_args!(
            "{name}: {} parameters in {}, {} of memory, from {}",
            Count(config.num_params() as f64),
            args.dtype.name(),
            Bytes(bytes),
            place.display()
        ));
        let weights = args.dtype;
        sources.push(ModelSource {
            name,
            load: Box::new(move || load(&path, weights).map_err(|e| format!("{e:#}"))),
        });
    }
    if let Some(available) = memory_available().filter(|available| needed > *available) {
        bail!(
            "that needs {} of memory, but only {} are available: serve fewer models, or give fewer --slots, a shorter --context or a smaller --dtype",
            Bytes(needed),
            Bytes(available)
        );
    }
    Ok(sources)
}

/// The weights while they are read, which is in 32 bits, or as they are held, and the keys and values.
fn memory(config: &GptConfig, weights: Weights, engine: &EngineSettings) -> u64 {
    let held = match weights {
        Weights::Auto | Weights::F32 => 0,
        rounded => rounded.bytes(),
    };
    let context = engine
        .context
        .unwrap_or(config.max_seq_len)
        .min(config.max_seq_len);
    let per_token = 2 * 4 * config.n_layer * config.n_kv_head * config.head_dim();
    let row = (context * per_token) as u64;
    let rows = (engine.kv_bytes / row.max(1)).clamp(1, engine.slots as u64);
    config.num_params() * (4 + held) + rows * row
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

fn load(path: &Path, weights: Weights) -> Result<LoadedModel> {
    let trained = Trained::open_in(path, weights.format())?;
    let chat = prompt_writer(&trained).map_err(|e| format!("{e:#}"));
    Ok(LoadedModel {
        model: trained.model,
        tokenizer: trained.tokenizer,
        chat,
        weights: weights.format().unwrap_or(WeightFormat::F32),
    })
}

/// Writes conversations in the model's own format, always with today's date.
fn prompt_writer(trained: &Trained) -> Result<PromptWriter> {
    let (tokenizer, beside) = (trained.tokenizer.clone(), trained.beside.clone());
    let dir = trained.dir.clone();
    let read = move || Turns::beside(&tokenizer, &beside, &dir).map(Turns::today);
    let turns = RwLock::new((today(), Arc::new(read()?)));
    Ok(Arc::new(move |messages| {
        let (date, mut format) = turns.read().unwrap_or_else(PoisonError::into_inner).clone();
        if date != today()
            && let Ok(newer) = read()
        {
            format = Arc::new(newer);
            *turns.write().unwrap_or_else(PoisonError::into_inner) = (today(), format.clone());
        }
        format.prompt(messages)
    }))
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
                        "{} is ready: {} replies at once of up to {} tokens, {} of keys and values.",
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
