//! Direct preference optimisation: pairs move the policy itself, without a reward model between.
//!
//! The implicit reward of an answer is `beta (log pi(y|x) - log pi_ref(y|x))`. DPO fits it to the pairs as a reward model
//! would be; IPO asks for a fixed difference instead, so that pairs without noise do not drive it to infinity.
//! Losses and arguments are named as in TRL.

use gigaro_models::Gpt;
use gigaro_nn::loss::log_sigmoid;
use gigaro_nn::{Mode, Module};
use gigaro_tensor::{DType, Tensor, autocast};

use crate::answers::{Answer, answer_logps, frozen_logps, inverse_lengths};
use crate::offline::{ExampleLoss, Part, pair_figures};
use crate::preference::{Example, PreferencePair};

/// DPO's loss of each pair, from sums of log-probabilities over answers.
///
/// With `h = (chosen - ref_chosen) - (rejected - ref_rejected)`:
/// `-(1 - label_smoothing) log sigmoid(beta h) - label_smoothing log sigmoid(-beta h)`. `label_smoothing` is the
/// share of labels that are believed to be the wrong way round, below 0.5; 0 is DPO as first published.
///
/// # Shapes
/// `(B)` each -> `(B)`
/// # Reference
/// Rafailov et al. (2023), <https://arxiv.org/abs/2305.18290>, equation 7; label smoothing as in Mitchell (2023), "A note on DPO
/// with noisy preferences and relationship to IPO", equation 3
#[must_use]
#[track_caller]
pub fn dpo_loss(
    chosen_logps: &Tensor,
    rejected_logps: &Tensor,
    ref_chosen_logps: &Tensor,
    ref_rejected_logps: &Tensor,
    beta: f64,
    label_smoothing: f64,
) -> Tensor {
    let h = (chosen_logps - ref_chosen_logps) - (rejected_logps - ref_rejected_logps);
    let h = h * beta;
    let loss = -log_sigmoid(&h) * (1.0 - label_smoothing);
    // Without smoothing the second term would only cost time.
    if label_smoothing == 0.0 {
        loss
    } else {
        loss - log_sigmoid(&-&h) * label_smoothing
    }
}

/// IPO's loss of each pair, from means of log-probabilities over answers: `(h - 1 / (2 beta))^2` with `h` as in
/// [`dpo_loss`].
///
/// The paper writes sums; its authors told TRL's that their results rest on means, which keep the target's scale for answers of
/// any length.
///
/// # Shapes
/// `(B)` each -> `(B)`
/// # Reference
/// Azar et al. (2023), <https://arxiv.org/abs/2310.12036>, equation 17, where `beta` is called tau
#[must_use]
#[track_caller]
pub fn ipo_loss(
    chosen_logps: &Tensor,
    rejected_logps: &Tensor,
    ref_chosen_logps: &Tensor,
    ref_rejected_logps: &Tensor,
    beta: f64,
) -> Tensor {
    let h = (chosen_logps - ref_chosen_logps) - (rejected_logps - ref_rejected_logps);
    (h - 1.0 / (2.0 * beta)).square()
}

/// Which loss pairs cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossType {
    /// [`dpo_loss`].
    Sigmoid {
        /// The share of labels believed wrong, in `0..0.5`.
        label_smoothing: f64,
    },
    /// [`ipo_loss`].
    Ipo,
}

/// A pair with what the frozen reference says about its answers.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferencedPair {
    /// The pair.
    pub pair: PreferencePair,
    /// Log-probability of the better answer under the reference.
    pub ref_chosen_logp: f32,
    /// Log-probability of the worse answer under the reference.
    pub ref_rejected_logp: f32,
}

/// Asks the reference about all pairs, `rows` answers at a time: once, before training. `dtype` is that of the run's products, so
/// that a policy that has not learnt anything yet agrees with the reference bit for bit. The reference is usually the model that
/// is about to be trained.
///
/// # Panics
/// If a pair is not usable; see [`crate::preference::usable`].
#[must_use]
pub fn ask_reference(
    reference: &Gpt,
    pairs: Vec<PreferencePair>,
    rows: usize,
    dtype: DType,
) -> Vec<ReferencedPair> {
    let answers: Vec<Answer<'_>> = pairs.iter().flat_map(answers_of).collect();
    let logps = autocast(dtype, || frozen_logps(reference, &answers, rows));
    drop(answers);
    let pairs = pairs.into_iter().zip(logps.chunks_exact(2));
    pairs
        .map(|(pair, logps)| ReferencedPair {
            pair,
            ref_chosen_logp: logps[0],
            ref_rejected_logp: logps[1],
        })
        .collect()
}

/// The better answer and the worse one.
pub(crate) fn answers_of(pair: &PreferencePair) -> [Answer<'_>; 2] {
    [&pair.chosen, &pair.rejected].map(|tokens| Answer {
        prompt: &pair.prompt,
        tokens,
    })
}

/// All better answers, then all worse ones.
pub(crate) fn split_answers<'a>(
    pairs: impl Iterator<Item = &'a PreferencePair> + Clone,
) -> Vec<Answer<'a>> {
    let chosen = pairs.clone().map(|p| answers_of(p)[0]);
    chosen.chain(pairs.map(|p| answers_of(p)[1])).collect()
}

/// DPO and IPO, for [`crate::offline::Offline`].
#[derive(Clone, Copy, Debug)]
pub struct Dpo<'a> {
    model: &'a Gpt,
    beta: f64,
    loss_type: LossType,
}

impl<'a> Dpo<'a> {
    /// Trains `model`. A larger `beta` keeps it closer to the reference; 0.1 is usual.
    #[must_use]
    pub const fn new(model: &'a Gpt, beta: f64, loss_type: LossType) -> Self {
        Self {
            model,
            beta,
            loss_type,
        }
    }
}

impl ExampleLoss for Dpo<'_> {
    type Example = ReferencedPair;

    fn module(&self) -> &dyn Module {
        self.model
    }

    fn source<'e>(&self, example: &'e ReferencedPair) -> Vec<&'e [u32]> {
        example.pair.parts()
    }

    fn loss(&self, examples: &[&ReferencedPair]) -> Part {
        let n = examples.len();
        let answers = split_answers(examples.iter().map(|e| &e.pair));
        let logps = answer_logps(self.model, &answers, &Mode::Eval);
        let reference = |f: fn(&ReferencedPair) -> f32| {
            Tensor::from_vec(examples.iter().map(|e| f(e)).collect::<Vec<f32>>(), [n])
        };
        let half = |t: &Tensor| (t.narrow(0, 0, n), t.narrow(0, n, n));
        let (chosen, rejected) = half(&logps);
        let (ref_chosen, ref_rejected) = (
            reference(|e| e.ref_chosen_logp),
            reference(|e| e.ref_rejected_logp),
        );
        let losses = match self.loss_type {
            LossType::Sigmoid { label_smoothing } => dpo_loss(
                &chosen,
                &rejected,
                &ref_chosen,
                &ref_rejected,
                self.beta,
                label_smoothing,
            ),
            LossType::Ipo => {
                let (per_chosen, per_rejected) = half(&inverse_lengths(&answers));
                ipo_loss(
                    &(&chosen * &per_chosen),
                    &(&rejected * &per_rejected),
                    &(&ref_chosen * &per_chosen),
                    &(&ref_rejected * &per_rejected),
                    self.beta,
                )
            }
        };
        let reward = |logps: &Tensor, reference: &Tensor| (logps.detach() - reference) * self.beta;
        let rewards = (
            &reward(&chosen, &ref_chosen),
            &reward(&rejected, &ref_rejected),
        );
        Part {
            loss: losses.mean_all(),
            figures: pair_figures(rewards, (&chosen, &rejected)),
            tokens: answers.iter().map(Answer::len).sum(),
        }
    }
}
