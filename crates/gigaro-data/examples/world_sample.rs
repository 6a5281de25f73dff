//! Prints samples of the small world: texts of every kind, conversations, questions, prompts.
//!
//! `cargo run --release -p gigaro-data --example world_sample -- [SEED] [SAMPLES OF EACH KIND]`

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use gigaro_data::world::{Labeller, Role, Split, World};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|a| a.parse::<u64>().unwrap_or(0));
    let seed = arguments.next().unwrap_or(0);
    let samples = arguments.next().unwrap_or(3) as usize;
    let world = World::new(seed);
    let mut out = BufWriter::new(io::stdout().lock());

    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for document in world.documents(seed).take(5_000) {
        let list = texts.entry(format!("{:?}", document.kind)).or_default();
        if list.len() < samples {
            list.push(document.text);
        }
    }
    for (kind, list) in texts {
        writeln!(out, "=== {kind}\n")?;
        for text in list {
            writeln!(out, "{text}\n")?;
        }
    }

    writeln!(out, "=== Conversations\n")?;
    for conversation in world.conversations(seed).take(samples * 3) {
        for message in conversation.messages {
            let who = if message.role == Role::User {
                "User"
            } else {
                "Assistant"
            };
            writeln!(out, "{who}: {}", message.content)?;
        }
        writeln!(out)?;
    }

    prompts(&world, seed, samples, &mut out)?;

    writeln!(out, "\n=== Held-out questions, one of each kind\n")?;
    for question in world.exam(1) {
        writeln!(
            out,
            "{:18} {} -> {}",
            question.kind, question.text, question.answer
        )?;
    }

    let questions = world.questions();
    let held_out = questions
        .iter()
        .filter(|q| q.split == Split::HeldOut)
        .count();
    writeln!(
        out,
        "\n{} facts, {} questions, {held_out} of them held out",
        world.facts().count(),
        questions.len()
    )
}

/// What alignment asks, and what the red team does.
fn prompts(world: &World, seed: u64, samples: usize, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "=== Prompts\n")?;
    writeln!(out, "judged by a {}\n", Labeller::truth().describe())?;
    for prompt in world.alignment_prompts(seed).take(samples * 5) {
        writeln!(out, "{}\n  {}", prompt.text, prompt.ideal)?;
    }

    writeln!(out, "\n=== The red team, one of each disguise\n")?;
    let mut worn = "";
    for disguised in world.red_team() {
        if disguised.disguise != worn {
            worn = disguised.disguise;
            writeln!(out, "{worn:18} {}", disguised.prompt.text)?;
        }
    }
    Ok(())
}
