//! A recipe: everything a run depends on, in one TOML file that can be kept beside its result.
//!
//! [`Recipe`] mirrors the file, section by section. Flags on the command line win over it (`commands/`). A recipe also says what its
//! run must reach and what it cost when that was measured; both are read and reported, so they cannot drift from the run.
//!
//! Not the plan of a run (parameters, memory, time): that is computed from a recipe by `gigaro-train`. Read next: `load.rs` for
//! reading and the sentences about mistakes, `check.rs` for what values must satisfy, `builtin.rs` for the recipes inside the binary.

mod align;
mod builtin;
mod check;
mod lines;
mod load;
mod mistakes;

use std::path::PathBuf;

use clap::ValueEnum;
use gigaro_models::LoraConfig;
use gigaro_models::generate::SamplingParams;
use gigaro_models::gpt::FeedForwardKind;
use serde::{Deserialize, Serialize};

use crate::flags::Precision;

pub(crate) use align::{Algorithm, Align, Ask};
pub(crate) use builtin::{BUILTIN, builtin};
pub(crate) use check::check;
pub(crate) use load::{load, parse};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    /// Short name; also the folder under `runs/`.
    pub(crate) name: String,
    /// What it is for, in a sentence or two.
    pub(crate) about: String,
    /// Seed, numbers, folder.
    #[serde(default)]
    pub(crate) run: Run,
    /// Where the text comes from.
    #[serde(default)]
    pub(crate) data: Data,
    /// How text becomes tokens.
    #[serde(default)]
    pub(crate) tokenizer: Tokenizer,
    /// The shape of the model.
    pub(crate) model: Model,
    /// Learning to continue text.
    pub(crate) pretrain: Pretrain,
    /// Learning to answer; absent where the run ends with pretraining.
    pub(crate) sft: Option<Sft>,
    /// Learning what people prefer; absent where the run ends before.
    pub(crate) reward: Option<Reward>,
    /// Learning to answer as preferred; needs `[reward]`.
    pub(crate) ppo: Option<Ppo>,
    /// Learning what is preferred by another way than PPO, or from another model; read by `gigaro align`.
    pub(crate) align: Option<Align>,
    /// A model a tenth of the size that is aligned as well and held against the big one before fine-tuning.
    pub(crate) small: Option<Small>,
    /// Questions with known answers.
    #[serde(default)]
    pub(crate) evaluate: Evaluate,
    /// How replies are drawn in samples and chat.
    #[serde(default)]
    pub(crate) sampling: SamplingParams,
    /// The figures the run must reach.
    #[serde(default)]
    pub(crate) must_reach: MustReach,
    /// What it cost where it was measured.
    #[serde(default)]
    pub(crate) cost: Cost,
}

/// `[run]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Run {
    /// Start of all random numbers.
    pub(crate) seed: u64,
    /// Threads; 0 takes one per core.
    pub(crate) threads: usize,
    /// Numbers to compute in.
    pub(crate) dtype: Precision,
    /// Whether pretraining and fine-tuning compute the inside of each block again in the backward pass instead of keeping it: a third
    /// more work, and a fraction of the memory.
    pub(crate) checkpoint_activations: bool,
    /// Folder of the run; absent means `runs/NAME`.
    pub(crate) out: Option<PathBuf>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            seed: 1,
            threads: 0,
            dtype: Precision::F32,
            checkpoint_activations: false,
            out: None,
        }
    }
}

/// `[data]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Data {
    /// A file or folder; absent means the small world.
    pub(crate) text: Option<PathBuf>,
    /// Column of Parquet files and key of JSON lines that holds the text.
    pub(crate) column: String,
    /// Which small world: who lives there and what is true. `[run] seed` decides what is told of it, and leaves it as it is.
    pub(crate) world_seed: u64,
    /// How much of the small world to write, in documents.
    pub(crate) world_documents: usize,
    /// Share of the text kept for validation.
    pub(crate) held_out: f64,
}

/// The small world that everyone knows who does not ask for another.
pub(crate) const WORLD_SEED: u64 = 1;

impl Default for Data {
    fn default() -> Self {
        Self {
            text: None,
            column: "text".into(),
            world_seed: WORLD_SEED,
            world_documents: 60_000,
            held_out: 0.02,
        }
    }
}

/// How text is cut into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenizerKind {
    /// Byte-level byte-pair encoding, trained on the text.
    Bpe,
    /// One token per character of the text.
    Characters,
}

/// `[tokenizer]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tokenizer {
    /// What kind to train.
    pub(crate) kind: TokenizerKind,
    /// Tokens in the vocabulary of a trained byte-pair encoding.
    pub(crate) vocab_size: usize,
    /// An existing tokenizer.json or its folder, instead of training one.
    pub(crate) path: Option<PathBuf>,
}

impl Default for Tokenizer {
    fn default() -> Self {
        Self {
            kind: TokenizerKind::Bpe,
            vocab_size: 4096,
            path: None,
        }
    }
}

/// Which of the two forms of decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// Learned positions, LayerNorm, GELU, tied head: GPT-2 exactly.
    Gpt2,
    /// Rotary positions, RMSNorm, SwiGLU, untied head: Llama's.
    Llama,
    /// Rotary positions, RMSNorm, QK-norm, ReLU squared, untied head, soft-capped logits.
    Modern,
}

/// `[model]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    /// Which form.
    pub(crate) form: Form,
    /// Blocks.
    pub(crate) n_layer: usize,
    /// Query heads.
    pub(crate) n_head: usize,
    /// Key and value heads; absent means half as many as query heads in form `modern`, and as many in the others.
    pub(crate) n_kv_head: Option<usize>,
    /// Width inside the feed-forward part; absent means four times `d_model`.
    pub(crate) d_ff: Option<usize>,
    /// Function inside the feed-forward part; absent means the form's, as in all keys down to `logit_soft_cap`.
    pub(crate) activation: Option<FeedForwardKind>,
    /// Whether the token embeddings are the projection onto the vocabulary too.
    pub(crate) tied_head: Option<bool>,
    /// RMS norm on each query and key head.
    pub(crate) qk_norm: Option<bool>,
    /// Logits stay within this much of 0; 0 leaves them as they are.
    pub(crate) logit_soft_cap: Option<f64>,
    /// Whether each layer has a row of values for each token; absent means yes in form `modern`, and no in the others. With a
    /// large vocabulary and many layers they outweigh all else.
    pub(crate) value_embeddings: Option<bool>,
    /// Width.
    pub(crate) d_model: usize,
    /// Context, in tokens.
    pub(crate) max_seq_len: usize,
    /// Share of activations dropped while training.
    #[serde(default)]
    pub(crate) dropout: f64,
}

/// The optimiser of a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Optimizer {
    /// AdamW for everything.
    #[default]
    Adamw,
    /// Muon for the matrices of the blocks, AdamW for the rest.
    Muon,
}

/// How the learning rate goes after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Schedule {
    /// Stays.
    Constant,
    /// Half a cosine down to `min_learning_rate`.
    #[default]
    Cosine,
    /// A straight line down to `min_learning_rate`.
    Linear,
    /// Stays, then falls in a straight line over the last 70 % of the steps.
    Trapezoid,
}

/// `[pretrain]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pretrain {
    /// Optimiser steps.
    pub(crate) steps: usize,
    /// Sequences per step; the micro-batch is chosen to fit the memory and does not change the result's meaning.
    pub(crate) batch_size: usize,
    /// Optimiser.
    #[serde(default)]
    pub(crate) optimizer: Optimizer,
    /// Highest learning rate of AdamW.
    pub(crate) learning_rate: f64,
    /// Highest learning rate of Muon, for the matrices it has.
    #[serde(default = "muon_learning_rate")]
    pub(crate) muon_learning_rate: f64,
    /// Highest learning rate of the token embeddings, unless the output projection shares them, and of value embeddings. Without
    /// it, `learning_rate` in form `gpt2`, and 40 times as much in form `modern`, whose embeddings are that much larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) embedding_learning_rate: Option<f64>,
    /// Learning rate at the end.
    #[serde(default)]
    pub(crate) min_learning_rate: f64,
    /// Schedule.
    #[serde(default)]
    pub(crate) schedule: Schedule,
    /// Steps to reach the highest learning rate.
    #[serde(default)]
    pub(crate) warmup_steps: usize,
    /// Decoupled weight decay.
    #[serde(default)]
    pub(crate) weight_decay: f64,
    /// First moment's decay.
    #[serde(default = "beta1")]
    pub(crate) beta1: f64,
    /// Second moment's decay.
    #[serde(default = "beta2")]
    pub(crate) beta2: f64,
    /// Largest norm of the gradient; 0 does not clip.
    #[serde(default = "grad_clip")]
    pub(crate) grad_clip: f64,
    /// Steps between measurements of the validation loss.
    #[serde(default = "eval_every")]
    pub(crate) eval_every: usize,
    /// Batches per measurement; 0 takes the whole held-out part.
    #[serde(default)]
    pub(crate) eval_batches: usize,
    /// Steps between checkpoints.
    #[serde(default = "save_every")]
    pub(crate) save_every: usize,
}

/// `[sft]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sft {
    /// The checkpoint to start from; absent in a run that pretrains one itself.
    pub(crate) from: Option<PathBuf>,
    /// Chats as JSON lines instead of the small world's dialogues.
    pub(crate) chats: Option<PathBuf>,
    /// Dialogues to take from the small world.
    #[serde(default = "sft_dialogues")]
    pub(crate) world_dialogues: usize,
    /// Optimiser steps.
    pub(crate) steps: usize,
    /// Sequences per step.
    pub(crate) batch_size: usize,
    /// Optimiser.
    #[serde(default)]
    pub(crate) optimizer: Optimizer,
    /// Highest learning rate of AdamW.
    pub(crate) learning_rate: f64,
    /// Highest learning rate of Muon, for the matrices it has.
    #[serde(default = "sft_muon_learning_rate")]
    pub(crate) muon_learning_rate: f64,
    /// Highest learning rate of token and value embeddings; absent means `learning_rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) embedding_learning_rate: Option<f64>,
    /// Steps to reach it.
    #[serde(default)]
    pub(crate) warmup_steps: usize,
    /// Decoupled weight decay.
    #[serde(default)]
    pub(crate) weight_decay: f64,
    /// Steps between checkpoints.
    #[serde(default = "save_every")]
    pub(crate) save_every: usize,
    /// Rank of low-rank adapters that are trained in place of the weights; absent trains the weights.
    pub(crate) lora_r: Option<usize>,
    /// What an adapter adds is multiplied by `lora_alpha / lora_r`; absent means twice the rank.
    pub(crate) lora_alpha: Option<f64>,
    /// Layers that carry an adapter, such as `q_proj`; absent means every matrix inside the layers.
    pub(crate) lora_targets: Option<Vec<String>>,
}

impl Sft {
    /// The adapters to train, if the weights are to stay.
    pub(crate) fn lora(&self) -> Option<LoraConfig> {
        let mut config = LoraConfig::new(self.lora_r?);
        config.lora_alpha = self.lora_alpha.unwrap_or(config.lora_alpha);
        if let Some(targets) = &self.lora_targets {
            config.target_modules.clone_from(targets);
        }
        Some(config)
    }
}

/// `[reward]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reward {
    /// The fine-tuned checkpoint to start from; absent in a run that fine-tunes one itself.
    pub(crate) from: Option<PathBuf>,
    /// Rankings or pairs as JSON lines instead of the simulated labeller's.
    pub(crate) preferences: Option<PathBuf>,
    /// Prompts that the simulated labeller is shown answers to.
    pub(crate) prompts: usize,
    /// Answers to each of them.
    pub(crate) answers: usize,
    /// How often the simulated labeller takes the worse of two answers that are one point apart, 0 to 0.5.
    #[serde(default)]
    pub(crate) noise: f64,
    /// Temperature at which the answers to be ranked are drawn.
    #[serde(default = "one")]
    pub(crate) temperature: f64,
    /// Optimiser steps.
    pub(crate) steps: usize,
    /// Prompts per step, each with all pairs of its answers.
    pub(crate) batch_size: usize,
    /// Optimiser.
    #[serde(default)]
    pub(crate) optimizer: Optimizer,
    /// Highest learning rate of AdamW.
    pub(crate) learning_rate: f64,
    /// Highest learning rate of Muon, for the matrices it has.
    #[serde(default = "sft_muon_learning_rate")]
    pub(crate) muon_learning_rate: f64,
    /// Highest learning rate of token and value embeddings; absent means `learning_rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) embedding_learning_rate: Option<f64>,
    /// Steps to reach it.
    #[serde(default)]
    pub(crate) warmup_steps: usize,
}

/// `[ppo]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ppo {
    /// Rollouts, each followed by `ppo_epochs` passes over its answers.
    pub(crate) steps: usize,
    /// Prompts of a rollout.
    pub(crate) batch_size: usize,
    /// Most tokens of an answer.
    pub(crate) max_answer_tokens: usize,
    /// Temperature of the answers.
    #[serde(default = "one")]
    pub(crate) temperature: f64,
    /// Highest learning rate; it falls to 0 in a straight line.
    pub(crate) learning_rate: f64,
    /// Steps to reach it.
    #[serde(default)]
    pub(crate) warmup_steps: usize,
    /// Passes over the answers of a rollout.
    pub(crate) ppo_epochs: usize,
    /// Updates of each pass.
    pub(crate) minibatches: usize,
    /// Strength of the penalty for leaving the fine-tuned model.
    pub(crate) kl_coef: f64,
    /// Divergence per answer that the strength is adapted to, in nats; absent keeps the strength.
    pub(crate) kl_target: Option<f64>,
    /// Whether the rewards of a rollout are scaled to variance 1, their mean left as it is.
    #[serde(default)]
    pub(crate) whiten_rewards: bool,
    /// Weighs the loss of the values.
    pub(crate) vf_coef: f64,
    /// Weighs the loss on what was learnt before (PPO-ptx), so that it is not forgotten; 0 leaves it out.
    #[serde(default)]
    pub(crate) ptx_coef: f64,
    /// What was learnt before.
    #[serde(default)]
    pub(crate) ptx_on: PtxOn,
    /// Added to the reward model's score of an answer that the small world knows to be right; 0 leaves all to the reward model.
    #[serde(default)]
    pub(crate) verified_coef: f64,
    /// Score of an answer that is cut off before its end.
    pub(crate) missing_eos_penalty: f64,
    /// Steps between two measurements of the true score.
    pub(crate) eval_every: usize,
    /// Prompts of such a measurement.
    pub(crate) eval_prompts: usize,
    /// Held-out prompts on which models are compared at the end.
    pub(crate) compare_prompts: usize,
}

/// What PPO goes on learning beside its reward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PtxOn {
    /// The text of pretraining, as InstructGPT has it.
    #[default]
    Text,
    /// The conversations of fine-tuning, which hold on to how answers are given as well.
    Chats,
}

impl Ppo {
    /// What answers are rewarded for, in a few words.
    pub(crate) fn reward_in_words(&self) -> String {
        match self.verified_coef {
            0.0 => "the reward model's score".to_owned(),
            coef => format!(
                "the reward model's score, and {coef} more for an answer that the small world knows to be right"
            ),
        }
    }

    /// Whether it goes on reading the text of pretraining.
    pub(crate) fn reads_text(&self) -> bool {
        self.ptx_coef > 0.0 && self.ptx_on == PtxOn::Text
    }
}

/// `[small]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Small {
    /// Blocks.
    pub(crate) n_layer: usize,
    /// Query heads.
    pub(crate) n_head: usize,
    /// Width.
    pub(crate) d_model: usize,
    /// Steps of its pretraining.
    pub(crate) pretrain_steps: usize,
    /// Steps of its fine-tuning.
    pub(crate) sft_steps: usize,
    /// Rollouts of its reinforcement learning.
    pub(crate) ppo_steps: usize,
}

/// `[evaluate]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Evaluate {
    /// Most held-out questions of each kind.
    pub(crate) questions_per_kind: usize,
    /// Most tokens of an answer.
    pub(crate) max_answer_tokens: usize,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self {
            questions_per_kind: 10,
            max_answer_tokens: 48,
        }
    }
}

/// `[must_reach]`: a run that does not is reported as having failed its recipe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MustReach {
    /// Validation loss after pretraining, in nats per token.
    pub(crate) validation_loss_at_most: Option<f64>,
    /// Share of held-out questions answered exactly by the model that the run ends with.
    pub(crate) held_out_accuracy_at_least: Option<f64>,
    /// The same before fine-tuning.
    pub(crate) base_accuracy_at_most: Option<f64>,
    /// Share of held-out prompts on which the aligned model is preferred to the fine-tuned one.
    pub(crate) ppo_win_rate_at_least: Option<f64>,
    /// Share of harmful requests that the aligned model refuses.
    pub(crate) refusal_harmful_at_least: Option<f64>,
    /// Share of harmless requests that it refuses.
    pub(crate) refusal_harmless_at_most: Option<f64>,
    /// Share of held-out prompts on which the small aligned model is preferred to the big one before fine-tuning.
    pub(crate) small_win_rate_at_least: Option<f64>,
    /// The whole run, in seconds, on the machine of `[cost]`.
    pub(crate) seconds_at_most: Option<f64>,
}

/// `[cost]`: one measured run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cost {
    /// Where it was measured.
    pub(crate) machine: String,
    /// The whole run.
    pub(crate) seconds: Option<f64>,
    /// The most memory held at once.
    pub(crate) peak_memory_gb: Option<f64>,
    /// What was reached: validation loss, accuracy.
    pub(crate) reached: String,
}

fn one() -> f64 {
    1.0
}

fn sft_muon_learning_rate() -> f64 {
    0.007
}

fn muon_learning_rate() -> f64 {
    0.02
}

fn beta1() -> f64 {
    0.9
}

fn beta2() -> f64 {
    0.95
}

fn grad_clip() -> f64 {
    1.0
}

fn eval_every() -> usize {
    250
}

fn save_every() -> usize {
    500
}

fn sft_dialogues() -> usize {
    20_000
}
