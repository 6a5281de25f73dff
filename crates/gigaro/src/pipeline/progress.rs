//! A run as it goes: a moving bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use gigaro_train::objective::figure;
use gigaro_train::progress::{Event, StepReport};
use gigaro_train::quantity::{Bytes, Count, Seconds};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;

/// Pause between two plain lines.
const PAUSE: Duration = Duration::from_secs(10);

/// Pause between two changes of a bar.
const BLINK: Duration = Duration::from_millis(100);
/// Characters of a sample that are shown.
const SHOWN: usize = 120;

/// The figure that reinforcement learning is about.
const SCORE: &str = "objective/scores";

/// Shows how far a pass over a text has come.
pub(super) struct Reading<'a> {
    output: &'a Output,
    what: &'static str,
    bar: Option<ProgressBar>,
    last_line: Instant,
    documents: u64,
    bytes: u64,
}

impl<'a> Reading<'a> {
    /// A pass that begins, such as `learning a tokenizer`.
    pub(super) fn new(what: &'static str, output: &'a Output) -> Self {
        Self {
            output,
            what,
            bar: Output::has_bars().then(ProgressBar::new_spinner),
            last_line: Instant::now(),
            documents: 0,
            bytes: 0,
        }
    }

    /// Counts a document, or a part of one that goes on.
    pub(super) fn count(&mut self, bytes: usize, continues: bool) {
        self.documents += u64::from(!continues);
        self.bytes += bytes as u64;
        let pause = if self.bar.is_some() { BLINK } else { PAUSE };
        if self.last_line.elapsed() < pause {
            return;
        }
        self.last_line = Instant::now();
        let documents = Count(self.documents as f64);
        let text = format!(
            "{}: {} in {documents} documents so far",
            self.what,
            Bytes(self.bytes)
        );
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None => self.output.say(text),
        }
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Shows the events of one stage.
pub(super) struct Progress<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
    last_line: Option<Instant>,
    validation: Option<f64>,
}

impl<'a> Progress<'a> {
    /// A stage that has taken `done` of `steps` steps before.
    pub(super) fn new(name: &'static str, done: u64, steps: u64, output: &'a Output) -> Self {
        let bar = Output::has_bars().then(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len}  {msg}");
            let bar = ProgressBar::new(steps)
                .with_prefix(name)
                .with_position(done);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self {
            output,
            bar,
            last_line: None,
            validation: None,
        }
    }

    /// Shows one event.
    pub(super) fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Step(report) => self.step(report),
            Event::Validation {
                step,
                loss,
                figures,
            } => match figure(figures, SCORE) {
                Some(score) => self.line(&format!("step {step}: true score {score:.3}")),
                None => {
                    self.validation = Some(*loss);
                    self.line(&format!("step {step}: validation loss {loss:.4}"));
                }
            },
            Event::Finished { .. } => self.end(),
            Event::Sample { step, prompt, text } => self.sample(*step, &format!("{prompt}{text}")),
            Event::CheckpointSaved { .. } => {}
        }
    }

    /// The validation loss measured last.
    pub(super) fn validation(&self) -> Option<f64> {
        self.validation
    }

    /// Takes the bar away, so that what follows is not written over it.
    pub(super) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn step(&mut self, report: &StepReport<'_>) {
        let of = |name| figure(report.figures, name);
        let loss = match (of(SCORE), of("objective/kl")) {
            (Some(score), Some(kl)) => format!("score {score:.3}, KL {kl:.2}"),
            _ => match of("rewards/accuracies").or(of("accuracy")) {
                Some(right) => format!("loss {:.4}, right {:.0} %", report.loss, 100.0 * right),
                None => format!("loss {:.4}", report.loss),
            },
        };
        let pace = format!("{} tokens/s", Count(report.tokens_per_s));
        let left = format!("{} left", Seconds(report.eta_s));
        if let Some(bar) = &self.bar {
            bar.set_position(report.step);
            bar.set_message(format!("{loss}  {pace}  {left}"));
            return;
        }
        let due = self.last_line.is_none_or(|at| at.elapsed() >= PAUSE);
        if due || report.step == report.steps {
            self.last_line = Some(Instant::now());
            let (step, steps) = (report.step, report.steps);
            self.output.say(format_args!(
                "step {step} of {steps}: {loss}, {pace}, {left}"
            ));
        }
    }

    /// The beginning of what the model wrote, on one line; the report has all of it.
    fn sample(&self, step: u64, text: &str) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let shown: String = words.join(" ").chars().take(SHOWN).collect();
        self.line(&format!("step {step} writes: {shown}"));
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.output.say(text)),
            None => self.output.say(text),
        }
    }
}
