//! Learning rates over time, as pure functions of the step: nothing to save, nothing to resume.

use std::f64::consts::PI;

/// What the learning rate does after the warm-up. Steps count from 0, warm-up included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// Stays at the peak.
    Constant,
    /// Half a cosine from the peak down to `min_lr` at `total_steps`, where it stays.
    Cosine {
        /// Steps of the whole run.
        total_steps: u64,
        /// Where it ends.
        min_lr: f64,
    },
    /// A line from the peak down to `min_lr` at `total_steps`, where it stays.
    Linear {
        /// Steps of the whole run.
        total_steps: u64,
        /// Where it ends.
        min_lr: f64,
    },
    /// Multiplied by `gamma` every so many steps after the warm-up.
    Step {
        /// Steps between two falls.
        every: u64,
        /// Factor of each fall.
        gamma: f64,
    },
    /// Warm-up, stable, decay: at the peak until the last `decay_steps`, then a line down to
    /// `min_lr`.
    Trapezoid {
        /// Steps of the whole run.
        total_steps: u64,
        /// Steps of the fall at its end.
        decay_steps: u64,
        /// Where it ends.
        min_lr: f64,
    },
    /// The schedule of "Attention is all you need": `lr / sqrt(d_model) * min(n^-1/2, n
    /// warmup^-3/2)` with `n = step + 1`. The peak `lr` is a plain factor here (1 in the paper).
    Noam {
        /// Width of the model.
        d_model: usize,
    },
}

/// A learning rate for every step: a line from 0 up to `lr` over `warmup_steps`, then [`Decay`].
///
/// ```
/// use gigaro_nn::schedule::{Decay, Schedule};
/// let s = Schedule { lr: 1e-3, warmup_steps: 10, decay: Decay::Cosine { total_steps: 110, min_lr: 1e-4 } };
/// assert_eq!(s.lr_at(5), 5e-4);
/// assert_eq!(s.lr_at(10), 1e-3);
/// assert!((s.lr_at(60) - 5.5e-4).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The peak.
    pub lr: f64,
    /// Steps from 0 to the peak. Step 0 then has learning rate 0, as in the transformers library.
    pub warmup_steps: u64,
    /// What follows.
    pub decay: Decay,
}

impl Schedule {
    /// Always `lr`.
    #[must_use]
    pub const fn constant(lr: f64) -> Self {
        Self {
            lr,
            warmup_steps: 0,
            decay: Decay::Constant,
        }
    }

    /// The learning rate of a step, counted from 0.
    #[must_use]
    pub fn lr_at(&self, step: u64) -> f64 {
        let (lr, warmup) = (self.lr, self.warmup_steps);
        if let Decay::Noam { d_model } = self.decay {
            let n = (step + 1) as f64;
            let rise = n * (warmup.max(1) as f64).powf(-1.5);
            return lr * (d_model.max(1) as f64).powf(-0.5) * n.powf(-0.5).min(rise);
        }
        if step < warmup {
            return lr * step as f64 / warmup as f64;
        }
        /// How far `step` is on the way from `start` to `end`, in `[0, 1]`.
        fn progress(step: u64, start: u64, end: u64) -> f64 {
            let (done, all) = (step.saturating_sub(start), end.saturating_sub(start).max(1));
            (done as f64 / all as f64).min(1.0)
        }
        match self.decay {
            Decay::Constant | Decay::Noam { .. } => lr,
            Decay::Cosine {
                total_steps,
                min_lr,
            } => {
                let p = progress(step, warmup, total_steps);
                min_lr + (lr - min_lr) * 0.5 * (1.0 + (PI * p).cos())
            }
            Decay::Linear {
                total_steps,
                min_lr,
            } => {
                let p = progress(step, warmup, total_steps);
                lr + (min_lr - lr) * p
            }
            Decay::Step { every, gamma } => {
                lr * gamma.powf(((step - warmup) / every.max(1)) as f64)
            }
            Decay::Trapezoid {
                total_steps,
                decay_steps,
                min_lr,
            } => {
                let start = total_steps.saturating_sub(decay_steps).max(warmup);
                lr + (min_lr - lr) * progress(step, start, total_steps)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_warms_up_peaks_and_ends_where_it_should() {
        let ends = [
            (Decay::Constant, 2.0),
            (
                Decay::Cosine {
                    total_steps: 100,
                    min_lr: 0.2,
                },
                0.2,
            ),
            (
                Decay::Linear {
                    total_steps: 100,
                    min_lr: 0.2,
                },
                0.2,
            ),
            (
                Decay::Step {
                    every: 30,
                    gamma: 0.5,
                },
                0.25,
            ),
            (
                Decay::Trapezoid {
                    total_steps: 100,
                    decay_steps: 20,
                    min_lr: 0.2,
                },
                0.2,
            ),
        ];
        for (decay, end) in ends {
            let s = Schedule {
                lr: 2.0,
                warmup_steps: 10,
                decay,
            };
            assert_eq!(
                (s.lr_at(0), s.lr_at(5), s.lr_at(10)),
                (0.0, 1.0, 2.0),
                "{decay:?}"
            );
            assert!(
                (s.lr_at(100) - end).abs() < 1e-12,
                "{decay:?}: {}",
                s.lr_at(100)
            );
            let falls = (10..200).all(|i| s.lr_at(i + 1) <= s.lr_at(i));
            assert!(falls && s.lr_at(10_000).is_finite(), "{decay:?}");
        }
    }

    #[test]
    fn a_trapezoid_is_flat_until_its_decay() {
        let decay = Decay::Trapezoid {
            total_steps: 100,
            decay_steps: 20,
            min_lr: 0.0,
        };
        let s = Schedule {
            lr: 1.0,
            warmup_steps: 10,
            decay,
        };
        assert_eq!((s.lr_at(80), s.lr_at(90), s.lr_at(100)), (1.0, 0.5, 0.0));
    }

    #[test]
    fn noam_peaks_where_the_warm_up_ends() {
        let s = Schedule {
            lr: 1.0,
            warmup_steps: 40,
            decay: Decay::Noam { d_model: 512 },
        };
        let best = (0..200)
            .max_by(|&a, &b| s.lr_at(a).total_cmp(&s.lr_at(b)))
            .unwrap();
        assert_eq!(best, 39);
    }

    #[test]
    fn degenerate_lengths_stay_finite() {
        for decay in [
            Decay::Cosine {
                total_steps: 0,
                min_lr: 0.1,
            },
            Decay::Linear {
                total_steps: 3,
                min_lr: 0.1,
            },
            Decay::Step {
                every: 0,
                gamma: 0.1,
            },
            Decay::Trapezoid {
                total_steps: 2,
                decay_steps: 9,
                min_lr: 0.1,
            },
            Decay::Noam { d_model: 0 },
        ] {
            let s = Schedule {
                lr: 1.0,
                warmup_steps: 5,
                decay,
            };
            assert!((0..20).all(|i| s.lr_at(i).is_finite()), "{decay:?}");
        }
    }
}
