//! A reward model: a GPT that reads a prompt with an answer and says in one number how good the answer is.
//!
//! The number is read off the last token, where a causal model has seen everything. Only differences between
//! rewards mean something, so two numbers beside the head, a gain and a bias, bring the rewards over a
//! reference set to mean 0 and deviation 1: before training, so that it starts at a known scale, and after it, so that what
//! learns from the rewards need not care which model gave them.
//!
//! Not here: how it is trained and measured (gigaro-train).

use gigaro_nn::{Linear, Mode, Module, init, join};
use gigaro_tensor::{DType, Device, Generator, Tensor, autocast, no_grad};
use serde_json::{Map, Value, json};

use crate::gpt::{Gpt, GptConfig};

/// A GPT with a scalar head instead of a vocabulary.
///
/// Tensors bear the names of the trunk (without a head of its own onto the vocabulary), `score.weight` as transformers' models for
/// sequence classification have it, and `score.gain` and `score.bias`, which are not trained.
///
/// # Reference
/// Ziegler et al. (2019), <https://arxiv.org/abs/1909.08593>; Stiennon et al. (2020),
/// <https://arxiv.org/abs/2009.01325>; Huang et al. (2024), "The N+ implementation details of RLHF with PPO",
/// <https://arxiv.org/abs/2403.17031>
#[derive(Clone, Debug)]
pub struct RewardModel {
    /// What reads; its head onto the vocabulary is gone if it had one of its own.
    pub trunk: Gpt,
    /// From the last token's channels to a number, `(1, C)`.
    pub score: Linear,
    /// Multiplies the head's number, `(1)`.
    gain: Tensor,
    /// Added to that, `(1)`.
    bias: Tensor,
}

impl RewardModel {
    /// Puts a fresh head onto a trained model: normal with deviation `1 / sqrt(d_model + 1)`, so that rewards start at the
    /// scale of one.
    #[must_use]
    pub fn new(trunk: Gpt, generator: &Generator) -> Self {
        let c = trunk.config.d_model;
        let std = 1.0 / ((c + 1) as f64).sqrt();
        let score = init::normal([1, c], 0.0, std, generator);
        Self::with_score(trunk, score)
    }

    /// A model of zeros, for weights to be loaded into.
    ///
    /// # Panics
    /// If [`GptConfig::check`] has an objection.
    #[must_use]
    #[track_caller]
    pub fn zeroed(config: &GptConfig) -> Self {
        let score = Tensor::zeros([1, config.d_model], DType::F32, Device::Cpu);
        Self::with_score(Gpt::zeroed(config), score)
    }

    fn with_score(mut trunk: Gpt, score: Tensor) -> Self {
        trunk.lm_head = None;
        let device = trunk.device();
        Self {
            trunk,
            score: Linear::from_weights(score.to_device(device), None),
            gain: Tensor::ones([1], DType::F32, device),
            bias: Tensor::zeros([1], DType::F32, device),
        }
    }

    /// The reward of each row: a prompt and an answer, padded on the right with any token. Padding changes no bit of it.
    ///
    /// # Shapes
    /// `ids: (B, T)` of i64, `lengths`: `B` numbers of real tokens -> `(B)` in f32
    /// # Panics
    /// If `T` exceeds the context, or a length is 0 or above `T`.
    #[must_use]
    #[track_caller]
    pub fn rewards(&self, ids: &Tensor, lengths: &[usize], mode: &Mode) -> Tensor {
        let (b, t) = (ids.size(0), ids.size(1));
        assert!(
            lengths.len() == b && lengths.iter().all(|n| (1..=t).contains(n)),
            "RewardModel: lengths {lengths:?} for ids {:?}",
            ids.shape()
        );
        let hidden = self.trunk.hidden(ids, None, mode);
        let last = lengths
            .iter()
            .enumerate()
            .map(|(row, n)| (row * t + n - 1) as i64);
        let last = Tensor::from_vec(last.collect(), [b]);
        let hidden = hidden
            .reshape([b * t, self.trunk.config.d_model])
            .index_select(0, &last); // (B, C)
        // A product in bf16 would round away the small differences that rewards are compared by.
        let raw = autocast(DType::F32, || self.score.forward(&hidden)).squeeze(1);
        raw * &self.gain + &self.bias
    }

    /// Moves gain and bias so that rewards that had this mean and deviation over a reference set have mean 0 and deviation 1. A
    /// deviation of 0 (or one that is no number) leaves the gain alone.
    pub fn normalize(&self, mean: f64, std: f64) {
        let scale = if std.is_finite() && std > 0.0 {
            1.0 / std
        } else {
            1.0
        };
        no_grad(|| {
            self.gain.mul_(scale);
            self.bias.fill_((self.bias.item() - mean) * scale);
        });
    }

    /// What `config.json` says: the trunk's configuration, one label, and the architecture's name in transformers if it has one.
    #[must_use]
    pub fn config(&self) -> Value {
        let trunk = serde_json::from_str::<Map<String, Value>>(&self.trunk.config.to_json());
        let mut keys = trunk.unwrap_or_default();
        if let Some(name) = keys.get("architectures").and_then(|a| a[0].as_str()) {
            let stem = name
                .trim_end_matches("LMHeadModel")
                .trim_end_matches("ForCausalLM");
            let name = format!("{stem}ForSequenceClassification");
            keys.insert("architectures".into(), json!([name]));
        }
        keys.insert("num_labels".into(), json!(1));
        Value::Object(keys)
    }
}

impl Module for RewardModel {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        self.trunk.visit(prefix, f);
        self.score.visit(&join(prefix, "score"), f);
        f(&join(prefix, "score.gain"), &self.gain);
        f(&join(prefix, "score.bias"), &self.bias);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gigaro_tensor::io;

    fn models() -> Vec<RewardModel> {
        let gpt2 = GptConfig::gpt2(61, 24, 2, 4, 32);
        let llama = GptConfig::llama(61, 24, 2, 4, 2, 32, 48);
        let model = |c: &GptConfig| {
            let trunk = Gpt::new(c, &Generator::new(2));
            RewardModel::new(trunk, &Generator::new(3))
        };
        [gpt2, llama].iter().map(model).collect()
    }

    fn reward(model: &RewardModel, ids: &[i64], padding: &[i64], rest: &[Vec<i64>]) -> Vec<u8> {
        let t = ids.len() + padding.len();
        let mut all = [ids, padding].concat();
        rest.iter()
            .for_each(|row| all.extend(row.iter().cycle().take(t)));
        let mut lengths = vec![t; 1 + rest.len()];
        lengths[0] = ids.len();
        let ids = Tensor::from_vec(all, [lengths.len(), t]);
        let rewards = model.rewards(&ids, &lengths, &Mode::Eval);
        rewards.narrow(0, 0, 1).to_bytes()
    }

    #[test]
    fn neither_padding_nor_the_rest_of_the_batch_changes_a_bit_of_a_reward() {
        for model in models() {
            for len in [1, 2, 5, 9] {
                let ids: Vec<i64> = (0..len).map(|i| i * 17 % 61).collect();
                let alone = reward(&model, &ids, &[], &[]);
                for n in [1, 3, 15] {
                    for padding in [vec![0; n], (0..n as i64).collect()] {
                        assert_eq!(reward(&model, &ids, &padding, &[]), alone);
                        let rest = [vec![4, 8, 15], vec![16]];
                        assert_eq!(reward(&model, &ids, &padding, &rest), alone);
                    }
                }
            }
        }
    }

    #[test]
    fn normalised_rewards_have_mean_0_and_deviation_1() {
        for model in models() {
            let ids: Vec<i64> = (0..40).map(|i| i * i % 61).collect();
            let ids = Tensor::from_vec(ids, [8, 5]);
            let rewards = || {
                model
                    .rewards(&ids, &[5, 4, 3, 2, 1, 5, 5, 3], &Mode::Eval)
                    .to_dtype(DType::F64)
            };
            for _ in 0..2 {
                let r = rewards();
                model.normalize(r.mean_all().item(), r.var(0_isize, 0).item().sqrt());
                let r = rewards();
                assert!(r.mean_all().item().abs() < 1e-5);
                assert!((r.var(0_isize, 0).item() - 1.0).abs() < 1e-5);
            }
            model.normalize(0.5, 0.0);
            assert!((rewards().mean_all().item() + 0.5).abs() < 1e-5);
        }
    }

    #[test]
    fn saved_weights_bear_the_ecosystems_names_and_load_again() {
        for model in models() {
            model.normalize(0.25, 3.0);
            let bytes = io::write_safetensors(&model.state_dict()).expect("tensors to write");
            let tensors = io::read_safetensors(&bytes).expect("what was written");
            assert_eq!(tensors["score.weight"].shape(), [1, 32]);
            assert!(!tensors.contains_key("lm_head.weight"));
            let config = model.config();
            assert_eq!(config["num_labels"], 1);
            let name = config["architectures"][0].as_str().expect("a name");
            assert!(
                [
                    "GPT2ForSequenceClassification",
                    "LlamaForSequenceClassification"
                ]
                .contains(&name)
            );
            let again = GptConfig::from_json(&config.to_string()).expect("a configuration");
            let again = RewardModel::zeroed(&again);
            again.load_state_dict(&tensors).expect("all weights fit");
            let ids = [1_i64, 2, 3];
            assert_eq!(
                reward(&again, &ids, &[], &[]),
                reward(&model, &ids, &[], &[])
            );
        }
    }

    #[test]
    fn the_head_is_drawn_at_the_scale_of_one_over_root_width() {
        let config = GptConfig::gpt2(11, 8, 1, 8, 4096);
        let model = RewardModel::new(Gpt::zeroed(&config), &Generator::new(1));
        let std = model
            .score
            .weight
            .detach()
            .var([0_isize, 1], 0)
            .item()
            .sqrt();
        assert!((std * 4097_f64.sqrt() - 1.0).abs() < 0.05, "{std}");
        assert!(
            model
                .named_parameters()
                .iter()
                .all(|(name, _)| name != "score.gain")
        );
    }
}
