//! The loop that pretraining and fine-tuning share: batches in, a better model out, and a
//! checkpoint from which it goes on bit for bit.
//!
//! One step takes `accumulate` batches of the feed, weighs each by its number of targets, clips
//! the gradient by its norm, and steps the optimiser. Everything that decides what comes next is
//! in the checkpoint: weights, optimiser, the feed's position, and the generator of dropout.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gigaro_data::loader::{Batch, ConversationLoader, LoaderState, PretrainLoader};
use gigaro_models::Gpt;
use gigaro_nn::optim::Optimizer;
use gigaro_nn::schedule::Schedule;
use gigaro_nn::{Mode, Module, clip};
use gigaro_tensor::{DType, Generator, Tensor, autocast, no_grad};
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoint, Contents, RunState, Store};
use crate::error::{Error, Result};
use crate::interrupt::StopFlag;
use crate::metrics::Metrics;
use crate::progress::{Event, Observer, Pace, StepReport};
use crate::weights;

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

/// How a run trains.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Optimiser steps in all.
    pub steps: u64,
    /// Batches of the feed that make one step.
    pub accumulate: u64,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// The gradient's norm is clipped to this.
    pub max_norm: f64,
    /// What products compute in: f32, or bf16 with f32 sums and master weights.
    pub dtype: DType,
    /// Steps between two measurements of the validation loss; 0 for none.
    pub validate_every: u64,
    /// Steps between two checkpoints; 0 for one at the end only.
    pub checkpoint_every: u64,
}

/// What belongs to a checkpoint besides what is trained.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The model's configuration, for config.json.
    pub config: Value,
    /// The bytes of tokenizer.json.
    pub tokenizer: Option<Vec<u8>>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All steps are done; the last checkpoint.
    Finished(PathBuf),
    /// It was asked to stop and has saved where it is; resume from here.
    Interrupted(PathBuf),
}

/// A run: a model, what it is trained with, and what it writes to.
pub struct Trainer<'a> {
    model: &'a Gpt,
    optimizer: &'a mut dyn Optimizer,
    feed: &'a mut dyn Feed,
    validation: &'a [Batch],
    settings: Settings,
    identity: Identity,
    store: Store,
    metrics: Metrics,
    dropout: Generator,
    state: RunState,
    resumed_from: Option<PathBuf>,
}

impl<'a> Trainer<'a> {
    /// A run in the folder `out`, from the start or, with `resume`, from a checkpoint.
    ///
    /// # Errors
    /// If the folder cannot be written, or the checkpoint is damaged or belongs to another model,
    /// tokenizer or data.
    pub fn new(
        model: &'a Gpt,
        optimizer: &'a mut dyn Optimizer,
        feed: &'a mut dyn Feed,
        validation: &'a [Batch],
        settings: Settings,
        identity: Identity,
        out: &Path,
        seed: u64,
        resume: Option<&Checkpoint>,
    ) -> Result<Self> {
        let store = Store::open(out, 2)?;
        let state = resume.map_or_else(|| Ok(RunState::default()), Checkpoint::state)?;
        let mut run = Self {
            metrics: Metrics::open(out, state.step)?,
            dropout: Generator::new(seed).fork(1),
            resumed_from: resume.map(|c| c.dir().to_path_buf()),
            model,
            optimizer,
            feed,
            validation,
            settings,
            identity,
            store,
            state,
        };
        if let Some(checkpoint) = resume {
            run.restore(checkpoint)?;
        }
        Ok(run)
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let path = checkpoint.dir();
        if let Some(tokenizer) = &self.identity.tokenizer {
            checkpoint.check_tokenizer(tokenizer)?;
        }
        let wrong = |why: String| Error::WrongModel {
            path: path.into(),
            why,
        };
        let weights = weights::collect(path, |take| checkpoint.weights(take))?;
        self.model
            .load_state_dict(&weights)
            .map_err(|e| wrong(e.to_string()))?;
        let moments = weights::collect(path, |take| checkpoint.optimizer(take))?;
        self.optimizer
            .load_state_dict(&moments)
            .map_err(|e| wrong(e.to_string()))?;
        let position: LoaderState = serde_json::from_value(self.state.loader.clone())
            .map_err(|e| wrong(format!("its position in the data is unreadable ({e})")))?;
        self.feed.restore(position)?;
        if let Some(&state) = self.state.rng.get("dropout") {
            self.dropout.set_state(state);
        }
        Ok(())
    }

    /// Trains to the last step or until `stop` is raised, saving on the way.
    ///
    /// # Errors
    /// If the loss or a gradient is no longer finite (nothing is saved then), or the disk refuses.
    pub fn run(mut self, stop: &StopFlag, observer: &mut Observer<'_>) -> Result<Outcome> {
        let mut pace = Pace::new();
        let mut saved = self.resumed_from.clone();
        let mut saved_at = saved.as_ref().map(|_| self.state.step);
        while self.state.step < self.settings.steps && !stop.is_requested() {
            let started = Instant::now();
            let report = self.step(saved.as_deref())?;
            let seconds = started.elapsed().as_secs_f64();
            self.state.seconds_trained += seconds;
            pace.step(self.state.tokens_seen - report.tokens, seconds);
            let report = StepReport {
                tokens: self.state.tokens_seen,
                tokens_per_s: pace.tokens_per_s(),
                eta_s: pace.eta_s(self.settings.steps - self.state.step),
                ..report
            };
            self.record(&report)?;
            observer(&Event::Step(report));
            let (step, last) = (self.state.step, self.state.step == self.settings.steps);
            let due = |every: u64| every > 0 && step.is_multiple_of(every);
            if !self.validation.is_empty() && (due(self.settings.validate_every) || last) {
                self.validate(observer)?;
            }
            if due(self.settings.checkpoint_every) && !last {
                saved = Some(self.save(observer)?);
                saved_at = Some(step);
            }
        }
        let done = self.state.step == self.settings.steps;
        let path = match saved {
            Some(path) if saved_at == Some(self.state.step) => path,
            _ => self.save(observer)?,
        };
        if !done {
            return Ok(Outcome::Interrupted(path));
        }
        let (seconds, tokens) = (self.state.seconds_trained, self.state.tokens_seen);
        observer(&Event::Finished {
            step: self.state.step,
            seconds,
            tokens,
        });
        Ok(Outcome::Finished(path))
    }

    /// One optimiser step; `tokens` of the report is what had been seen before it.
    fn step(&mut self, last_good: Option<&Path>) -> Result<StepReport> {
        let batches: Vec<Batch> = (0..self.settings.accumulate.max(1))
            .map(|_| self.feed.next_batch())
            .collect();
        let targets: usize = batches.iter().map(Batch::target_count).sum();
        let number = self.state.step + 1;
        let broken = |what: String| Error::NonFinite {
            step: number,
            what,
            last_good: last_good.map(Path::to_path_buf),
        };
        let mode = Mode::Train(self.dropout.clone());
        let mut loss = 0.0;
        for batch in &batches {
            let weight = batch.target_count() as f64 / targets.max(1) as f64;
            if weight == 0.0 {
                continue;
            }
            let part = batch_loss(self.model, batch, &mode, self.settings.dtype) * weight;
            loss += part.item();
            part.backward();
        }
        if !loss.is_finite() {
            return Err(broken("the loss".into()));
        }
        let parameters = self.model.named_parameters();
        let grad_norm = clip::grad_norm(&parameters);
        if !grad_norm.is_finite() {
            let name = clip::first_non_finite(&parameters).unwrap_or("a parameter");
            return Err(broken(format!("the gradient of {name}")));
        }
        let lr = self.settings.schedule.lr_at(self.state.step);
        let scale = clip::clip_scale(grad_norm, self.settings.max_norm);
        // Muon's products may be as coarse as the model's; everything else is f32 either way.
        autocast(self.settings.dtype, || self.optimizer.step(lr, scale));
        self.optimizer.zero_grad();
        let before = self.state.tokens_seen;
        self.state.step = number;
        self.state.tokens_seen += batches
            .iter()
            .map(|b| (b.rows * b.cols) as u64)
            .sum::<u64>();
        let steps = self.settings.steps;
        Ok(StepReport {
            step: number,
            steps,
            loss,
            lr,
            grad_norm,
            tokens: before,
            tokens_per_s: 0.0,
            eta_s: 0.0,
        })
    }

    fn record(&mut self, report: &StepReport) -> Result<()> {
        self.metrics.numbers(
            report.step,
            &[
                ("loss", report.loss),
                ("lr", report.lr),
                ("grad_norm", report.grad_norm),
                ("tokens_per_s", report.tokens_per_s),
            ],
        )
    }

    fn validate(&mut self, observer: &mut Observer<'_>) -> Result<()> {
        let loss = mean_loss(self.model, self.validation, self.settings.dtype);
        let step = self.state.step;
        self.metrics.numbers(step, &[("validation_loss", loss)])?;
        let best = self
            .state
            .best_validation_loss
            .map_or(loss, |best| best.min(loss));
        self.state.best_validation_loss = Some(best);
        observer(&Event::Validation { step, loss });
        Ok(())
    }

    fn save(&mut self, observer: &mut Observer<'_>) -> Result<PathBuf> {
        self.state.loader = json!(self.feed.state());
        self.state
            .rng
            .insert("dropout".into(), self.dropout.state());
        let path = self.store.save(&Contents {
            weights: &weights::views(self.model.state_dict()),
            optimizer: Some(&weights::views(self.optimizer.state_dict())),
            state: &self.state,
            config: &self.identity.config,
            tokenizer: self.identity.tokenizer.as_deref(),
        })?;
        observer(&Event::CheckpointSaved {
            step: self.state.step,
            path: &path,
        });
        Ok(path)
    }
}

/// The mean loss of one batch, recorded.
fn batch_loss(model: &Gpt, batch: &Batch, mode: &Mode, dtype: DType) -> Tensor {
    let shape = [batch.rows, batch.cols];
    let tensor = |values: &[i64]| Tensor::from_slice(values, shape);
    let segments = batch.segments.as_deref().map(tensor);
    autocast(dtype, || {
        model.loss_packed(
            &tensor(&batch.ids),
            &tensor(&batch.targets),
            segments.as_ref(),
            mode,
        )
    })
}

/// Mean cross-entropy per target over batches, in nats; NaN without targets.
#[must_use]
pub fn mean_loss(model: &Gpt, batches: &[Batch], dtype: DType) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for batch in batches {
        let n = batch.target_count();
        if n > 0 {
            sum += no_grad(|| batch_loss(model, batch, &Mode::Eval, dtype)).item() * n as f64;
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

    fn settings(steps: u64) -> Settings {
        Settings {
            steps,
            accumulate: 2,
            schedule: Schedule::constant(3e-3),
            max_norm: 1.0,
            dtype: DType::F32,
            validate_every: 4,
            checkpoint_every: 3,
        }
    }

    fn model(seed: u64) -> Gpt {
        let config = GptConfig {
            dropout: 0.1,
            ..GptConfig::gpt2(13, 16, 1, 2, 16)
        };
        Gpt::new(&config, &Generator::new(seed))
    }

    fn loader() -> PretrainLoader {
        // A token nearly always follows from the one before it; where it does not, tells windows apart.
        let tokens: Vec<u32> = (0..4000_u32).map(|i| (5 * i + i / 50) % 13).collect();
        PretrainLoader::new(Tokens::from(tokens), 2, 16, 5).expect("enough tokens")
    }

    /// Trains until `stop_after` steps (or the end) and gives the weights and the outcome.
    fn train(
        out: &Path,
        steps: u64,
        stop_after: Option<u64>,
        resume: Option<&Path>,
        losses: &mut Vec<f64>,
    ) -> (Vec<Vec<u8>>, Outcome) {
        let model = model(if resume.is_some() { 99 } else { 1 });
        let mut optimizer = AdamW::new(model.param_groups(0.1), AdamOptions::default());
        let mut feed = loader();
        let checkpoint = resume.map(|p| Checkpoint::open(p).expect("a whole checkpoint"));
        let run = Trainer::new(
            &model,
            &mut optimizer,
            &mut feed,
            &[],
            settings(steps),
            Identity::default(),
            out,
            7,
            checkpoint.as_ref(),
        );
        let stop = StopFlag::new();
        let outcome = run.expect("a writable folder").run(&stop, &mut |event| {
            if let Event::Step(report) = event {
                losses.push(report.loss);
                if Some(report.step) == stop_after {
                    stop.request();
                }
            }
        });
        let weights = model.state_dict().values().map(Tensor::to_bytes).collect();
        (weights, outcome.expect("training goes through"))
    }

    #[test]
    fn an_interrupted_run_resumes_bit_for_bit_and_learns() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (straight, resumed) = (folder.path().join("a"), folder.path().join("b"));
        let mut losses = Vec::new();
        let (whole, outcome) = train(&straight, 40, None, None, &mut losses);
        assert!(matches!(outcome, Outcome::Finished(_)));
        assert!(losses[39] < losses[0] - 0.5, "{losses:?}");
        let mut pieces = Vec::new();
        let (_, outcome) = train(&resumed, 40, Some(17), None, &mut pieces);
        let Outcome::Interrupted(path) = outcome else {
            panic!("{outcome:?}")
        };
        let (again, _) = train(&resumed, 40, None, Some(&path), &mut pieces);
        assert_eq!(pieces, losses);
        assert_eq!(again, whole);
    }
}
