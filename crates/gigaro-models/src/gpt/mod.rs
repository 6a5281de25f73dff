//! GPT: one decoder, from GPT-2 to the form that models have today.
//!
//! [`GptConfig`] (`config.rs`) says which: learned positions or rotary, LayerNorm or RMSNorm, GELU,
//! ReLU squared or SwiGLU, shared key-value heads, QK-norm, soft-capped logits. With learned
//! positions the tensors bear GPT-2's names (`transformer.h.0.attn.c_attn.weight`), with rotary ones
//! Llama's (`model.layers.0.self_attn.q_proj.weight`).
//!
//! - `block.rs`: one layer; every weight is a public field, so that a decoding engine can read it.
//! - `cache.rs`: decoding a token at a time, for one text or many at once; `decode_graph.rs`: with one call of a card.
//! - `hugging_face.rs`: weights as the ecosystem stores them. `hugging_face_config.rs`: its settings. `hugging_face_folder.rs`: both.
//! - `gguf.rs`: a model out of a GGUF file; `gguf_names.rs`: which tensor is which.
//! - `rope.rs`: how fast queries and keys are rotated.
//! - `attention_view.rs`: what a token was drawn by looking at.
//! - `logprobs.rs`: log-probabilities of given tokens, with gradients.
//! - `perplexity.rs`: how well a text is foreseen.
//! - `cost.rs`: parameters, arithmetic and memory before anything is built.
//!
//! Not here: sampling (`generate/`), training loops (gigaro-train).

mod attention_view;
mod block;
mod cache;
mod config;
mod cost;
mod decode_graph;
mod gguf;
mod gguf_names;
#[cfg(test)]
pub(crate) mod gguf_tests;
mod hugging_face;
mod hugging_face_config;
mod hugging_face_folder;
mod import_error;
mod init;
mod logprobs;
mod perplexity;
mod rope;
#[cfg(test)]
mod tests;
mod weights;

use gigaro_nn::optim::ParamGroup;
use gigaro_nn::{Embedding, Linear, Mode, Module, join};
use gigaro_tensor::{DType, Device, Generator, Tensor, checkpoint, functional as F};

pub use block::{Attention, Block, FeedForward, NormLayer, QkvProjection};
pub use cache::{DecodePart, KvCache};
pub use config::{ConfigError, FeedForwardKind, GptConfig, NormKind, Position};
pub use cost::MemoryEstimate;
pub use gguf::{GgufSource, gguf_source};
pub use gguf_names::RowOrder;
pub use hugging_face::is_conv1d;
pub use hugging_face_folder::{CONFIG_FILE, WEIGHTS_FILE, WEIGHTS_INDEX};
pub use import_error::ImportError;
pub use logprobs::LOGPROB_BYTES;
pub use perplexity::Perplexity;
pub use rope::RopeScaling;
pub use weights::WeightFormat;

use crate::lora::LoraConfig;

/// Targets with this value do not count in the loss.
pub const IGNORE_INDEX: i64 = -100;

/// A decoder-only transformer.
///
/// # Reference
/// Radford et al. (2019), "Language models are unsupervised multitask learners"; Touvron et al.
/// (2023), <https://arxiv.org/abs/2302.13971>
#[derive(Clone, Debug)]
pub struct Gpt {
    /// What it was built from.
    pub config: GptConfig,
    /// Token embeddings, `(vocab_size, d_model)`.
    pub wte: Embedding,
    /// Position embeddings, `(max_seq_len, d_model)`, if positions are learned.
    pub wpe: Option<Embedding>,
    /// The layers, first to last.
    pub blocks: Vec<Block>,
    /// After the last layer.
    pub ln_f: NormLayer,
    /// Onto the vocabulary, `(vocab_size, d_model)`; `None` if the token embeddings serve.
    pub lm_head: Option<Linear>,
    /// Forget each layer's inner results in the forward pass and compute them again in the backward
    /// pass: a third more arithmetic for a fraction of the memory. Off at first.
    pub checkpoint_activations: bool,
    /// Cosines and sines for all positions, `(max_seq_len, D/2)` each, if positions are rotary.
    rotary: Option<(Tensor, Tensor)>,
    /// What the adapters in its layers were made from; see [`Gpt::add_lora`].
    pub(crate) lora: Option<LoraConfig>,
}

impl Gpt {
    /// A model with fresh weights; see `init.rs` for how they are drawn.
    ///
    /// # Panics
    /// If [`GptConfig::check`] has an objection.
    #[must_use]
    #[track_caller]
    pub fn new(config: &GptConfig, generator: &Generator) -> Self {
        if let Err(e) = config.check() {
            panic!("Gpt::new: {e}");
        }
        init::fresh(config, init::Fill::Random(generator))
    }

    /// A model of zeros, for weights to be loaded into: drawing some first takes longer than reading them.
    ///
    /// # Panics
    /// If [`GptConfig::check`] has an objection.
    #[must_use]
    #[track_caller]
    pub fn zeroed(config: &GptConfig) -> Self {
        if let Err(e) = config.check() {
            panic!("Gpt::zeroed: {e}");
        }
        init::fresh(config, init::Fill::Zeros)
    }

    /// A model of shapes, for weights that take the place of what it has.
    fn shaped(config: &GptConfig) -> Self {
        init::fresh(config, init::Fill::Shapes)
    }

    /// Logits of every position.
    ///
    /// # Shapes
    /// `ids: (B, T)` of i64 -> `(B, T, V)`
    /// # Panics
    /// If `T` exceeds the context or an id the vocabulary.
    #[must_use]
    #[track_caller]
    pub fn forward(&self, ids: &Tensor, mode: &Mode) -> Tensor {
        self.logits(&self.hidden(ids, None, mode))
    }

    /// What the last layer leaves, normalised: all but the projection onto the vocabulary.
    ///
    /// `segments` numbers the documents that share a row: a token attends only to tokens with its
    /// own number, and learned positions start anew where the number changes. (Rotary positions
    /// only enter as differences, so they need not.)
    ///
    /// # Shapes
    /// `ids: (B, T)` of i64, `segments: (B, T)` of i64 -> `(B, T, C)`
    /// # Panics
    /// If `T` exceeds the context, an id the vocabulary, or shapes differ.
    #[must_use]
    #[track_caller]
    pub fn hidden(&self, ids: &Tensor, segments: Option<&Tensor>, mode: &Mode) -> Tensor {
        let [_, t] = *ids.shape() else {
            panic!("Gpt: ids of shape {:?} are not (B, T)", ids.shape())
        };
        assert!(
            t <= self.config.max_seq_len,
            "Gpt: {t} tokens, but the context is {}",
            self.config.max_seq_len
        );
        if let Some(s) = segments {
            assert!(
                s.shape() == ids.shape(),
                "Gpt: segments {:?} for ids {:?}",
                s.shape(),
                ids.shape()
            );
        }
        let mut x = self.wte.forward(ids); // (B, T, C)
        if let Some(wpe) = &self.wpe {
            x = match segments {
                None => x + wpe.weight.narrow(0, 0, t),
                Some(segments) => x + wpe.forward(&restarting_positions(segments)),
            };
        }
        x = gigaro_nn::Dropout::new(self.config.dropout).forward(&x, mode);
        let mask = segments.map(|s| segment_mask(s).to_device(self.device()));
        let rotary = self.rotary_tables(0, t);
        for block in &self.blocks {
            x = self.run_block(block, &x, ids, rotary.as_ref(), mask.as_ref(), mode);
        }
        self.ln_f.forward(&x)
    }

    fn run_block(
        &self,
        block: &Block,
        x: &Tensor,
        ids: &Tensor,
        rotary: Option<&(Tensor, Tensor)>,
        mask: Option<&Tensor>,
        mode: &Mode,
    ) -> Tensor {
        // Without a gradient to the input, the backward pass would never reach a checkpoint.
        if !self.checkpoint_activations || !x.requires_grad() {
            return block.forward(x, ids, rotary, mask, mode);
        }
        let (block, ids, rotary, mask, inner) = (
            block.clone(),
            ids.clone(),
            rotary.cloned(),
            mask.cloned(),
            mode.clone(),
        );
        let run = move |inputs: &[Tensor]| {
            block.forward(&inputs[0], &ids, rotary.as_ref(), mask.as_ref(), &inner)
        };
        checkpoint(run, &[x], mode.generator())
    }

    /// The projection onto the vocabulary, soft-capped if the configuration says so.
    ///
    /// # Shapes
    /// `(.., C)` -> `(.., V)`
    /// # Panics
    /// If the last dim is not `C`.
    #[must_use]
    #[track_caller]
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        let logits = match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => F::linear(hidden, &self.wte.weight, None),
        };
        F::soft_capped(logits, self.config.logit_soft_cap)
    }

    /// The matrix that projects onto the vocabulary, `(V, C)`: the head's own or the embeddings'.
    #[must_use]
    pub fn head_weight(&self) -> &Tensor {
        self.lm_head
            .as_ref()
            .map_or(&self.wte.weight, |head| &head.weight)
    }

    /// Cosines and sines for positions `start..start + len`, `(len, D/2)` each; `None` if positions
    /// are learned.
    ///
    /// # Panics
    /// If they exceed the context.
    #[must_use]
    #[track_caller]
    pub fn rotary_tables(&self, start: usize, len: usize) -> Option<(Tensor, Tensor)> {
        let (cos, sin) = self.rotary_here()?;
        Some((cos.narrow(0, start, len), sin.narrow(0, start, len)))
    }

    /// The tables of all positions, where the weights are: a module moves its parameters only, and these follow.
    fn rotary_here(&self) -> Option<(&Tensor, &Tensor)> {
        let (cos, sin) = self.rotary.as_ref()?;
        let device = self.device();
        cos.to_device_(device);
        sin.to_device_(device);
        Some((cos, sin))
    }

    /// Where the weights are.
    #[must_use]
    pub fn device(&self) -> Device {
        self.wte.weight.device()
    }

    /// Mean cross-entropy of the next token. Positions whose target is [`IGNORE_INDEX`] do not
    /// count; NaN if none does. All logits are never held at once.
    ///
    /// # Shapes
    /// `ids, targets: (B, T)` of i64 -> scalar
    /// # Panics
    /// As [`Gpt::hidden`], or if a target is neither a token nor [`IGNORE_INDEX`].
    #[must_use]
    #[track_caller]
    pub fn loss(&self, ids: &Tensor, targets: &Tensor, mode: &Mode) -> Tensor {
        self.loss_packed(ids, targets, None, mode)
    }

    /// [`Gpt::loss`] of rows that hold several documents each; see [`Gpt::hidden`].
    ///
    /// # Shapes
    /// `ids, targets, segments: (B, T)` of i64 -> scalar
    /// # Panics
    /// As [`Gpt::loss`].
    #[must_use]
    #[track_caller]
    pub fn loss_packed(
        &self,
        ids: &Tensor,
        targets: &Tensor,
        segments: Option<&Tensor>,
        mode: &Mode,
    ) -> Tensor {
        assert!(
            targets.shape() == ids.shape(),
            "Gpt: targets {:?} for ids {:?}",
            targets.shape(),
            ids.shape()
        );
        let rows = ids.numel();
        let x = self
            .hidden(ids, segments, mode)
            .reshape([rows, self.config.d_model]);
        let targets = targets.reshape([rows]);
        let cap = self.config.logit_soft_cap;
        F::linear_cross_entropy(&x, self.head_weight(), &targets, IGNORE_INDEX, cap)
    }

    /// Groups for an optimiser: weight decay on matrices, none on gains and biases.
    #[must_use]
    pub fn param_groups(&self, weight_decay: f64) -> Vec<ParamGroup> {
        ParamGroup::decay_matrices(self.named_parameters(), weight_decay)
    }

    /// Groups for [`gigaro_nn::optim::Muon`]: the matrices inside the layers, and the rest
    /// (embeddings and head with decay, gains and biases without).
    #[must_use]
    pub fn muon_groups(&self, weight_decay: f64) -> (Vec<ParamGroup>, Vec<ParamGroup>) {
        let mut inside = Vec::new();
        for (i, block) in self.blocks.iter().enumerate() {
            block.visit_as(
                &self.block_prefix(i),
                self.config.is_learned(),
                &mut |name, p| {
                    if p.ndim() == 2 && p.requires_grad() && !is_value_embedding(name) {
                        inside.push((name.to_owned(), p.clone()));
                    }
                },
            );
        }
        let is_inside = |name: &String| inside.iter().any(|(n, _)| n == name);
        let rest = self
            .named_parameters()
            .into_iter()
            .filter(|(name, _)| !is_inside(name))
            .collect();
        let rest = ParamGroup::decay_matrices(rest, weight_decay);
        (
            vec![ParamGroup::new(inside).weight_decay(weight_decay)],
            rest,
        )
    }

    /// Takes the token embeddings and value embeddings out of the groups into one of their own, without weight decay: rows
    /// of unit size, which most steps leave alone, need longer steps than matrices. Token embeddings that are also the head
    /// stay where they are.
    #[must_use]
    pub fn embeddings_apart(&self, groups: Vec<ParamGroup>) -> (Vec<ParamGroup>, ParamGroup) {
        let (name, mut apart) = (join(self.embeddings_name(), "weight"), Vec::new());
        let mut rest = groups;
        let own_head = !self.config.tied_head;
        let is_apart = |n: &str| (own_head && n == name) || is_value_embedding(n);
        for group in &mut rest {
            apart.extend(group.params.extract_if(.., |(n, _)| is_apart(n)));
        }
        (rest, ParamGroup::new(apart))
    }

    const fn embeddings_name(&self) -> &'static str {
        if self.config.is_learned() {
            "transformer.wte"
        } else {
            "model.embed_tokens"
        }
    }

    /// The matrices inside the layers under their names in [`Module::visit`], without `.weight`.
    pub(crate) fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        let learned = self.config.is_learned();
        let mut all = Vec::new();
        for (i, block) in self.blocks.iter_mut().enumerate() {
            let prefix = block_prefix(learned, i);
            for (name, layer) in block.linears_mut(learned) {
                all.push((join(&prefix, name), layer));
            }
        }
        all
    }

    fn block_prefix(&self, i: usize) -> String {
        block_prefix(self.config.is_learned(), i)
    }
}

impl Module for Gpt {
    /// Names are the ecosystem's; matrices are `(out, in)` throughout. GPT-2's files hold some of
    /// them transposed: see [`Gpt::to_hugging_face`].
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        let learned = self.config.is_learned();
        self.wte.visit(&join(prefix, self.embeddings_name()), f);
        if let Some(wpe) = &self.wpe {
            wpe.visit(&join(prefix, "transformer.wpe"), f);
        }
        for (i, block) in self.blocks.iter().enumerate() {
            block.visit_as(&join(prefix, &self.block_prefix(i)), learned, f);
        }
        self.ln_f.visit(
            &join(
                prefix,
                if learned {
                    "transformer.ln_f"
                } else {
                    "model.norm"
                },
            ),
            f,
        );
        if let Some(head) = &self.lm_head {
            head.visit(&join(prefix, "lm_head"), f);
        }
    }
}

fn is_value_embedding(name: &str) -> bool {
    name.ends_with(&format!("{}.weight", block::VALUE_EMBEDDING))
}

fn block_prefix(learned: bool, i: usize) -> String {
    if learned {
        format!("transformer.h.{i}")
    } else {
        format!("model.layers.{i}")
    }
}

/// For each token its position within its own segment.
///
/// # Shapes
/// `(B, T)` of i64 -> `(B, T)` of i64
fn restarting_positions(segments: &Tensor) -> Tensor {
    let t = segments.size(1);
    let numbers = segments.to_dtype(DType::I64).to_vec::<i64>();
    let mut positions = vec![0_i64; numbers.len()];
    for i in 1..numbers.len() {
        let continues = i % t != 0 && numbers[i] == numbers[i - 1];
        positions[i] = if continues { positions[i - 1] + 1 } else { 0 };
    }
    Tensor::from_vec(positions, segments.shape())
}

/// 0 where query and key are of one segment, minus infinity elsewhere; made once for all layers.
///
/// # Shapes
/// `(B, T)` -> `(B, 1, T, T)` in f32
fn segment_mask(segments: &Tensor) -> Tensor {
    let differ = segments
        .unsqueeze(2)
        .ne(&segments.unsqueeze(1))
        .unsqueeze(1);
    Tensor::zeros(differ.shape(), DType::F32, segments.device())
        .masked_fill(&differ, f64::NEG_INFINITY)
}
