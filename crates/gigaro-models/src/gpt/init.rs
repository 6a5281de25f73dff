//! How a fresh GPT is drawn.
//!
//! With learned positions as GPT-2: everything normal with deviation 0.02, the products that add to
//! the residual stream smaller by `sqrt(2 n_layer)`, because that many of them add up. With rotary
//! positions: matrices normal with deviation `1 / sqrt(inputs)`, the head 0.02, and the products that
//! add to the residual stream zero, so that the model starts as its embeddings and grows into its
//! depth. Embeddings that are not also the head have deviation 1: what the layers add is of that
//! size after a few dozen steps, and smaller embeddings would drown in it, so that no later layer
//! could tell which token stands there. Value embeddings begin at zero.

use gigaro_nn::{Dropout, Embedding, LayerNorm, Linear, RmsNorm, init};
use gigaro_tensor::{DType, Device, Generator, Tensor};

use super::Gpt;
use super::block::{Attention, Block, FeedForward, NormLayer, QkvProjection};
use super::config::{FeedForwardKind, GptConfig, NormKind, Position};
use super::rope;

/// Deviation of GPT-2's weights.
const STD: f64 = 0.02;

/// What matrices begin as.
#[derive(Clone, Copy)]
pub(super) enum Fill<'a> {
    /// Drawn.
    Random(&'a Generator),
    /// Zeros, for weights that are copied into them.
    Zeros,
    /// One zero in the shape of each, for weights that take their place.
    Shapes,
}

struct Draw<'a> {
    config: &'a GptConfig,
    fill: Fill<'a>,
}

pub(super) fn fresh(config: &GptConfig, fill: Fill<'_>) -> Gpt {
    let draw = Draw { config, fill };
    let c = config.d_model;
    let rotary = match config.position {
        Position::Learned => None,
        Position::Rotary { theta, scaling } => {
            let frequencies = rope::frequencies(config.head_dim(), theta, scaling);
            Some(rope::tables(config.max_seq_len, &frequencies))
        }
    };
    let token_std = if config.is_learned() || config.tied_head {
        STD
    } else {
        1.0
    };
    let embedding = |n: usize, std: f64| Embedding::from_weight(draw.normal([n, c], std));
    Gpt {
        config: config.clone(),
        wte: embedding(config.vocab_size, token_std),
        wpe: config
            .is_learned()
            .then(|| embedding(config.max_seq_len, STD)),
        blocks: (0..config.n_layer).map(|_| draw.block()).collect(),
        ln_f: draw.norm(),
        lm_head: (!config.tied_head).then(|| {
            let weight = draw.normal([config.vocab_size, c], STD);
            Linear::from_weights(weight, None)
        }),
        checkpoint_activations: false,
        rotary,
        lora: None,
    }
}

impl Draw<'_> {
    fn normal(&self, shape: [usize; 2], std: f64) -> Tensor {
        match self.fill {
            Fill::Random(generator) => init::normal(shape, 0.0, std, generator),
            Fill::Zeros => Tensor::zeros(shape, DType::F32, Device::Cpu),
            Fill::Shapes => Tensor::zeros([1, 1], DType::F32, Device::Cpu).expand(shape),
        }
    }

    fn norm(&self) -> NormLayer {
        let GptConfig {
            d_model, eps, bias, ..
        } = *self.config;
        match self.config.norm {
            NormKind::LayerNorm => NormLayer::LayerNorm(LayerNorm::new(d_model, bias, eps)),
            NormKind::RmsNorm => NormLayer::RmsNorm(RmsNorm::new(d_model, eps)),
        }
    }

    fn with_bias(&self, weight: Tensor) -> Linear {
        self.layer(weight, self.config.bias)
    }

    fn layer(&self, weight: Tensor, has_bias: bool) -> Linear {
        let bias = has_bias.then(|| Tensor::zeros([weight.size(0)], DType::F32, Device::Cpu));
        Linear::from_weights(weight, bias)
    }

    /// A matrix into a part of the layer.
    fn into(&self, out: usize) -> Linear {
        self.with_bias(self.inner_weight(out))
    }

    /// A matrix into the heads.
    fn heads(&self, out: usize) -> Linear {
        let config = self.config;
        self.layer(self.inner_weight(out), config.bias || config.qkv_bias)
    }

    fn inner_weight(&self, out: usize) -> Tensor {
        let c = self.config.d_model;
        let std = if self.config.is_learned() {
            STD
        } else {
            1.0 / (c as f64).sqrt()
        };
        self.normal([out, c], std)
    }

    /// A matrix whose result is added to the residual stream.
    fn residual(&self, inputs: usize) -> Linear {
        let shape = [self.config.d_model, inputs];
        self.with_bias(if self.config.is_learned() {
            let std = STD / (2.0 * self.config.n_layer as f64).sqrt();
            self.normal(shape, std)
        } else {
            let fill = match self.fill {
                Fill::Random(_) => Fill::Zeros,
                other => other,
            };
            Draw { fill, ..*self }.normal(shape, 0.0)
        })
    }

    fn block(&self) -> Block {
        let config = self.config;
        let (d, dropout) = (config.head_dim(), Dropout::new(config.dropout));
        let (q_width, kv_width) = (config.n_head * d, config.n_kv_head * d);
        let qkv = if config.is_learned() {
            QkvProjection::Fused(self.heads(q_width + 2 * kv_width))
        } else {
            QkvProjection::Separate {
                q: self.heads(q_width),
                k: self.heads(kv_width),
                v: self.heads(kv_width),
            }
        };
        let head_norm = || config.qk_norm.then(|| RmsNorm::new(d, config.eps));
        Block {
            ln_1: self.norm(),
            attn: Attention {
                qkv,
                out: self.residual(q_width),
                q_norm: head_norm(),
                k_norm: head_norm(),
                value_embedding: config.value_embeddings.then(|| {
                    Embedding::from_weight(Tensor::zeros(
                        [config.vocab_size, kv_width],
                        DType::F32,
                        Device::Cpu,
                    ))
                }),
                n_head: config.n_head,
                n_kv_head: config.n_kv_head,
                head_dim: d,
                dropout,
            },
            ln_2: self.norm(),
            mlp: FeedForward {
                kind: config.activation,
                gate: (config.activation == FeedForwardKind::SwiGlu)
                    .then(|| self.into(config.d_ff)),
                up: self.into(config.d_ff),
                down: self.residual(config.d_ff),
                dropout,
            },
        }
    }
}
