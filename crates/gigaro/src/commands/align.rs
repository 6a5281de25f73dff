//! `gigaro align`: an assistant learns to answer as is preferred, by whichever algorithm.
//!
//! With `--from-feedback` it learns from what people thought of answers on the chat page, and takes the place of the model before it only
//! if its answers are preferred.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use gigaro_data::preferences::{judgements_jsonl, pairs_jsonl};
use gigaro_serve::conversations::{Outcome, Store, Training};
use gigaro_serve::endpoint::Endpoint;
use serde_json::json;

use crate::failure::Usage;
use crate::flags::{RunArgs, TextArgs};
use crate::output::Output;
use crate::pipeline::Job;
use crate::pipeline::align::steps::Aligned;
use crate::pipeline::align::{steps, steps_page};
use crate::pipeline::job::RUNS;
use crate::recipe::{Algorithm, Align, Ppo, Recipe};
use crate::remote;
use crate::trained::{absolute, existing, start_of_alignment};

const EXAMPLE: &str = "\
Examples:
  gigaro align --algorithm ppo --checkpoint runs/speedrun/sft --reward runs/judge
  gigaro align --algorithm dpo --checkpoint runs/books-sft --preferences pairs.jsonl.gz
  gigaro align --algorithm grpo --recipe my.toml      with [align] ask = \"arithmetic\"
  gigaro align --from-feedback runs/conversations.db  what people thought of answers on the chat page
  gigaro align --from-feedback runs/conversations.db --swap http://127.0.0.1:8000
  gigaro align --resume runs/speedrun-dpo

Settings are the keys of [align] in the recipe, those of ppo in [ppo].";

/// Train a fine-tuned model to answer as is preferred: PPO, DPO, IPO, KTO, ORPO, GRPO, RLOO, best of N
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Args {
    /// How to learn [default: the recipe's, or dpo]
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "resume")]
    algorithm: Option<Algorithm>,

    /// The fine-tuned model to start from: a checkpoint or the folder of a run [default: the last finished run]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    checkpoint: Option<PathBuf>,

    /// Reward model for ppo, best-of-n, and in place of the small world's truth for grpo and rloo: a run of `gigaro reward`
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    reward: Option<PathBuf>,

    /// Preferences for dpo, ipo, kto and orpo as JSON lines, plain or .gz, instead of the simulated labeller's
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    preferences: Option<PathBuf>,

    /// What people thought of answers on the chat page, instead of preferences from a file: the store of `gigaro serve`.
    /// The new model is the last finished run, which `gigaro serve` takes next, only if its answers are preferred to those before
    #[arg(long, value_name = "STORE", conflicts_with_all = ["resume", "preferences", "reward"])]
    from_feedback: Option<PathBuf>,

    /// Have the server at this address, a `gigaro serve`, put the new model in the place of the one it serves, if it is better
    #[arg(long, value_name = "URL", requires = "from_feedback")]
    swap: Option<String>,

    /// Which of the server's models the new one replaces [default: its first one]
    #[arg(long, value_name = "NAME", requires = "swap")]
    swap_model: Option<String>,

    /// A file with the key that the server wants
    #[arg(long, value_name = "FILE", requires = "swap")]
    api_key_file: Option<PathBuf>,

    #[command(flatten)]
    text: TextArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<()> {
    let start = Instant::now();
    let server = served(args)?;
    let from = match &args.run.resume {
        Some(_) => None,
        None => Some(start_of_alignment(args.checkpoint.as_deref())?),
    };
    let standard = from.as_deref().map_or(String::new(), steps::recipe_for);
    let job = Job::begin("align", &args.run, &standard, |recipe| {
        choose(args, from, recipe)
    })?;
    let Some(recipe) = &job.recipe.align else {
        bail!(
            "the run in {} aligns no model by itself: its recipe has no section [align]",
            job.out.display()
        );
    };
    let aligned = steps::align(&job, recipe, output)?;
    let seconds = start.elapsed().as_secs_f64();
    let report = steps_page::write_aligned(&job, &aligned, seconds)?;
    let taken = match &args.from_feedback {
        Some(_) => tell_outcome(&aligned, output),
        None => true,
    };
    if taken {
        job.remember()?;
    }
    let swapped = match &server {
        Some(server) => swap(server, &job, taken, output),
        None => None,
    };
    if let Some(store) = &args.from_feedback {
        note(store, &job, &aligned, taken, swapped.clone())?;
    }
    output.say(format_args!(
        "\nModel: {}\nReport: {}\nTalk to it: gigaro chat {}",
        aligned.stage.checkpoint.display(),
        report.display(),
        job.out.display()
    ));
    let mut object = aligned.json();
    object["report"] = json!(report);
    object["seconds"] = json!(seconds);
    if args.from_feedback.is_some() {
        object["takes_its_place"] = json!(taken);
        object["swapped"] = json!(swapped);
    }
    output.result(&object)
}

/// Says whether learning from feedback has made the model better, and returns whether it takes the place of the one before.
fn tell_outcome(aligned: &Aligned, output: &Output) -> bool {
    let sentence = match aligned.outcome() {
        Outcome::Better => "Better: its answers are preferred, and `gigaro serve` takes it next.",
        Outcome::Worse => {
            "Worse: the answers before are preferred, and the model before keeps its place."
        }
        Outcome::Undecided => {
            "Not told apart: the interval holds one half, and the model before keeps its place. More feedback may decide."
        }
        Outcome::Unknown => {
            "Not compared: there is no small world to judge by, and the model before keeps its place. Hold them against each other with `gigaro compare --judge`."
        }
    };
    output.say(format_args!("\n{sentence}"));
    aligned.outcome() == Outcome::Better
}

/// The server that is to serve a better model: found before hours are spent on one.
///
/// # Errors
/// If the address or the key is none, or the server does not answer.
fn served(args: &Args) -> Result<Option<Endpoint>> {
    let Some(server) = &args.swap else {
        return Ok(None);
    };
    let (key, model) = (args.api_key_file.as_deref(), args.swap_model.as_deref());
    let endpoint = remote::endpoint(server, key, model).context("cannot swap the served model")?;
    Ok(Some(endpoint))
}

/// Has the server serve the new model, if it is better, and says either way what is served now. Returns the server if it does. What goes
/// wrong is told and ends nothing: the model is trained.
fn swap(server: &Endpoint, job: &Job, taken: bool, output: &Output) -> Option<String> {
    let name = server.name();
    if !taken {
        output.say(format_args!("{name} goes on serving the model before."));
        return None;
    }
    let swapped = absolute(&job.out)
        .map_err(|e| format!("{e:#}"))
        .and_then(|path| server.swap(&path).map_err(|e| e.to_string()));
    match swapped {
        Ok(version) => {
            output.say(format_args!(
                "{name} serves the new model now, as its version {version}."
            ));
            Some(name)
        }
        Err(sentence) => {
            output.complain(format_args!(
                "error: {name} goes on serving the model before: {sentence}"
            ));
            None
        }
    }
}

/// Notes the training beside the store, where the chat page shows it.
///
/// # Errors
/// If the store cannot be read or the note not be written.
fn note(
    store: &Path,
    job: &Job,
    aligned: &Aligned,
    taken: bool,
    swapped: Option<String>,
) -> Result<()> {
    let mut store = Store::open(store)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let name = job.out.file_name().unwrap_or(job.out.as_os_str());
    let file = job
        .recipe
        .align
        .as_ref()
        .and_then(|align| align.preferences.as_ref());
    let learned_from = match file {
        Some(file) => fs::read_to_string(file).map_or(0, |text| text.lines().count()),
        None => 0,
    };
    store.note_training(&Training {
        at_ms: now.map_or(0, |since| since.as_millis() as i64),
        run: name.to_string_lossy().into_owned(),
        algorithm: aligned.algorithm.name().to_owned(),
        learned_from,
        win_rate: aligned.share().map(|(rate, low, high)| [rate, low, high]),
        outcome: aligned.outcome(),
        taken,
        swapped,
    })?;
    Ok(())
}

/// Writes what people thought of answers beside the store, as preferences that this run and a resumed one read: what is said later is
/// the next run's.
///
/// # Errors
/// If the store cannot be read, there is nothing to learn from, or the file cannot be written.
fn feedback(store: &Path, algorithm: Algorithm) -> Result<PathBuf> {
    let mut open = Store::open(store)?;
    let text = match algorithm {
        Algorithm::Kto => judgements_jsonl(&open.judgements(None)?),
        _ => pairs_jsonl(open.pairs(None)?.iter()),
    };
    if text.is_empty() {
        bail!(
            "nobody has said in {} what {} learns from: give thumbs up and down, or compare two answers, on the page of `gigaro serve`",
            open.place(),
            algorithm.name()
        );
    }
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let name = format!("feedback-{seconds}.jsonl");
    let file = if store.is_file() {
        store.with_extension(name)
    } else {
        // Beside the runs, where the store is a database server.
        Path::new(RUNS).join(format!("conversations.{name}"))
    };
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    existing(&file)
}

/// Puts the flags of this command into the recipe, and gives the run a name of its own.
fn choose(args: &Args, from: Option<PathBuf>, recipe: &mut Recipe) -> Result<()> {
    let align = recipe.align.get_or_insert_with(Align::default);
    let standard = match &args.from_feedback {
        Some(_) => Algorithm::Dpo,
        None => align.algorithm,
    };
    align.algorithm = args.algorithm.unwrap_or(standard);
    align.from = from.or(align.from.take());
    if let Some(dir) = &args.reward {
        align.reward = Some(existing(dir)?);
    }
    if let Some(file) = &args.preferences {
        align.preferences = Some(existing(file)?);
    }
    let (algorithm, name) = (align.algorithm, align.algorithm.name());
    if let Some(store) = &args.from_feedback {
        if !algorithm.is_offline() {
            return Err(Usage(format!(
                "{name} learns from answers that it draws itself, not from feedback: take dpo, ipo, kto or orpo"
            ))
            .into());
        }
        align.preferences = Some(feedback(store, algorithm)?);
    }
    if algorithm.needs_reward() && align.reward.is_none() {
        return Err(Usage(format!(
            "{name} needs a reward model: train one with `gigaro reward`, then give its folder with --reward DIR"
        ))
        .into());
    }
    if algorithm.is_offline() && args.reward.is_some() {
        return Err(Usage(format!(
            "{name} learns from preferences without a reward model: leave out --reward"
        ))
        .into());
    }
    if !algorithm.is_offline() && args.preferences.is_some() {
        return Err(Usage(format!(
            "{name} learns from answers that it draws itself: leave out --preferences, or train a reward model on them with `gigaro reward --preferences`"
        ))
        .into());
    }
    args.text.put_into(&mut recipe.data)?;
    steps::complete(recipe, &format!("-{name}"))?;
    let mixes_text = |ppo: &Ppo| algorithm == Algorithm::Ppo && ppo.reads_text();
    let reads = args.text.text.is_some() || args.text.column.is_some();
    if reads && !recipe.ppo.as_ref().is_some_and(mixes_text) {
        return Err(Usage(
            "only ppo with a ptx_coef in [ppo], on text, reads text while it aligns: leave out --text and --column".into(),
        )
        .into());
    }
    Ok(())
}
