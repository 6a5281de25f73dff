//! Learning from preferences that were given before: DPO, IPO, KTO and ORPO.
//!
//! The losses are `gigaro-train`'s; here preferences become what each of them learns from. The reference is asked once, before
//! training, so that only one model is held.

use std::path::Path;

use anyhow::Result;
use gigaro_models::Gpt;
use gigaro_nn::optim::{AdamOptions, AdamW};
use gigaro_nn::schedule::{Decay, Schedule};
use gigaro_tensor::DType;
use gigaro_train::dpo::{self, Dpo, LossType};
use gigaro_train::kto::{self, Kto};
use gigaro_train::offline::{Deal, ExampleLoss, Offline};
use gigaro_train::orpo::Orpo;
use gigaro_train::preference::{JudgedAnswer, PreferencePair};

use super::preferences::{fitting, judgements, pairs, split};
use super::rankings::Rankings;
use crate::output::Output;
use crate::pipeline::stage::{self, Matter, Pace};
use crate::pipeline::{Job, StageResult};
use crate::recipe::{Algorithm, Align};
use crate::trained::Trained;

/// Answers that the reference reads at once.
const ROWS: usize = 32;
/// Rows that an example takes: both answers of a pair; the answer of a judgement and, without gradients, another one.
const ROWS_OF_EXAMPLE: usize = 2;

/// What all four have in common.
struct Run<'a> {
    job: &'a Job,
    recipe: &'a Align,
    from: &'a Trained,
    dir: &'a Path,
    output: &'a Output,
}

/// Trains the fine-tuned model in `from`, in place, on preferences, into the stage's folder `dir`.
///
/// # Errors
/// If nothing can be learnt from, memory or disk do not suffice, training breaks down, or the user stops it.
pub(crate) fn offline(
    job: &Job,
    recipe: &Align,
    from: &Trained,
    rankings: Rankings,
    dir: &Path,
    output: &Output,
) -> Result<StageResult> {
    let (model, dtype, beta) = (&from.model, stage::dtype(job), recipe.beta());
    let run = Run {
        job,
        recipe,
        from,
        dir,
        output,
    };
    output.say(format_args!("\nLearning from {}", rankings.labeller));
    match recipe.algorithm {
        Algorithm::Kto => {
            let (learn, measure) = run.judgements(rankings)?;
            let weights = (recipe.desirable_weight, recipe.undesirable_weight);
            let loss = Kto::new(model, beta, weights.0, weights.1);
            let ask = |examples| kto::ask_reference(model, examples, ROWS, dtype);
            run.train(loss, ask(learn), ask(measure))
        }
        Algorithm::Orpo => {
            let (learn, measure) = run.pairs(rankings)?;
            run.train(Orpo::new(model, beta), learn, measure)
        }
        algorithm => {
            let (learn, measure) = run.pairs(rankings)?;
            let loss_type = match algorithm {
                Algorithm::Ipo => LossType::Ipo,
                _ => LossType::Sigmoid {
                    label_smoothing: recipe.label_smoothing,
                },
            };
            let ask = |examples| ask_about_pairs(model, examples, dtype);
            run.train(Dpo::new(model, beta, loss_type), ask(learn), ask(measure))
        }
    }
}

fn ask_about_pairs(
    model: &Gpt,
    pairs: Vec<PreferencePair>,
    dtype: DType,
) -> Vec<dpo::ReferencedPair> {
    dpo::ask_reference(model, pairs, ROWS, dtype)
}

impl Run<'_> {
    /// Pairs to learn from and to measure on.
    fn pairs(&self, rankings: Rankings) -> Result<(Vec<PreferencePair>, Vec<PreferencePair>)> {
        let all = pairs(&rankings.all);
        let all = fitting(all, "Pairs", self.from, self.output)?;
        Ok(split(all, |pair| &pair.prompt))
    }

    /// Single answers, good and bad ones, to learn from and to measure on.
    fn judgements(&self, rankings: Rankings) -> Result<(Vec<JudgedAnswer>, Vec<JudgedAnswer>)> {
        let mut all = rankings.judged;
        all.extend(judgements(&rankings.all));
        let all = fitting(all, "Judged answers", self.from, self.output)?;
        Ok(split(all, |judged| &judged.prompt))
    }

    fn train<L: ExampleLoss>(
        &self,
        loss: L,
        learn: Vec<L::Example>,
        measure: Vec<L::Example>,
    ) -> Result<StageResult> {
        let (job, recipe, config) = (self.job, self.recipe, &self.from.model.config);
        let (learnt, measured) = (learn.len(), measure.len());
        self.output.say(format_args!(
            "{learnt} examples to learn from, {measured} to measure on"
        ));
        let pace = pace(recipe);
        let in_rows = Pace {
            batch_size: ROWS_OF_EXAMPLE * recipe.batch_size,
            ..pace
        };
        let plan = stage::plan(job, config, &in_rows, self.dir, self.output)?;
        let deal = Deal {
            batch_size: recipe.batch_size,
            micro_batch: (plan.micro_batch as usize / ROWS_OF_EXAMPLE).max(1),
            seed: job.recipe.run.seed,
        };
        let mut objective = Offline::new(loss, learn, measure, deal)?;
        let mut optimizer = AdamW::new(
            self.from.model.param_groups(0.0),
            AdamOptions {
                beta2: 0.95,
                ..AdamOptions::default()
            },
        );
        let matter = Matter {
            objective: &mut objective,
            optimizer: &mut optimizer,
            identity: stage::identity(&config.to_json(), &self.from.tokenizer, &self.from.beside)?,
            parameters: plan.parameters,
            flops_per_token: plan.flops_per_token,
        };
        stage::optimise(job, self.dir, &pace, matter, self.output)
    }
}

/// The sizes and the pace of `[align]`.
pub(super) fn pace(recipe: &Align) -> Pace {
    Pace {
        name: recipe.algorithm.name(),
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
