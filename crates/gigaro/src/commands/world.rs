//! `gigaro world`: the built-in small world, written out to read, to train other systems on, or to measure them by.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::ValueEnum;
use gigaro_data::world::{Conversation, HeldOut, Message, Prompt, Question, Role, World};
use serde_json::{Value, json};

use crate::flags::{count, seed};
use crate::output::Output;
use crate::recipe::WORLD_SEED;

const EXAMPLE: &str = "\
Examples:
  gigaro world --count 3                 three documents to read
  gigaro world --what chats --count 20000 --out chats.jsonl
  gigaro world --what questions --count 10 --out exam.jsonl    the held-out exam, with every answer that counts";

/// Print or write documents, conversations, questions or prompts of the built-in small world
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// What to write
    #[arg(long, value_enum, default_value = "documents")]
    what: What,

    /// How many; of questions, at most so many of each kind
    #[arg(long, value_name = "N", default_value_t = 10, allow_negative_numbers = true, value_parser = count)]
    count: usize,

    /// Which world: its people, places and events
    #[arg(long, value_name = "N", default_value_t = WORLD_SEED, allow_negative_numbers = true, value_parser = seed)]
    world_seed: u64,

    /// What is told of it; questions are the same for every seed
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = seed)]
    seed: u64,

    /// Write lines of JSON to this file instead of text to the screen
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// End stdout with one JSON object; everything for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Text to pretrain on, for --text
    Documents,
    /// Conversations to fine-tune on, for --chats
    Chats,
    /// The held-out exam: questions with their true answers
    Questions,
    /// Requests to align on: questions, harm, and what only looks like harm
    Prompts,
}

/// One thing of the world, for people and for programs.
struct Piece {
    text: String,
    line: Value,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let world = World::new(args.world_seed);
    let pieces = pieces(&world, args);
    let mut written = 0_usize;
    match &args.out {
        None => {
            for piece in pieces.take_while(|_| !output.is_closed()) {
                output.say(format_args!("{}\n", piece.text));
                written += 1;
            }
        }
        Some(path) => {
            let failed = || format!("cannot write {}", path.display());
            let beside = path.with_added_extension("partial");
            let mut file = BufWriter::new(File::create(&beside).with_context(failed)?);
            for piece in pieces {
                writeln!(file, "{}", piece.line).with_context(failed)?;
                written += 1;
            }
            file.flush().with_context(failed)?;
            std::fs::rename(&beside, path).with_context(failed)?;
            output.say(format_args!("{written} lines are in {}.", path.display()));
        }
    }
    output.result(&json!({ "written": written, "file": args.out }))
}

fn pieces<'a>(world: &'a World, args: &Args) -> Box<dyn Iterator<Item = Piece> + 'a> {
    let (count, seed) = (args.count, args.seed);
    match args.what {
        What::Documents => Box::new(world.documents(seed).take(count).map(|document| Piece {
            line: json!({ "text": document.text, "kind": format!("{:?}", document.kind).to_lowercase() }),
            text: document.text,
        })),
        What::Chats => Box::new(world.conversations(seed).take(count).map(|c| conversation(&c))),
        What::Questions => Box::new(world.exam(count).into_iter().map(|q| question(&q))),
        What::Prompts => Box::new(world.alignment_prompts(seed).take(count).map(|p| prompt(&p))),
    }
}

fn conversation(conversation: &Conversation) -> Piece {
    let role = |role| match role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let messages = &conversation.messages;
    let shown = |m: &Message| format!("{}: {}", role(m.role), m.content);
    let said = |m: &Message| json!({ "role": role(m.role), "content": m.content });
    Piece {
        text: messages.iter().map(shown).collect::<Vec<_>>().join("\n"),
        line: json!({ "messages": messages.iter().map(said).collect::<Vec<_>>() }),
    }
}

fn question(question: &Question) -> Piece {
    let reason = match question.reason {
        None => "asked in training",
        Some(HeldOut::Fact) => "its fact is never asked about in training",
        Some(HeldOut::Phrasing) => "never asked in these words",
        Some(HeldOut::Argument) => "its words or numbers are in no question",
    };
    Piece {
        text: format!("{}\n{}", question.text, question.answer),
        line: json!({
            "kind": question.kind,
            "question": question.text,
            "answer": question.answer,
            "acceptable": question.acceptable,
            "held_out": reason,
        }),
    }
}

fn prompt(prompt: &Prompt) -> Piece {
    Piece {
        text: format!("{}\n{}", prompt.text, prompt.ideal),
        line: json!({
            "prompt": prompt.text,
            "ideal": prompt.ideal,
            "harmful": prompt.harmful,
            "question": prompt.question.is_some(),
        }),
    }
}
