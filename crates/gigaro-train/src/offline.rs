//! The objective for examples that lie on disk: preferences that were judged before training begins.
//!
//! [`Offline`] deals examples in a random order, an epoch after the other, cuts a batch into micro-batches, and measures on
//! held-out examples; what an example costs is an [`ExampleLoss`]'s matter. DPO, KTO, ORPO and reward models are one
//! each. Dropout stays off, as in TRL: a policy that is compared with a reference must differ from it by what it learnt alone.
//!
//! Not here: learning from answers that the model writes while it trains.

use gigaro_data::loader::LoaderState;
use gigaro_nn::Module;
use gigaro_tensor::{Generator, Tensor, no_grad};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::objective::{Figures, Objective, Update};
use crate::smaller_parts::in_smaller_parts;

/// A figure over some examples: its name, the sum of its values, and how many there are.
pub type Sum = (&'static str, f64, usize);

/// What a loss says about some examples.
#[derive(Debug)]
pub struct Part {
    /// The mean over the examples, recorded.
    pub loss: Tensor,
    /// Figures besides the loss.
    pub figures: Vec<Sum>,
    /// Tokens that the model read, padding not counted.
    pub tokens: usize,
}

/// What an example costs.
pub trait ExampleLoss {
    /// What it learns from.
    type Example;

    /// The model that is trained.
    fn module(&self) -> &dyn Module;

    /// An example as it was on the disk, without what was computed from it: [`crate::preference::Example::parts`].
    fn source<'e>(&self, example: &'e Self::Example) -> Vec<&'e [u32]>;

    /// Told all examples of a step before [`ExampleLoss::loss`] gets them in pieces of at most `rows`; for what they have in common.
    fn prepare(&mut self, _batch: &[&Self::Example], _rows: usize) {}

    /// The mean loss over some examples.
    fn loss(&self, examples: &[&Self::Example]) -> Part;
}

/// How examples are dealt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deal {
    /// Examples of a step.
    pub batch_size: usize,
    /// Examples that are computed at once.
    pub micro_batch: usize,
    /// Decides their order.
    pub seed: u64,
}

/// Learning from examples on disk.
pub struct Offline<L: ExampleLoss> {
    loss: L,
    examples: Vec<L::Example>,
    held_out: Vec<L::Example>,
    deal: Deal,
    /// Examples that are computed at once; fewer than dealt if more did not fit on the card.
    micro_batch: usize,
    position: LoaderState,
    /// The order of this epoch.
    order: Vec<i64>,
    tokens: u64,
}

impl<L: ExampleLoss> Offline<L> {
    /// Trains on `examples` and measures on `held_out`, which may be empty.
    ///
    /// # Errors
    /// If there are no examples, or a batch would have none.
    pub fn new(
        loss: L,
        examples: Vec<L::Example>,
        held_out: Vec<L::Example>,
        deal: Deal,
    ) -> Result<Self> {
        if examples.is_empty() {
            return Err(Error::NotEnoughData {
                what: "there is no example to learn preferences from".into(),
                advice: "give more data, or a model with a longer context if they were too long"
                    .into(),
            });
        }
        for (name, value) in [
            ("batch_size", deal.batch_size),
            ("micro_batch", deal.micro_batch),
        ] {
            if value == 0 {
                return Err(Error::BadSetting {
                    name,
                    value: "0".into(),
                    why: "a step needs at least one example".into(),
                });
            }
        }
        let position = LoaderState {
            seed: deal.seed,
            epoch: 0,
            row: 0,
            fingerprint: fingerprint(&loss, &examples),
        };
        let mut objective = Self {
            order: Vec::new(),
            loss,
            examples,
            held_out,
            micro_batch: deal.micro_batch,
            deal,
            position,
            tokens: 0,
        };
        objective.shuffle();
        Ok(objective)
    }

    fn shuffle(&mut self) {
        let generator = Generator::new(self.position.seed).fork(self.position.epoch);
        self.order = Tensor::randperm(self.examples.len(), &generator).to_vec();
    }

    /// The numbers of the next step's examples.
    fn next_batch(&mut self) -> Vec<usize> {
        let mut batch = Vec::with_capacity(self.deal.batch_size);
        while batch.len() < self.deal.batch_size {
            if self.position.row as usize == self.examples.len() {
                self.position.epoch += 1;
                self.position.row = 0;
                self.shuffle();
            }
            batch.push(self.order[self.position.row as usize] as usize);
            self.position.row += 1;
        }
        batch
    }
}

impl<L: ExampleLoss> Objective for Offline<L> {
    fn module(&self) -> &dyn Module {
        self.loss.module()
    }

    fn step(&mut self, update: &mut Update<'_>) -> Result<Figures> {
        let numbers = self.next_batch();
        let batch: Vec<&L::Example> = numbers.iter().map(|&i| &self.examples[i]).collect();
        let (loss, mut at_once) = (&mut self.loss, self.micro_batch.min(batch.len()));
        let totals = in_smaller_parts(
            &mut at_once,
            || update.forget_gradients(),
            |rows| {
                let mut totals = Totals::default();
                loss.prepare(&batch, rows);
                for examples in batch.chunks(rows) {
                    let part = loss.loss(examples);
                    let share = part.loss.clone() * (examples.len() as f64 / batch.len() as f64);
                    totals.add(&part, examples.len());
                    share.backward();
                }
                totals
            },
        );
        self.micro_batch = at_once;
        self.tokens = totals.tokens;
        let mut figures = totals.figures();
        if at_once < self.deal.micro_batch.min(batch.len()) {
            figures.push(("micro_batch", at_once as f64));
        }
        update.check("the loss", figures[0].1)?;
        update.apply()?;
        Ok(figures)
    }

    fn validate(&mut self) -> Result<Option<Figures>> {
        if self.held_out.is_empty() {
            return Ok(None);
        }
        let mut totals = Totals::default();
        let all: Vec<&L::Example> = self.held_out.iter().collect();
        for batch in all.chunks(self.deal.batch_size) {
            self.loss.prepare(batch, self.micro_batch);
            for examples in batch.chunks(self.micro_batch) {
                totals.add(&no_grad(|| self.loss.loss(examples)), examples.len());
            }
        }
        Ok(Some(totals.figures()))
    }

    fn tokens(&self) -> u64 {
        self.tokens
    }

    fn state(&self) -> Value {
        json!(self.position)
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let saved: LoaderState = serde_json::from_value(state.clone()).map_err(Error::position)?;
        if saved.fingerprint != self.position.fingerprint {
            return Err(Error::position("the preferences are not the same"));
        }
        if saved.row > self.examples.len() as u64 {
            let (row, n) = (saved.row, self.examples.len());
            return Err(Error::position(format!("it is example {row} of {n}")));
        }
        self.position = saved;
        self.shuffle();
        Ok(())
    }
}

/// A number that is the same for the same examples in the same order.
fn fingerprint<L: ExampleLoss>(loss: &L, examples: &[L::Example]) -> u64 {
    let mut hash = Sha256::new();
    for example in examples {
        for part in loss.source(example) {
            hash.update((part.len() as u64).to_le_bytes());
            part.iter()
                .for_each(|token| hash.update(token.to_le_bytes()));
        }
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |all, &byte| all << 8 | u64::from(byte))
}

/// Sums over the micro-batches of a step.
#[derive(Default)]
struct Totals {
    loss: f64,
    examples: usize,
    figures: Vec<Sum>,
    tokens: u64,
}

impl Totals {
    fn add(&mut self, part: &Part, examples: usize) {
        self.loss += part.loss.item() * examples as f64;
        self.examples += examples;
        self.tokens += part.tokens as u64;
        for &(name, sum, count) in &part.figures {
            match self.figures.iter_mut().find(|(n, ..)| *n == name) {
                Some(figure) => {
                    figure.1 += sum;
                    figure.2 += count;
                }
                None => self.figures.push((name, sum, count)),
            }
        }
    }

    /// The loss, the figures' means, and the difference between those of chosen and rejected answers.
    fn figures(&self) -> Figures {
        let mut all = vec![("loss", self.loss / self.examples as f64)];
        let present = self.figures.iter().filter(|(_, _, count)| *count > 0);
        all.extend(present.map(|&(name, sum, count)| (name, sum / count as f64)));
        let value = |name| crate::objective::figure(&all, name);
        if let (Some(chosen), Some(rejected)) = (value(CHOSEN), value(REJECTED)) {
            all.push(("rewards/margins", chosen - rejected));
        }
        all
    }
}

/// The mean implicit reward of better answers.
pub(crate) const CHOSEN: &str = "rewards/chosen";
/// The mean implicit reward of worse answers.
pub(crate) const REJECTED: &str = "rewards/rejected";

/// The figures that all losses on pairs share, under TRL's names.
pub(crate) fn pair_figures(
    (chosen, rejected): (&Tensor, &Tensor),
    (chosen_logps, rejected_logps): (&Tensor, &Tensor),
) -> Vec<Sum> {
    let [chosen, rejected, chosen_logps, rejected_logps] =
        [chosen, rejected, chosen_logps, rejected_logps].map(|t| t.detach().to_vec::<f32>());
    let n = chosen.len();
    let sum = |values: &[f32]| values.iter().map(|&x| f64::from(x)).sum::<f64>();
    let right = chosen.iter().zip(&rejected).filter(|(c, r)| c > r).count();
    vec![
        (CHOSEN, sum(&chosen), n),
        (REJECTED, sum(&rejected), n),
        ("rewards/accuracies", right as f64, n),
        ("logps/chosen", sum(&chosen_logps), n),
        ("logps/rejected", sum(&rejected_logps), n),
    ]
}
