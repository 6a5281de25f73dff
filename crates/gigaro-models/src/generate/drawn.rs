//! Log-probabilities of tokens under the distribution they were drawn from, as reinforcement learning needs them.
//!
//! One function serves the engine that draws ([`generate_batch`](super::generate_batch)) and the training that follows, so that
//! before the first update both sides of a probability ratio are the same number and the ratio is exactly 1. A
//! row's result has the same bits in any batch, because each op in here works on rows alone.
//!
//! Not the log-probabilities that a reader may ask for beside a reply, which ignore the temperature: those are in `logprobs.rs`.

use gigaro_tensor::{DType, Device, Tensor, functional as F};

/// `log_softmax(logits / temperature)` of each row's token, in f32, with gradients.
///
/// A temperature of 0 stands for greedy drawing, and gives the log-probabilities of the raw logits. Penalties and filters
/// of the sampler are left out: this is the policy, not the sampler.
///
/// # Shapes
/// `logits: (n, V)`, `tokens: (n)` of i64 -> `(n)`, in main memory: what is done with so few numbers costs nothing there
/// # Panics
/// If shapes do not fit, or a token is not below `V`.
#[must_use]
#[track_caller]
pub fn token_logprobs(logits: &Tensor, tokens: &Tensor, temperature: f64) -> Tensor {
    each_token_logprob(logits, tokens, &vec![temperature as f32; logits.size(0)])
}

/// [`token_logprobs`] with a temperature for every row.
#[track_caller]
pub(super) fn each_token_logprob(logits: &Tensor, tokens: &Tensor, temperatures: &[f32]) -> Tensor {
    let fits = logits.ndim() == 2 && *tokens.shape() == [logits.size(0)];
    assert!(
        fits && temperatures.len() == logits.size(0),
        "token_logprobs: logits {:?} for tokens {:?}",
        logits.shape(),
        tokens.shape()
    );
    let divisors: Vec<f32> = temperatures
        .iter()
        .map(|&t| if t == 0.0 { 1.0 } else { t })
        .collect();
    let mut z = logits.to_dtype(DType::F32);
    // Dividing by 1 changes no bit.
    if divisors.iter().any(|&d| d != 1.0) {
        let divisors = Tensor::from_vec(divisors, [temperatures.len(), 1]);
        z = &z / divisors.to_device(z.device());
    }
    F::log_softmax(&z, -1)
        .gather(-1, &tokens.unsqueeze(-1))
        .squeeze(-1)
        .to_device(Device::Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gigaro_tensor::Generator;

    fn logits(rows: usize) -> Tensor {
        Tensor::randn([rows, 300], DType::F32, Device::Cpu, &Generator::new(4)) * 3.0
    }

    fn tokens(rows: usize) -> Tensor {
        Tensor::from_vec((0..rows as i64).map(|i| i * 37 % 300).collect(), [rows])
    }

    #[test]
    fn they_are_the_logarithm_of_the_softmax_at_a_temperature() {
        let (x, t) = (logits(5), tokens(5));
        let got = token_logprobs(&x, &t, 0.7).to_vec::<f32>();
        for (row, &token) in t.to_vec::<i64>().iter().enumerate() {
            let z: Vec<f64> = x
                .select(0, row)
                .to_vec::<f32>()
                .iter()
                .map(|&v| f64::from(v) / 0.7)
                .collect();
            let total: f64 = z.iter().map(|z| z.exp()).sum();
            let expected = z[token as usize] - total.ln();
            assert!((f64::from(got[row]) - expected).abs() < 1e-5, "row {row}");
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_among_others_of_other_temperatures() {
        let (x, t) = (logits(20), tokens(20));
        let temperatures: Vec<f32> = (0..20).map(|i| [0.0, 0.7, 1.0, 1.3][i % 4]).collect();
        let together = each_token_logprob(&x, &t, &temperatures).to_vec::<f32>();
        for (row, &temperature) in temperatures.iter().enumerate() {
            let alone = token_logprobs(
                &x.narrow(0, row, 1),
                &t.narrow(0, row, 1),
                f64::from(temperature),
            );
            assert_eq!(alone.to_vec::<f32>(), [together[row]], "row {row}");
        }
    }

    #[test]
    fn the_gradient_is_one_less_the_probability_over_the_temperature() {
        let x = logits(3).detach().requires_grad_(true);
        token_logprobs(&x, &tokens(3), 2.0).sum(0_isize).backward();
        let grad = x.grad().expect("a leaf has a gradient").to_vec::<f32>();
        let p = F::softmax(&(x.detach() / 2.0), -1).to_vec::<f32>();
        for row in 0..3 {
            for v in 0..300 {
                let is_token = v == row * 37 % 300;
                let expected = (f32::from(u8::from(is_token)) - p[row * 300 + v]) / 2.0;
                assert!((grad[row * 300 + v] - expected).abs() < 1e-6);
            }
        }
    }
}
