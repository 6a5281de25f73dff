//! Log-probabilities of tokens under the model itself: the log-softmax of raw logits, before any penalty, filter or temperature.
//!
//! Sums run in `f64` over the vocabulary in its own order, so that a token has the same log-probability alone, in a batch and in
//! training. Read next: `sampler.rs`, which reports these numbers beside the token it draws.

use std::cmp::Ordering;

/// One token and its log-probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: u32,
    /// Natural logarithm of its probability; at most 0, `-inf` for a token the model excludes.
    pub logprob: f32,
}

/// The chosen token among its alternatives.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprobs {
    /// Log-probability of the chosen token.
    pub chosen: f32,
    /// The most probable tokens, most probable first, ties by smaller token.
    pub top: Vec<TokenLogprob>,
}

/// `ln(sum(exp(logits)))` over a row `(V)`, summed in `f64` in the order of the vocabulary.
///
/// `-inf` for an empty row or one of `-inf` only.
pub fn logsumexp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let sum: f64 = logits.iter().map(|&x| f64::from(x - max).exp()).sum();
    f64::from(max) + sum.ln()
}

/// Log-probability of `token` and of the `top_n` most probable tokens, from raw logits `(V)`.
///
/// # Panics
/// If `token` is outside the row.
#[track_caller]
pub fn top_logprobs(logits: &[f32], token: u32, top_n: usize) -> TokenLogprobs {
    assert!(
        (token as usize) < logits.len(),
        "token {token} is outside a row of {} logits",
        logits.len()
    );
    let normaliser = logsumexp(logits);
    let logprob = |token: u32| (f64::from(logits[token as usize]) - normaliser) as f32;
    let top = most_probable(logits, top_n)
        .into_iter()
        .map(|token| TokenLogprob {
            token,
            logprob: logprob(token),
        });
    TokenLogprobs {
        chosen: logprob(token),
        top: top.collect(),
    }
}

/// The `n` tokens with the largest logits, largest first.
fn most_probable(logits: &[f32], n: usize) -> Vec<u32> {
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    let by_logit =
        |a: &u32, b: &u32| descending((logits[*a as usize], *a), (logits[*b as usize], *b));
    if n < tokens.len() {
        if n > 0 {
            tokens.select_nth_unstable_by(n - 1, by_logit);
        }
        tokens.truncate(n);
    }
    tokens.sort_unstable_by(by_logit);
    tokens
}

/// Larger logit first, then smaller token: a total order, so that ties never depend on how a sort works.
pub(super) fn descending(a: (f32, u32), b: (f32, u32)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_all_tokens_sum_to_one() {
        let logits = [1000.0, 999.0, -5.0, f32::NEG_INFINITY, 1000.0];
        let all = top_logprobs(&logits, 0, 5);
        let sum: f64 = all.top.iter().map(|t| f64::from(t.logprob).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert_eq!(
            all.top.iter().map(|t| t.token).collect::<Vec<_>>(),
            [0, 4, 1, 2, 3]
        );
        assert_eq!(all.top[4].logprob, f32::NEG_INFINITY);
    }

    #[test]
    fn asking_for_more_alternatives_than_tokens_gives_all() {
        assert_eq!(top_logprobs(&[0.0, 1.0], 0, 7).top.len(), 2);
        assert!(top_logprobs(&[0.0, 1.0], 0, 0).top.is_empty());
    }

    #[test]
    fn uniform_logits_give_minus_log_of_vocabulary() {
        let row = vec![3.5; 50257];
        let expected = -(50257f64).ln();
        assert!((f64::from(top_logprobs(&row, 50256, 0).chosen) - expected).abs() < 1e-6);
    }

    #[test]
    #[should_panic(expected = "token 2 is outside a row of 2 logits")]
    fn token_outside_the_row_panics() {
        top_logprobs(&[0.0, 1.0], 2, 0);
    }
}
