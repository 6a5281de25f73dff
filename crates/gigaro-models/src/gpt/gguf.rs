//! A model out of a GGUF file: its configuration, and which of its tensors is which of ours.
//!
//! The keys are named after the architecture (`llama.block_count`), the tensors after llama.cpp's names for the parts of any decoder
//! (`blk.0.attn_q.weight`). What a file says and this decoder does not have is refused by name, and so is a tensor that nothing
//! asks for, since a model without it would not be that model. The container is read in gigaro-tensor, the tokenizer in gigaro-data.

use std::collections::BTreeMap;
use std::sync::Arc;

use gigaro_nn::{Embedding, Linear, Module, join};
use gigaro_tensor::cpu::quantized::QuantizedMatrix;
use gigaro_tensor::io::gguf::{Gguf, GgufTensor, Value};
use gigaro_tensor::{Tensor, no_grad};

use super::Gpt;
use super::config::{ConfigError, GptConfig, Position};
use super::gguf_names::{RowOrder, name_in_file};
use super::import_error::ImportError;
use super::rope::{RopeScaling, frequencies};

/// Longest context that tables of rotations are made for; published models stay below it.
const MAX_CONTEXT: usize = 1 << 20;
/// Factors of the rotations' frequencies, where a model has a longer context than it was first trained for.
const ROPE_FREQS: &str = "rope_freqs.weight";

/// One of the model's tensors as it lies in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufSource<'a> {
    /// Its blocks.
    pub tensor: GgufTensor<'a>,
    /// Which of its rows is which of ours.
    pub rows: RowOrder,
}

impl GgufSource<'_> {
    /// The matrix as it is stored, rows in our order; `None` if it is stored in floats.
    #[must_use]
    pub fn quantized(&self) -> Option<QuantizedMatrix> {
        let stored = self.tensor.rows();
        let rows: Vec<&[u8]> = (0..stored.len())
            .map(|row| stored[self.rows.stored_row(row)])
            .collect();
        let inputs = *self.tensor.shape.last()?;
        self.tensor.format.quantized(inputs, &rows)
    }

    /// The numbers, rows in our order.
    #[must_use]
    pub fn to_tensor(&self) -> Tensor {
        let numbers = self.tensor.dequantize();
        let shape = &self.tensor.shape[..];
        if self.rows == RowOrder::AsStored {
            return Tensor::from_vec(numbers, shape);
        }
        // A bias has one number a row.
        let n_rows = shape.first().copied().unwrap_or(1).max(1);
        let width = numbers.len() / n_rows;
        let mut ordered = Vec::with_capacity(numbers.len());
        for row in 0..n_rows {
            let stored = self.rows.stored_row(row);
            ordered.extend_from_slice(&numbers[stored * width..][..width]);
        }
        Tensor::from_vec(ordered, shape)
    }
}

impl GptConfig {
    /// The configuration in the metadata of a GGUF file.
    ///
    /// # Errors
    /// If a key is missing, or asks for something that the decoder does not have.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, ConfigError> {
        let keys = Keys::of(gguf)?;
        let config = match keys.architecture {
            "gpt2" => keys.gpt2()?,
            "llama" | "qwen2" | "qwen3" => keys.llama()?,
            other => {
                return Err(ConfigError::Unsupported {
                    what: format!("the architecture {other:.40}"),
                    instead: "supported are gpt2, llama, qwen2 and qwen3".to_owned(),
                });
            }
        };
        config.check()?;
        Ok(config)
    }
}

impl Gpt {
    /// The model in a GGUF file, its weights in f32; `place` names the file in messages.
    ///
    /// # Errors
    /// As [`GptConfig::from_gguf`], or if a tensor is missing, has another shape, or belongs to no part of this decoder.
    pub fn from_gguf(gguf: &Gguf, place: &str) -> Result<Self, ImportError> {
        let (config, sources) = find(gguf, place)?;
        let tensors = sources
            .iter()
            .map(|(name, source)| (name.clone(), source.to_tensor()));
        let model = Self::zeroed(&config);
        let fits = model.load_state_dict(&tensors.collect());
        fits.map_err(|e| ImportError::weights(place, e.to_string()))?;
        Ok(model)
    }

    /// The model in a GGUF file, its matrices as they are stored there: for inference from as many bytes as the file has.
    ///
    /// # Errors
    /// As [`Gpt::from_gguf`].
    pub fn from_gguf_as_stored(gguf: &Gguf, place: &str) -> Result<Self, ImportError> {
        let (config, sources) = find(gguf, place)?;
        let mut model = Self::shaped(&config);
        let embeddings = model.embeddings_name();
        model.wte = match sources[&join(embeddings, "weight")].quantized() {
            None => Embedding::from_weight(sources[&join(embeddings, "weight")].to_tensor()),
            Some(table) => {
                let table = Arc::new(table);
                if config.tied_head {
                    model.lm_head = Some(Linear::from_quantized(Arc::clone(&table), None));
                }
                Embedding::from_quantized(table)
            }
        };
        for (name, own) in model.state_dict() {
            if own.ndim() == 1 {
                no_grad(|| own.copy_(&sources[&name].to_tensor()));
            }
        }
        if let Some(wpe) = &mut model.wpe {
            *wpe = Embedding::from_weight(sources["transformer.wpe.weight"].to_tensor());
        }
        let head = model.lm_head.take();
        let head = head.map(|head| match sources.get("lm_head.weight") {
            Some(source) => stored_layer(source, head.bias),
            None => head,
        });
        model.lm_head = head;
        for (name, layer) in model.linears_mut() {
            *layer = stored_layer(&sources[&join(&name, "weight")], layer.bias.take());
        }
        Ok(model)
    }
}

/// A layer with its weight as it is stored.
fn stored_layer(source: &GgufSource<'_>, bias: Option<Tensor>) -> Linear {
    match source.quantized() {
        Some(weight) => Linear::from_quantized(Arc::new(weight), bias),
        None => Linear::from_weights(source.to_tensor(), bias),
    }
}

/// Where each of the model's tensors is, by our names.
type Sources<'a> = BTreeMap<String, GgufSource<'a>>;

/// The configuration, and where every tensor that it asks for is.
fn find<'a>(gguf: &'a Gguf, place: &str) -> Result<(GptConfig, Sources<'a>), ImportError> {
    let config = GptConfig::from_gguf(gguf).map_err(|source| ImportError::Config {
        place: place.to_owned(),
        source,
    })?;
    let refuse = |reason: String| ImportError::weights(place, reason);
    check_size(gguf, &config).map_err(refuse)?;
    let model = Gpt::shaped(&config);
    let mut sources = BTreeMap::new();
    for (name, own) in model.state_dict() {
        let source = gguf_source(gguf, &config, &name).map_err(refuse)?;
        if source.tensor.shape != own.shape() {
            return Err(refuse(format!(
                "the tensor {} has the shape {:?}, and this model needs {:?}; convert the model anew",
                source.tensor.name,
                source.tensor.shape,
                own.shape()
            )));
        }
        sources.insert(name, source);
    }
    let of_weights = gguf.tensors().filter(|t| t.name != ROPE_FREQS);
    if of_weights.count() != sources.len() {
        return Err(refuse(unknown_tensor(gguf, &config, &model)));
    }
    Ok((config, sources))
}

/// Where the tensor of this name in [`Module::visit`] is in the file. Every matrix comes by here.
///
/// # Errors
/// A sentence, if it is not there.
pub fn gguf_source<'a>(
    gguf: &'a Gguf,
    config: &GptConfig,
    name: &str,
) -> Result<GgufSource<'a>, String> {
    let missing =
        |what: &str| format!("it lacks the tensor {what}; fetch or convert the model anew");
    let stored = name_in_file(name).ok_or_else(|| missing(name))?;
    let tensor = gguf.tensor(&stored).ok_or_else(|| missing(&stored))?;
    let architecture = gguf
        .metadata("general.architecture")
        .and_then(Value::as_str);
    // Converters to GGUF reorder what is rotated in models of Llama's architecture, and in no other.
    let is_rotated = stored.contains(".attn_q.") || stored.contains(".attn_k.");
    let rows = if architecture == Some("llama") && is_rotated {
        RowOrder::Interleaved {
            head_dim: config.head_dim(),
        }
    } else {
        RowOrder::AsStored
    };
    Ok(GgufSource { tensor, rows })
}

/// Whether the file holds as many numbers as the model has, before memory is taken for what the metadata claims.
fn check_size(gguf: &Gguf, config: &GptConfig) -> Result<(), String> {
    let held: u64 = gguf.tensors().map(|t| t.numel() as u64).sum();
    let needed = config.num_params();
    if needed <= held {
        return Ok(());
    }
    Err(format!(
        "its tensors hold {held} numbers, and a model of its settings needs {needed}; fetch or convert the model anew"
    ))
}

/// Names a tensor that no part of the decoder asks for.
fn unknown_tensor(gguf: &Gguf, config: &GptConfig, model: &Gpt) -> String {
    let wanted: Vec<String> = model
        .state_dict()
        .keys()
        .filter_map(|name| Some(gguf_source(gguf, config, name).ok()?.tensor.name.to_owned()))
        .collect();
    let surplus = gguf
        .tensors()
        .find(|t| t.name != ROPE_FREQS && !wanted.iter().any(|w| w == t.name));
    let name = surplus.map_or("without a name", |t| t.name);
    format!(
        "the tensor {name} belongs to a part that this decoder does not have, so the model cannot be used"
    )
}

/// The metadata of one architecture.
struct Keys<'a> {
    gguf: &'a Gguf,
    architecture: &'a str,
}

impl<'a> Keys<'a> {
    fn of(gguf: &'a Gguf) -> Result<Self, ConfigError> {
        let architecture = gguf
            .metadata("general.architecture")
            .and_then(Value::as_str);
        let architecture = architecture.ok_or_else(|| missing("general.architecture"))?;
        Ok(Self { gguf, architecture })
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.gguf.metadata(&format!("{}.{key}", self.architecture))
    }

    fn size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        let whole = |value: &Value| {
            let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
            size.ok_or_else(|| self.unsupported(key, value))
        };
        self.get(key).map(whole).transpose()
    }

    fn needed(&self, key: &str) -> Result<usize, ConfigError> {
        let size = self.size(key)?;
        size.ok_or_else(|| missing(&format!("{}.{key}", self.architecture)))
    }

    fn number(&self, key: &str, default: f64) -> Result<f64, ConfigError> {
        let number = |value: &Value| value.as_f64().ok_or_else(|| self.unsupported(key, value));
        // Files hold f32; what was written as 1e-5 is meant so, and transformers reads it so.
        let shortest = |x: f64| (x as f32).to_string().parse().unwrap_or(x);
        self.get(key)
            .map_or(Ok(default), |value| number(value).map(shortest))
    }

    fn unsupported(&self, key: &str, value: &Value) -> ConfigError {
        ConfigError::Unsupported {
            what: format!("{}.{key} = {:.60}", self.architecture, shown(value)),
            instead: "take another model, or another file of it".to_owned(),
        }
    }

    fn has(&self, tensor: &str) -> bool {
        self.gguf.tensor(tensor).is_some()
    }

    /// Sizes that every architecture has, put into the form of a preset.
    fn sizes(
        &self,
        preset: fn(usize, usize, usize, usize, usize) -> GptConfig,
    ) -> Result<GptConfig, ConfigError> {
        let context = self.needed("context_length")?;
        if context > MAX_CONTEXT {
            return Err(self.unsupported("context_length", &Value::Unsigned(context as u64)));
        }
        let embedding = self.gguf.tensor("token_embd.weight");
        let [vocab_size, width] = embedding.as_ref().map_or(&[][..], |t| &t.shape[..]) else {
            return Err(missing("the tensor token_embd.weight"));
        };
        let d_model = self.needed("embedding_length")?;
        if *width != d_model {
            return Err(self.unsupported("embedding_length", &Value::Unsigned(d_model as u64)));
        }
        let heads = self.needed("attention.head_count")?;
        let mut config = preset(
            *vocab_size,
            context,
            self.needed("block_count")?,
            heads,
            d_model,
        );
        config.d_ff = self.needed("feed_forward_length")?;
        config.n_kv_head = self.size("attention.head_count_kv")?.unwrap_or(heads);
        config.tied_head = !self.has("output.weight");
        self.refuse_what_is_not_here(&config)?;
        Ok(config)
    }

    fn refuse_what_is_not_here(&self, config: &GptConfig) -> Result<(), ConfigError> {
        for key in [
            "expert_count",
            "attention.sliding_window",
            "attention.scale",
            "logit_scale",
            "residual_scale",
            "embedding_scale",
            "final_logit_softcapping",
            "attn_logit_softcapping",
            "use_parallel_residual",
        ] {
            let is_off =
                |value: &Value| value.as_f64() == Some(0.0) || value.as_bool() == Some(false);
            if let Some(value) = self.get(key).filter(|value| !is_off(value)) {
                return Err(self.unsupported(key, value));
            }
        }
        if let Some(value) = self.get("attention.causal")
            && value.as_bool() != Some(true)
        {
            return Err(self.unsupported("attention.causal", value));
        }
        if let Some(value) = self.get("rope.scaling.type")
            && value.as_str() != Some("none")
        {
            return Err(self.unsupported("rope.scaling.type", value));
        }
        let head_dim = config.d_model.checked_div(config.n_head);
        for key in [
            "rope.dimension_count",
            "attention.key_length",
            "attention.value_length",
        ] {
            if let Some(size) = self.size(key)?
                && Some(size) != head_dim
                && self.architecture != "gpt2"
            {
                return Err(self.unsupported(key, &Value::Unsigned(size as u64)));
            }
        }
        Ok(())
    }

    fn gpt2(&self) -> Result<GptConfig, ConfigError> {
        let sizes = self.sizes(GptConfig::gpt2)?;
        Ok(GptConfig {
            eps: self.number("attention.layer_norm_epsilon", 1e-5)?,
            ..sizes
        })
    }

    fn llama(&self) -> Result<GptConfig, ConfigError> {
        let preset = |vocab, context, layers, heads, width| {
            GptConfig::llama(vocab, context, layers, heads, heads, width, width)
        };
        let sizes = self.sizes(preset)?;
        let theta = self.number("rope.freq_base", 10_000.0)?;
        let head_dim = sizes.d_model.checked_div(sizes.n_head).unwrap_or(0);
        let bias = self.has("blk.0.attn_output.bias");
        Ok(GptConfig {
            eps: self.number("attention.layer_norm_rms_epsilon", 1e-6)?,
            position: Position::Rotary {
                theta,
                scaling: self.rope_scaling(head_dim, theta)?,
            },
            qk_norm: self.has("blk.0.attn_q_norm.weight"),
            bias,
            qkv_bias: !bias && self.has("blk.0.attn_q.bias"),
            ..sizes
        })
    }

    /// The scaling of Llama 3, which files keep as a factor for each frequency. All published models have the same settings but for
    /// the factor, which is that of the slowest rotation; others are refused.
    fn rope_scaling(
        &self,
        head_dim: usize,
        theta: f64,
    ) -> Result<Option<RopeScaling>, ConfigError> {
        let Some(tensor) = self.gguf.tensor(ROPE_FREQS) else {
            return Ok(None);
        };
        let factors = tensor.dequantize();
        let scaling = RopeScaling {
            factor: factors.last().copied().unwrap_or(1.0).into(),
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_seq_len: 8192,
        };
        let plain = frequencies(head_dim, theta, None);
        let is_close = |(factor, &frequency): (&f32, &f64)| {
            (f64::from(*factor) / scaling.divisor(frequency) - 1.0).abs() < 1e-3
        };
        let is_llama3 = scaling.is_sane()
            && factors.len() == plain.len()
            && factors.iter().zip(&plain).all(is_close);
        if is_llama3 {
            return Ok(Some(scaling));
        }
        Err(ConfigError::Unsupported {
            what: format!("rotary positions scaled in a way of its own ({ROPE_FREQS})"),
            instead: "supported is the scaling of Llama 3".to_owned(),
        })
    }
}

/// A value as a person would write it.
fn shown(value: &Value) -> String {
    match value {
        Value::Unsigned(n) => n.to_string(),
        Value::Signed(n) => n.to_string(),
        Value::Float(x) => x.to_string(),
        Value::Bool(b) => b.to_string(),
        Value::Text(text) => text.clone(),
        Value::Array(values) => format!("a list of {}", values.len()),
    }
}

fn missing(what: &str) -> ConfigError {
    ConfigError::Impossible {
        reason: format!("{what} is missing in the file; fetch or convert the model anew"),
    }
}
