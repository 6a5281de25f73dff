//! How the tokens of one decoding call look back: each at the keys and values of its own row, up to itself.
//!
//! Rows of different lengths share a call of the attention kernel under a mask that hides what lies behind the shorter
//! ones: a hidden key has weight 0, and adding zeros changes no bit. Not the cache's bookkeeping: that is `cache.rs`.

use gigaro_tensor::{Tensor, functional as F};

/// The tokens of one row in a call.
pub(super) struct Part<'a> {
    /// Of the cache.
    pub(super) row: usize,
    /// Tokens that the row held before.
    pub(super) start: usize,
    /// Tokens of the call before these.
    pub(super) at: usize,
    pub(super) ids: &'a [u32],
}

/// Neighbouring parts that one call of the kernel serves: either one part, or one token each for rows that lie side by
/// side in the cache.
struct Run {
    /// The first row.
    row: usize,
    rows: usize,
    /// Tokens of the call before these.
    at: usize,
    /// Tokens of each row.
    tokens: usize,
    /// Keys of the longest row.
    keys: usize,
    /// 0 for a key that a row has, minus infinity behind them: `(rows, 1, 1, keys)`; `None` for one row.
    mask: Option<Tensor>,
}

/// Where the tokens of a call are kept and what they see, made once for all layers.
pub(super) struct Lookback {
    /// Of each part: row, start, place in the call, tokens.
    places: Vec<[usize; 4]>,
    runs: Vec<Run>,
}

impl Lookback {
    pub(super) fn new(parts: &[Part<'_>]) -> Self {
        let places = parts
            .iter()
            .map(|p| [p.row, p.start, p.at, p.ids.len()])
            .collect();
        let side_by_side =
            |a: &Part<'_>, b: &Part<'_>| a.ids.len() == 1 && b.ids.len() == 1 && b.row == a.row + 1;
        let runs = parts.chunk_by(side_by_side).map(Run::new).collect();
        Self { places, runs }
    }

    /// Writes the keys (or values) of the call's tokens behind those of their rows.
    ///
    /// # Shapes
    /// `kept: (rows, capacity, Hkv, D)`, `new: (1, N, Hkv, D)`
    pub(super) fn keep(&self, kept: &Tensor, new: &Tensor) {
        for &[row, start, at, n] in &self.places {
            kept.narrow(0, row, 1)
                .narrow(1, start, n)
                .copy_(&new.narrow(1, at, n));
        }
    }

    /// Attention of the call's tokens, heads joined.
    ///
    /// # Shapes
    /// `q: (1, N, H, D)`, `keys, values: (rows, capacity, Hkv, D)` -> `(1, N, H D)`
    pub(super) fn attend(&self, q: &Tensor, keys: &Tensor, values: &Tensor) -> Tensor {
        let parts: Vec<Tensor> = self
            .runs
            .iter()
            .map(|run| run.attend(q, keys, values))
            .collect();
        match &parts[..] {
            [all] => all.clone(),
            several => Tensor::cat(&several.iter().collect::<Vec<_>>(), 1),
        }
    }
}

impl Run {
    fn new(parts: &[Part<'_>]) -> Self {
        let (first, tokens) = (&parts[0], parts[0].ids.len());
        let keys = parts
            .iter()
            .map(|p| p.start + tokens)
            .max()
            .expect("a run has a part");
        let mask = (parts.len() > 1).then(|| {
            let hidden = parts.iter().flat_map(|p| {
                (0..keys).map(|key| {
                    if key <= p.start {
                        0.0
                    } else {
                        f32::NEG_INFINITY
                    }
                })
            });
            Tensor::from_vec(hidden.collect(), [parts.len(), 1, 1, keys])
        });
        Self {
            row: first.row,
            rows: parts.len(),
            at: first.at,
            tokens,
            keys,
            mask,
        }
    }

    fn attend(&self, q: &Tensor, keys: &Tensor, values: &Tensor) -> Tensor {
        let (heads, kv_heads, d) = (q.size(2), keys.size(2), q.size(3));
        let n = self.rows * self.tokens;
        let q = q.narrow(1, self.at, n);
        let [k, v] = [keys, values].map(|x| {
            x.narrow(0, self.row, self.rows)
                .narrow(1, 0, self.keys)
                .transpose(1, 2) // (B, Hkv, S, D)
        });
        let y = if self.tokens == 1 {
            // A single token sees every key of its row, so the heads that share keys may stand as its queries:
            // the kernel then prepares those keys once and not once per head.
            let q = q.reshape([self.rows, kv_heads, heads / kv_heads, d]);
            F::scaled_dot_product_attention(&q, &k, &v, self.mask.as_ref(), false, None)
        } else {
            F::scaled_dot_product_attention(&q.transpose(1, 2), &k, &v, None, true, None)
                .transpose(1, 2)
        };
        y.reshape([1, n, heads * d])
    }
}
