//! Which optimiser moves which part of a model, and how fast: pretraining, fine-tuning and reward models have the same choice.

use gigaro_models::Gpt;
use gigaro_nn::optim::{AdamOptions, AdamW, Muon, MuonOptions, Optimizer, ParamGroup};

use crate::recipe;

/// The optimiser of a stage with its rates.
pub(super) struct Rates {
    pub(super) optimizer: recipe::Optimizer,
    /// The highest of AdamW, which the schedule moves.
    pub(super) learning_rate: f64,
    /// The highest of Muon.
    pub(super) muon_learning_rate: f64,
    /// The highest of token embeddings (unless the output projection shares them) and value embeddings; `None` moves them like the
    /// rest.
    pub(super) embedding_learning_rate: Option<f64>,
    pub(super) weight_decay: f64,
    pub(super) betas: (f64, f64),
}

impl Rates {
    /// The optimiser for all of a model's weights, and for what stands `beside` them, which AdamW moves.
    pub(super) fn optimizer(&self, model: &Gpt, beside: Option<ParamGroup>) -> Box<dyn Optimizer> {
        let (beta1, beta2) = self.betas;
        match self.optimizer {
            recipe::Optimizer::Adamw => {
                let options = AdamOptions {
                    beta1,
                    beta2,
                    ..AdamOptions::default()
                };
                let groups = model.param_groups(self.weight_decay);
                let mut groups = self.with_embeddings_apart(model, groups);
                groups.extend(beside);
                Box::new(AdamW::new(groups, options))
            }
            recipe::Optimizer::Muon => {
                let (mut matrices, rest) = model.muon_groups(self.weight_decay);
                // One schedule moves both: the step's rate is AdamW's, and Muon's is a multiple of it.
                for group in &mut matrices {
                    group.lr_scale = self.muon_learning_rate / self.learning_rate;
                }
                let usual = MuonOptions::default();
                let adam = AdamOptions {
                    beta1,
                    beta2,
                    ..usual.adam
                };
                let mut rest = self.with_embeddings_apart(model, rest);
                rest.extend(beside);
                Box::new(Muon::new(matrices, rest, MuonOptions { adam, ..usual }))
            }
        }
    }

    /// The groups with the embeddings of tokens and the value embeddings in one of their own, at their own rate.
    fn with_embeddings_apart(&self, model: &Gpt, groups: Vec<ParamGroup>) -> Vec<ParamGroup> {
        let Some(rate) = self.embedding_learning_rate else {
            return groups;
        };
        let (mut groups, embeddings) = model.embeddings_apart(groups);
        groups.push(embeddings.lr_scale(rate / self.learning_rate));
        groups
    }
}
