//! `[align]`: what `gigaro align` is told beyond `[ppo]`. Every key has a default, so the section may be missing or empty.
//!
//! PPO takes its settings from `[ppo]`, as in a speedrun, and from here only the models and the algorithm.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How a model learns what is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Algorithm {
    /// Against a reward model, with values (Ouyang et al. 2022)
    Ppo,
    /// From pairs, directly (Rafailov et al. 2023)
    #[default]
    Dpo,
    /// From pairs, towards a fixed distance between them (Azar et al. 2023)
    Ipo,
    /// From single answers, good and bad ones (Ethayarajh et al. 2024)
    Kto,
    /// From pairs, fine-tuning at the same time, without a reference (Hong et al. 2024)
    Orpo,
    /// From groups of answers, each judged against its group (Shao et al. 2024)
    Grpo,
    /// From groups of answers, each compared with the mean of the others (Ahmadian et al. 2024)
    Rloo,
    /// Fine-tuning on the best of several answers (Stiennon et al. 2020)
    BestOfN,
}

impl Algorithm {
    /// As users type it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ppo => "ppo",
            Self::Dpo => "dpo",
            Self::Ipo => "ipo",
            Self::Kto => "kto",
            Self::Orpo => "orpo",
            Self::Grpo => "grpo",
            Self::Rloo => "rloo",
            Self::BestOfN => "best-of-n",
        }
    }

    /// Whether it learns from preferences that were given before.
    pub(crate) fn is_offline(self) -> bool {
        matches!(self, Self::Dpo | Self::Ipo | Self::Kto | Self::Orpo)
    }

    /// Whether it can do nothing without a reward model.
    pub(crate) fn needs_reward(self) -> bool {
        matches!(self, Self::Ppo | Self::BestOfN)
    }

    /// The usual strength of what keeps the policy near its start.
    fn usual_beta(self) -> f64 {
        match self {
            Self::Grpo => 0.04,
            Self::Rloo => 0.05,
            _ => 0.1,
        }
    }
}

/// Which prompts of the small world answers are drawn to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ask {
    /// Questions, harmful requests and harmless ones.
    #[default]
    All,
    /// Questions only.
    Questions,
    /// Questions about numbers only.
    Arithmetic,
}

/// `[align]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Align {
    /// How to learn.
    pub(crate) algorithm: Algorithm,
    /// The fine-tuned checkpoint to start from.
    pub(crate) from: Option<PathBuf>,
    /// The reward model; absent where the small world's truth is the reward, or none is needed.
    pub(crate) reward: Option<PathBuf>,
    /// Preferences as JSON lines instead of the simulated labeller's, which `[reward]` describes.
    pub(crate) preferences: Option<PathBuf>,
    /// Optimiser steps.
    pub(crate) steps: usize,
    /// Pairs, single answers, prompts or conversations of a step.
    pub(crate) batch_size: usize,
    /// Highest learning rate; it falls to 0 in a straight line.
    pub(crate) learning_rate: f64,
    /// Steps to reach it.
    pub(crate) warmup_steps: usize,
    /// What keeps the policy near its start (dpo, ipo, kto, grpo, rloo), or the weight of the odds ratio (orpo); absent takes
    /// what is usual for the algorithm.
    pub(crate) beta: Option<f64>,
    /// Share of pairs believed to be the wrong way round (dpo).
    pub(crate) label_smoothing: f64,
    /// Weight of good answers (kto).
    pub(crate) desirable_weight: f64,
    /// Weight of bad ones.
    pub(crate) undesirable_weight: f64,
    /// Answers drawn to each prompt (grpo, rloo, best-of-n).
    pub(crate) answers: usize,
    /// Prompts that answers are drawn to before fine-tuning (best-of-n).
    pub(crate) prompts: usize,
    /// Most tokens of an answer.
    pub(crate) max_answer_tokens: usize,
    /// Temperature of the answers.
    pub(crate) temperature: f64,
    /// Score of an answer that is cut off before its end.
    pub(crate) missing_eos_penalty: f64,
    /// What is asked (grpo, rloo, best-of-n).
    pub(crate) ask: Ask,
    /// Points for a courteous form beside the one for a right answer, where the small world's truth is the reward.
    pub(crate) courtesy: f64,
    /// Steps between two measurements on held-out data, each with a checkpoint.
    pub(crate) eval_every: usize,
    /// Prompts of such a measurement (grpo, rloo).
    pub(crate) eval_prompts: usize,
    /// Held-out prompts on which the model is compared with its start at the end.
    pub(crate) compare_prompts: usize,
}

impl Default for Align {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::default(),
            from: None,
            reward: None,
            preferences: None,
            steps: 60,
            batch_size: 32,
            learning_rate: 1e-4,
            warmup_steps: 3,
            beta: None,
            label_smoothing: 0.0,
            desirable_weight: 1.0,
            undesirable_weight: 1.0,
            answers: 4,
            prompts: 512,
            max_answer_tokens: 48,
            temperature: 1.0,
            missing_eos_penalty: -3.0,
            ask: Ask::All,
            courtesy: 0.0,
            eval_every: 15,
            eval_prompts: 64,
            compare_prompts: 300,
        }
    }
}

impl Align {
    /// The strength of what keeps the policy near its start.
    pub(crate) fn beta(&self) -> f64 {
        self.beta.unwrap_or(self.algorithm.usual_beta())
    }
}
