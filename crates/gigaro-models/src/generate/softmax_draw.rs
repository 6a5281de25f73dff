//! A draw from all of a vocabulary, where no filter leaves tokens out: what most requests ask for, and what a server does for every
//! text in every step.
//!
//! Weights are exponentials in f32, added up in blocks, and blocks in f64; then the block of the draw is gone through token by token.
//! Nothing is kept for each token, so a vocabulary of 50,000 takes some 30 microseconds instead of a millisecond.

use gigaro_tensor::cpu::exp2::EXP2;
use gigaro_tensor::cpu::isa::isa;

/// Tokens whose weights are added up together.
const BLOCK: usize = 256;
/// Sums that run beside each other, so that vectors can be used in a fixed order.
const LANES: usize = 16;

/// The token at which the running sum of `exp((logit - max) / temperature)` passes the share `uniform`, in `[0, 1)`, of the whole.
///
/// `max` is the largest logit; logits of minus infinity have no weight.
pub(super) fn draw(logits: &[f32], max: f32, temperature: f32, uniform: f32) -> usize {
    let mut sums = vec![0.0_f64; logits.len().div_ceil(BLOCK)];
    isa().vectorize(
        #[inline(always)]
        || {
            for (sum, block) in sums.iter_mut().zip(logits.chunks(BLOCK)) {
                *sum = block_sum(block, max, temperature);
            }
        },
    );
    let target = f64::from(uniform) * sums.iter().sum::<f64>();
    let (mut before, mut drawn) = (0.0, 0);
    for (b, &sum) in sums.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
        drawn = b;
        if before + sum > target {
            break;
        }
        before += sum;
    }
    let mut last = drawn * BLOCK;
    for (i, &logit) in logits[last..].iter().take(BLOCK).enumerate() {
        let weight = f64::from(weight(logit, max, temperature));
        if weight > 0.0 {
            last = drawn * BLOCK + i;
            before += weight;
            if before > target {
                break;
            }
        }
    }
    last
}

/// The weights of a block, added up in lanes.
#[inline(always)]
fn block_sum(block: &[f32], max: f32, temperature: f32) -> f64 {
    let mut lanes = [0.0_f32; LANES];
    let (whole, rest) = block.as_chunks::<LANES>();
    for chunk in whole {
        let weights = chunk.map(
            #[inline(always)]
            |x| weight(x, max, temperature),
        );
        for (lane, weight) in lanes.iter_mut().zip(weights) {
            *lane += weight;
        }
    }
    let rest = rest.iter().map(|&x| f64::from(weight(x, max, temperature)));
    lanes.iter().map(|&x| f64::from(x)).sum::<f64>() + rest.sum::<f64>()
}

/// The exponential of `(x - max) / temperature`, to about one unit in the last place of the exponent; 0 below 2^-126.
#[inline(always)]
fn weight(x: f32, max: f32, temperature: f32) -> f32 {
    /// Next to 1.5 * 2^23 the last bit of an f32 stands for 1.
    const ANCHOR: f32 = 12_582_912.0;
    // First the division: the most probable token has weight 1 at any temperature.
    let power = (x - max) / temperature * std::f32::consts::LOG2_E;
    let held = power.max(-126.0);
    let anchored = held + ANCHOR;
    let whole = anchored - ANCHOR;
    let f = held - whole;
    let mut y = EXP2[0];
    for c in EXP2.into_iter().skip(1) {
        y = y * f + c;
    }
    let exponent = anchored
        .to_bits()
        .wrapping_sub(ANCHOR.to_bits())
        .wrapping_add(127);
    let result = y * f32::from_bits(exponent << 23);
    if power > -126.0 { result } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_exponentials() {
        for i in -8000..=0 {
            let x = i as f32 / 100.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(weight(x, 0.0, 1.0)) - exact).abs();
            // The exponent itself is rounded to f32 before.
            assert!(
                error <= 1e-5 * exact + 1e-37,
                "{x}: off by {error} of {exact}"
            );
        }
        for x in [-1e30, f32::NEG_INFINITY] {
            assert_eq!(weight(x, 5.0, 1.0), 0.0);
        }
    }

    #[test]
    fn the_draw_is_where_the_running_sum_passes_the_share() {
        let logits: Vec<f32> = (0..1000)
            .map(|i| ((i * 37 % 101) as f32) / 10.0 - 5.0)
            .collect();
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for temperature in [0.3, 1.0, 2.5] {
            let weights: Vec<f64> = logits
                .iter()
                .map(|&x| (f64::from(x - max) / f64::from(temperature)).exp())
                .collect();
            let total: f64 = weights.iter().sum();
            for step in 0..997 {
                let uniform = step as f32 / 997.0;
                let drawn = draw(&logits, max, temperature, uniform);
                let below: f64 = weights[..drawn].iter().sum();
                let target = f64::from(uniform) * total;
                let allowed = 1e-5 * total;
                assert!(below <= target + allowed, "{uniform}: {drawn} is too late");
                assert!(
                    below + weights[drawn] > target - allowed,
                    "{uniform}: {drawn} is too early"
                );
            }
        }
    }

    #[test]
    fn what_has_no_weight_is_never_drawn() {
        let mut logits = vec![f32::NEG_INFINITY; 700];
        for i in [3, 299, 300, 650] {
            logits[i] = 1.0;
        }
        let drawn: Vec<usize> = [0.0, 0.3, 0.6, 1.0 - f32::EPSILON]
            .iter()
            .map(|&u| draw(&logits, 1.0, 1.0, u))
            .collect();
        assert_eq!(drawn, [3, 299, 300, 650]);
    }
}
