//! What a run tells while it works.
//!
//! The library emits [`Event`]s to a closure and prints nothing; the binary turns them into bars on
//! a terminal and plain lines elsewhere.

use std::path::Path;

/// Receives the events of a run, in order, on the thread that trains.
pub type Observer<'a> = dyn FnMut(&Event<'_>) + 'a;

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// An optimiser step is done.
    Step(StepReport<'a>),
    /// Measurements on what is not trained on.
    Validation {
        /// Steps done.
        step: u64,
        /// The loss; NaN if the objective measures none. Of text: mean cross-entropy, in nats per token.
        loss: f64,
        /// All that the objective measured, the loss included.
        figures: &'a [(&'static str, f64)],
    },
    /// The model wrote something.
    Sample {
        /// Optimiser steps done.
        step: u64,
        /// What it was given.
        prompt: &'a str,
        /// What it wrote.
        text: &'a str,
    },
    /// A checkpoint is on the disk.
    CheckpointSaved {
        /// Optimiser steps done.
        step: u64,
        /// Its folder.
        path: &'a Path,
    },
    /// The last step is done and saved.
    Finished {
        /// Optimiser steps done.
        step: u64,
        /// Seconds of training, over all resumptions.
        seconds: f64,
        /// Tokens trained on.
        tokens: u64,
    },
}

/// The figures of one optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport<'a> {
    /// Optimiser steps done, this one included.
    pub step: u64,
    /// Optimiser steps in all.
    pub steps: u64,
    /// The loss. Of text: mean cross-entropy over the step's targets, in nats per token.
    pub loss: f64,
    /// The learning rate of this step.
    pub lr: f64,
    /// The gradient's norm over all parameters, before clipping.
    pub grad_norm: f64,
    /// Tokens trained on so far.
    pub tokens: u64,
    /// Tokens per second, smoothed.
    pub tokens_per_s: f64,
    /// Seconds until the last step at this pace.
    pub eta_s: f64,
    /// All that the objective measured, the loss included.
    pub figures: &'a [(&'static str, f64)],
}

/// Smooths the pace of a run, so that neither figure jumps.
///
/// Seconds and tokens are averaged exponentially over about 20 steps, apart, so that the ratio stays
/// right when steps differ in size; the start is corrected for having no history, as in Adam.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    seconds: f64,
    tokens: f64,
    weight: f64,
}

impl Pace {
    /// A pace that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one step of `tokens` tokens that took `seconds`.
    pub fn step(&mut self, tokens: u64, seconds: f64) {
        const KEEP: f64 = 0.95;
        self.seconds = KEEP * self.seconds + (1.0 - KEEP) * seconds;
        self.tokens = KEEP * self.tokens + (1.0 - KEEP) * tokens as f64;
        self.weight = KEEP * self.weight + (1.0 - KEEP);
    }

    /// Tokens per second; 0 before the first step.
    pub fn tokens_per_s(&self) -> f64 {
        if self.seconds > 0.0 {
            self.tokens / self.seconds
        } else {
            0.0
        }
    }

    /// Seconds that `steps` more steps will take; 0 before the first step.
    pub fn eta_s(&self, steps: u64) -> f64 {
        if self.weight > 0.0 {
            steps as f64 * self.seconds / self.weight
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_right_from_the_first_step_and_forgets_a_hiccup() {
        let mut pace = Pace::new();
        assert_eq!((pace.tokens_per_s(), pace.eta_s(10)), (0.0, 0.0));
        pace.step(1000, 0.5);
        assert!((pace.tokens_per_s() - 2000.0).abs() < 1e-9 && (pace.eta_s(10) - 5.0).abs() < 1e-9);
        pace.step(1000, 50.0);
        for _ in 0..300 {
            pace.step(1000, 0.5);
        }
        assert!(
            (pace.tokens_per_s() - 2000.0).abs() < 1.0,
            "{}",
            pace.tokens_per_s()
        );
    }

    #[test]
    fn a_closure_observes() {
        let mut seen = Vec::new();
        let mut push = |event: &Event<'_>| {
            if let Event::Validation { step, .. } = event {
                seen.push(*step);
            }
        };
        let observer: &mut Observer<'_> = &mut push;
        observer(&Event::Validation {
            step: 7,
            loss: 1.5,
            figures: &[("loss", 1.5)],
        });
        assert_eq!(seen, [7]);
    }
}
