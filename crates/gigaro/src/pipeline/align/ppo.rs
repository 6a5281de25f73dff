//! PPO: the assistant learns to answer as the reward model prefers, without leaving the fine-tuned model far behind.

use std::path::Path;

use anyhow::Result;
use gigaro_data::loader::{ConversationLoader, PretrainLoader};
use gigaro_data::world::World;
use gigaro_models::ActorCritic;
use gigaro_nn::Module;
use gigaro_nn::optim::{AdamOptions, AdamW, ParamGroup};
use gigaro_nn::schedule::{Decay, Schedule};
use gigaro_serve::engine::Words;
use gigaro_train::Error;
use gigaro_train::advantage::KlController;
use gigaro_train::checkpoint::Checkpoint;
use gigaro_train::next_token::Feed;
use gigaro_train::ppo::{Ppo, PpoSettings};
use gigaro_train::rollout::{Prompts, Rollouts, Sampling};
use gigaro_train::validation::Validation;

use super::answers::{Asked, SLOTS};
use super::memory::{self, Held};
use super::reward;
use super::scorers::{CheckedScorer, MICRO_BATCH, RewardScorer, WorldScorer};
use crate::output::Output;
use crate::pipeline::job::BEST;
use crate::pipeline::prepare::Prepared;
use crate::pipeline::stage::{self, Matter, Pace};
use crate::pipeline::{Job, StageResult, sft};
use crate::recipe::{self, PtxOn};
use crate::trained::{Trained, deep_copy};
use crate::turns::Turns;

/// Measurements over which a rising reward with a falling true score ends the run.
pub(super) const WINDOW: usize = 4;
/// Batches of answers after which the strength of the penalty has followed an error of the divergence.
const KL_HORIZON: usize = 8;

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
    let rewards = reward::open_for(judge, from)?;
    let model = ActorCritic::shared(deep_copy(&from.model));
    let held = Held {
        trained: &model,
        reference: &from.model,
        rewards: Some(&rewards),
        answers: recipe.batch_size,
    };
    memory::plan(&held, dir, output)?;
    output.say(format_args!("Rewarded: {}", recipe.reward_in_words()));
    let seed = job.recipe.run.seed;
    let world = World::new(job.recipe.data.world_seed);
    let turns = Turns::of(from)?;
    let wanted = recipe.steps * recipe.batch_size;
    let fitting = |n: usize, seed: u64| {
        Asked::that_fit(n, world.alignment_prompts(seed), &turns, from.context())
    };
    let (asked, watched) = (
        fitting(wanted, seed ^ 1)?,
        fitting(recipe.eval_prompts, seed ^ 2)?,
    );
    let mut scorer = CheckedScorer {
        by: RewardScorer {
            model: &rewards,
            missing_eos_penalty: None,
        },
        world: WorldScorer::right(&asked, 0.0),
        coef: recipe.verified_coef,
    };
    let mut truth = WorldScorer::truth(&watched);
    let identity = stage::identity(&from.model.config.to_json(), &from.tokenizer, &from.beside)?;
    let validation = Validation::new(watched.tokens.clone(), &mut truth, WINDOW)
        .keep_best(&dir.join(BEST), identity.clone());
    let words = Words(from.tokenizer.clone());
    let prompts = Prompts::new(asked.tokens.clone(), from.context(), seed)?;
    let rollouts = Rollouts::new(
        &from.model,
        prompts,
        &mut scorer,
        &words,
        sampling(recipe, seed),
    )?
    .with_validation(validation);
    let mut objective = Ppo::new(&model, rollouts, settings(recipe))?;
    let mut feed = before(job, recipe, text, from, output)?;
    if let Some(feed) = &mut feed {
        objective = objective.with_pretraining(feed.as_mut());
    }
    let mut optimizer = optimizer(&model);
    let matter = Matter {
        objective: &mut objective,
        optimizer: &mut optimizer,
        identity,
        parameters: from.model.config.num_params(),
        flops_per_token: from.model.config.flops_per_token(from.context()) as f64,
    };
    let pace = pace(recipe);
    let outcome = stage::optimise(job, dir, &pace, matter, output);
    best_point(outcome, &pace, from, dir, output)
}

/// The stage with its best point by the true score as its result, whether it came to its end or was ended because the reward
/// went on rising while the true score fell.
///
/// # Errors
/// Every other error of the outcome, or if there is no best point.
pub(super) fn best_point(
    outcome: Result<StageResult>,
    pace: &Pace,
    from: &Trained,
    dir: &Path,
    output: &Output,
) -> Result<StageResult> {
    let result = match outcome {
        Ok(result) => result,
        Err(error) => overoptimised(error, pace.name, from, dir, output)?,
    };
    // The best by the true score is what the stage is for; what came after it only pleased the reward model more.
    let best = Checkpoint::open(dir.join(BEST))?;
    output.say(format_args!(
        "Best by the true score: step {} of {}",
        best.state()?.step,
        pace.steps
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
    name: &'static str,
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
        name,
        dir: dir.to_owned(),
        checkpoint: last.dir().to_owned(),
        seconds: state.seconds_trained,
        tokens: state.tokens_seen,
        flops: (state.tokens_seen * config.flops_per_token(from.context())) as f64,
        parameters: config.num_params(),
        validation_loss: None,
    })
}

/// What trains a policy by its own answers. The head that estimates values starts at zero and has as many steps as the
/// policy to become of use, so it takes longer ones.
pub(super) fn optimizer(model: &dyn Module) -> AdamW {
    const VALUE_HEAD: &str = "value.head.";
    const VALUE_LR_SCALE: f64 = 10.0;
    let (head, policy) = model
        .named_parameters()
        .into_iter()
        .partition(|(name, _)| name.starts_with(VALUE_HEAD));
    AdamW::new(
        vec![
            ParamGroup::new(policy),
            ParamGroup::new(head).lr_scale(VALUE_LR_SCALE),
        ],
        AdamOptions {
            beta2: 0.95,
            eps: 1e-5,
            ..AdamOptions::default()
        },
    )
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
                horizon: (KL_HORIZON * recipe.batch_size) as f64,
            },
        },
        whiten_rewards: recipe.whiten_rewards,
        vf_coef: recipe.vf_coef,
        ppo_epochs: recipe.ppo_epochs,
        minibatches: recipe.minibatches,
        ptx_coef: recipe.ptx_coef,
        ..PpoSettings::default()
    }
}

/// What PPO-ptx goes on learning, a few rows at each update.
fn before(
    job: &Job,
    recipe: &recipe::Ppo,
    text: Option<&Prepared>,
    from: &Trained,
    output: &Output,
) -> Result<Option<Box<dyn Feed>>> {
    /// Rows per update.
    const ROWS: usize = 4;
    if recipe.ptx_coef == 0.0 {
        return Ok(None);
    }
    let (context, seed) = (from.context(), job.recipe.run.seed ^ 3);
    Ok(match (recipe.ptx_on, text, &job.recipe.sft) {
        (PtxOn::Text, Some(text), _) => {
            let loader = PretrainLoader::new(text.train.clone(), ROWS, context, seed)?;
            Some(Box::new(loader))
        }
        (PtxOn::Chats, _, Some(sft)) => {
            let (learn, _) = sft::examples(job, sft, from, output)?;
            let padding = sft::padding(from);
            let loader = ConversationLoader::new(learn, ROWS, context, padding, seed)?;
            Some(Box::new(loader))
        }
        _ => None,
    })
}

fn pace(recipe: &recipe::Ppo) -> Pace {
    Pace {
        name: "reinforcement",
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
