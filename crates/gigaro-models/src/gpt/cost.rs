//! What a model costs, computed from its configuration alone: before a run starts, one wants to
//! know whether it fits and how long it takes.

use super::config::{FeedForwardKind, GptConfig, NormKind};

/// Memory of a training step, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// f32 master weights.
    pub weights: u64,
    /// f32 gradients.
    pub gradients: u64,
    /// AdamW's two moments.
    pub optimizer: u64,
    /// What the forward pass keeps for the backward pass, and the widest moment of the latter.
    pub activations: u64,
}

impl MemoryEstimate {
    /// All of it.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.weights + self.gradients + self.optimizer + self.activations
    }
}

impl GptConfig {
    /// Products of one layer, in weights.
    fn layer_matrices(&self) -> u64 {
        let (c, d) = (self.d_model as u64, self.head_dim() as u64);
        let (q, kv) = (self.n_head as u64 * d, self.n_kv_head as u64 * d);
        let feed_forward = if self.activation == FeedForwardKind::SwiGlu {
            3
        } else {
            2
        };
        c * (q + 2 * kv) + q * c + feed_forward * c * self.d_ff as u64
    }

    /// Value embeddings of one layer, which are looked up and not multiplied.
    const fn layer_embeddings(&self) -> u64 {
        if self.value_embeddings {
            (self.vocab_size * self.n_kv_head * self.head_dim()) as u64
        } else {
            0
        }
    }

    /// Gains and biases of one layer.
    fn layer_vectors(&self) -> u64 {
        let (c, d, ff) = (
            self.d_model as u64,
            self.head_dim() as u64,
            self.d_ff as u64,
        );
        let (q, kv) = (self.n_head as u64 * d, self.n_kv_head as u64 * d);
        let ups = if self.activation == FeedForwardKind::SwiGlu {
            2
        } else {
            1
        };
        let biases = if self.bias {
            q + 2 * kv + c + ups * ff + c
        } else if self.qkv_bias {
            q + 2 * kv
        } else {
            0
        };
        let head_norms = if self.qk_norm { 2 * d } else { 0 };
        2 * self.norm_params() + biases + head_norms
    }

    fn norm_params(&self) -> u64 {
        let shift = self.bias && self.norm == NormKind::LayerNorm;
        self.d_model as u64 * if shift { 2 } else { 1 }
    }

    /// Trained numbers of the whole model; a tied head counts once.
    #[must_use]
    pub fn num_params(&self) -> u64 {
        let (c, v) = (self.d_model as u64, self.vocab_size as u64);
        let embeddings = v * c
            + if self.is_learned() {
                self.max_seq_len as u64 * c
            } else {
                0
            };
        let head = if self.tied_head { 0 } else { v * c };
        embeddings
            + head
            + self.n_layer as u64
                * (self.layer_matrices() + self.layer_embeddings() + self.layer_vectors())
            + self.norm_params()
    }

    /// Floating-point operations of one token in a training step (forward and backward): six per
    /// weight of a matrix product, and attention over `seq_len` tokens without the causal saving.
    #[must_use]
    pub fn flops_per_token(&self, seq_len: usize) -> u64 {
        let weights =
            self.n_layer as u64 * self.layer_matrices() + (self.vocab_size * self.d_model) as u64;
        let attention =
            (12 * self.n_layer as u64 * self.d_model as u64).saturating_mul(seq_len as u64);
        (6 * weights).saturating_add(attention)
    }

    /// Numbers that one layer keeps per token for its backward pass.
    fn kept_per_token(&self) -> u64 {
        let (c, d, ff) = (
            self.d_model as u64,
            self.head_dim() as u64,
            self.d_ff as u64,
        );
        let (q, kv) = (self.n_head as u64 * d, self.n_kv_head as u64 * d);
        // Inputs of the two norms, their outputs, what attention reads and gives, its log-sums.
        let mut kept = 4 * c + (q + 2 * kv) + q + self.n_head as u64;
        if self.qk_norm {
            kept += q + kv;
        }
        // Before and after the activation; with a gate also its value, its SiLU and their product.
        kept + if self.activation == FeedForwardKind::SwiGlu {
            4 * ff
        } else {
            2 * ff
        }
    }

    /// Memory of a training step with AdamW in f32 on `tokens` tokens at once (micro-batch times
    /// sequence length), with or without activation checkpointing. An estimate: within about a
    /// fifth of what is measured.
    #[must_use]
    pub fn memory_estimate(&self, tokens: usize, checkpoint_activations: bool) -> MemoryEstimate {
        let (tokens, c, v) = (tokens as u64, self.d_model as u64, self.vocab_size as u64);
        let weights = 4 * self.num_params();
        let layers = self.n_layer as u64;
        let kept = if checkpoint_activations {
            layers * c + self.kept_per_token()
        } else {
            layers * self.kept_per_token()
        };
        // In the backward pass: gradients of the widest part of a layer, and of its input. Before it,
        // the head keeps its input twice and its gradient, and a stretch of logits.
        let moment = 2 * self.d_ff as u64 + 3 * c;
        let stretch: u64 = 16 << 20;
        let head = 4 * v * c + stretch;
        MemoryEstimate {
            weights,
            gradients: weights,
            optimizer: 2 * weights,
            activations: (4 * (kept + moment + 3 * c))
                .saturating_mul(tokens)
                .saturating_add(head),
        }
    }
}
