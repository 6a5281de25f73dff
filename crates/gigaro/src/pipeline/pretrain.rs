//! Pretraining: a model learns to go on with text.

use std::path::Path;

use anyhow::{Context, Result, bail};
use gigaro_data::loader::{Batch, PretrainLoader, sequential_batches};
use gigaro_data::tokenizer::END_OF_TEXT;
use gigaro_models::{Gpt, GptConfig};
use gigaro_nn::schedule::{Decay, Schedule as NnSchedule};
use gigaro_tensor::Generator;

use super::prepare::Prepared;
use super::rates::Rates;
use super::stage::{self, Pace, Work};
use super::{Job, StageResult};
use crate::device;
use crate::output::Output;
use crate::recipe::{Form, Model, Pretrain, Schedule};

/// Share of the steps over which a trapezoid falls.
const FALL: f64 = 0.7;
/// Tokens of text that a sample goes on from.
const PROMPT_TOKENS: usize = 12;
/// Measuring the loss takes at most this many batches when the recipe does not say.
const MOST_EVAL_BATCHES: usize = 1 << 20;

/// Trains a model of this shape from nothing into the stage's folder `dir`.
///
/// # Errors
/// If the text is too short, memory or disk do not suffice, training breaks down, or the user stops it.
pub(crate) fn pretrain(
    job: &Job,
    model: &Model,
    recipe: &Pretrain,
    prepared: &Prepared,
    dir: &Path,
    output: &Output,
) -> Result<StageResult> {
    let config = model_config(model, prepared.tokenizer.vocab_size());
    config.check()?;
    let pace = pace(recipe);
    let plan = stage::plan(job, &config, &pace, dir, output)?;
    let (rows, context) = (plan.micro_batch as usize, config.max_seq_len);
    let seed = job.recipe.run.seed;
    let mut feed = PretrainLoader::new(prepared.train.clone(), rows, context, seed)
        .with_context(|| format!("cannot learn from {}", prepared.source))?;
    let validation = validation(job, prepared, rows, context)?;
    let mut model = Gpt::new(&config, &Generator::new(seed));
    device::place(&model);
    model.checkpoint_activations = job.recipe.run.checkpoint_activations;
    let mut optimizer = rates(&model, recipe).optimizer(&model, None);
    let work = Work {
        part: None,
        model: &model,
        optimizer: optimizer.as_mut(),
        feed: &mut feed,
        validation: &validation,
        tokenizer: &prepared.tokenizer,
        prompts: &prompts(prepared, context),
        beside: &[],
    };
    stage::train(job, dir, &pace, &plan, work, output)
}

/// The configuration that `[model]` describes, for a vocabulary: that of the form, but for what is said otherwise.
pub(crate) fn model_config(model: &Model, vocab_size: usize) -> GptConfig {
    let Model {
        n_layer,
        n_head,
        d_model,
        max_seq_len,
        ..
    } = *model;
    let form = match model.form {
        Form::Gpt2 => GptConfig::gpt2(vocab_size, max_seq_len, n_layer, n_head, d_model),
        Form::Llama => {
            let d_ff = d_model.saturating_mul(4);
            GptConfig::llama(
                vocab_size,
                max_seq_len,
                n_layer,
                n_head,
                n_head,
                d_model,
                d_ff,
            )
        }
        Form::Modern => GptConfig::modern(vocab_size, max_seq_len, n_layer, n_head, d_model),
    };
    GptConfig {
        n_kv_head: model.n_kv_head.unwrap_or(form.n_kv_head),
        d_ff: model.d_ff.unwrap_or(form.d_ff),
        activation: model.activation.unwrap_or(form.activation),
        tied_head: model.tied_head.unwrap_or(form.tied_head),
        qk_norm: model.qk_norm.unwrap_or(form.qk_norm),
        logit_soft_cap: match model.logit_soft_cap {
            None => form.logit_soft_cap,
            Some(cap) => (cap > 0.0).then_some(cap),
        },
        value_embeddings: model.value_embeddings.unwrap_or(form.value_embeddings),
        dropout: model.dropout,
        ..form
    }
}

/// The sizes and the pace of the stage.
pub(super) fn pace(recipe: &Pretrain) -> Pace {
    Pace {
        name: "pretraining",
        steps: recipe.steps,
        batch_size: recipe.batch_size,
        optimizer_numbers: 2,
        schedule: schedule(recipe),
        grad_clip: recipe.grad_clip,
        eval_every: recipe.eval_every,
        save_every: recipe.save_every,
    }
}

fn schedule(recipe: &Pretrain) -> NnSchedule {
    let (total_steps, min_lr) = (recipe.steps as u64, recipe.min_learning_rate);
    let decay = match recipe.schedule {
        Schedule::Constant => Decay::Constant,
        Schedule::Cosine => Decay::Cosine {
            total_steps,
            min_lr,
        },
        Schedule::Linear => Decay::Linear {
            total_steps,
            min_lr,
        },
        Schedule::Trapezoid => Decay::Trapezoid {
            total_steps,
            decay_steps: (FALL * total_steps as f64) as u64,
            min_lr,
        },
    };
    NnSchedule {
        lr: recipe.learning_rate,
        warmup_steps: recipe.warmup_steps as u64,
        decay,
    }
}

/// Embeddings of form `modern` are drawn with deviation 1, fifty times that of a head, and move, as value embeddings do, at
/// this multiple of the learning rate if the recipe does not say.
const EMBEDDING_LR_SCALE: f64 = 40.0;

fn rates(model: &Gpt, recipe: &Pretrain) -> Rates {
    let usual = (!model.config.is_learned()).then_some(EMBEDDING_LR_SCALE * recipe.learning_rate);
    Rates {
        optimizer: recipe.optimizer,
        learning_rate: recipe.learning_rate,
        muon_learning_rate: recipe.muon_learning_rate,
        embedding_learning_rate: recipe.embedding_learning_rate.or(usual),
        weight_decay: recipe.weight_decay,
        betas: (recipe.beta1, recipe.beta2),
    }
}

/// What the model is asked to go on with while it learns: the beginning of the text that it is measured on, and of a document, if the
/// tokenizer marks that.
fn prompts(prepared: &Prepared, context: usize) -> Vec<Vec<u32>> {
    let text = if prepared.validation.is_empty() {
        &prepared.train
    } else {
        &prepared.validation
    };
    let mut beginning = vec![0; PROMPT_TOKENS.min(context / 2).min(text.len() as usize)];
    text.copy_to(0, &mut beginning);
    let start = prepared.tokenizer.special(END_OF_TEXT);
    let prompts = [beginning, start.into_iter().collect()];
    prompts
        .into_iter()
        .filter(|ids| !ids.is_empty() && ids.len() < context)
        .collect()
}

fn validation(job: &Job, prepared: &Prepared, rows: usize, context: usize) -> Result<Vec<Batch>> {
    let share = job.recipe.data.held_out;
    if share == 0.0 {
        return Ok(Vec::new());
    }
    let (tokens, needed) = (prepared.validation.len(), context as u64 + 1);
    if tokens < needed {
        bail!(
            "the part of the text held out for measuring has {tokens} tokens, but one window of the model takes {needed}: \
             give more text, a shorter context ([model] max_seq_len), or a larger share ([data] held_out, now {share})"
        );
    }
    let most = match job.recipe.pretrain.eval_batches {
        0 => MOST_EVAL_BATCHES,
        n => n,
    };
    Ok(sequential_batches(&prepared.validation, rows, context, most)?.collect())
}
