//! `gigaro chat`: a conversation with a fine-tuned model in the terminal, on this machine or behind an address.
//!
//! What a line means is in `words.rs`, where it comes from in `input.rs`, what was said in `talk.rs`. Here the model is this program's own;
//! `remote.rs` asks a server. The speedrun ends here too.

mod input;
mod remote;
mod talk;
mod words;

use std::path::PathBuf;

use anyhow::Result;
use gigaro_data::chat::{Message, message_text};
use gigaro_models::generate::{FinishReason, SamplingParams};
use gigaro_train::quantity::Count;

use self::input::Input;
use self::talk::Talk;
use self::words::Line;
use crate::failure::Usage;
use crate::flags::{ComputeArgs, Precision};
use crate::interrupt::{self, Stoppable};
use crate::output::Output;
use crate::sampling_flags::{SamplingArgs, usual};
use crate::trained::{Reading, Trained, chosen_checkpoint};
use crate::turns::Turns;

const EXAMPLE: &str = "\
Examples:
  gigaro chat
  gigaro chat runs/speedrun --temperature 0
  gigaro chat SmolLM2-135M-Instruct.Q4_1.gguf
  gigaro chat --server http://127.0.0.1:8000
  echo \"What is the capital of Estia?\" | gigaro chat";

/// Talk to a fine-tuned model in the terminal
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// A checkpoint, the folder of a run, a Hugging Face folder or a .gguf file [default: the last finished run]
    checkpoint: Option<PathBuf>,

    /// Talk to a model behind this address instead, such as one of `gigaro serve`: any server of OpenAI's API
    #[arg(long, value_name = "URL", conflicts_with = "checkpoint")]
    server: Option<String>,

    /// A file with the key that the server wants
    #[arg(long, value_name = "FILE", requires = "server")]
    api_key_file: Option<PathBuf>,

    /// Which of the server's models [default: the first one]
    #[arg(long, value_name = "NAME", requires = "server")]
    model: Option<String>,

    /// Instructions that stand before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    #[command(flatten)]
    sampling: SamplingArgs,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    args.compute.machine.apply()?;
    let params = args.sampling.over(&usual(), args.compute.seed)?;
    if let Some(server) = &args.server {
        return remote::run(args, server, output);
    }
    let trained = Trained::open(&chosen_checkpoint(args.checkpoint.as_deref())?)?;
    params
        .validate(trained.tokenizer.vocab_size())
        .map_err(|e| Usage(e.to_string()))?;
    let dtype = args.compute.dtype.unwrap_or(Precision::F32);
    let mut chat = Chat::new(&trained, params, dtype, args.system.clone())?;
    chat.run(output)
}

/// One conversation and the model it is with.
pub(crate) struct Chat<'a> {
    trained: &'a Trained,
    format: Turns,
    params: SamplingParams,
    dtype: Precision,
    talk: Talk,
    reading: Reading,
}

impl<'a> Chat<'a> {
    /// A conversation that has not begun.
    ///
    /// # Errors
    /// If the model's tokenizer has no tokens for turns and no chat template, or a damaged one.
    pub(crate) fn new(
        trained: &'a Trained,
        params: SamplingParams,
        dtype: Precision,
        system: Option<String>,
    ) -> Result<Self> {
        let format = Turns::of(trained)?.today();
        let reading = Reading::new(&trained.model);
        Ok(Self {
            trained,
            format,
            params,
            dtype,
            talk: Talk::new(system),
            reading,
        })
    }

    /// Talks until the user leaves.
    ///
    /// # Errors
    /// If input cannot be read, a reply cannot be computed, or Ctrl-C cannot be caught.
    pub(crate) fn run(&mut self, output: &Output) -> Result<()> {
        let mut input = Input::new()?;
        let stoppable = interrupt::catch_each()?;
        if input.is_terminal() {
            let parameters = Count(self.trained.model.config.num_params() as f64);
            output.say(format_args!(
                "{}: {parameters} parameters. /help lists the commands.",
                self.trained.dir.display()
            ));
        }
        while !output.is_closed() {
            let Some(line) = input.next()? else { break };
            match Line::parse(&line) {
                Line::Quit => break,
                Line::Say(words) => self.answer(words, &stoppable, output)?,
                other => self.talk.obey(other, output),
            }
        }
        Ok(())
    }

    /// Shows the model's answer as it is written, and keeps both turns.
    fn answer(&mut self, words: String, stoppable: &Stoppable, output: &Output) -> Result<()> {
        self.talk.turns.push(Message::user(words));
        let prompt = match self.fitting_prompt() {
            Ok(prompt) => prompt,
            Err(sentence) => {
                self.talk.turns.pop();
                output.complain(sentence);
                return Ok(());
            }
        };
        stoppable.begin();
        // Each turn has a stream of its own, so that the same question again may get another answer.
        let seed = self.params.seed.wrapping_add(self.talk.turns.len() as u64);
        let params = SamplingParams {
            seed,
            ..self.params.clone()
        };
        let mut begun = false;
        let reply = self.trained.continue_text(
            &mut self.reading,
            &prompt,
            &params,
            self.dtype,
            &mut |piece| {
                // The space before the message may come with its first word or alone.
                output.piece(if begun { piece } else { message_text(piece) });
                begun |= !piece.is_empty();
                !output.is_closed() && !stoppable.is_stopped()
            },
        )?;
        let ending = match reply.finish_reason {
            FinishReason::Stop => "",
            FinishReason::Length => " ...",
            FinishReason::Cancelled => " (stopped)",
        };
        output.say(ending);
        self.talk
            .turns
            .push(Message::assistant(message_text(&reply.text)));
        Ok(())
    }

    /// The conversation as tokens with room for an answer. Forgets the oldest turns where it grew too long.
    ///
    /// # Errors
    /// A sentence if the last turn alone is too long, or the model's template refuses the conversation.
    fn fitting_prompt(&mut self) -> Result<Vec<u32>, String> {
        let context = self.trained.context();
        let room = self.params.max_tokens.min(context / 4).max(1);
        loop {
            let prompt = self.format.prompt(&self.talk.messages());
            let prompt = prompt.map_err(|e| e.to_string())?;
            if prompt.len() + room <= context {
                return Ok(prompt);
            }
            if self.talk.turns.len() <= 1 {
                return Err(format!(
                    "that is longer than the {context} tokens this model can look at: say it shorter"
                ));
            }
            // A question goes with its answer.
            self.talk.turns.drain(..2);
        }
    }
}
