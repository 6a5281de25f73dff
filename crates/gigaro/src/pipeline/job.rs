//! A run's recipe and its folder.
//!
//! The recipe with all flags applied is written into the folder before anything else, so that `--resume DIR` needs no other flag
//! and cannot go on with other settings by mistake.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use gigaro_train::interrupt::StopFlag;
use gigaro_train::run_lock::RunLock;

use crate::failure::{Interrupted, Usage};
use crate::flags::RunArgs;
use crate::interrupt;
use crate::recipe::{self, Recipe};

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
const RUNS: &str = "runs";
/// The file that names the folder of the last finished run.
const LAST_RUN: &str = "runs/last";

/// One run.
pub(crate) struct Job {
    /// What to do.
    pub(crate) recipe: Recipe,
    /// Where.
    pub(crate) out: PathBuf,
    /// Whether the folder was there before.
    pub(crate) resumed: bool,
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
        let (mut recipe, out) = match &args.resume {
            Some(dir) => (resumed_recipe(dir, args)?, dir.clone()),
            None => {
                let mut recipe = recipe::load(args.recipe.as_deref().unwrap_or(default_recipe))?;
                apply(args, &mut recipe)?;
                change(&mut recipe)?;
                let out = args.out.clone().or(recipe.run.out.take());
                let out = out.unwrap_or_else(|| free_folder(&recipe.name));
                (recipe, out)
            }
        };
        let shown = out.display();
        fs::create_dir_all(&out).with_context(|| format!("cannot make the folder {shown}"))?;
        let lock = RunLock::acquire(&out)?;
        if args.resume.is_none() {
            write_recipe(&out, &recipe)?;
        }
        if let Some(threads) = args.compute.threads {
            recipe.run.threads = threads.into();
        }
        if recipe.run.threads > 0 {
            gigaro_tensor::cpu::threads::set_num_threads(recipe.run.threads);
        }
        let stop =
            interrupt::catch("stopping after this step; once more leaves at once without saving")?;
        let resumed = args.resume.is_some();
        Ok(Self {
            recipe,
            out,
            resumed,
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
        let beside = Path::new(LAST_RUN).with_extension("tmp");
        let out = std::path::absolute(&self.out).unwrap_or_else(|_| self.out.clone());
        fs::write(&beside, format!("{}\n", out.display()))
            .and_then(|()| fs::rename(&beside, LAST_RUN))
            .with_context(|| format!("cannot write {LAST_RUN}"))
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
    // CHECKPOINT/recipe.toml, or RUN/STAGE/checkpoints/CHECKPOINT below RUN/recipe.toml.
    let absolute = std::path::absolute(checkpoint).unwrap_or_else(|_| checkpoint.to_owned());
    let mut folders = absolute
        .ancestors()
        .take(4)
        .map(|folder| folder.join(RECIPE));
    match folders.find(|path| path.is_file()) {
        Some(path) => recipe::load(&path.to_string_lossy()).map(Some),
        None => Ok(None),
    }
}

fn resumed_recipe(dir: &Path, args: &RunArgs) -> Result<Recipe> {
    let (path, shown) = (dir.join(RECIPE), dir.display());
    if !path.is_file() {
        bail!("there is no run to resume in {shown}: a run's folder has a {RECIPE}");
    }
    let recipe = recipe::load(&path.to_string_lossy())?;
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
    if let Some(text) = &args.text {
        recipe.data.text = Some(text.clone());
    }
    if let Some(text) = &mut recipe.data.text {
        // A run may be resumed from another folder.
        *text = std::path::absolute(&*text)
            .with_context(|| format!("cannot use the path {}", text.display()))?;
    }
    Ok(())
}

fn write_recipe(out: &Path, recipe: &Recipe) -> Result<()> {
    let path = out.join(RECIPE);
    let shown = path.display();
    if path.exists() {
        let out = out.display();
        let sentence = format!(
            "{out} holds a run already: go on with it by --resume {out}, or give another --out"
        );
        return Err(Usage(sentence).into());
    }
    let beside = path.with_extension("tmp");
    fs::write(&beside, toml::to_string(recipe)?)
        .and_then(|()| fs::rename(&beside, &path))
        .with_context(|| format!("cannot write {shown}"))
}

/// `runs/NAME`, or the first of `runs/NAME-2`, `runs/NAME-3` .. that is not there.
fn free_folder(name: &str) -> PathBuf {
    let numbered = (2..).map(|n| format!("{name}-{n}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names
        .find_map(|name| Some(Path::new(RUNS).join(name)).filter(|path| !path.exists()))
        .unwrap_or_else(|| RUNS.into())
}
