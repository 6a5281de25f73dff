//! A run's recipe and its folder.
//!
//! The recipe with all flags applied is written into the folder before the work begins, so that `--resume DIR` needs no other flag
//! and cannot go on with other settings by mistake. A start that failed before its first checkpoint leaves the folder free.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use gigaro_train::interrupt::StopFlag;
use gigaro_train::run_lock::RunLock;

use super::prepare;
use super::record::{self, RECORD, Record};
use super::resume::Origin;
use crate::device;
use crate::failure::{Interrupted, Usage};
use crate::flags::RunArgs;
use crate::interrupt;
use crate::recipe::{self, Recipe};
use crate::trained::absolute;

/// The recipe's name in a run's folder.
pub(crate) const RECIPE: &str = "recipe.toml";
/// The folder of pretraining in a run of several stages.
pub(crate) const PRETRAIN: &str = "pretrain";
/// The folder of fine-tuning in a run of several stages.
pub(crate) const SFT: &str = "sft";
/// The folder of the reward model in a run of several stages.
pub(crate) const REWARD: &str = "reward";
/// The folder of reinforcement learning in a run of several stages.
pub(crate) const PPO: &str = "ppo";
/// The folder of the best weights by the true score, below that of reinforcement learning.
pub(crate) const BEST: &str = "best";
/// Where runs go that are given no folder.
pub(crate) const RUNS: &str = "runs";
/// The file that names the folder of the last finished run.
const LAST_RUN: &str = "runs/last";

/// How a command is stopped by its user, and what it then says.
#[derive(Clone, Copy)]
pub(crate) struct Halt<'a> {
    /// Raised by Ctrl-C.
    pub(crate) stop: &'a StopFlag,
    /// The run that can be gone on with, if there is one.
    pub(crate) job: Option<&'a Job>,
}

impl Halt<'_> {
    /// Why the command ended early, and how to go on.
    pub(crate) fn interrupted(&self, done: &str) -> anyhow::Error {
        match self.job {
            Some(job) => job.interrupted(done),
            None => Interrupted(format!("{done}. Nothing was saved")).into(),
        }
    }
}

/// One run.
pub(crate) struct Job {
    /// What to do.
    pub(crate) recipe: Recipe,
    /// Where.
    pub(crate) out: PathBuf,
    /// Whether the folder was there before.
    pub(crate) resumed: bool,
    /// The checkpoint that the user wants to go on from, if it need not be the newest.
    pub(super) chosen: Option<PathBuf>,
    /// Raised by Ctrl-C.
    pub(crate) stop: StopFlag,
    /// The command, for the sentence that says how to resume.
    command: &'static str,
    _lock: RunLock,
}

impl Job {
    /// The run that the flags ask for. `change` applies flags of the command itself to the recipe of a new run.
    ///
    /// # Errors
    /// If the recipe makes no sense, the folder holds another run or is in use, or there is nothing to resume.
    pub(crate) fn begin(
        command: &'static str,
        args: &RunArgs,
        default_recipe: &str,
        change: impl FnOnce(&mut Recipe) -> Result<()>,
    ) -> Result<Self> {
        let origin = args.resume.as_deref().map(Origin::of).transpose()?;
        let (mut recipe, out) = match &origin {
            Some(origin) => (resumed_recipe(&origin.run, args)?, origin.run.clone()),
            None => {
                let mut recipe = recipe::load(args.recipe.as_deref().unwrap_or(default_recipe))?;
                apply(args, &mut recipe)?;
                change(&mut recipe)?;
                let out = args.out.clone().or(recipe.run.out.take());
                let out = out.unwrap_or_else(|| free_folder(&recipe.name));
                make_folder(&out)?;
                (recipe, out)
            }
        };
        let lock = RunLock::acquire(&out)?;
        match &origin {
            Some(_) => Record::read(&out)?.check_command(command, &out)?,
            None => claim(&out, &recipe, command)?,
        }
        if let Some(threads) = args.compute.machine.threads {
            recipe.run.threads = threads.into();
        }
        device::choose(args.compute.machine.device)?;
        if recipe.run.threads > 0 {
            gigaro_tensor::cpu::threads::set_num_threads(recipe.run.threads);
        }
        let stop =
            interrupt::catch("stopping after this step; once more leaves at once without saving")?;
        Ok(Self {
            recipe,
            out,
            resumed: origin.is_some(),
            chosen: origin.and_then(|origin| origin.checkpoint),
            stop,
            command,
            _lock: lock,
        })
    }

    /// Why the run ended early, and how to go on.
    pub(crate) fn interrupted(&self, done: &str) -> anyhow::Error {
        let (command, out) = (self.command, self.out.display());
        Interrupted(format!(
            "{done}. Go on with: gigaro {command} --resume {out}"
        ))
        .into()
    }

    /// How work within this run is stopped.
    pub(crate) fn halt(&self) -> Halt<'_> {
        Halt {
            stop: &self.stop,
            job: Some(self),
        }
    }

    /// Ends the run early if the user asked for it.
    ///
    /// # Errors
    /// [`Interrupted`], if so.
    pub(crate) fn check_stop(&self, done: &str) -> Result<()> {
        if self.stop.is_requested() {
            Err(self.interrupted(done))
        } else {
            Ok(())
        }
    }

    /// Makes this the run that `chat` and `generate` use when they are given none.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn remember(&self) -> Result<()> {
        fs::create_dir_all(RUNS).with_context(|| format!("cannot make the folder {RUNS}"))?;
        let out = std::path::absolute(&self.out).unwrap_or_else(|_| self.out.clone());
        record::replace(Path::new(LAST_RUN), &format!("{}\n", out.display()))
    }
}

/// The folder of the last finished run, if there is one.
pub(crate) fn last_run() -> Option<PathBuf> {
    fs::read_to_string(LAST_RUN)
        .ok()
        .map(|path| PathBuf::from(path.trim()))
}

/// The recipe of the run that a checkpoint belongs to, if it lies in a run's folder.
///
/// # Errors
/// If the recipe there is damaged.
pub(crate) fn recipe_of(checkpoint: &Path) -> Result<Option<Recipe>> {
    let path = recipe_path_of(checkpoint);
    path.map(|path| recipe::load(&path.to_string_lossy()))
        .transpose()
}

/// Where that recipe is.
pub(crate) fn recipe_path_of(checkpoint: &Path) -> Option<PathBuf> {
    // CHECKPOINT/recipe.toml, or RUN/STAGE/checkpoints/CHECKPOINT below RUN/recipe.toml.
    let absolute = std::path::absolute(checkpoint).unwrap_or_else(|_| checkpoint.to_owned());
    let mut folders = absolute
        .ancestors()
        .take(4)
        .map(|folder| folder.join(RECIPE));
    folders.find(|path| path.is_file())
}

fn resumed_recipe(dir: &Path, args: &RunArgs) -> Result<Recipe> {
    let shown = dir.display();
    let recipe = recipe::load(&dir.join(RECIPE).to_string_lossy())?;
    let differs = [
        (
            "--seed",
            args.compute
                .seed
                .is_some_and(|seed| seed != recipe.run.seed),
        ),
        (
            "--dtype",
            args.compute
                .dtype
                .is_some_and(|dtype| dtype != recipe.run.dtype),
        ),
    ];
    if let Some((flag, _)) = differs.iter().find(|(_, differs)| *differs) {
        let sentence = format!(
            "{flag} is not that of the run in {shown}: leave it out to resume, or start a new run with --out"
        );
        return Err(Usage(sentence).into());
    }
    Ok(recipe)
}

/// Puts the flags over the recipe.
fn apply(args: &RunArgs, recipe: &mut Recipe) -> Result<()> {
    recipe.run.seed = args.compute.seed.unwrap_or(recipe.run.seed);
    recipe.run.dtype = args.compute.dtype.unwrap_or(recipe.run.dtype);
    // A run may be resumed from another folder.
    let mut paths = vec![&mut recipe.data.text, &mut recipe.tokenizer.path];
    if let Some(sft) = &mut recipe.sft {
        paths.extend([&mut sft.from, &mut sft.chats]);
    }
    if let Some(reward) = &mut recipe.reward {
        paths.extend([&mut reward.from, &mut reward.preferences]);
    }
    if let Some(align) = &mut recipe.align {
        paths.extend([&mut align.from, &mut align.reward, &mut align.preferences]);
    }
    for path in paths.into_iter().flatten() {
        *path = absolute(path)?;
    }
    Ok(())
}

/// Makes the folder of a new run.
fn make_folder(out: &Path) -> Result<()> {
    let shown = out.display();
    if out.is_file() {
        return Err(Usage(format!(
            "{shown} is a file, but a run needs a folder: give another --out"
        ))
        .into());
    }
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {shown}"))
}

/// Makes the folder that of this new run, unless it holds one that could be gone on with.
fn claim(out: &Path, recipe: &Recipe, command: &str) -> Result<()> {
    let path = out.join(RECIPE);
    if path.exists() {
        // A recipe without a record beside it was put there by somebody else.
        if !(out.join(RECORD).exists() && record::is_untouched(out)?) {
            let out = out.display();
            let sentence = format!(
                "{out} holds a run already: go on with it by --resume {out}, or give another --out"
            );
            return Err(Usage(sentence).into());
        }
        prepare::forget(out)?;
    }
    let record = Record {
        command: command.to_owned(),
        ..Record::default()
    };
    record.write(out)?;
    record::replace(&path, &toml::to_string(recipe)?)
}

/// `runs/NAME`, or the first of `runs/NAME-2`, `runs/NAME-3` .. that is not there.
fn free_folder(name: &str) -> PathBuf {
    let numbered = (2..).map(|n| format!("{name}-{n}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names
        .find_map(|name| Some(Path::new(RUNS).join(name)).filter(|path| !path.exists()))
        .unwrap_or_else(|| RUNS.into())
}
