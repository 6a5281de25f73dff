//! Learning from answers that the policy draws on the way, without a value head: GRPO and RLOO.
//!
//! PPO stands in `ppo.rs`. The reward is a reward model's, or the small world's own, which can be verified: no model of it can be
//! exploited, because there is none.

use std::path::Path;

use anyhow::Result;
use gigaro_data::world::{Prompt, World};
use gigaro_serve::engine::Words;
use gigaro_train::advantage::KlController;
use gigaro_train::grpo::{Grpo, GrpoSettings};
use gigaro_train::objective::Objective;
use gigaro_train::rloo::Rloo;
use gigaro_train::rollout::{Prompts, Rollouts, Sampling};
use gigaro_train::scorer::Scorer;
use gigaro_train::validation::Validation;

use super::answers::{Asked, SLOTS};
use super::memory::{self, Held};
use super::ppo::{WINDOW, best_point, optimizer};
use super::scorers::{MICRO_BATCH, RewardScorer, WorldScorer};
use super::{offline, reward};
use crate::output::Output;
use crate::pipeline::job::BEST;
use crate::pipeline::stage::{self, Matter};
use crate::pipeline::{Job, StageResult};
use crate::recipe::{Algorithm, Align, Ask};
use crate::trained::{Trained, deep_copy};
use crate::turns::Turns;

/// Trains the fine-tuned model in `from` by its own answers to prompts of the small world, into the stage's folder `dir`.
///
/// # Errors
/// If the reward model does not belong to the model, memory or disk do not suffice, training breaks down, or the user stops it.
pub(crate) fn online(
    job: &Job,
    recipe: &Align,
    from: &Trained,
    dir: &Path,
    output: &Output,
) -> Result<StageResult> {
    let rewards = recipe
        .reward
        .as_ref()
        .map(|path| reward::open_for(path, from))
        .transpose()?;
    let policy = deep_copy(&from.model);
    let held = Held {
        trained: &policy,
        reference: &from.model,
        rewards: rewards.as_ref(),
        answers: recipe.batch_size * recipe.answers,
    };
    memory::plan(&held, dir, output)?;
    let (world, seed) = (job.recipe.data.world_seed, job.recipe.run.seed);
    let wanted = recipe.steps * recipe.batch_size;
    let asked = asked(recipe, wanted, from, (world, seed ^ 1))?;
    let watched = asked_of_all(recipe.eval_prompts, from, (world, seed ^ 2))?;
    let mut by_model = rewards.as_ref().map(|model| RewardScorer {
        model,
        missing_eos_penalty: None,
    });
    let mut by_world = WorldScorer::right(&asked, recipe.courtesy);
    let scorer: &mut dyn Scorer = match &mut by_model {
        Some(scorer) => scorer,
        None => &mut by_world,
    };
    let mut truth = WorldScorer::truth(&watched);
    let identity = stage::identity(&policy.config.to_json(), &from.tokenizer, &from.beside)?;
    let validation = Validation::new(watched.tokens.clone(), &mut truth, WINDOW)
        .keep_best(&dir.join(BEST), identity.clone());
    let words = Words(from.tokenizer.clone());
    let prompts = Prompts::new(asked.tokens.clone(), from.context(), seed)?;
    let sampling = sampling(recipe, seed);
    let rollouts =
        Rollouts::new(&from.model, prompts, scorer, &words, sampling)?.with_validation(validation);
    let mut grpo;
    let mut rloo;
    let objective: &mut dyn Objective = if recipe.algorithm == Algorithm::Rloo {
        let coef = recipe.beta();
        rloo = Rloo::new(&policy, rollouts, KlController::Fixed { coef })?;
        &mut rloo
    } else {
        let settings = GrpoSettings {
            beta: recipe.beta(),
            ..GrpoSettings::default()
        };
        grpo = Grpo::new(&policy, rollouts, settings)?;
        &mut grpo
    };
    let matter = Matter {
        objective,
        optimizer: &mut optimizer(&policy),
        identity,
        parameters: policy.config.num_params(),
        flops_per_token: policy.config.flops_per_token(from.context()) as f64,
    };
    let pace = offline::pace(recipe);
    let outcome = stage::optimise(job, dir, &pace, matter, output);
    best_point(outcome, &pace, from, dir, output)
}

/// The prompts that answers are drawn to: of the small world with the first number, in the order that the second gives.
pub(super) fn asked(
    recipe: &Align,
    n: usize,
    from: &Trained,
    (world_seed, order): (u64, u64),
) -> Result<Asked> {
    let wanted = |prompt: &Prompt| match (recipe.ask, &prompt.question) {
        (Ask::All, _) => true,
        (Ask::Questions, question) => question.is_some(),
        (Ask::Arithmetic, question) => question.as_ref().is_some_and(|q| q.is_arithmetic()),
    };
    let world = World::new(world_seed);
    let prompts = world.alignment_prompts(order).filter(wanted);
    let turns = Turns::of(from)?;
    Asked::that_fit(n, prompts, &turns, from.context())
}

/// Prompts of every sort to measure on.
fn asked_of_all(n: usize, from: &Trained, world_and_order: (u64, u64)) -> Result<Asked> {
    let all = Align {
        ask: Ask::All,
        ..Align::default()
    };
    asked(&all, n, from, world_and_order)
}

/// How a step's answers are drawn.
pub(super) fn sampling(recipe: &Align, seed: u64) -> Sampling {
    Sampling {
        prompts: recipe.batch_size,
        answers: recipe.answers,
        max_tokens: recipe.max_answer_tokens,
        temperature: recipe.temperature,
        slots: SLOTS,
        missing_eos_penalty: Some(recipe.missing_eos_penalty),
        micro_batch: MICRO_BATCH,
        seed,
    }
}
