//! What a GPT is made of: sizes and choices, from presets or from a `config.json`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::hugging_face_config;
use super::rope::RopeScaling;

/// A configuration that no model can be built from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is no JSON object, or a key has the wrong type.
    #[error(
        "the model configuration cannot be read ({reason}); give a config.json as `gigaro` or transformers writes it"
    )]
    Unreadable {
        /// What the parser said.
        reason: String,
    },
    /// A form that this decoder does not have.
    #[error("the model configuration asks for {what}, which is not supported; {instead}")]
    Unsupported {
        /// The key and its value.
        what: String,
        /// What is supported.
        instead: String,
    },
    /// Sizes that contradict each other.
    #[error("the model configuration cannot work: {reason}")]
    Impossible {
        /// Which, and what to change.
        reason: String,
    },
}

/// The norm before each part of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NormKind {
    /// As GPT-2 has it.
    LayerNorm,
    /// As Llama has it.
    RmsNorm,
}

/// How a token knows its place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// A vector per position, added to the token's; tensors bear GPT-2's names.
    Learned,
    /// Queries and keys rotated by their position; tensors bear Llama's names.
    Rotary {
        /// The slowest of the rotations takes about `2 pi theta` tokens.
        theta: f64,
        /// How the slow ones were made slower for a longer context, if they were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scaling: Option<RopeScaling>,
    },
}

impl Position {
    /// Rotations as they were first published.
    #[must_use]
    pub const fn rotary(theta: f64) -> Self {
        Self::Rotary {
            theta,
            scaling: None,
        }
    }
}

/// The function inside the feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedForwardKind {
    /// GELU in its tanh approximation, as GPT-2 has it.
    GeluTanh,
    /// Exact GELU.
    Gelu,
    /// `max(x, 0)^2`.
    ReluSquared,
    /// SiLU of one product times another, as Llama has it: three matrices instead of two.
    #[serde(rename = "swiglu")]
    SwiGlu,
}

/// Sizes and choices of a [`super::Gpt`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GptConfig {
    /// Tokens.
    pub vocab_size: usize,
    /// The longest context, in tokens.
    pub max_seq_len: usize,
    /// Layers.
    pub n_layer: usize,
    /// Query heads.
    pub n_head: usize,
    /// Key and value heads; divides `n_head`.
    pub n_kv_head: usize,
    /// Channels.
    pub d_model: usize,
    /// Channels inside the feed-forward part.
    pub d_ff: usize,
    /// Norm before each part of a layer.
    #[serde(default = "default_norm")]
    pub norm: NormKind,
    /// How a token knows its place.
    #[serde(default = "default_position")]
    pub position: Position,
    /// Function of the feed-forward part.
    #[serde(default = "default_activation")]
    pub activation: FeedForwardKind,
    /// Whether products (and LayerNorm) have a bias.
    #[serde(default = "default_true")]
    pub bias: bool,
    /// Whether the products into queries, keys and values have one even if no other has, as in Qwen2.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub qkv_bias: bool,
    /// Whether the token embeddings are the projection onto the vocabulary.
    #[serde(default = "default_true")]
    pub tied_head: bool,
    /// RMS norm on each query and key head.
    #[serde(default)]
    pub qk_norm: bool,
    /// Each layer adds a row of its own for each token to the values that attention hands on: what a layer knows about a
    /// token costs memory, but no products.
    #[serde(default)]
    pub value_embeddings: bool,
    /// Logits pass through `cap * tanh(logits / cap)`.
    #[serde(default)]
    pub logit_soft_cap: Option<f64>,
    /// Probability of dropout while training.
    #[serde(default)]
    pub dropout: f64,
    /// Added to the variance in norms.
    #[serde(default = "default_eps")]
    pub eps: f64,
}

const fn default_norm() -> NormKind {
    NormKind::LayerNorm
}
const fn default_position() -> Position {
    Position::Learned
}
const fn default_activation() -> FeedForwardKind {
    FeedForwardKind::GeluTanh
}
const fn default_true() -> bool {
    true
}
const fn default_eps() -> f64 {
    1e-5
}

impl GptConfig {
    /// GPT-2 of any size: learned positions, LayerNorm, GELU-tanh, biases, tied head.
    #[must_use]
    pub const fn gpt2(
        vocab_size: usize,
        max_seq_len: usize,
        n_layer: usize,
        n_head: usize,
        d_model: usize,
    ) -> Self {
        Self {
            vocab_size,
            max_seq_len,
            n_layer,
            n_head,
            n_kv_head: n_head,
            d_model,
            d_ff: d_model.saturating_mul(4),
            norm: NormKind::LayerNorm,
            position: Position::Learned,
            activation: FeedForwardKind::GeluTanh,
            bias: true,
            qkv_bias: false,
            tied_head: true,
            qk_norm: false,
            value_embeddings: false,
            logit_soft_cap: None,
            dropout: 0.0,
            eps: 1e-5,
        }
    }

    /// The smallest published GPT-2: 12 layers, width 768, 124 million parameters.
    #[must_use]
    pub const fn gpt2_124m() -> Self {
        Self::gpt2(50_257, 1024, 12, 12, 768)
    }

    /// GPT-2's form for two cores: 6 layers, width 384, context 256, vocabulary 4096; 12.3 million
    /// parameters.
    #[must_use]
    pub const fn small() -> Self {
        Self::gpt2(4096, 256, 6, 6, 384)
    }

    /// Llama's form: rotary positions, RMSNorm, SwiGLU, no biases, head of its own.
    #[must_use]
    pub const fn llama(
        vocab_size: usize,
        max_seq_len: usize,
        n_layer: usize,
        n_head: usize,
        n_kv_head: usize,
        d_model: usize,
        d_ff: usize,
    ) -> Self {
        Self {
            n_kv_head,
            d_ff,
            norm: NormKind::RmsNorm,
            position: Position::rotary(10_000.0),
            activation: FeedForwardKind::SwiGlu,
            bias: false,
            tied_head: false,
            ..Self::gpt2(vocab_size, max_seq_len, n_layer, n_head, d_model)
        }
    }

    /// The form that trains best for its size: Llama's with ReLU squared, QK-norm, value embeddings, a key-value head
    /// for each two query heads (if they are even in number), logits capped at 15.
    #[must_use]
    pub const fn modern(
        vocab_size: usize,
        max_seq_len: usize,
        n_layer: usize,
        n_head: usize,
        d_model: usize,
    ) -> Self {
        let n_kv_head = if n_head.is_multiple_of(2) {
            n_head / 2
        } else {
            n_head
        };
        Self {
            activation: FeedForwardKind::ReluSquared,
            qk_norm: true,
            value_embeddings: true,
            logit_soft_cap: Some(15.0),
            eps: 1e-6,
            ..Self::llama(
                vocab_size,
                max_seq_len,
                n_layer,
                n_head,
                n_kv_head,
                d_model,
                4 * d_model,
            )
        }
    }

    /// Channels of a head.
    #[must_use]
    pub const fn head_dim(&self) -> usize {
        self.d_model / self.n_head
    }

    /// Whether positions are learned; decides the names of the tensors and the initialisation.
    #[must_use]
    pub const fn is_learned(&self) -> bool {
        matches!(self.position, Position::Learned)
    }

    /// About as many parameters as the model has, in floating point: sizes of a damaged file multiply beyond 64 bits, and no
    /// machine holds a fraction of that.
    fn rough_params(&self) -> f64 {
        let [c, ff, layers, vocab] =
            [self.d_model, self.d_ff, self.n_layer, self.vocab_size].map(|n| n as f64);
        let values = if self.value_embeddings { vocab } else { 0.0 };
        let layer = c * (4.0 * c + 3.0 * ff + values);
        layers * layer + (2.0 * vocab + self.max_seq_len as f64) * c
    }

    /// Whether a model can be built from this.
    ///
    /// # Errors
    /// What contradicts what.
    pub fn check(&self) -> Result<(), ConfigError> {
        let impossible = |reason: String| Err(ConfigError::Impossible { reason });
        for (name, n) in [
            ("vocab_size", self.vocab_size),
            ("max_seq_len", self.max_seq_len),
            ("n_layer", self.n_layer),
            ("n_head", self.n_head),
            ("n_kv_head", self.n_kv_head),
            ("d_model", self.d_model),
            ("d_ff", self.d_ff),
        ] {
            if n == 0 || n > 1 << 28 {
                return impossible(format!("{name} is {n}; it must be from 1 to {}", 1 << 28));
            }
        }
        let Self {
            n_head,
            n_kv_head,
            d_model,
            ..
        } = *self;
        let params = self.rough_params();
        if params > 1e15 {
            return impossible(format!(
                "it would have about {params:.0e} parameters; check d_model, d_ff and n_layer"
            ));
        }
        if !d_model.is_multiple_of(n_head) {
            return impossible(format!(
                "d_model {d_model} is not a multiple of n_head {n_head}; change one of them"
            ));
        }
        if !n_head.is_multiple_of(n_kv_head) {
            return impossible(format!(
                "n_head {n_head} is not a multiple of n_kv_head {n_kv_head}; change one of them"
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return impossible(format!(
                "dropout is {}; it must be at least 0 and below 1",
                self.dropout
            ));
        }
        if !(self.eps.is_finite() && self.eps > 0.0) {
            return impossible(format!(
                "eps is {}; it must be a small positive number such as 1e-5",
                self.eps
            ));
        }
        if let Some(cap) = self.logit_soft_cap.filter(|c| !(c.is_finite() && *c > 0.0)) {
            return impossible(format!(
                "logit_soft_cap is {cap}; it must be positive, or left out"
            ));
        }
        self.check_position()
    }

    fn check_position(&self) -> Result<(), ConfigError> {
        let impossible = |reason: String| Err(ConfigError::Impossible { reason });
        let Position::Rotary { theta, scaling } = self.position else {
            return Ok(());
        };
        if let Some(scaling) = scaling.filter(|s| !s.is_sane()) {
            return impossible(format!(
                "the scaling of its rotary positions is {scaling:?}; numbers must be positive, and low_freq_factor the smaller one"
            ));
        }
        if !(theta.is_finite() && theta > 0.0) {
            return impossible(format!(
                "theta is {theta}; it must be positive, 10000 is usual"
            ));
        }
        if !self.head_dim().is_multiple_of(2) {
            let d = self.head_dim();
            return impossible(format!(
                "heads of {d} channels cannot be rotated; d_model / n_head must be even"
            ));
        }
        Ok(())
    }

    /// Reads a `config.json`: one of ours, or of transformers for GPT-2, Llama, Mistral, Qwen2 or Qwen3.
    ///
    /// # Errors
    /// If it is no such file, asks for something unsupported, or contradicts itself.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let unreadable = |e: serde_json::Error| ConfigError::Unreadable {
            reason: e.to_string(),
        };
        let mut keys: Map<String, Value> = serde_json::from_str(text).map_err(unreadable)?;
        let config: Self = if keys.contains_key("d_model") {
            let number = |key: &str| keys.get(key).and_then(Value::as_u64);
            let (heads, ff) = (
                number("n_head"),
                number("d_model").map(|d| d.saturating_mul(4)),
            );
            for (key, value) in [("n_kv_head", heads), ("d_ff", ff)] {
                if let (false, Some(value)) = (keys.contains_key(key), value) {
                    keys.insert(key.to_owned(), value.into());
                }
            }
            serde_json::from_value(Value::Object(keys)).map_err(unreadable)?
        } else {
            hugging_face_config::read(&keys)?
        };
        config.check()?;
        Ok(config)
    }

    /// The `config.json` of this model: our own keys and, where transformers has the same form, its
    /// keys beside them.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut keys = hugging_face_config::write(self);
        if let Ok(Value::Object(own)) = serde_json::to_value(self) {
            keys.extend(own);
        }
        serde_json::to_string_pretty(&keys).unwrap_or_default() + "\n"
    }
}
