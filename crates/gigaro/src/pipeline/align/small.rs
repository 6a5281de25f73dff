//! InstructGPT's headline in small: a model of a tenth of the size is aligned as well, and held against the big one as it was
//! before it was taught anything.
//!
//! # Reference
//! Ouyang et al. (2022), <https://arxiv.org/abs/2203.02155>: 1.3 billion parameters preferred to 175 billion

use std::path::Path;

use anyhow::Result;

use super::ppo::ppo;
use crate::output::Output;
use crate::pipeline::job::{PPO, PRETRAIN, SFT};
use crate::pipeline::prepare::Prepared;
use crate::pipeline::pretrain::pretrain;
use crate::pipeline::sft::sft;
use crate::pipeline::{Job, StageResult};
use crate::recipe::{Model, Pretrain, Recipe, Small};
use crate::trained::Trained;

/// The folder of the small model, with its stages in it.
const FOLDER: &str = "small";

/// Pretrains, fine-tunes and aligns the small model on the same text, with the same reward model.
///
/// # Errors
/// As the stages.
pub(crate) fn small(
    job: &Job,
    small: &Small,
    prepared: &Prepared,
    judge: &Path,
    output: &Output,
) -> Result<Vec<StageResult>> {
    let recipe = scaled(&job.recipe, small);
    let (Some(sft_recipe), Some(ppo_recipe)) = (&recipe.sft, &recipe.ppo) else {
        return Ok(Vec::new());
    };
    let dir = job.out.join(FOLDER);
    output.say("\nThe same way with a small model");
    let (model, steps) = (&recipe.model, &recipe.pretrain);
    let base = pretrain(job, model, steps, prepared, &dir.join(PRETRAIN), output)?;
    let tuned = sft(job, sft_recipe, &base.checkpoint, &dir.join(SFT), output)?;
    let from = Trained::open(&tuned.checkpoint)?;
    let text = Some(prepared);
    let aligned = ppo(job, ppo_recipe, &from, judge, text, &dir.join(PPO), output)?;
    Ok(vec![base, tuned, aligned])
}

/// The recipe with the sizes and the steps of its small model.
pub(crate) fn scaled(recipe: &Recipe, small: &Small) -> Recipe {
    let mut recipe = recipe.clone();
    recipe.model = Model {
        n_layer: small.n_layer,
        n_head: small.n_head,
        n_kv_head: None,
        d_ff: None,
        d_model: small.d_model,
        ..recipe.model
    };
    recipe.pretrain = Pretrain {
        steps: small.pretrain_steps,
        eval_every: small.pretrain_steps,
        save_every: small.pretrain_steps,
        ..recipe.pretrain
    };
    if let Some(sft) = &mut recipe.sft {
        (sft.steps, sft.save_every) = (small.sft_steps, small.sft_steps);
    }
    if let Some(ppo) = &mut recipe.ppo {
        ppo.steps = small.ppo_steps;
    }
    recipe
}
