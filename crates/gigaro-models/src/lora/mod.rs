//! LoRA on a GPT: which layers carry an adapter, training these alone, and the files that PEFT reads and writes.
//!
//! [`LoraConfig`] says how large adapters are and where they go. [`Gpt::add_lora`] freezes the model and puts them beside its
//! layers; from then on [`Gpt::lora_parameters`] is all that an optimiser sees and all that has to be saved. With
//! [`Gpt::merge_lora`] the model costs what it cost before, and with [`Gpt::merge_and_unload`] it is an ordinary model again.
//!
//! The change itself is [`Lora`] in gigaro-nn. `files.rs`: adapter_config.json and adapter_model.safetensors.
//! Not here: adapters on embeddings and on the head onto the vocabulary, whose product is fused with the loss.

mod files;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use gigaro_nn::{Linear, Lora, Module};
use gigaro_tensor::{Generator, Tensor};

use crate::gpt::{Gpt, NormLayer};

pub(crate) use files::read_config;
pub use files::{ADAPTER_CONFIG, ADAPTER_MODEL};

/// The entry of [`LoraConfig::target_modules`] that means every matrix inside the layers.
pub const ALL_LINEAR: &str = "all-linear";

/// What cannot be done with an adapter. Each message says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoraError {
    /// A value of the configuration makes no sense.
    #[error("{name} is {value}, but must be {wanted}")]
    Setting {
        /// The key in adapter_config.json.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// The model has no such layer, or not one that can carry an adapter.
    #[error(
        "no layer of this model that can carry an adapter is called `{name}`; there are {known}, and `{ALL_LINEAR}` for all of them"
    )]
    UnknownModule {
        /// As it was given.
        name: String,
        /// The last parts of the names that there are.
        known: String,
    },
    /// The files are damaged, of another kind, or for another model.
    #[error("{}: {problem}; {advice}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        advice: &'static str,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// There is no adapter to save.
    #[error("the model carries no adapter; add one with add_lora or load_lora first")]
    None,
}

/// How large adapters are and where they go, in PEFT's words.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// Rank of the change.
    pub r: usize,
    /// The change is multiplied by `lora_alpha / r`.
    pub lora_alpha: f64,
    /// Share of an adapter's input that is dropped while training.
    pub lora_dropout: f64,
    /// Names of layers, or their last parts: `q_proj` is every layer's, `attn.c_proj` not the feed-forward part's. Or
    /// [`ALL_LINEAR`].
    pub target_modules: Vec<String>,
}

impl LoraConfig {
    /// Rank `r` with `lora_alpha` twice as large on every matrix inside the layers, without dropout.
    #[must_use]
    pub fn new(r: usize) -> Self {
        Self {
            r,
            lora_alpha: 2.0 * r as f64,
            lora_dropout: 0.0,
            target_modules: vec![ALL_LINEAR.to_owned()],
        }
    }

    /// Whether a layer of this name gets an adapter: one of [`LoraConfig::target_modules`] is the name, or the end of it from a
    /// dot on.
    #[must_use]
    pub fn matches(&self, module: &str) -> bool {
        self.target_modules.iter().any(|t| is_named(module, t))
    }

    /// # Errors
    /// If a value makes no sense.
    pub fn check(&self) -> Result<(), LoraError> {
        let refuse = |name, value: String, wanted| {
            Err(LoraError::Setting {
                name,
                value,
                wanted,
            })
        };
        if self.r == 0 {
            return refuse("r", "0".into(), "at least 1");
        }
        if !(self.lora_alpha.is_finite() && self.lora_alpha > 0.0) {
            return refuse("lora_alpha", self.lora_alpha.to_string(), "more than 0");
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            let value = self.lora_dropout.to_string();
            return refuse("lora_dropout", value, "at least 0 and less than 1");
        }
        if self.target_modules.is_empty() {
            return refuse("target_modules", "empty".into(), "names of layers");
        }
        Ok(())
    }
}

fn is_named(module: &str, target: &str) -> bool {
    let inner = module.strip_suffix(target);
    target == ALL_LINEAR || inner.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The adapters of a model as a module of their own: what LoRA trains and saves.
#[derive(Clone, Copy, Debug)]
pub struct LoraParameters<'a>(&'a Gpt);

impl Module for LoraParameters<'_> {
    fn visit(&self, prefix: &str, f: &mut dyn FnMut(&str, &Tensor)) {
        self.0.visit(prefix, &mut |name, tensor| {
            if name.ends_with(".lora_A.weight") || name.ends_with(".lora_B.weight") {
                f(name, tensor);
            }
        });
    }
}

impl Gpt {
    /// Freezes the model and puts a fresh adapter beside each layer that `config` names. The model computes what it computed
    /// before, until the adapters are trained. Adapters that it carries already are replaced.
    ///
    /// # Errors
    /// If the configuration makes no sense or names no layer of this model; then nothing was changed.
    pub fn add_lora(
        &mut self,
        config: &LoraConfig,
        generator: &Generator,
    ) -> Result<(), LoraError> {
        config.check()?;
        let names = self.lora_modules();
        for target in &config.target_modules {
            if !names.iter().any(|name| is_named(name, target)) {
                return Err(unknown(target, &names));
            }
        }
        let LoraConfig {
            r,
            lora_alpha,
            lora_dropout,
            ..
        } = *config;
        self.attach(config, |_, layer| {
            let (i, o) = (layer.in_features(), layer.out_features());
            Lora::new(i, o, r, lora_alpha, lora_dropout, generator)
        });
        Ok(())
    }

    /// Freezes everything, and puts what `adapter` makes beside the layers that `config` names.
    fn attach(&mut self, config: &LoraConfig, mut adapter: impl FnMut(&str, &Linear) -> Lora) {
        self.train_weights(false);
        for (name, layer) in self.linears_mut() {
            layer.unload_lora();
            layer.train_weights(false);
            if config.matches(&name) {
                let lora = adapter(&name, layer);
                layer.add_lora(lora);
            }
        }
        self.lora = Some(config.clone());
    }

    /// What the adapters were made from, if there are any.
    #[must_use]
    pub const fn lora_config(&self) -> Option<&LoraConfig> {
        self.lora.as_ref()
    }

    /// The adapters alone: what is trained and saved. Empty while they are merged.
    #[must_use]
    pub const fn lora_parameters(&self) -> LoraParameters<'_> {
        LoraParameters(self)
    }

    /// Folds the adapters into the weights; see [`Linear::merge_lora`].
    ///
    /// # Panics
    /// If weights are rounded to small integers.
    #[track_caller]
    pub fn merge_lora(&mut self) {
        for (_, layer) in self.linears_mut() {
            layer.merge_lora();
        }
    }

    /// Takes the adapters out of the weights again, bit for bit.
    pub fn unmerge_lora(&mut self) {
        for (_, layer) in self.linears_mut() {
            layer.unmerge_lora();
        }
    }

    /// Folds the adapters into the weights for good: an ordinary model, all of which can be trained.
    ///
    /// # Panics
    /// If weights are rounded to small integers.
    #[track_caller]
    pub fn merge_and_unload(&mut self) {
        self.merge_lora();
        self.train_weights(true);
        for (_, layer) in self.linears_mut() {
            layer.unload_lora();
        }
        self.lora = None;
    }

    /// The names of the layers that can carry an adapter.
    fn lora_modules(&mut self) -> Vec<String> {
        let layers = self.linears_mut().into_iter();
        layers.map(|(name, _)| name).collect()
    }

    /// Makes all weights outside of the layers' matrices parameters, or freezes them.
    fn train_weights(&mut self, train: bool) {
        let set = |tensor: &mut Tensor| *tensor = tensor.requires_grad_(train);
        set(&mut self.wte.weight);
        if let Some(wpe) = &mut self.wpe {
            set(&mut wpe.weight);
        }
        let set_norm = |norm: &mut NormLayer| match norm {
            NormLayer::LayerNorm(norm) => {
                set(&mut norm.weight);
                norm.bias.iter_mut().for_each(set);
            }
            NormLayer::RmsNorm(norm) => set(&mut norm.weight),
        };
        for block in &mut self.blocks {
            set_norm(&mut block.ln_1);
            set_norm(&mut block.ln_2);
            let heads = [&mut block.attn.q_norm, &mut block.attn.k_norm];
            let heads = heads.into_iter().flatten();
            heads.for_each(|norm| set(&mut norm.weight));
            if let Some(embedding) = &mut block.attn.value_embedding {
                set(&mut embedding.weight);
            }
        }
        set_norm(&mut self.ln_f);
        if let Some(head) = &mut self.lm_head {
            head.train_weights(train);
        }
    }
}

fn unknown(name: &str, names: &[String]) -> LoraError {
    let mut known: Vec<&str> = Vec::new();
    for name in names {
        let last = name.rsplit('.').next().unwrap_or(name);
        if !known.contains(&last) {
            known.push(last);
        }
    }
    LoraError::UnknownModule {
        name: name.to_owned(),
        known: known.join(", "),
    }
}
