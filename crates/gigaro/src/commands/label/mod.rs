//! `gigaro label`: people rank answers, in the terminal or on a page, and their rankings become preference data.
//!
//! The store, its order and the agreement are gigaro-data's, the page is gigaro-serve's. Here are the flags, the reports
//! (`accounts`), and the screen for the terminal: keys in `session`, what a ranking under way is in `ranker`, drawing in `screen`.

mod accounts;
mod ranker;
mod screen;
mod session;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{ArgGroup, ValueEnum};
use gigaro_data::preferences::store::{Settings, Store};
use gigaro_serve::label::LabelServer;
use serde_json::json;

use crate::failure::Usage;
use crate::interrupt;
use crate::output::Output;

const EXAMPLE: &str = "\
Examples:
  gigaro label answers.db --import answers.jsonl    make a store of prompts with their answers
  gigaro label answers.db --labeller ann            rank them in this terminal
  gigaro label answers.db --serve                   rank them in a browser on this machine
  gigaro label answers.db --report                  who has done what, and how far they agree
  gigaro label answers.db --export pairs.jsonl      what a reward model or DPO learns from";

/// How often the page looks whether Ctrl-C was pressed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Let people rank answers, measure how far they agree, and export preferences
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, group = ArgGroup::new("work").required(true).args(["import", "labeller", "serve", "report", "export"]))]
pub(crate) struct Args {
    /// The label store: one file, made by the first --import
    store: PathBuf,

    /// Bring in items: JSONL with `prompt` and `answers` (and `sources`), or pairs in any form that is known
    #[arg(long, value_name = "FILE.jsonl")]
    import: Option<PathBuf>,

    /// Start of the order of items and answers, fixed by the first import [default: 1]
    #[arg(long, value_name = "N", requires = "import")]
    seed: Option<u64>,

    /// How many of a hundred items everyone gets, fixed by the first import; the rest go to one person each [default: 20]
    #[arg(long, value_name = "PERCENT", requires = "import", value_parser = clap::value_parser!(u32).range(0..=100))]
    shared: Option<u32>,

    /// Rank in this terminal, under this name
    #[arg(long, value_name = "NAME")]
    labeller: Option<String>,

    /// Rank in a browser, on a page that only this machine can open
    #[arg(long)]
    serve: bool,

    /// Port of the page; 0 takes one that is free
    #[arg(long, value_name = "N", requires = "serve", default_value_t = 8765)]
    port: u16,

    /// Show counts for each labeller and their agreement
    #[arg(long)]
    report: bool,

    /// Write the rankings to a file, gzipped if its name ends in .gz
    #[arg(long, value_name = "FILE.jsonl")]
    export: Option<PathBuf>,

    /// What to write with --export [default: pairs]
    #[arg(long, value_enum, value_name = "FORM")]
    form: Option<Form>,

    /// End stdout with one JSON object; everything for people goes to stderr
    #[arg(long)]
    pub(crate) json: bool,
}

/// Forms of preference data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// One line for each pair of answers that is not a tie: prompt, chosen, rejected; flagged items are left out
    Pairs,
    /// One line for each ranking: prompt, answers, ranks, with labeller, sources, flag and time
    Rankings,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    // The command line's own check does not see this, since --export may not stand beside the other kinds of work.
    if args.form.is_some() && args.export.is_none() {
        return Err(Usage("--form says what --export FILE.jsonl writes: give both".into()).into());
    }
    if let Some(file) = &args.import {
        return import(args, file, output);
    }
    let store = Store::open(&args.store)?;
    if let Some(labeller) = &args.labeller {
        return label(store, labeller, output);
    }
    if args.serve {
        return serve(store, args.port, output);
    }
    if let Some(file) = &args.export {
        return match args.form.unwrap_or(Form::Pairs) {
            Form::Pairs => accounts::export_pairs(&store, file, output),
            Form::Rankings => accounts::export_rankings(&store, file, output),
        };
    }
    accounts::report(&store, output)
}

fn import(args: &Args, file: &Path, output: &Output) -> Result<()> {
    let wanted = Settings {
        seed: args.seed.unwrap_or(1),
        shared_percent: args.shared.unwrap_or(20),
    };
    let mut store = Store::open_or_create(&args.store, wanted)?;
    let settings = store.settings();
    let differs = args.seed.is_some_and(|seed| seed != settings.seed)
        || args
            .shared
            .is_some_and(|shared| shared != settings.shared_percent);
    if differs {
        return Err(Usage(format!(
            "{} was made with --seed {} --shared {}, and that stays; leave these flags out, or make another store",
            args.store.display(),
            settings.seed,
            settings.shared_percent
        ))
        .into());
    }
    let imported = store.import(file)?;
    output.say(format_args!(
        "{} items are new, {} were there already.",
        imported.added, imported.known
    ));
    for (count, why) in [
        (
            imported.nothing_to_compare,
            "no two of their answers differ, or one is empty",
        ),
        (
            imported.diverging,
            "their dialogues part before the last answer",
        ),
    ] {
        if count > 0 {
            output.say(format_args!("{count} rows were left out: {why}."));
        }
    }
    let store = args.store.display();
    output.say(format_args!(
        "Rank them: gigaro label {store} --labeller NAME, or gigaro label {store} --serve"
    ));
    output.result(&imported)
}

fn label(store: Store, labeller: &str, output: &Output) -> Result<()> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Usage(
            "ranking needs a terminal for its keys and its screen; run it in one, or use --serve for a page in a browser".into(),
        )
        .into());
    }
    let progress = session::run(store, labeller)?;
    output.say(format_args!(
        "{labeller}: {} ranked, {} skipped, {} to go. All of it is kept.",
        progress.ranked, progress.skipped, progress.open
    ));
    output.result(&progress)
}

fn serve(store: Store, port: u16, output: &Output) -> Result<()> {
    let stop = interrupt::catch("stopping; every label is kept")?;
    let place = store.path().display().to_string();
    let server = LabelServer::start(store, port).context("cannot serve the page")?;
    output.say(format_args!(
        "Open {} in a browser on this machine. Ctrl-C ends; each label is kept as it is given.",
        server.url()
    ));
    while !stop.is_requested() {
        std::thread::sleep(LOOK_AGAIN);
    }
    output.result(&json!({ "store": place, "url": server.url() }))
}
