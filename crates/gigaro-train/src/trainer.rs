//! The loop that every way of training shares: steps, a learning rate over time, measurements, and checkpoints
//! from which a run goes on bit for bit.
//!
//! What is minimised is an [`Objective`]'s matter. Everything that decides what comes next is in the
//! checkpoint: weights, optimiser, the objective's position, and the generator of dropout. Checkpoints
//! are taken between steps only, so an objective never has to save half of one.

use std::path::{Path, PathBuf};
use std::time::Instant;

use gigaro_nn::optim::Optimizer;
use gigaro_nn::schedule::Schedule;
use gigaro_tensor::{DType, DeviceFailure, Generator, autocast, catch_failure};
use serde_json::Value;

use crate::checkpoint::{Checkpoint, Contents, RunState, Store};
use crate::error::{Error, Result};
use crate::interrupt::StopFlag;
use crate::metrics::Metrics;
use crate::objective::{Figures, Objective, Update, figure};
use crate::progress::{Event, Observer, Pace, StepReport};
use crate::weights;

/// How a run trains.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Steps in all.
    pub steps: u64,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// The gradient's norm is clipped to this.
    pub max_norm: f64,
    /// What products compute in, Muon's included: f32, or bf16 with f32 sums and master weights.
    pub dtype: DType,
    /// Steps between two measurements on held-out data; 0 for one at the end only.
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
    /// Further files that go along, name and bytes.
    pub beside: Vec<(String, Vec<u8>)>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// All steps are done; the last checkpoint.
    Finished(PathBuf),
    /// It was asked to stop and has saved where it is; resume from here.
    Interrupted(PathBuf),
}

/// A run: an objective, what it is optimised with, and what it writes to.
pub struct Trainer<'a> {
    objective: &'a mut dyn Objective,
    optimizer: &'a mut dyn Optimizer,
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
        objective: &'a mut dyn Objective,
        optimizer: &'a mut dyn Optimizer,
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
            objective,
            optimizer,
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
        self.objective
            .module()
            .load_state_dict(&weights)
            .map_err(|e| wrong(e.to_string()))?;
        let moments = weights::collect(path, |take| checkpoint.optimizer(take))?;
        self.optimizer
            .load_state_dict(&moments)
            .map_err(|e| wrong(e.to_string()))?;
        self.objective.restore(&self.state.loader)?;
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
        if self.state.step == 0 && self.objective.measures_start() {
            self.validate(observer)?;
        }
        while self.state.step < self.settings.steps && !stop.is_requested() {
            let started = Instant::now();
            let (figures, lr, grad_norm) = self.step(saved.as_deref())?;
            let seconds = started.elapsed().as_secs_f64();
            self.state.seconds_trained += seconds;
            pace.step(self.objective.tokens(), seconds);
            let report = StepReport {
                step: self.state.step,
                steps: self.settings.steps,
                loss: figure(&figures, "loss").unwrap_or(f64::NAN),
                lr,
                grad_norm,
                tokens: self.state.tokens_seen,
                tokens_per_s: pace.tokens_per_s(),
                eta_s: pace.eta_s(self.settings.steps - self.state.step),
                figures: &figures,
            };
            self.record(&report)?;
            observer(&Event::Step(report));
            let (step, last) = (self.state.step, self.state.step == self.settings.steps);
            let due = |every: u64| every > 0 && step.is_multiple_of(every);
            if due(self.settings.validate_every) || last {
                self.measure(saved.as_deref(), observer)?;
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

    /// One step: the objective's figures, the learning rate, and the gradient's norm.
    fn step(&mut self, last_good: Option<&Path>) -> Result<(Figures, f64, f64)> {
        let lr = self.settings.schedule.lr_at(self.state.step);
        let mut update = Update::new(
            self.objective.module().named_parameters(),
            &mut *self.optimizer,
            self.dropout.clone(),
            (self.state.step + 1, lr, self.settings.max_norm),
            last_good,
        );
        let step = || autocast(self.settings.dtype, || self.objective.step(&mut update));
        let figures = catch_failure(step).map_err(|failure| Error::Device {
            step: self.state.step + 1,
            failure,
            last_good: last_good.map(Path::to_path_buf),
        })??;
        self.state.step += 1;
        self.state.tokens_seen += self.objective.tokens();
        Ok((figures, lr, update.grad_norm()))
    }

    /// Writes a step's figures: the loss, what the trainer knows, and whatever else the objective measured.
    fn record(&mut self, report: &StepReport<'_>) -> Result<()> {
        let mut line = vec![
            ("loss", report.loss),
            ("lr", report.lr),
            ("grad_norm", report.grad_norm),
            ("tokens_per_s", report.tokens_per_s),
        ];
        line.extend(report.figures.iter().filter(|(name, _)| *name != "loss"));
        self.metrics.numbers(report.step, &line)
    }

    /// Measures on held-out data, and has something written. If a card is too full for that, the step is saved before the run ends.
    fn measure(&mut self, last_good: Option<&Path>, observer: &mut Observer<'_>) -> Result<()> {
        let measured = catch_failure(|| {
            self.validate(observer)?;
            self.sample(observer)
        });
        let failure = match measured {
            Ok(done) => return done,
            Err(failure) => failure,
        };
        let full = matches!(failure, DeviceFailure::OutOfMemory { .. });
        let last_good = if full {
            Some(self.save(observer)?)
        } else {
            last_good.map(Path::to_path_buf)
        };
        Err(Error::Device {
            step: self.state.step,
            failure,
            last_good,
        })
    }

    fn validate(&mut self, observer: &mut Observer<'_>) -> Result<()> {
        let Some(figures) = autocast(self.settings.dtype, || self.objective.validate())? else {
            return Ok(());
        };
        let step = self.state.step;
        let names: Vec<String> = figures
            .iter()
            .map(|(name, _)| format!("validation_{name}"))
            .collect();
        let line: Vec<(&str, f64)> = names
            .iter()
            .map(String::as_str)
            .zip(figures.iter().map(|(_, value)| *value))
            .collect();
        self.metrics.numbers(step, &line)?;
        let loss = figure(&figures, "loss");
        if let Some(loss) = loss {
            let best = self.state.best_validation_loss;
            self.state.best_validation_loss = Some(best.map_or(loss, |best| best.min(loss)));
        }
        observer(&Event::Validation {
            step,
            loss: loss.unwrap_or(f64::NAN),
            figures: &figures,
        });
        Ok(())
    }

    fn sample(&mut self, observer: &mut Observer<'_>) -> Result<()> {
        let step = self.state.step;
        for (prompt, text) in self.objective.samples()? {
            self.metrics.sample(step, &prompt, &text)?;
            let (prompt, text) = (prompt.as_str(), text.as_str());
            observer(&Event::Sample { step, prompt, text });
        }
        Ok(())
    }

    fn save(&mut self, observer: &mut Observer<'_>) -> Result<PathBuf> {
        self.state.loader = self.objective.state();
        self.state
            .rng
            .insert("dropout".into(), self.dropout.state());
        let path = self.store.save(&Contents {
            weights: &weights::views(self.objective.module().state_dict()),
            optimizer: Some(&weights::views(self.optimizer.state_dict())),
            state: &self.state,
            config: &self.identity.config,
            tokenizer: self.identity.tokenizer.as_deref(),
            beside: &self.identity.beside,
        })?;
        observer(&Event::CheckpointSaved {
            step: self.state.step,
            path: &path,
        });
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::next_token::NextToken;
    use gigaro_data::Tokens;
    use gigaro_data::loader::PretrainLoader;
    use gigaro_models::{Gpt, GptConfig};
    use gigaro_nn::Module;
    use gigaro_nn::optim::{AdamOptions, AdamW};
    use gigaro_tensor::Tensor;

    fn settings(steps: u64) -> Settings {
        Settings {
            steps,
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
        let mut objective = NextToken::new(&model, &mut feed, &[], 2);
        let run = Trainer::new(
            &mut objective,
            &mut optimizer,
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
