//! Odds ratio preference optimisation: fine-tuning on the better answers and turning away from the worse ones in one loss, without a
//! reference.

use gigaro_models::Gpt;
use gigaro_nn::loss::log_sigmoid;
use gigaro_nn::{Mode, Module};
use gigaro_tensor::{DType, Tensor};

use crate::answers::{Answer, answer_logps, inverse_lengths};
use crate::dpo::split_answers;
use crate::offline::{ExampleLoss, Part, Sum, pair_figures};
use crate::preference::{Example, PreferencePair};

/// The odds-ratio term of each pair, `-log sigmoid(log odds(chosen) - log odds(rejected))` with `odds(p) = p / (1 - p)`, from
/// means of log-probabilities over answers. Computed and returned in f64, since `1 - p` loses its digits where `p` is near 1.
///
/// # Shapes
/// `(B)` each -> `(B)` in f64
/// # Reference
/// Hong, Lee, Thorne (2024), <https://arxiv.org/abs/2403.07691>, equations 4, 6 and 7
#[must_use]
#[track_caller]
pub fn odds_ratio_loss(chosen_logps: &Tensor, rejected_logps: &Tensor) -> Tensor {
    let log_odds = |logps: &Tensor| {
        // An answer that is certain has infinite odds; this keeps them finite.
        let logps = logps.to_dtype(DType::F64).clamp(f64::NEG_INFINITY, -1e-9);
        &logps - (1.0 - logps.exp()).log()
    };
    -log_sigmoid(&(log_odds(chosen_logps) - log_odds(rejected_logps)))
}

/// ORPO's loss of each pair, from means of log-probabilities over answers: `-chosen + beta odds_ratio_loss`.
///
/// The first term is the fine-tuning loss of the better answer, each answer counting the same (equation 1 of the paper); TRL
/// averages it over all tokens of a batch, prompts included.
///
/// # Shapes
/// `(B)` each -> `(B)` in f64
/// # Reference
/// Hong, Lee, Thorne (2024), <https://arxiv.org/abs/2403.07691>, equation 6, where `beta` is called lambda
#[must_use]
#[track_caller]
pub fn orpo_loss(chosen_logps: &Tensor, rejected_logps: &Tensor, beta: f64) -> Tensor {
    odds_ratio_loss(chosen_logps, rejected_logps) * beta - chosen_logps.to_dtype(DType::F64)
}

/// ORPO, for [`crate::offline::Offline`].
#[derive(Clone, Copy, Debug)]
pub struct Orpo<'a> {
    model: &'a Gpt,
    beta: f64,
}

impl<'a> Orpo<'a> {
    /// Trains `model`; `beta` is the weight of the odds ratio beside the fine-tuning loss, 0.1 in the paper.
    #[must_use]
    pub const fn new(model: &'a Gpt, beta: f64) -> Self {
        Self { model, beta }
    }
}

impl ExampleLoss for Orpo<'_> {
    type Example = PreferencePair;

    fn module(&self) -> &dyn Module {
        self.model
    }

    fn source<'e>(&self, example: &'e PreferencePair) -> Vec<&'e [u32]> {
        example.parts()
    }

    fn loss(&self, examples: &[&PreferencePair]) -> Part {
        let n = examples.len();
        let answers = split_answers(examples.iter().copied());
        let means = answer_logps(self.model, &answers, &Mode::Eval) * inverse_lengths(&answers);
        let (chosen, rejected) = (means.narrow(0, 0, n), means.narrow(0, n, n));
        let loss = orpo_loss(&chosen, &rejected, self.beta).mean_all();
        let rewards = [&chosen, &rejected].map(|logps| logps.detach() * self.beta);
        let mut figures = pair_figures((&rewards[0], &rewards[1]), (&chosen, &rejected));
        figures.push(nll(&chosen));
        Part {
            loss,
            figures,
            tokens: answers.iter().map(Answer::len).sum(),
        }
    }
}

/// The fine-tuning part of the loss.
fn nll(chosen: &Tensor) -> Sum {
    (
        "nll_loss",
        -chosen.detach().sum_all().item(),
        chosen.numel(),
    )
}
