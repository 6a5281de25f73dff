//! PPO: the assistant learns to answer as the reward model prefers, without leaving the fine-tuned model far behind.

use std::path::Path;

use anyhow::{Result, bail};
use gigaro_data::chat::ChatFormat;
use gigaro_data::loader::PretrainLoader;
use gigaro_data::world::{Labeller, World};
use gigaro_models::generate::Completion;
use gigaro_models::{ActorCritic, RewardModel};
use gigaro_nn::Module;
use gigaro_nn::optim::{AdamOptions, AdamW, ParamGroup};
use gigaro_nn::schedule::{Decay, Schedule};
use gigaro_train::Error;
use gigaro_train::advantage::KlController;
use gigaro_train::checkpoint::Checkpoint;
use gigaro_train::next_token::Feed;
use gigaro_train::ppo::{Ppo, PpoSettings};
use gigaro_train::quantity::Bytes;
use gigaro_train::rollout::{Prompts, Rollouts, Sampling};
use gigaro_train::scorer::{ByRewardModel, Scorer};
use gigaro_train::validation::Validation;

use super::answers::{Asked, SLOTS, said};
use super::reward;
use crate::output::Output;
use crate::pipeline::job::BEST;
use crate::pipeline::prepare::Prepared;
use crate::pipeline::stage::{self, Matter, Pace};
use crate::pipeline::{Job, StageResult};
use crate::recipe;
use crate::trained::{Trained, Words, deep_copy};

/// The stage's name.
const NAME: &str = "reinforcement";
/// Answers that go through a model at once in training and scoring.
const MICRO_BATCH: usize = 32;
/// Measurements over which a rising reward with a falling true score ends the run.
const WINDOW: usize = 6;
/// Answers after which the strength of the penalty has followed an error of the divergence.
const KL_HORIZON: f64 = 2_000.0;

/// Trains the fine-tuned model in `from` against the reward model in `judge`, into the stage's folder `dir`. `text` is what
/// PPO-ptx goes on reading.
///
/// # Errors
/// If the two have different tokenizers, training breaks down, the disk refuses, or the user stops it.
pub(crate) fn ppo(
    job: &Job,
    recipe: &recipe::Ppo,
    from: &Trained,
    judge: &Path,
    text: Option<&Prepared>,
    dir: &Path,
    output: &Output,
) -> Result<StageResult> {
    let (rewards, tokenizer) = reward::open(judge)?;
    if tokenizer != from.tokenizer.to_json().into_bytes() {
        bail!(
            "the reward model in {} was trained with another tokenizer than the model in {}: their tokens mean different things",
            judge.display(),
            from.dir.display()
        );
    }
    let model = ActorCritic::shared(deep_copy(&from.model));
    tell_memory(&model, &rewards, recipe, output);
    let seed = job.recipe.run.seed;
    let world = World::new(seed);
    let format = ChatFormat::new(&from.tokenizer)?;
    let wanted = recipe.steps * recipe.batch_size;
    let fitting = |n: usize, seed: u64| {
        Asked::that_fit(n, world.alignment_prompts(seed), &format, from.context())
    };
    let (asked, watched) = (
        fitting(wanted, seed ^ 1)?,
        fitting(recipe.eval_prompts, seed ^ 2)?,
    );
    let mut scorer = ByRewardModel {
        model: &rewards,
        rows: MICRO_BATCH,
    };
    let mut truth = TruthScorer {
        asked: &watched,
        labeller: Labeller::truth(),
    };
    let identity = stage::identity(&from.model.config.to_json(), &from.tokenizer)?;
    let validation = Validation::new(watched.tokens.clone(), &mut truth, WINDOW)
        .keep_best(&dir.join(BEST), identity.clone());
    let words = Words(&from.tokenizer);
    let prompts = Prompts::new(asked.tokens, from.context(), seed)?;
    let rollouts = Rollouts::new(
        &from.model,
        prompts,
        &mut scorer,
        &words,
        sampling(recipe, seed),
    )?
    .with_validation(validation);
    let mut objective = Ppo::new(&model, rollouts, settings(recipe))?;
    let mut feed = pretraining(recipe, text, from, seed)?;
    if let Some(feed) = &mut feed {
        objective = objective.with_pretraining(feed as &mut dyn Feed);
    }
    let mut optimizer = AdamW::new(
        ParamGroup::decay_matrices(model.named_parameters(), 0.0),
        AdamOptions {
            beta2: 0.95,
            eps: 1e-5,
            ..AdamOptions::default()
        },
    );
    let matter = Matter {
        objective: &mut objective,
        optimizer: &mut optimizer,
        identity,
        parameters: from.model.config.num_params(),
        flops_per_token: from.model.config.flops_per_token(from.context()) as f64,
    };
    let result = match stage::optimise(job, dir, &pace(recipe), matter, output) {
        Ok(result) => result,
        Err(error) => overoptimised(error, from, dir, output)?,
    };
    // The best by the true score is what the stage is for; what came after it only pleased the reward model more.
    let best = Checkpoint::open(dir.join(BEST))?;
    output.say(format_args!(
        "Best by the true score: step {} of {}",
        best.state()?.step,
        recipe.steps
    ));
    Ok(StageResult {
        checkpoint: best.dir().to_owned(),
        ..result
    })
}

/// A run that ended because the reward went on rising while the true score fell has still a best point.
///
/// # Errors
/// Every other error, as it is.
fn overoptimised(
    error: anyhow::Error,
    from: &Trained,
    dir: &Path,
    output: &Output,
) -> Result<StageResult> {
    if !matches!(error.downcast_ref(), Some(Error::Overoptimised { .. })) {
        return Err(error);
    }
    output.say(format_args!("{error}"));
    let last = Checkpoint::open(dir)?;
    let state = last.state()?;
    let config = &from.model.config;
    Ok(StageResult {
        name: NAME,
        dir: dir.to_owned(),
        checkpoint: last.dir().to_owned(),
        seconds: state.seconds_trained,
        tokens: state.tokens_seen,
        flops: (state.tokens_seen * config.flops_per_token(from.context())) as f64,
        parameters: config.num_params(),
        validation_loss: None,
    })
}

/// What has to be held at once, by whom.
fn tell_memory(model: &ActorCritic, rewards: &RewardModel, recipe: &recipe::Ppo, output: &Output) {
    let count = |module: &dyn Module| -> u64 {
        let parameters = module.named_parameters();
        parameters.iter().map(|(_, p)| p.numel() as u64).sum()
    };
    let c = &model.policy.config;
    let width = (c.n_kv_head * c.d_model / c.n_head) as u64;
    let slots = SLOTS.min(recipe.batch_size) as u64;
    let cache = 2 * 4 * c.n_layer as u64 * width * slots * c.max_seq_len as u64;
    let bytes = |n: u64| Bytes(n).to_string();
    output.fields(
        "\nMemory of reinforcement learning",
        &[
            // Weights, gradients and two moments; the value head is one more row.
            ("policy and values, one trunk", bytes(16 * count(model))),
            ("reference", bytes(4 * count(&model.policy))),
            ("reward model", bytes(4 * count(rewards))),
            (
                "keys and values while answering",
                format!("at most {}", bytes(cache)),
            ),
        ],
    );
}

fn sampling(recipe: &recipe::Ppo, seed: u64) -> Sampling {
    Sampling {
        prompts: recipe.batch_size,
        answers: 1,
        max_tokens: recipe.max_answer_tokens,
        temperature: recipe.temperature,
        slots: SLOTS,
        missing_eos_penalty: Some(recipe.missing_eos_penalty),
        micro_batch: MICRO_BATCH,
        seed,
    }
}

fn settings(recipe: &recipe::Ppo) -> PpoSettings {
    let coef = recipe.kl_coef;
    PpoSettings {
        kl: match recipe.kl_target {
            None => KlController::Fixed { coef },
            Some(target) => KlController::Adaptive {
                coef,
                target,
                horizon: KL_HORIZON,
            },
        },
        vf_coef: recipe.vf_coef,
        ppo_epochs: recipe.ppo_epochs,
        minibatches: recipe.minibatches,
        ptx_coef: recipe.ptx_coef,
        ..PpoSettings::default()
    }
}

/// The text that PPO-ptx goes on reading, a few rows at each update.
fn pretraining(
    recipe: &recipe::Ppo,
    text: Option<&Prepared>,
    from: &Trained,
    seed: u64,
) -> Result<Option<PretrainLoader>> {
    /// Windows of text per update.
    const ROWS: usize = 4;
    match text {
        Some(text) if recipe.ptx_coef > 0.0 => {
            let loader = PretrainLoader::new(text.train.clone(), ROWS, from.context(), seed ^ 3)?;
            Ok(Some(loader))
        }
        _ => Ok(None),
    }
}

fn pace(recipe: &recipe::Ppo) -> Pace {
    Pace {
        name: NAME,
        steps: recipe.steps,
        batch_size: recipe.batch_size,
        optimizer_numbers: 2,
        schedule: Schedule {
            lr: recipe.learning_rate,
            warmup_steps: recipe.warmup_steps as u64,
            decay: Decay::Linear {
                total_steps: recipe.steps as u64,
                min_lr: 0.0,
            },
        },
        grad_clip: 1.0,
        eval_every: recipe.eval_every,
        save_every: recipe.eval_every,
    }
}

/// The true score: what the simulated labeller would say if it never erred. Never trained on.
struct TruthScorer<'a> {
    asked: &'a Asked,
    labeller: Labeller,
}

impl Scorer for TruthScorer<'_> {
    fn score(
        &mut self,
        prompts: &[Vec<u32>],
        completions: &[Completion],
    ) -> gigaro_train::Result<Vec<f64>> {
        let total = |(tokens, completion): (&Vec<u32>, &Completion)| {
            let prompt = self.asked.prompt(tokens)?;
            Some(self.labeller.score(prompt, &said(completion)).total)
        };
        // A prompt that is none of the world's has no true score, which the caller refuses by name.
        let each = prompts.iter().zip(completions);
        Ok(each.map(|pair| total(pair).unwrap_or(f64::NAN)).collect())
    }
}
