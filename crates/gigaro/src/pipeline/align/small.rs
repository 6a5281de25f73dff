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
use crate::recipe::{self, Model, Pretrain, Sft, Small};
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
    ppo_recipe: &recipe::Ppo,
    prepared: &Prepared,
    judge: &Path,
    output: &Output,
) -> Result<Vec<StageResult>> {
    let Some(sft_recipe) = &job.recipe.sft else {
        return Ok(Vec::new());
    };
    let dir = job.out.join(FOLDER);
    output.say("\nThe same way with a small model");
    let model = Model {
        n_layer: small.n_layer,
        n_head: small.n_head,
        n_kv_head: None,
        d_model: small.d_model,
        ..job.recipe.model.clone()
    };
    let steps = Pretrain {
        steps: small.pretrain_steps,
        eval_every: small.pretrain_steps,
        save_every: small.pretrain_steps,
        ..job.recipe.pretrain.clone()
    };
    let base = pretrain(job, &model, &steps, prepared, &dir.join(PRETRAIN), output)?;
    let steps = Sft {
        steps: small.sft_steps,
        save_every: small.sft_steps,
        ..sft_recipe.clone()
    };
    let tuned = sft(job, &steps, &base.checkpoint, &dir.join(SFT), output)?;
    let steps = recipe::Ppo {
        steps: small.ppo_steps,
        ..ppo_recipe.clone()
    };
    let from = Trained::open(&tuned.checkpoint)?;
    let text = Some(prepared);
    let aligned = ppo(job, &steps, &from, judge, text, &dir.join(PPO), output)?;
    Ok(vec![base, tuned, aligned])
}
