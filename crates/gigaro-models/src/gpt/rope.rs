//! How fast each pair of channels turns with the position, and the tables of cosines and sines.
//!
//! Long contexts were given to some models after most of their training, by slowing the slow rotations down; that of Llama 3 is here.
//! The rotation itself is gigaro-tensor's.

use std::f64::consts::TAU;

use gigaro_tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Llama 3's way to a longer context: rotations slower than `original_max_seq_len / low_freq_factor` tokens a turn become slower by
/// `factor`, those faster than `original_max_seq_len / high_freq_factor` stay, and between the two it goes over smoothly.
///
/// # Reference
/// Grattafiori et al. (2024), "The Llama 3 herd of models", <https://arxiv.org/abs/2407.21783>; the formula is that of its published
/// code and of transformers (`rope_type: llama3`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RopeScaling {
    /// How much slower the slow ones become.
    pub factor: f64,
    /// Turns within the original context below which a rotation is slow.
    pub low_freq_factor: f64,
    /// Turns within the original context above which a rotation is fast.
    pub high_freq_factor: f64,
    /// The context before, in tokens.
    pub original_max_seq_len: usize,
}

impl RopeScaling {
    /// What a rotation is divided by, if it turns by `frequency` radians a token.
    pub(super) fn divisor(&self, frequency: f64) -> f64 {
        let turns = self.original_max_seq_len as f64 * frequency / TAU;
        if turns > self.high_freq_factor {
            return 1.0;
        }
        if turns < self.low_freq_factor {
            return self.factor;
        }
        let fast = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor);
        1.0 / ((1.0 - fast) / self.factor + fast)
    }

    /// Whether the numbers make sense.
    pub(super) fn is_sane(&self) -> bool {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        positive(self.factor)
            && positive(self.low_freq_factor)
            && positive(self.high_freq_factor - self.low_freq_factor)
            && self.original_max_seq_len > 0
    }
}

/// Radians that each pair of channels turns by from one position to the next, `head_dim / 2` of them.
pub(super) fn frequencies(head_dim: usize, theta: f64, scaling: Option<RopeScaling>) -> Vec<f64> {
    let frequency = |i: usize| {
        let plain = theta.powf(-2.0 * i as f64 / head_dim as f64);
        scaling.map_or(plain, |scaling| plain / scaling.divisor(plain))
    };
    (0..head_dim / 2).map(frequency).collect()
}

/// Cosines and sines for positions `0..len`, `(len, D/2)` each in f32.
pub(super) fn tables(len: usize, frequencies: &[f64]) -> (Tensor, Tensor) {
    let table = |f: fn(f64) -> f64| {
        let angles = (0..len).flat_map(|at| frequencies.iter().map(move |w| at as f64 * w));
        let values: Vec<f32> = angles.map(|angle| f(angle) as f32).collect();
        Tensor::from_vec(values, [len, frequencies.len()])
    };
    (table(f64::cos), table(f64::sin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gigaro_tensor::functional::rotary_tables;

    #[test]
    fn tables_without_scaling_are_the_engines_to_the_bit() {
        let own = tables(50, &frequencies(16, 10_000.0, None));
        let (cos, sin) = rotary_tables(0, 50, 16, 10_000.0);
        assert!(own.0.to_bytes() == cos.to_bytes() && own.1.to_bytes() == sin.to_bytes());
    }

    #[test]
    fn slow_rotations_become_slower_and_fast_ones_stay() {
        let scaling = RopeScaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_seq_len: 8192,
        };
        let plain = frequencies(128, 500_000.0, None);
        let scaled = frequencies(128, 500_000.0, Some(scaling));
        assert_eq!(plain[0], scaled[0]);
        assert_eq!(plain[63], scaled[63] * 8.0);
        let ratios: Vec<f64> = plain.iter().zip(&scaled).map(|(p, s)| p / s).collect();
        assert!(
            ratios.is_sorted() && ratios.iter().any(|r| (1.5..7.0).contains(r)),
            "{ratios:?}"
        );
    }
}
