//! Dropout as a layer.

use gigaro_tensor::{Tensor, functional};

use crate::Mode;

/// Zeroes each element with probability `p` while training and scales the others by `1 / (1 - p)`.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Probability of a zero, in `[0, 1)`.
    pub p: f64,
}

impl Dropout {
    /// Dropout with this probability; 0 does nothing.
    #[must_use]
    pub const fn new(p: f64) -> Self {
        Self { p }
    }

    /// # Panics
    /// If `p` is not in `[0, 1)`.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: &Mode) -> Tensor {
        match mode {
            Mode::Train(generator) if self.p > 0.0 => functional::dropout(x, self.p, generator),
            _ => x.clone(),
        }
    }
}
