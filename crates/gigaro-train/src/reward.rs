//! Training and measuring reward models on rankings.
//!
//! Every pair of a prompt's answers says which of the two should have the larger reward. All pairs of a prompt are in one
//! batch, so that each answer is read once and counts once, however many others it is compared with.

use gigaro_models::RewardModel;
use gigaro_nn::loss::log_sigmoid;
use gigaro_nn::{Mode, Module};
use gigaro_tensor::{DType, Device, Tensor, no_grad};

use crate::answers::{Answer, padded};
use crate::offline::{ExampleLoss, Part, Sum};
use crate::preference::{Example, Ranking};

/// The loss of each pair: `-log sigmoid(chosen - rejected - margin)`.
///
/// # Shapes
/// `(P)` each -> `(P)`
/// # Reference
/// Bradley, Terry (1952); Christiano et al. (2017), <https://arxiv.org/abs/1706.03741>; the margin: Touvron et al. (2023), "Llama
/// 2", <https://arxiv.org/abs/2307.09288>, equation 2
#[must_use]
#[track_caller]
pub fn pairwise_reward_loss(
    chosen_rewards: &Tensor,
    rejected_rewards: &Tensor,
    margin: Option<&Tensor>,
) -> Tensor {
    let difference = chosen_rewards - rejected_rewards;
    -log_sigmoid(&margin.map_or_else(|| difference.clone(), |margin| &difference - margin))
}

/// Places in a list of answers: the better one, the worse one.
type Pair = (usize, usize);

/// The pairs of answers that differ in rank.
fn pairs(ranking: &Ranking) -> Vec<Pair> {
    let answers = &ranking.answers;
    let ordered = (0..answers.len()).flat_map(|i| (0..answers.len()).map(move |j| (i, j)));
    ordered
        .filter(|&(i, j)| answers[i].rank < answers[j].rank)
        .collect()
}

/// The answers of a ranking with its prompt.
fn answers(ranking: &Ranking) -> impl Iterator<Item = Answer<'_>> {
    ranking.answers.iter().map(|answer| Answer {
        prompt: &ranking.prompt,
        tokens: &answer.tokens,
    })
}

/// The rewards of answers, recorded.
///
/// # Shapes
/// `N` answers -> `(N)`
/// # Panics
/// If an answer with its prompt is empty or exceeds the context.
#[must_use]
#[track_caller]
pub fn rewards(model: &RewardModel, answers: &[Answer<'_>], mode: &Mode) -> Tensor {
    if answers.is_empty() {
        return Tensor::zeros([0], DType::F32, Device::Cpu);
    }
    let lengths: Vec<usize> = answers.iter().map(Answer::len).collect();
    model
        .rewards(&padded(answers), &lengths, mode)
        .to_device(Device::Cpu)
}

/// [`rewards`] of many answers as numbers, `rows` at a time, without gradients.
///
/// # Panics
/// As [`rewards`].
#[must_use]
#[track_caller]
pub fn frozen_rewards(model: &RewardModel, answers: &[Answer<'_>], rows: usize) -> Vec<f32> {
    let part = |answers: &[Answer<'_>]| no_grad(|| rewards(model, answers, &Mode::Eval));
    answers
        .chunks(rows.max(1))
        .flat_map(|answers| part(answers).to_vec::<f32>())
        .collect()
}

/// Brings the rewards of reference answers to mean 0 and deviation 1: before training with answers of the model that will be
/// trained by the rewards, after it with the same ones or, as Stiennon et al. do, with demonstrations. Without answers nothing
/// changes.
///
/// # Panics
/// As [`rewards`].
#[track_caller]
pub fn normalize(model: &RewardModel, reference: &[Answer<'_>], rows: usize) {
    if reference.is_empty() {
        return;
    }
    let rewards = frozen_rewards(model, reference, rows);
    let n = rewards.len() as f64;
    let mean = rewards.iter().map(|&r| f64::from(r)).sum::<f64>() / n;
    let squares = rewards.iter().map(|&r| (f64::from(r) - mean).powi(2));
    model.normalize(mean, (squares.sum::<f64>() / n).sqrt());
}

/// Training of a reward model, for [`crate::offline::Offline`]: the loss of a ranking of `K` answers is the sum of
/// [`pairwise_reward_loss`] over its pairs, ties left out, divided by `K (K - 1) / 2`.
///
/// # Reference
/// Ouyang et al. (2022), <https://arxiv.org/abs/2203.02155>, equation 1
#[derive(Clone, Copy, Debug)]
pub struct RewardLoss<'a> {
    model: &'a RewardModel,
    margin: f64,
}

impl<'a> RewardLoss<'a> {
    /// Trains `model`. An answer that is better by `n` ranks should score `n margin` more; 0 only asks for more.
    #[must_use]
    pub const fn new(model: &'a RewardModel, margin: f64) -> Self {
        Self { model, margin }
    }
}

impl ExampleLoss for RewardLoss<'_> {
    type Example = Ranking;

    fn module(&self) -> &dyn Module {
        self.model
    }

    fn source<'e>(&self, example: &'e Ranking) -> Vec<&'e [u32]> {
        example.parts()
    }

    fn loss(&self, examples: &[&Ranking]) -> Part {
        let all: Vec<Answer<'_>> = examples.iter().flat_map(|r| answers(r)).collect();
        let rewards = rewards(self.model, &all, &Mode::Eval);
        let (mut better, mut worse) = (Vec::new(), Vec::new());
        let (mut weights, mut margins) = (Vec::new(), Vec::new());
        let mut first = 0;
        for ranking in examples {
            let k = ranking.answers.len();
            for (i, j) in pairs(ranking) {
                better.push((first + i) as i64);
                worse.push((first + j) as i64);
                weights.push(2.0 / (k * (k - 1)) as f32);
                let ranks = ranking.answers[j].rank - ranking.answers[i].rank;
                margins.push((f64::from(ranks) * self.margin) as f32);
            }
            first += k;
        }
        let n = better.len();
        let take = |places: Vec<i64>| rewards.index_select(0, &Tensor::from_vec(places, [n]));
        let (chosen, rejected) = (take(better), take(worse));
        let margins = (self.margin != 0.0).then(|| Tensor::from_vec(margins, [n]));
        let losses = pairwise_reward_loss(&chosen, &rejected, margins.as_ref());
        let weighted = losses * Tensor::from_vec(weights, [n]);
        Part {
            loss: weighted.sum_all() * (1.0 / examples.len() as f64),
            figures: figures(&chosen, &rejected, &rewards),
            tokens: all.iter().map(Answer::len).sum(),
        }
    }
}

/// Figures under TRL's names.
fn figures(chosen: &Tensor, rejected: &Tensor, all: &Tensor) -> Vec<Sum> {
    let [chosen, rejected, all] = [chosen, rejected, all].map(|t| t.detach().to_vec::<f32>());
    let pairs = || chosen.iter().zip(&rejected);
    let margin = pairs().map(|(c, r)| f64::from(c - r)).sum();
    let right = pairs().filter(|(c, r)| c > r).count();
    let n = chosen.len();
    vec![
        ("accuracy", right as f64, n),
        ("margin", margin, n),
        (
            "mean_reward",
            all.iter().map(|&r| f64::from(r)).sum(),
            all.len(),
        ),
    ]
}
