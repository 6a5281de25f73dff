//! Scaled dot-product attention.

use super::softmax::softmax;
use crate::{DType, Tensor};

/// `softmax(q k^T scale + mask) v`, for every head.
///
/// `k` and `v` may have fewer heads than `q`: each serves a group of neighbouring query heads. With
/// `is_causal`, query `i` of `T` sees keys up to `i + S - T`.
///
/// # Shapes
/// `q: (B, H, T, D)`, `k, v: (B, Hkv, S, D)`, `mask` broadcasting to `(B, H, T, S)`, bool (true = look) or
/// float (added) -> `(B, H, T, D)`
/// # Panics
/// If shapes do not fit.
/// # Reference
/// Vaswani et al. (2017), <https://arxiv.org/abs/1706.03762>; tiling as Dao et al. (2022),
/// <https://arxiv.org/abs/2205.14135>; grouped heads as Ainslie et al. (2023),
/// <https://arxiv.org/abs/2305.13245>
#[must_use]
#[track_caller]
pub fn scaled_dot_product_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    is_causal: bool,
    scale: Option<f64>,
) -> Tensor {
    q.check_float("scaled_dot_product_attention");
    let scale = scale.unwrap_or(1.0 / (q.size(-1) as f64).sqrt());
    composite(q, k, v, mask, is_causal, scale)
}

/// The textbook form, with all scores in memory: what the tiled kernel is checked against.
pub(crate) fn composite(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    is_causal: bool,
    scale: f64,
) -> Tensor {
    let group = q.size(1) / k.size(1).max(1);
    let (k, v) = (repeat_heads(k, group), repeat_heads(v, group));
    let mut scores = q.matmul(&k.transpose(-1, -2)) * scale;
    let (t, s) = (scores.size(-2), scores.size(-1));
    if is_causal {
        let visible = Tensor::ones([t, s], DType::F32, q.device()).tril(s as isize - t as isize).to_dtype(DType::Bool);
        scores = scores.masked_fill(&visible.logical_not(), f64::NEG_INFINITY);
    }
    if let Some(mask) = mask {
        scores = if mask.dtype() == DType::Bool {
            scores.masked_fill(&mask.logical_not(), f64::NEG_INFINITY)
        } else {
            scores + mask
        };
    }
    softmax(&scores, -1).matmul(&v)
}

/// Each head `n` times in a row: `(B, H, S, D)` -> `(B, H n, S, D)`.
fn repeat_heads(x: &Tensor, n: usize) -> Tensor {
    if n == 1 {
        return x.clone();
    }
    let [b, h, s, d] = x.shape().try_into().expect("attention has four dims");
    x.unsqueeze(2).expand([b, h, n, s, d]).reshape([b, h * n, s, d])
}

/// Causal self-attention on queries, keys and values as one projection leaves them.
///
/// # Shapes
/// `qkv: (B, T, 3 C)` with `C = n_head * D`: queries, then keys, then values -> `(B, T, C)`
/// # Panics
/// If `3 n_head` does not divide the last dim.
#[must_use]
#[track_caller]
pub fn attention_qkv_packed(qkv: &Tensor, n_head: usize) -> Tensor {
    let [b, t, width] = qkv.shape().try_into().expect("attention_qkv_packed: qkv has dims (B, T, 3 C)");
    assert!(width % (3 * n_head) == 0, "attention_qkv_packed: {width} channels for 3 times {n_head} heads");
    let (c, d) = (width / 3, width / 3 / n_head);
    let part = |i: usize| qkv.narrow(-1, i * c, c).reshape([b, t, n_head, d]).transpose(1, 2);
    scaled_dot_product_attention(&part(0), &part(1), &part(2), None, true, None).transpose(1, 2).reshape([b, t, c])
}
