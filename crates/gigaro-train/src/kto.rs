//! Kahneman-Tversky optimisation: single answers that were found good or bad, without pairs.
//!
//! An answer's implicit reward is weighed against a point of reference, the policy's divergence from the reference model,
//! which is estimated on prompts with answers to other prompts.

use gigaro_models::Gpt;
use gigaro_nn::{Mode, Module};
use gigaro_tensor::{DType, Tensor, autocast};

use crate::answers::{Answer, answer_logps, frozen_logps};
use crate::offline::{CHOSEN, ExampleLoss, Part, REJECTED, Sum};
use crate::preference::{Example, JudgedAnswer};

/// KTO's loss of each answer, from sums of log-probabilities over answers.
///
/// With `r = logps - ref_logps`: `desirable_weight (1 - sigmoid(beta (r - kl)))` for a good answer and
/// `undesirable_weight (1 - sigmoid(beta (kl - r)))` for a bad one. No gradient goes through `kl`, which is not negative. The paper asks
/// for weights such that `desirable_weight n_desirable / (undesirable_weight n_undesirable)` lies between 1 and 4/3 where kinds are
/// unequally many.
///
/// # Shapes
/// `(B)` each, `B` judgements -> `(B)`
/// # Panics
/// If the judgements are not as many as the answers.
/// # Reference
/// Ethayarajh et al. (2024), <https://arxiv.org/abs/2402.01306>, equations 7 and 8
#[must_use]
#[track_caller]
pub fn kto_loss(
    logps: &Tensor,
    ref_logps: &Tensor,
    desirable: &[bool],
    kl: f64,
    beta: f64,
    (desirable_weight, undesirable_weight): (f64, f64),
) -> Tensor {
    assert!(
        desirable.len() == logps.numel(),
        "kto_loss: {} judgements of {} answers",
        desirable.len(),
        logps.numel()
    );
    let per_answer = |good: f64, bad: f64| {
        let values = desirable.iter().map(|&d| if d { good } else { bad });
        Tensor::from_vec(values.collect::<Vec<f64>>(), [desirable.len()]).to_dtype(logps.dtype())
    };
    let gain = (logps - ref_logps - kl) * beta * per_answer(1.0, -1.0);
    (1.0 - gain.sigmoid()) * per_answer(desirable_weight, undesirable_weight)
}

/// A judged answer with what the frozen reference says about it, and about an answer that belongs to another prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferencedAnswer {
    /// The answer.
    pub judged: JudgedAnswer,
    /// Log-probability of the answer under the reference.
    pub ref_logp: f32,
    /// An answer to another prompt, for the estimate of the divergence.
    pub mismatched: Vec<u32>,
    /// Its log-probability after this prompt under the reference.
    pub ref_mismatched_logp: f32,
}

impl ReferencedAnswer {
    fn answer(&self) -> Answer<'_> {
        Answer {
            prompt: &self.judged.prompt,
            tokens: &self.judged.answer,
        }
    }

    fn mismatched(&self) -> Answer<'_> {
        Answer {
            prompt: &self.judged.prompt,
            tokens: &self.mismatched,
        }
    }
}

/// Gives each prompt the answer of the next example with another prompt, and asks the reference about all of it, `rows` answers
/// at a time: once, before training. An answer that does not fit behind the prompt is cut. `dtype` is that of the run's products. The
/// reference is usually the model that is about to be trained.
///
/// # Panics
/// If an example is not usable; see [`crate::preference::usable`].
#[must_use]
pub fn ask_reference(
    reference: &Gpt,
    examples: Vec<JudgedAnswer>,
    rows: usize,
    dtype: DType,
) -> Vec<ReferencedAnswer> {
    let context = reference.config.max_seq_len;
    let mut referenced: Vec<ReferencedAnswer> = (0..examples.len())
        .map(|i| ReferencedAnswer {
            judged: examples[i].clone(),
            ref_logp: 0.0,
            mismatched: mismatched(&examples, i, context),
            ref_mismatched_logp: 0.0,
        })
        .collect();
    let answers: Vec<Answer<'_>> = referenced
        .iter()
        .flat_map(|e| [e.answer(), e.mismatched()])
        .collect();
    let logps = autocast(dtype, || frozen_logps(reference, &answers, rows));
    drop(answers);
    for (example, logps) in referenced.iter_mut().zip(logps.chunks_exact(2)) {
        (example.ref_logp, example.ref_mismatched_logp) = (logps[0], logps[1]);
    }
    referenced
}

/// The answer of the next example after the `i`th with another prompt, or of the next one if there is none.
fn mismatched(examples: &[JudgedAnswer], i: usize, context: usize) -> Vec<u32> {
    let n = examples.len();
    let own = &examples[i].prompt;
    let others = (1..n).map(|k| &examples[(i + k) % n]);
    let next = others.clone().find(|e| e.prompt != *own);
    let answer = &next.unwrap_or(&examples[(i + 1) % n]).answer;
    let room = context - own.len();
    answer[..answer.len().min(room)].to_vec()
}

/// KTO, for [`crate::offline::Offline`].
#[derive(Clone, Copy, Debug)]
pub struct Kto<'a> {
    model: &'a Gpt,
    beta: f64,
    weights: (f64, f64),
    /// Of the batch at hand.
    kl: f64,
}

impl<'a> Kto<'a> {
    /// Trains `model`. A larger `beta` keeps it closer to the reference, 0.1 is usual; for the weights see [`kto_loss`], 1 is usual
    /// where good and bad answers are about as many.
    #[must_use]
    pub const fn new(
        model: &'a Gpt,
        beta: f64,
        desirable_weight: f64,
        undesirable_weight: f64,
    ) -> Self {
        Self {
            model,
            beta,
            weights: (desirable_weight, undesirable_weight),
            kl: 0.0,
        }
    }
}

impl ExampleLoss for Kto<'_> {
    type Example = ReferencedAnswer;

    fn module(&self) -> &dyn Module {
        self.model
    }

    fn source<'e>(&self, example: &'e ReferencedAnswer) -> Vec<&'e [u32]> {
        example.judged.parts()
    }

    /// Estimates the divergence on the whole batch, so that cutting it into micro-batches changes nothing.
    fn prepare(&mut self, batch: &[&ReferencedAnswer], rows: usize) {
        let answers: Vec<Answer<'_>> = batch.iter().map(|e| e.mismatched()).collect();
        let logps = frozen_logps(self.model, &answers, rows);
        let differences = logps.iter().zip(batch);
        let sum: f64 = differences
            .map(|(&logp, e)| f64::from(logp) - f64::from(e.ref_mismatched_logp))
            .sum();
        self.kl = (sum / batch.len() as f64).max(0.0);
    }

    fn loss(&self, examples: &[&ReferencedAnswer]) -> Part {
        let n = examples.len();
        let answers: Vec<Answer<'_>> = examples.iter().map(|e| e.answer()).collect();
        let logps = answer_logps(self.model, &answers, &Mode::Eval);
        let reference: Vec<f32> = examples.iter().map(|e| e.ref_logp).collect();
        let reference = Tensor::from_vec(reference, [n]);
        let desirable: Vec<bool> = examples.iter().map(|e| e.judged.desirable).collect();
        let losses = kto_loss(
            &logps,
            &reference,
            &desirable,
            self.kl,
            self.beta,
            self.weights,
        );
        let rewards = (logps.detach() - reference) * self.beta;
        let mut figures = kind_figures(&rewards, &desirable, [CHOSEN, REJECTED]);
        figures.extend(kind_figures(
            &logps,
            &desirable,
            ["logps/chosen", "logps/rejected"],
        ));
        figures.push(("kl", self.kl * n as f64, n));
        Part {
            loss: losses.mean_all(),
            figures,
            tokens: answers.iter().map(Answer::len).sum(),
        }
    }
}

/// A figure of the good answers and one of the bad ones.
fn kind_figures(values: &Tensor, desirable: &[bool], names: [&'static str; 2]) -> Vec<Sum> {
    let values = values.detach().to_vec::<f32>();
    let kinds = [true, false].into_iter().zip(names);
    kinds
        .map(|(kind, name)| {
            let of_kind = values.iter().zip(desirable).filter(|(_, d)| **d == kind);
            let (sum, count) =
                of_kind.fold((0.0, 0), |(sum, n), (&v, _)| (sum + f64::from(v), n + 1));
            (name, sum, count)
        })
        .collect()
}
