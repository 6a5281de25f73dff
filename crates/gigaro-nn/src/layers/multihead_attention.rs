//! Attention with several heads, to the sequence itself or to another one.

use gigaro_tensor::{DType, Device, Generator, Tensor, functional};

use super::{Dropout, Linear};
use crate::{Mode, Module, init, join};

/// Multi-head attention with PyTorch's weight names, batch first.
///
/// # Reference
/// Vaswani et al. (2017), <https://arxiv.org/abs/1706.03762>
#[derive(Clone, Debug)]
pub struct MultiheadAttention {
    /// Queries, keys and values from one product, `(3 C, C)`; the key is `in_proj_weight`.
    pub in_proj: Linear,
    /// `(C, C)`.
    pub out_proj: Linear,
    /// Heads; `C / n_head` channels each.
    pub n_head: usize,
    /// On the attention weights.
    pub dropout: Dropout,
}

impl MultiheadAttention {
    /// Xavier-uniform projections and zero biases, as PyTorch has them.
    ///
    /// # Panics
    /// If `n_head` does not divide `d_model`.
    #[must_use]
    #[track_caller]
    pub fn new(
        d_model: usize,
        n_head: usize,
        bias: bool,
        dropout: f64,
        generator: &Generator,
    ) -> Self {
        assert!(
            n_head > 0 && d_model.is_multiple_of(n_head),
            "MultiheadAttention: {n_head} heads do not divide width {d_model}"
        );
        let zeros = |n: usize| bias.then(|| Tensor::zeros([n], DType::F32, Device::Cpu));
        let out = init::kaiming_uniform(
            [d_model, d_model],
            init::Fan::In,
            1.0 / 3.0_f64.sqrt(),
            generator,
        );
        Self {
            in_proj: Linear::from_weights(
                init::xavier_uniform([3 * d_model, d_model], 1.0, generator),
                zeros(3 * d_model),
            ),
            out_proj: Linear::from_weights(out, zeros(d_model)),
            n_head,
            dropout: Dropout::new(dropout),
        }
    }

    /// Attention of a sequence to itself. `mask` broadcasts to `(B, n_head, T, T)`: bool (true =
    /// look) or float (added).
    ///
    /// # Shapes
    /// `x: (B, T, C)` -> `(B, T, C)`
    /// # Panics
    /// If shapes do not fit.
    #[must_use]
    #[track_caller]
    pub fn forward(
        &self,
        x: &Tensor,
        mask: Option<&Tensor>,
        is_causal: bool,
        mode: &Mode,
    ) -> Tensor {
        let qkv = self.in_proj.forward(x);
        let c = x.size(-1);
        let drops = mode.is_train() && self.dropout.p > 0.0;
        let y = if is_causal && mask.is_none() && !drops {
            functional::attention_qkv_packed(&qkv, self.n_head)
        } else {
            let part = |i: usize| qkv.narrow(-1, i * c, c);
            self.attend(&part(0), &part(1), &part(2), mask, is_causal, mode)
        };
        self.out_proj.forward(&y)
    }

    /// Attention of `query` to another sequence. `mask` broadcasts to `(B, n_head, T, S)`.
    ///
    /// # Shapes
    /// `query: (B, T, C)`, `memory: (B, S, C)` -> `(B, T, C)`
    /// # Panics
    /// If shapes do not fit.
    #[must_use]
    #[track_caller]
    pub fn forward_cross(
        &self,
        query: &Tensor,
        memory: &Tensor,
        mask: Option<&Tensor>,
        mode: &Mode,
    ) -> Tensor {
        let c = query.size(-1);
        let project = |x: &Tensor, start: usize, len: usize| {
            let bias = self.in_proj.bias.as_ref().map(|b| b.narrow(0, start, len));
            functional::linear(x, &self.in_proj.weight.narrow(0, start, len), bias.as_ref())
        };
        let q = project(query, 0, c);
        let kv = project(memory, c, 2 * c);
        let y = self.attend(
            &q,
            &kv.narrow(-1, 0, c),
            &kv.narrow(-1, c, c),
            mask,
            false,
            mode,
        );
        self.out_proj.forward(&y)
    }

    /// Splits `(B, T, C)` into heads, attends, and joins the heads again.
    #[track_caller]
    fn attend(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        mask: Option<&Tensor>,
        is_causal: bool,
        mode: &Mode,
    ) -> Tensor {
        let [b, t, c] = *q.shape() else {
            panic!("MultiheadAttention: {:?} is not (B, T, C)", q.shape())
        };
        let heads = |x: &Tensor| {
            x.reshape([b, x.size(1), self.n_head, c / self.n_head])
                .transpose(1, 2)
        };
        let (q, k, v) = (heads(q), heads(k), heads(v));
        attention_with_dropout(&q, &k, &v, mask, is_causal, self.dropout, mode)
            .transpose(1, 2)
            .reshape([b, t, c])
    }
}

impl Module for MultiheadAttention {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        f(&join(prefix, "in_proj_weight"), &self.in_proj.weight);
        if let Some(bias) = &self.in_proj.bias {
            f(&join(prefix, "in_proj_bias"), bias);
        }
        self.out_proj.visit(&join(prefix, "out_proj"), f);
    }
}

/// [`functional::scaled_dot_product_attention`] whose weights pass through dropout.
///
/// Without dropout, or outside training, this is the tiled kernel. With it, all `T x S` weights are
/// held, because each of them is dropped on its own.
///
/// # Shapes
/// `q: (B, H, T, D)`, `k, v: (B, Hkv, S, D)` -> `(B, H, T, D)`
/// # Panics
/// If shapes do not fit.
#[must_use]
#[track_caller]
pub fn attention_with_dropout(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    is_causal: bool,
    dropout: Dropout,
    mode: &Mode,
) -> Tensor {
    if !mode.is_train() || dropout.p == 0.0 {
        return functional::scaled_dot_product_attention(q, k, v, mask, is_causal, None);
    }
    let group = q.size(1) / k.size(1).max(1);
    let repeat = |x: &Tensor| {
        let (b, h, s, d) = (x.size(0), x.size(1), x.size(2), x.size(3));
        if group == 1 {
            x.clone()
        } else {
            x.unsqueeze(2)
                .expand([b, h, group, s, d])
                .reshape([b, h * group, s, d])
        }
    };
    let (k, v) = (repeat(k), repeat(v));
    let scale = 1.0 / (q.size(-1) as f64).sqrt();
    let mut scores = q.matmul(&k.transpose(-1, -2)) * scale;
    if is_causal {
        let (t, s) = (scores.size(-2), scores.size(-1));
        let visible = Tensor::ones([t, s], DType::F32, q.device()).tril(s as isize - t as isize);
        scores = scores.masked_fill(
            &visible.to_dtype(DType::Bool).logical_not(),
            f64::NEG_INFINITY,
        );
    }
    scores = match mask {
        Some(mask) if mask.dtype() == DType::Bool => {
            scores.masked_fill(&mask.logical_not(), f64::NEG_INFINITY)
        }
        Some(mask) => scores + mask,
        None => scores,
    };
    dropout
        .forward(&functional::softmax(&scores, -1), mode)
        .matmul(&v)
}
