//! The objective that pretraining and fine-tuning share: the next token's cross-entropy over batches.
//!
//! One step takes `accumulate` batches of the feed and weighs each by its number of targets. Which positions have a
//! target is the feed's matter: all of them in pretraining, those of the answers in fine-tuning.

use std::cell::RefCell;

use gigaro_data::loader::{Batch, ConversationLoader, LoaderState, PretrainLoader};
use gigaro_models::Gpt;
use gigaro_nn::{Mode, Module};
use gigaro_tensor::{DeviceFailure, Tensor, catch_failure, no_grad};
use serde_json::{Value, json};

use crate::captured_step::Repetition;
use crate::error::{Error, Result};
use crate::non_finite::first_broken_part;
use crate::objective::{Figures, Objective, Update};
use crate::smaller_parts::in_smaller_parts;

/// Where batches come from, one after the other, with a position that can be saved.
pub trait Feed {
    /// The next batch.
    fn next_batch(&mut self) -> Batch;
    /// Where it is.
    fn state(&self) -> LoaderState;
    /// Goes to a saved position.
    ///
    /// # Errors
    /// If the position belongs to other data.
    fn restore(&mut self, state: LoaderState) -> gigaro_data::Result<()>;
}

macro_rules! feed {
    ($($loader:ty),*) => {$(
        impl Feed for $loader {
            fn next_batch(&mut self) -> Batch {
                <$loader>::next_batch(self)
            }
            fn state(&self) -> LoaderState {
                <$loader>::state(self)
            }
            fn restore(&mut self, state: LoaderState) -> gigaro_data::Result<()> {
                <$loader>::restore(self, state)
            }
        }
    )*};
}
feed!(PretrainLoader, ConversationLoader);

/// Learning to predict the next token.
pub struct NextToken<'a> {
    model: &'a Gpt,
    trained: &'a dyn Module,
    feed: &'a mut dyn Feed,
    validation: &'a [Batch],
    accumulate: u64,
    /// Rows that are taken at once, since more did not fit on the card.
    rows: Option<usize>,
    repetition: Repetition,
    tokens: u64,
    writer: Option<Writer<'a>>,
}

/// Has the model write: prompts with what it puts after them.
pub type Writer<'a> = Box<dyn FnMut(&Gpt) -> Result<Vec<(String, String)>> + 'a>;

impl<'a> NextToken<'a> {
    /// Trains `model` on `accumulate` batches of `feed` a step and measures on `validation`, which may be empty.
    pub fn new(
        model: &'a Gpt,
        feed: &'a mut dyn Feed,
        validation: &'a [Batch],
        accumulate: u64,
    ) -> Self {
        Self {
            model,
            trained: model,
            feed,
            validation,
            accumulate,
            rows: None,
            repetition: Repetition::New,
            tokens: 0,
            writer: None,
        }
    }

    /// Has the model write something at every measurement, for people to read.
    #[must_use]
    pub fn writing(mut self, writer: Writer<'a>) -> Self {
        self.writer = Some(writer);
        self
    }

    /// Whether the last step was one that a card repeats by a [`gigaro_tensor::cuda::Graph`], instead of being asked for kernel by kernel.
    #[must_use]
    pub const fn is_captured(&self) -> bool {
        matches!(self.repetition, Repetition::Captured(_))
    }

    /// Trains and saves only `part` of the model, such as the adapters of LoRA; the rest must be frozen, and has to be found
    /// again before a run is resumed.
    #[must_use]
    pub fn only(mut self, part: &'a dyn Module) -> Self {
        self.trained = part;
        self
    }
}

impl NextToken<'_> {
    /// Takes a step on some batches, one call after the other: their loss.
    fn asked_for(&mut self, batches: &[Batch], update: &mut Update<'_>) -> Result<f64> {
        let (loss, broken) = self.gradients(batches, update);
        let origin = broken.and_then(|batch| first_broken_part(self.model, &batch));
        let what = origin.map_or("the loss".to_owned(), |part| {
            format!("the loss, and before it the output of {part},")
        });
        update.check(&what, loss)?;
        update.apply()?;
        Ok(loss)
    }

    /// Accumulates the gradients of some batches: their loss, and where it is no number the part that gave it.
    ///
    /// If the card is full, what was done is forgotten and done again with half as many rows at a time, from now on.
    fn gradients(&mut self, batches: &[Batch], update: &Update<'_>) -> (f64, Option<Batch>) {
        let most = batches.iter().map(|batch| batch.rows).max().unwrap_or(1);
        let mut rows = self.rows.unwrap_or(most).min(most);
        let (dropout, model) = (update.dropout(), self.model);
        let before = dropout.state();
        let repetition = RefCell::new(&mut self.repetition);
        let forget = || {
            // What it holds is needed now.
            **repetition.borrow_mut() = Repetition::New;
            model.zero_grad();
            dropout.set_state(before);
        };
        let done = in_smaller_parts(&mut rows, forget, |rows| {
            accumulated(model, &cut(batches, Some(rows)), &update.mode())
        });
        if rows < most {
            self.rows = Some(rows);
        }
        done
    }
}

/// The gradients of all parts, added up: their loss, and the part that made it no number.
fn accumulated(model: &Gpt, parts: &[Batch], mode: &Mode) -> (f64, Option<Batch>) {
    let targets: usize = parts.iter().map(Batch::target_count).sum();
    let mut loss = 0.0;
    for part in parts {
        let weight = part.target_count() as f64 / targets.max(1) as f64;
        if weight == 0.0 {
            continue;
        }
        let weighted = batch_loss(model, part, mode) * weight;
        loss += weighted.item();
        if !loss.is_finite() {
            return (loss, Some(part.clone()));
        }
        weighted.backward();
    }
    (loss, None)
}

/// Batches in parts of so many rows, if they are to be cut.
fn cut(batches: &[Batch], rows: Option<usize>) -> Vec<Batch> {
    match rows {
        None => batches.to_vec(),
        Some(rows) => batches.iter().flat_map(|batch| batch.parts(rows)).collect(),
    }
}

impl Objective for NextToken<'_> {
    fn module(&self) -> &dyn Module {
        self.trained
    }

    fn step(&mut self, update: &mut Update<'_>) -> Result<Figures> {
        let batches: Vec<Batch> = (0..self.accumulate.max(1))
            .map(|_| self.feed.next_batch())
            .collect();
        let parts = cut(&batches, self.rows);
        let loss = match self.repetition.step(self.model, &parts, update) {
            Some(loss) => loss,
            None => self.asked_for(&batches, update)?,
        };
        self.tokens = batches.iter().map(|b| (b.rows * b.cols) as u64).sum();
        let mut figures = vec![("loss", loss)];
        if let (Some(rows), true) = (self.rows, cut(&batches, self.rows).len() > batches.len()) {
            figures.push(("micro_batch", rows as f64));
        }
        Ok(figures)
    }

    fn validate(&mut self) -> Result<Option<Figures>> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let measure = || mean_loss(self.model, self.validation);
        let loss = catch_failure(measure).unwrap_or_else(|failure| {
            if !matches!(failure, DeviceFailure::OutOfMemory { .. }) {
                failure.raise();
            }
            // What a captured step holds is as much as a step needs.
            self.repetition = Repetition::New;
            measure()
        });
        Ok(Some(vec![("loss", loss)]))
    }

    fn samples(&mut self) -> Result<Vec<(String, String)>> {
        match &mut self.writer {
            Some(writer) => writer(self.model),
            None => Ok(Vec::new()),
        }
    }

    fn tokens(&self) -> u64 {
        self.tokens
    }

    fn state(&self) -> Value {
        json!(self.feed.state())
    }

    fn restore(&mut self, state: &Value) -> Result<()> {
        let position = serde_json::from_value(state.clone()).map_err(Error::position)?;
        Ok(self.feed.restore(position)?)
    }
}

/// The mean loss of one batch, recorded.
pub(crate) fn batch_loss(model: &Gpt, batch: &Batch, mode: &Mode) -> Tensor {
    let shape = [batch.rows, batch.cols];
    let tensor = |values: &[i64]| Tensor::from_slice(values, shape);
    let segments = batch.segments.as_deref().map(tensor);
    model.loss_packed(
        &tensor(&batch.ids),
        &tensor(&batch.targets),
        segments.as_ref(),
        mode,
    )
}

/// Mean cross-entropy per target over batches, in nats; NaN without targets.
#[must_use]
pub fn mean_loss(model: &Gpt, batches: &[Batch]) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for batch in batches {
        let n = batch.target_count();
        if n > 0 {
            sum += no_grad(|| batch_loss(model, batch, &Mode::Eval)).item() * n as f64;
            count += n;
        }
    }
    sum / count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use gigaro_data::Tokens;
    use gigaro_models::GptConfig;
    use gigaro_nn::optim::{AdamOptions, AdamW};
    use gigaro_tensor::{DType, Device, Generator};

    #[test]
    fn a_loss_that_is_no_number_names_the_layer_where_it_begins() {
        let model = Gpt::new(&GptConfig::gpt2(13, 16, 2, 2, 16), &Generator::new(1));
        for (name, weight) in model.named_parameters() {
            if name.starts_with("transformer.h.1.mlp") {
                let nan = Tensor::full(weight.shape().to_vec(), f64::NAN, DType::F32, Device::Cpu);
                no_grad(|| weight.copy_(&nan));
            }
        }
        let tokens: Vec<u32> = (0..400).map(|i| i % 13).collect();
        let mut feed = PretrainLoader::new(Tokens::from(tokens), 2, 16, 5).expect("enough tokens");
        let mut optimizer = AdamW::new(model.param_groups(0.1), AdamOptions::default());
        let mut objective = NextToken::new(&model, &mut feed, &[], 2);
        let generator = Generator::new(0);
        let parameters = model.named_parameters();
        let place = (7, 0.1, 1.0);
        let mut update = Update::new(parameters, &mut optimizer, generator, place, None);
        let said = objective.step(&mut update).expect_err("a NaN").to_string();
        let expected =
            "step 7: the loss, and before it the output of transformer.h.1, is not finite";
        assert!(said.contains(expected), "{said}");
    }
}
