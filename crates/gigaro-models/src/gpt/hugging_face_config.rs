//! Between [`GptConfig`] and the `config.json` of transformers.

use serde_json::{Map, Value, json};

use super::config::{ConfigError, FeedForwardKind, GptConfig, NormKind, Position};
use super::rope::RopeScaling;

type Keys = Map<String, Value>;

const SUPPORTED: &str = "supported are the forms of gpt2, llama, mistral, qwen2 and qwen3";

/// Reads keys as transformers writes them.
pub(super) fn read(keys: &Keys) -> Result<GptConfig, ConfigError> {
    match keys.get("model_type").and_then(Value::as_str) {
        Some("gpt2") => gpt2(keys),
        Some("llama" | "mistral") => llama(keys),
        Some("qwen2") => Ok(GptConfig {
            qkv_bias: true,
            ..llama(keys)?
        }),
        Some("qwen3") => Ok(GptConfig {
            qk_norm: true,
            ..llama(keys)?
        }),
        Some(other) => Err(unsupported(format!("model_type {other}"), SUPPORTED)),
        None if keys.contains_key("n_embd") => gpt2(keys),
        None if keys.contains_key("hidden_size") => llama(keys),
        None => Err(ConfigError::Unreadable {
            reason: "it has none of the keys d_model, n_embd and hidden_size".to_owned(),
        }),
    }
}

fn unsupported(what: String, instead: &str) -> ConfigError {
    ConfigError::Unsupported {
        what,
        instead: instead.to_owned(),
    }
}

fn wrong_type(key: &str, wanted: &str) -> ConfigError {
    ConfigError::Unreadable {
        reason: format!("{key} must be {wanted}"),
    }
}

fn present<'a>(keys: &'a Keys, key: &str) -> Option<&'a Value> {
    keys.get(key).filter(|v| !v.is_null())
}

/// A size, if it is there.
fn size(keys: &Keys, key: &str) -> Result<Option<usize>, ConfigError> {
    let whole = |v: &Value| v.as_u64().and_then(|n| usize::try_from(n).ok());
    present(keys, key)
        .map(|v| whole(v).ok_or_else(|| wrong_type(key, "a whole number")))
        .transpose()
}

/// A size that must be there.
fn needed(keys: &Keys, key: &str) -> Result<usize, ConfigError> {
    size(keys, key)?.ok_or_else(|| ConfigError::Unreadable {
        reason: format!("{key} is missing"),
    })
}

fn number(keys: &Keys, key: &str, default: f64) -> Result<f64, ConfigError> {
    present(keys, key).map_or(Ok(default), |v| {
        v.as_f64().ok_or_else(|| wrong_type(key, "a number"))
    })
}

fn flag(keys: &Keys, key: &str, default: bool) -> Result<bool, ConfigError> {
    present(keys, key).map_or(Ok(default), |v| {
        v.as_bool().ok_or_else(|| wrong_type(key, "true or false"))
    })
}

/// Refuses a key with any value but `only`.
fn must_be(keys: &Keys, key: &str, only: bool) -> Result<(), ConfigError> {
    if flag(keys, key, only)? == only {
        return Ok(());
    }
    Err(unsupported(
        format!("{key} {}", !only),
        "use a model without it",
    ))
}

fn gpt2(keys: &Keys) -> Result<GptConfig, ConfigError> {
    let max_seq_len = size(keys, "n_positions")?
        .or(size(keys, "n_ctx")?)
        .unwrap_or(1024);
    let (heads, width) = (needed(keys, "n_head")?, needed(keys, "n_embd")?);
    let activation = match present(keys, "activation_function").and_then(Value::as_str) {
        None | Some("gelu_new" | "gelu_pytorch_tanh") => FeedForwardKind::GeluTanh,
        Some("gelu") => FeedForwardKind::Gelu,
        Some(other) => {
            return Err(unsupported(
                format!("activation_function {other}"),
                "supported are gelu_new and gelu",
            ));
        }
    };
    must_be(keys, "scale_attn_weights", true)?;
    must_be(keys, "scale_attn_by_inverse_layer_idx", false)?;
    Ok(GptConfig {
        d_ff: size(keys, "n_inner")?.unwrap_or(width.saturating_mul(4)),
        activation,
        tied_head: flag(keys, "tie_word_embeddings", true)?,
        dropout: number(keys, "resid_pdrop", 0.0)?,
        eps: number(keys, "layer_norm_epsilon", 1e-5)?,
        ..GptConfig::gpt2(
            needed(keys, "vocab_size")?,
            max_seq_len,
            needed(keys, "n_layer")?,
            heads,
            width,
        )
    })
}

fn llama(keys: &Keys) -> Result<GptConfig, ConfigError> {
    let (heads, width) = (
        needed(keys, "num_attention_heads")?,
        needed(keys, "hidden_size")?,
    );
    if let Some(d) = size(keys, "head_dim")?
        && d.checked_mul(heads) != Some(width)
    {
        return Err(unsupported(
            format!("head_dim {d} with {heads} heads and width {width}"),
            "head_dim must be hidden_size / num_attention_heads",
        ));
    }
    match present(keys, "hidden_act").and_then(Value::as_str) {
        None | Some("silu" | "swish") => {}
        Some(other) => {
            return Err(unsupported(
                format!("hidden_act {other}"),
                "supported is silu",
            ));
        }
    }
    let bias = flag(keys, "attention_bias", false)?;
    if bias != flag(keys, "mlp_bias", false)? {
        return Err(unsupported(
            "biases in only one of attention and mlp".to_owned(),
            "both or neither is",
        ));
    }
    // Qwen's files name a window and say beside it that it is not used.
    must_be(keys, "use_sliding_window", false)?;
    if let (Some(window), None) = (
        present(keys, "sliding_window"),
        present(keys, "use_sliding_window"),
    ) {
        return Err(unsupported(
            format!("sliding_window {window:.20}"),
            "use a model without it",
        ));
    }
    Ok(GptConfig {
        position: rotary(keys)?,
        bias,
        tied_head: flag(keys, "tie_word_embeddings", false)?,
        eps: number(keys, "rms_norm_eps", 1e-6)?,
        ..GptConfig::llama(
            needed(keys, "vocab_size")?,
            size(keys, "max_position_embeddings")?.unwrap_or(2048),
            needed(keys, "num_hidden_layers")?,
            heads,
            size(keys, "num_key_value_heads")?.unwrap_or(heads),
            width,
            needed(keys, "intermediate_size")?,
        )
    })
}

/// The base of the rotations and their scaling, in the newer place or the older one.
fn rotary(keys: &Keys) -> Result<Position, ConfigError> {
    let mut theta = number(keys, "rope_theta", 10_000.0)?;
    let mut scaling = None;
    for place in ["rope_parameters", "rope_scaling"] {
        let Some(inner) = present(keys, place).and_then(Value::as_object) else {
            continue;
        };
        let kind = present(inner, "rope_type")
            .or(present(inner, "type"))
            .and_then(Value::as_str);
        match kind {
            None | Some("default") => {}
            Some("llama3") => scaling = Some(llama3(inner)?),
            Some(kind) => {
                return Err(unsupported(
                    format!("rotary positions of type {kind}"),
                    "supported are the types default and llama3",
                ));
            }
        }
        theta = number(inner, "rope_theta", theta)?;
    }
    Ok(Position::Rotary { theta, scaling })
}

fn llama3(keys: &Keys) -> Result<RopeScaling, ConfigError> {
    let known = |key: &str| match present(keys, key) {
        Some(_) => number(keys, key, 0.0),
        None => Err(ConfigError::Unreadable {
            reason: format!("{key} of its rotary positions is missing"),
        }),
    };
    Ok(RopeScaling {
        factor: known("factor")?,
        low_freq_factor: known("low_freq_factor")?,
        high_freq_factor: known("high_freq_factor")?,
        original_max_seq_len: needed(keys, "original_max_position_embeddings")?,
    })
}

/// The keys of transformers for this configuration; none if it has no such form.
pub(super) fn write(config: &GptConfig) -> Keys {
    let form = match config.position {
        Position::Learned => write_gpt2(config),
        Position::Rotary { theta, scaling } => write_llama(config, theta, scaling),
    };
    match form {
        Some(Value::Object(keys)) => keys,
        _ => Keys::new(),
    }
}

fn write_gpt2(c: &GptConfig) -> Option<Value> {
    let activation = match c.activation {
        FeedForwardKind::GeluTanh => "gelu_new",
        FeedForwardKind::Gelu => "gelu",
        _ => return None,
    };
    let same = c.norm == NormKind::LayerNorm
        && c.n_kv_head == c.n_head
        && c.bias
        && !(c.qk_norm || c.value_embeddings);
    (same && c.logit_soft_cap.is_none()).then(|| {
        json!({
            "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
            "vocab_size": c.vocab_size, "n_positions": c.max_seq_len, "n_ctx": c.max_seq_len, "n_embd": c.d_model,
            "n_layer": c.n_layer, "n_head": c.n_head, "n_inner": c.d_ff, "activation_function": activation,
            "resid_pdrop": c.dropout, "embd_pdrop": c.dropout, "attn_pdrop": c.dropout,
            "layer_norm_epsilon": c.eps, "tie_word_embeddings": c.tied_head, "torch_dtype": "float32",
        })
    })
}

fn write_llama(c: &GptConfig, theta: f64, scaling: Option<RopeScaling>) -> Option<Value> {
    // Qwen2 and Qwen3 have biases in attention alone, so these do not combine.
    let same = c.norm == NormKind::RmsNorm
        && c.activation == FeedForwardKind::SwiGlu
        && u8::from(c.qk_norm) + u8::from(c.bias) + u8::from(c.qkv_bias) <= 1
        && !c.value_embeddings;
    let (architecture, model_type) = if c.qk_norm {
        ("Qwen3ForCausalLM", "qwen3")
    } else if c.qkv_bias {
        ("Qwen2ForCausalLM", "qwen2")
    } else {
        ("LlamaForCausalLM", "llama")
    };
    (same && c.logit_soft_cap.is_none()).then(|| {
        json!({
            "architectures": [architecture], "model_type": model_type,
            "vocab_size": c.vocab_size, "max_position_embeddings": c.max_seq_len, "hidden_size": c.d_model,
            "intermediate_size": c.d_ff, "num_hidden_layers": c.n_layer, "num_attention_heads": c.n_head,
            "num_key_value_heads": c.n_kv_head, "head_dim": c.head_dim(), "hidden_act": "silu",
            "rms_norm_eps": c.eps, "rope_theta": theta, "attention_bias": c.bias, "mlp_bias": c.bias,
            "rope_parameters": write_rope(theta, scaling),
            "tie_word_embeddings": c.tied_head, "torch_dtype": "float32",
        })
    })
}

fn write_rope(theta: f64, scaling: Option<RopeScaling>) -> Value {
    match scaling {
        None => json!({"rope_type": "default", "rope_theta": theta}),
        Some(s) => json!({
            "rope_type": "llama3", "rope_theta": theta, "factor": s.factor, "low_freq_factor": s.low_freq_factor,
            "high_freq_factor": s.high_freq_factor, "original_max_position_embeddings": s.original_max_seq_len,
        }),
    }
}
