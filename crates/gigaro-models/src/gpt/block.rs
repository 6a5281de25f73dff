//! One layer of a GPT: attention and feed-forward, each behind a norm and added to its input.

use gigaro_nn::{
    Activation, Dropout, Embedding, LayerNorm, Linear, Mode, Module, RmsNorm,
    attention_with_dropout, join,
};
use gigaro_tensor::{Device, Tensor, functional as F};

use super::config::FeedForwardKind;

/// A norm of either kind.
#[derive(Clone, Debug)]
pub enum NormLayer {
    /// Centred and scaled, as GPT-2 has it.
    LayerNorm(LayerNorm),
    /// Only scaled, as Llama has it.
    RmsNorm(RmsNorm),
}

impl NormLayer {
    /// # Shapes
    /// `(.., C)` -> `(.., C)`
    /// # Panics
    /// If the last dim is not `C`.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::LayerNorm(norm) => norm.forward(x),
            Self::RmsNorm(norm) => norm.forward(x),
        }
    }

    /// [`NormLayer::forward`] before a product: in the dtype that [`F::autocast_output`] says.
    ///
    /// # Shapes
    /// `(.., C)` -> `(.., C)`
    /// # Panics
    /// If the last dim is not `C`.
    #[must_use]
    #[track_caller]
    pub fn forward_in(&self, x: &Tensor) -> Tensor {
        match self {
            Self::LayerNorm(norm) => norm.forward_in(x),
            Self::RmsNorm(norm) => norm.forward_in(x),
        }
    }
}

impl Module for NormLayer {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        match self {
            Self::LayerNorm(norm) => norm.visit(prefix, f),
            Self::RmsNorm(norm) => norm.visit(prefix, f),
        }
    }
}

/// Where queries, keys and values come from.
#[derive(Clone, Debug)]
pub enum QkvProjection {
    /// One product; the rows of the weight are those of the queries, then keys, then values.
    Fused(Linear),
    /// A product each.
    Separate {
        /// Queries, `(n_head D, C)`.
        q: Linear,
        /// Keys, `(n_kv_head D, C)`.
        k: Linear,
        /// Values, `(n_kv_head D, C)`.
        v: Linear,
    },
}

impl QkvProjection {
    /// Queries, keys and values, `(.., heads * D)` each.
    ///
    /// # Shapes
    /// `(.., C)` -> `(.., n_head D)`, `(.., n_kv_head D)`, `(.., n_kv_head D)`
    /// # Panics
    /// If the last dim is not `C`.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, x: &Tensor, q_width: usize, kv_width: usize, mode: &Mode) -> [Tensor; 3] {
        match self {
            Self::Fused(qkv) => {
                let y = qkv.forward_in(x, mode);
                [
                    (0, q_width),
                    (q_width, kv_width),
                    (q_width + kv_width, kv_width),
                ]
                .map(|(start, len)| y.narrow(-1, start, len))
            }
            Self::Separate { q, k, v } => [q, k, v].map(|l| l.forward_in(x, mode)),
        }
    }
}

/// The name of value embeddings within attention.
pub(super) const VALUE_EMBEDDING: &str = "value_embedding";

/// Causal self-attention.
#[derive(Clone, Debug)]
pub struct Attention {
    /// Into the heads.
    pub qkv: QkvProjection,
    /// Out of the heads, `(C, n_head D)`.
    pub out: Linear,
    /// On each query head, `(D)`, if the model has QK-norm.
    pub q_norm: Option<RmsNorm>,
    /// On each key head, `(D)`.
    pub k_norm: Option<RmsNorm>,
    /// A row for each token of the vocabulary, `(V, n_kv_head D)`, added to the values, if the model has value embeddings.
    ///
    /// # Reference
    /// Zhou et al. (2024), "Value residual learning", <https://arxiv.org/abs/2410.17897>, carry the first layer's values on;
    /// a table for each layer came with Jordan et al. (2024), "modded-nanogpt".
    pub value_embedding: Option<Embedding>,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads, each serving `n_head / n_kv_head` query heads.
    pub n_kv_head: usize,
    /// Channels of a head, `D`.
    pub head_dim: usize,
    /// On the attention weights and on what comes out.
    pub dropout: Dropout,
}

impl Attention {
    /// # Shapes
    /// `x: (B, T, C)`, `ids: (B, T)` of i64, `rotary`: `(T, D/2)` twice, `mask` broadcasting to `(B, H, T, T)` -> `(B, T, C)`
    /// # Panics
    /// If shapes do not fit.
    #[must_use]
    #[track_caller]
    pub fn forward(
        &self,
        x: &Tensor,
        ids: &Tensor,
        rotary: Option<&(Tensor, Tensor)>,
        mask: Option<&Tensor>,
        mode: &Mode,
    ) -> Tensor {
        let drops = mode.is_train() && self.dropout.p > 0.0;
        let plain = rotary.is_none()
            && self.q_norm.is_none()
            && self.value_embedding.is_none()
            && self.n_kv_head == self.n_head;
        let y = match &self.qkv {
            // GPT-2's case: the kernel reads the projection as it lies.
            QkvProjection::Fused(qkv) if plain && mask.is_none() && !drops => {
                F::attention_qkv_packed(&qkv.forward_in(x, mode), self.n_head)
            }
            _ => self.attend(x, ids, rotary, mask, mode),
        };
        self.dropout.forward(&self.out.forward_in(&y, mode), mode)
    }

    #[track_caller]
    fn attend(
        &self,
        x: &Tensor,
        ids: &Tensor,
        rotary: Option<&(Tensor, Tensor)>,
        mask: Option<&Tensor>,
        mode: &Mode,
    ) -> Tensor {
        let (b, t, width) = (x.size(0), x.size(1), self.n_head * self.head_dim);
        let [q, k, v] = self.heads(x, ids, rotary, mode);
        let [q, k, v] = [q, k, v].map(|x| x.transpose(1, 2)); // (B, H, T, D)
        let y = attention_with_dropout(&q, &k, &v, mask, true, self.dropout, mode);
        y.transpose(1, 2).reshape([b, t, width])
    }

    /// Queries, keys and values by head, normalised and rotated: what attention (or a key-value
    /// cache) takes in.
    ///
    /// # Shapes
    /// `x: (B, T, C)`, `ids: (B, T)` of i64 -> `(B, T, H, D)`, `(B, T, Hkv, D)`, `(B, T, Hkv, D)`
    /// # Panics
    /// If shapes do not fit.
    #[must_use]
    #[track_caller]
    pub fn heads(
        &self,
        x: &Tensor,
        ids: &Tensor,
        rotary: Option<&(Tensor, Tensor)>,
        mode: &Mode,
    ) -> [Tensor; 3] {
        let (b, t, d) = (x.size(0), x.size(1), self.head_dim);
        let [q, k, v] = self
            .qkv
            .forward(x, self.n_head * d, self.n_kv_head * d, mode);
        let split = |x: &Tensor, heads: usize| x.reshape([b, t, heads, d]);
        let prepare = |x: Tensor, norm: Option<&RmsNorm>| {
            let x = norm.map_or_else(|| x.clone(), |norm| norm.forward(&x));
            rotary.map_or_else(|| x.clone(), |(cos, sin)| F::rotary_embedding(&x, cos, sin))
        };
        let q = prepare(split(&q, self.n_head), self.q_norm.as_ref());
        let k = prepare(split(&k, self.n_kv_head), self.k_norm.as_ref());
        let v = match &self.value_embedding {
            Some(embedding) => v + embedding.forward(ids),
            None => v,
        };
        [q, k, split(&v, self.n_kv_head)]
    }

    fn visit_as(&self, prefix: &str, learned: bool, f: &mut dyn FnMut(&str, &Tensor)) {
        match &self.qkv {
            QkvProjection::Fused(qkv) => qkv.visit(&join(prefix, "c_attn"), f),
            QkvProjection::Separate { q, k, v } => {
                for (name, layer) in [("q_proj", q), ("k_proj", k), ("v_proj", v)] {
                    layer.visit(&join(prefix, name), f);
                }
            }
        }
        for (name, norm) in [("q_norm", &self.q_norm), ("k_norm", &self.k_norm)] {
            if let Some(norm) = norm {
                norm.visit(&join(prefix, name), f);
            }
        }
        if let Some(embedding) = &self.value_embedding {
            embedding.visit(&join(prefix, VALUE_EMBEDDING), f);
        }
        self.out
            .visit(&join(prefix, if learned { "c_proj" } else { "o_proj" }), f);
    }
}

/// The part of a layer that looks at each token alone.
#[derive(Clone, Debug)]
pub struct FeedForward {
    /// Which function lies between.
    pub kind: FeedForwardKind,
    /// `(d_ff, C)`; only SwiGLU has it.
    pub gate: Option<Linear>,
    /// `(d_ff, C)`.
    pub up: Linear,
    /// `(C, d_ff)`.
    pub down: Linear,
    /// On what comes out.
    pub dropout: Dropout,
}

impl FeedForward {
    /// # Shapes
    /// `(.., C)` -> `(.., C)`
    /// # Panics
    /// If the last dim is not `C`.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, x: &Tensor, mode: &Mode) -> Tensor {
        let y = match (self.up.plain(), self.down.plain()) {
            // GPT-2's case: a card's library takes the function between the two products along.
            (Some(up), Some(down))
                if self.kind == FeedForwardKind::GeluTanh && x.device() != Device::Cpu =>
            {
                F::feed_forward(x, up, down, F::autocast_output(x))
            }
            _ => self.down.forward_in(&self.inner(x, mode), mode),
        };
        self.dropout.forward(&y, mode)
    }

    /// What lies between the two products, `(.., d_ff)`.
    fn inner(&self, x: &Tensor, mode: &Mode) -> Tensor {
        let up = self.up.forward_in(x, mode);
        match &self.gate {
            Some(gate) => F::silu(&gate.forward_in(x, mode)) * up,
            None => self.kind.activation().apply(&up),
        }
    }

    fn visit_as(&self, prefix: &str, learned: bool, f: &mut dyn FnMut(&str, &Tensor)) {
        let [gate, up, down] = if learned {
            ["c_gate", "c_fc", "c_proj"]
        } else {
            ["gate_proj", "up_proj", "down_proj"]
        };
        if let Some(layer) = &self.gate {
            layer.visit(&join(prefix, gate), f);
        }
        self.up.visit(&join(prefix, up), f);
        self.down.visit(&join(prefix, down), f);
    }
}

impl FeedForwardKind {
    /// The function between the two products (of the gate, for SwiGLU).
    #[must_use]
    pub const fn activation(self) -> Activation {
        match self {
            Self::GeluTanh => Activation::GeluTanh,
            Self::Gelu => Activation::Gelu,
            Self::ReluSquared => Activation::ReluSquared,
            Self::SwiGlu => Activation::Silu,
        }
    }
}

/// One layer.
#[derive(Clone, Debug)]
pub struct Block {
    /// Before attention.
    pub ln_1: NormLayer,
    /// Between tokens.
    pub attn: Attention,
    /// Before the feed-forward part.
    pub ln_2: NormLayer,
    /// Within each token.
    pub mlp: FeedForward,
}

impl Block {
    /// # Shapes
    /// `x: (B, T, C)`, `ids: (B, T)` of i64, `rotary`: `(T, D/2)` twice, `mask` broadcasting to `(B, H, T, T)` -> `(B, T, C)`
    /// # Panics
    /// If shapes do not fit.
    #[must_use]
    #[track_caller]
    pub fn forward(
        &self,
        x: &Tensor,
        ids: &Tensor,
        rotary: Option<&(Tensor, Tensor)>,
        mask: Option<&Tensor>,
        mode: &Mode,
    ) -> Tensor {
        let x = x + self
            .attn
            .forward(&self.ln_1.forward_in(x), ids, rotary, mask, mode);
        &x + self.mlp.forward(&self.ln_2.forward_in(&x), mode)
    }

    /// Visits the tensors under GPT-2's names if positions are learned, under Llama's if not.
    pub(super) fn visit_as(&self, prefix: &str, learned: bool, f: &mut dyn FnMut(&str, &Tensor)) {
        let [ln_1, attn, ln_2] = if learned {
            ["ln_1", "attn", "ln_2"]
        } else {
            ["input_layernorm", "self_attn", "post_attention_layernorm"]
        };
        self.ln_1.visit(&join(prefix, ln_1), f);
        self.attn.visit_as(&join(prefix, attn), learned, f);
        self.ln_2.visit(&join(prefix, ln_2), f);
        self.mlp.visit_as(&join(prefix, "mlp"), learned, f);
    }
    /// The matrices under the names that [`Block::visit_as`] gives them.
    pub(crate) fn linears_mut(&mut self, learned: bool) -> Vec<(&'static str, &mut Linear)> {
        let (attn, mlp) = (&mut self.attn, &mut self.mlp);
        let mut all = match &mut attn.qkv {
            QkvProjection::Fused(qkv) => vec![("attn.c_attn", qkv)],
            QkvProjection::Separate { q, k, v } => vec![
                ("self_attn.q_proj", q),
                ("self_attn.k_proj", k),
                ("self_attn.v_proj", v),
            ],
        };
        let names = if learned {
            ["attn.c_proj", "mlp.c_gate", "mlp.c_fc", "mlp.c_proj"]
        } else {
            [
                "self_attn.o_proj",
                "mlp.gate_proj",
                "mlp.up_proj",
                "mlp.down_proj",
            ]
        };
        let layers = [
            Some(&mut attn.out),
            mlp.gate.as_mut(),
            Some(&mut mlp.up),
            Some(&mut mlp.down),
        ];
        all.extend(
            names
                .into_iter()
                .zip(layers)
                .filter_map(|(n, l)| Some((n, l?))),
        );
        all
    }
}
