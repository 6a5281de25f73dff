//! The commands and their order in the help. Each is one file under `commands/`, with its flags and its work.

use clap::{Parser, Subcommand};

use crate::commands::{
    align, bench, capacity, chat, compare, completions, doctor, evaluate, generate, health, info,
    keys, label, man, perplexity, pretrain, reward, serve, sft, speedrun, tokenizer, world,
};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  gigaro speedrun                        from text to a chat with your own aligned model
  gigaro pretrain --text books/          a model of your own text
  gigaro chat                            talk to the model trained last
  gigaro serve                           put it behind an address, as OpenAI's API
  gigaro doctor                          what this machine is and how fast

Exit codes: 0 done, 1 failed, 2 wrong arguments, 130 interrupted after saving.
More on a command: gigaro COMMAND --help";

/// Raw text in, your own aligned assistant out.
#[derive(Debug, Parser)]
#[command(name = "gigaro", version, about, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// All commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Speedrun(speedrun::Args),
    Tokenizer(tokenizer::Args),
    Pretrain(pretrain::Args),
    Sft(sft::Args),
    Reward(reward::Args),
    Align(align::Args),
    Evaluate(evaluate::Args),
    Compare(compare::Args),
    Perplexity(perplexity::Args),
    Generate(generate::Args),
    Chat(chat::Args),
    Serve(serve::Args),
    Keys(keys::Args),
    Health(health::Args),
    Capacity(capacity::Args),
    Label(label::Args),
    World(world::Args),
    Bench(bench::Args),
    Doctor(doctor::Args),
    Info(info::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Command {
    /// Whether stdout is kept for one object.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Speedrun(args) => args.run.compute.json,
            Self::Tokenizer(args) => args.wants_json(),
            Self::Pretrain(args) => args.run.compute.json,
            Self::Sft(args) => args.run.compute.json,
            Self::Reward(args) => args.run.compute.json,
            Self::Align(args) => args.run.compute.json,
            Self::Evaluate(args) => args.compute.json,
            Self::Compare(args) => args.compute.json,
            Self::Perplexity(args) => args.json,
            Self::Generate(args) => args.compute.json,
            Self::Chat(args) => args.compute.json,
            Self::Label(args) => args.json,
            Self::World(args) => args.json,
            Self::Bench(args) => args.wants_json(),
            Self::Doctor(args) => args.json,
            Self::Info(args) => args.json,
            Self::Keys(args) => args.wants_json(),
            Self::Capacity(args) => args.json,
            Self::Serve(_) | Self::Health(_) | Self::Completions(_) | Self::Man(_) => false,
        }
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, output: &Output) -> anyhow::Result<()> {
        match self {
            Self::Speedrun(args) => speedrun::run(args, output),
            Self::Tokenizer(args) => tokenizer::run(args, output),
            Self::Pretrain(args) => pretrain::run(args, output),
            Self::Sft(args) => sft::run(args, output),
            Self::Reward(args) => reward::run(args, output),
            Self::Align(args) => align::run(args, output),
            Self::Evaluate(args) => evaluate::run(args, output),
            Self::Compare(args) => compare::run(args, output),
            Self::Perplexity(args) => perplexity::run(args, output),
            Self::Generate(args) => generate::run(args, output),
            Self::Chat(args) => chat::run(args, output),
            Self::Serve(args) => serve::run(args, output),
            Self::Keys(args) => keys::run(args, output),
            Self::Health(args) => health::run(args, output),
            Self::Capacity(args) => capacity::run(args, output),
            Self::Label(args) => label::run(args, output),
            Self::World(args) => world::run(args, output),
            Self::Bench(args) => bench::run(args, output),
            Self::Doctor(args) => doctor::run(args, output),
            Self::Info(args) => info::run(args, output),
            Self::Completions(args) => completions::run(args, output),
            Self::Man(args) => man::run(args, output),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_do_not_clash() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_and_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} lacks a description");
            let examples = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                examples.contains(&format!("gigaro {name}")),
                "{name} lacks an example"
            );
            for flag in command
                .get_arguments()
                .filter(|a| a.get_id() != "help" && a.get_id() != "version")
            {
                assert!(
                    flag.get_help().is_some(),
                    "{name} {} lacks a description",
                    flag.get_id()
                );
            }
        }
    }
}
