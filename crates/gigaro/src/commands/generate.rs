//! `gigaro generate`: a model goes on with a text, or answers it if it has a chat template of its own.

use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use gigaro_data::chat::Message;
use serde_json::{Value, json};

use crate::failure::{Interrupted, Usage};
use crate::flags::{ComputeArgs, Precision, count};
use crate::interrupt;
use crate::output::Output;
use crate::sampling_flags::{SamplingArgs, usual};
use crate::trained::{Reading, Trained, chosen_checkpoint};
use crate::turns::Turns;

const EXAMPLE: &str = "\
Examples:
  gigaro generate \"Once upon a time\"
  gigaro generate --checkpoint runs/speedrun --temperature 0 --max-tokens 50 < prompt.txt
  gigaro generate --checkpoint runs/tuned --raw \"Once upon a time\"
  gigaro generate --checkpoint SmolLM2-135M-Instruct.Q4_1.gguf \"Name three fruits.\"";

/// Let a trained model go on with a text; one with a chat template of its own answers it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// The text to go on with [default: read from stdin]
    prompt: Option<String>,

    /// A checkpoint, the folder of a run, a Hugging Face folder or a .gguf file [default: the last finished run]
    #[arg(long, value_name = "PATH")]
    checkpoint: Option<PathBuf>,

    /// Go on with the text as it stands, even if the checkpoint has a chat template, by which the text would be a message
    #[arg(long)]
    raw: bool,

    /// Report the log-probability of each token and of the N most probable ones (with --json)
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    logprobs: Option<usize>,

    #[command(flatten)]
    sampling: SamplingArgs,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let start = Instant::now();
    args.compute.machine.apply()?;
    let mut params = args.sampling.over(&usual(), args.compute.seed)?;
    let trained = Trained::open(&chosen_checkpoint(args.checkpoint.as_deref())?)?;
    params.logprobs = args.logprobs;
    params
        .validate(trained.tokenizer.vocab_size())
        .map_err(|e| Usage(e.to_string()))?;
    let text = match &args.prompt {
        Some(prompt) => prompt.clone(),
        None => read_stdin()?,
    };
    let turns = if args.raw {
        None
    } else {
        Turns::own(&trained)?.map(Turns::today)
    };
    let prompt = match &turns {
        Some(turns) => turns.prompt(&[Message::user(&text)])?,
        None => document(&trained, &text),
    };
    check_length(&prompt, trained.context())?;
    let stop = interrupt::catch("stopping")?;
    let (mut reading, mut first) = (Reading::new(&trained.model), None);
    match &turns {
        // An answer is no part of the question's line.
        Some(_) => output.say(&text),
        None => output.piece(&text),
    }
    let dtype = args.compute.dtype.unwrap_or(Precision::F32);
    let reply = trained.continue_text(&mut reading, &prompt, &params, dtype, &mut |piece| {
        first.get_or_insert_with(|| start.elapsed().as_secs_f64());
        output.piece(piece);
        !output.is_closed() && !stop.is_requested()
    })?;
    output.say("");
    if stop.is_requested() {
        return Err(Interrupted("the text above is not finished; nothing was saved".into()).into());
    }
    let seconds = start.elapsed().as_secs_f64();
    let logprobs: Vec<Value> = reply.logprobs.iter().map(logprobs_json).collect();
    output.result(&json!({
        "prompt": text,
        "chat_template": turns.is_some(),
        "text": reply.text,
        "tokens": reply.tokens,
        "finish_reason": reply.finish_reason.as_str(),
        "logprobs": logprobs,
        "seconds": seconds,
        "seconds_to_first_text": first,
        "checkpoint": trained.dir,
    }))
}

/// The prompt as a document that begins: with the token that separates documents, if there is one.
fn document(trained: &Trained, text: &str) -> Vec<u32> {
    let mut ids: Vec<u32> = trained.tokenizer.document_start().into_iter().collect();
    trained.tokenizer.encode_into(text, &mut ids);
    ids
}

fn check_length(ids: &[u32], context: usize) -> Result<()> {
    let len = ids.len();
    if len >= context {
        let sentence = format!(
            "the prompt has {len} tokens, but this model looks at {context} at most, the reply included: shorten the prompt"
        );
        return Err(Usage(sentence).into());
    }
    if ids.is_empty() {
        return Err(Usage("the prompt is empty: give some text to go on with".into()).into());
    }
    Ok(())
}

fn logprobs_json(logprobs: &gigaro_models::generate::TokenLogprobs) -> Value {
    let top = logprobs
        .top
        .iter()
        .map(|t| json!({ "token": t.token, "logprob": t.logprob }));
    json!({ "logprob": logprobs.chosen, "top": top.collect::<Vec<Value>>() })
}

fn read_stdin() -> Result<String> {
    let mut bytes = Vec::new();
    io::stdin()
        .read_to_end(&mut bytes)
        .context("cannot read stdin")?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Usage(format!(
            "the prompt on stdin is not UTF-8 (byte {at}): convert it first"
        ))
        .into()
    })
}
