//! Models written as converters write them, read back; and files that are no such models.

use std::collections::BTreeMap;

use gigaro_nn::{Mode, Module};
use gigaro_tensor::io::gguf::{BlockFormat, Gguf, GgufTensor, Value, write_gguf};
use gigaro_tensor::{DType, Generator, Tensor};

use super::gguf_names::name_in_file;
use super::*;

type Entries = Vec<(String, Value)>;
type Numbers = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Metadata as converters write it for this configuration.
fn entries(config: &GptConfig, architecture: &str) -> Entries {
    let whole = |n: usize| Value::Unsigned(n as u64);
    let norm = if config.is_learned() {
        "attention.layer_norm_epsilon"
    } else {
        "attention.layer_norm_rms_epsilon"
    };
    let mut keys = vec![
        ("context_length", whole(config.max_seq_len)),
        ("embedding_length", whole(config.d_model)),
        ("block_count", whole(config.n_layer)),
        ("feed_forward_length", whole(config.d_ff)),
        ("attention.head_count", whole(config.n_head)),
        ("attention.head_count_kv", whole(config.n_kv_head)),
        (norm, Value::Float(f64::from(config.eps as f32))),
    ];
    if let Position::Rotary { theta, .. } = config.position {
        keys.push(("rope.freq_base", Value::Float(theta)));
        keys.push(("rope.dimension_count", whole(config.head_dim())));
    }
    let mut all = vec![(
        "general.architecture".to_owned(),
        Value::Text(architecture.to_owned()),
    )];
    all.extend(
        keys.into_iter()
            .map(|(key, value)| (format!("{architecture}.{key}"), value)),
    );
    all
}

/// Tensors as converters write them: for Llama each head's halves are interleaved.
fn numbers(model: &Gpt, architecture: &str) -> Numbers {
    let d = model.config.head_dim();
    let stored = |(name, tensor): (String, Tensor)| {
        let is_rotated = name.contains("q_proj") || name.contains("k_proj");
        let tensor = if architecture == "llama" && is_rotated {
            let heads = tensor.size(0) / d;
            let rest = tensor.numel() / tensor.size(0);
            let halves = tensor
                .reshape([heads, 2, d / 2, rest])
                .transpose(1, 2)
                .contiguous();
            halves.reshape(tensor.shape())
        } else {
            tensor
        };
        let name = name_in_file(&name).expect("has a name");
        (name, (tensor.shape().to_vec(), tensor.to_vec::<f32>()))
    };
    model.state_dict().into_iter().map(stored).collect()
}

/// The bytes of a file with this model.
pub(crate) fn written(model: &Gpt, architecture: &str) -> Vec<u8> {
    bytes(
        &entries(&model.config, architecture),
        &numbers(model, architecture),
    )
}

fn file(entries: &Entries, numbers: &Numbers) -> Gguf {
    Gguf::from_bytes(bytes(entries, numbers)).expect("is read")
}

fn bytes(entries: &Entries, numbers: &Numbers) -> Vec<u8> {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = numbers
        .iter()
        .map(|(name, (shape, numbers))| {
            (
                name,
                shape,
                numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            )
        })
        .collect();
    let tensors: Vec<GgufTensor<'_>> = bytes
        .iter()
        .map(|(name, shape, bytes)| GgufTensor {
            name,
            shape: (*shape).clone(),
            format: BlockFormat::F32,
            bytes,
        })
        .collect();
    write_gguf(entries, &tensors).expect("is written")
}

/// A model with every number different, so that a matrix in the place of another is noticed.
fn drawn(config: &GptConfig) -> Gpt {
    let model = Gpt::new(config, &Generator::new(3));
    let dice = Generator::new(4);
    let tensors = model
        .state_dict()
        .into_iter()
        .map(|(name, t)| {
            (
                name,
                Tensor::randn(t.shape(), DType::F32, t.device(), &dice),
            )
        })
        .collect();
    model.load_state_dict(&tensors).expect("its own names");
    model
}

fn logits(model: &Gpt) -> Vec<f32> {
    let ids = Tensor::from_vec(vec![3_i64, 1, 4, 1, 5, 9, 2, 6], [1, 8]);
    model.forward(&ids, &Mode::Eval).to_vec::<f32>()
}

#[test]
fn models_of_every_architecture_come_back_to_the_bit() {
    let llama = GptConfig::llama(41, 16, 2, 4, 2, 32, 48);
    for (architecture, config) in [
        ("llama", llama.clone()),
        (
            "llama",
            GptConfig {
                tied_head: true,
                ..llama.clone()
            },
        ),
        (
            "llama",
            GptConfig {
                bias: true,
                ..llama.clone()
            },
        ),
        (
            "qwen2",
            GptConfig {
                qkv_bias: true,
                ..llama.clone()
            },
        ),
        (
            "qwen3",
            GptConfig {
                qk_norm: true,
                ..llama
            },
        ),
        ("gpt2", GptConfig::gpt2(41, 16, 2, 4, 32)),
    ] {
        let model = drawn(&config);
        let file = file(
            &entries(&config, architecture),
            &numbers(&model, architecture),
        );
        let read = Gpt::from_gguf(&file, "t.gguf").expect("is read");
        assert_eq!(read.config, config, "{architecture}");
        assert_eq!(logits(&read), logits(&model), "{architecture}");
    }
}

#[test]
fn the_scaling_of_llama_3_is_found_in_its_factors() {
    let scaling = RopeScaling {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_seq_len: 8192,
    };
    let position = Position::Rotary {
        theta: 500_000.0,
        scaling: Some(scaling),
    };
    let config = GptConfig {
        position,
        ..GptConfig::llama(41, 16, 1, 2, 2, 128, 48)
    };
    let model = drawn(&config);
    let factors: Vec<f32> = rope::frequencies(64, 500_000.0, None)
        .into_iter()
        .map(|frequency| scaling.divisor(frequency) as f32)
        .collect();
    let mut tensors = numbers(&model, "llama");
    tensors.insert("rope_freqs.weight".to_owned(), (vec![32], factors));
    let entries = entries(&config, "llama");
    let read = Gpt::from_gguf(&file(&entries, &tensors), "t.gguf").expect("is read");
    assert_eq!(read.config, config);
    assert_eq!(logits(&read), logits(&model));
    tensors.insert("rope_freqs.weight".to_owned(), (vec![32], vec![2.0; 32]));
    let error = Gpt::from_gguf(&file(&entries, &tensors), "t.gguf").expect_err("another scaling");
    assert!(
        error.to_string().contains("scaled in a way of its own"),
        "{error}"
    );
}

#[test]
fn what_the_decoder_does_not_have_is_refused_by_name() {
    let config = GptConfig::llama(41, 16, 1, 2, 2, 16, 24);
    let tensors = numbers(&drawn(&config), "llama");
    let refused = |key: &str, value: Value, expected: &str| {
        let mut entries = entries(&config, "llama");
        entries.retain(|(known, _)| known != key);
        entries.push((key.to_owned(), value));
        let error = Gpt::from_gguf(&file(&entries, &tensors), "t.gguf")
            .expect_err(expected)
            .to_string();
        assert!(
            error.contains(expected) && error.starts_with("t.gguf: "),
            "{error}"
        );
    };
    let text = |s: &str| Value::Text(s.to_owned());
    let whole = Value::Unsigned;
    refused(
        "general.architecture",
        text("mamba"),
        "the architecture mamba",
    );
    refused("llama.expert_count", whole(8), "llama.expert_count");
    refused(
        "llama.rope.scaling.type",
        text("yarn"),
        "llama.rope.scaling.type",
    );
    refused(
        "llama.attention.sliding_window",
        whole(4096),
        "sliding_window",
    );
    refused(
        "llama.rope.dimension_count",
        whole(4),
        "rope.dimension_count",
    );
    refused(
        "llama.attention.head_count_kv",
        Value::Array(vec![whole(2)]),
        "head_count_kv",
    );
    refused("llama.context_length", whole(1 << 40), "context_length");
    refused("llama.embedding_length", whole(8), "embedding_length");
    refused(
        "llama.block_count",
        whole(2),
        "a model of its settings needs",
    );
    refused("llama.block_count", text("two"), "llama.block_count");
    refused("llama.feed_forward_length", whole(20), "ffn_");
}

#[test]
fn tensors_that_are_missing_or_too_many_are_named() {
    let config = GptConfig::llama(41, 16, 1, 2, 2, 16, 24);
    let entries = entries(&config, "llama");
    let refused = |change: &dyn Fn(&mut Numbers), expected: &str| {
        let mut tensors = numbers(&drawn(&config), "llama");
        change(&mut tensors);
        let error = Gpt::from_gguf(&file(&entries, &tensors), "t.gguf")
            .expect_err(expected)
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    let put = |name: &'static str, shape: Vec<usize>| {
        move |tensors: &mut Numbers| {
            let numbers = vec![0.0; shape.iter().product()];
            tensors.insert(name.to_owned(), (shape.clone(), numbers));
        }
    };
    refused(
        &|t| drop(t.remove("token_embd.weight")),
        "token_embd.weight",
    );
    refused(
        &|t| drop(t.remove("output_norm.weight")),
        "a model of its settings needs",
    );
    refused(
        &put("blk.0.attn_sinks.weight", vec![2]),
        "blk.0.attn_sinks.weight",
    );
    refused(
        &put("blk.0.attn_v.weight", vec![32, 16]),
        "blk.0.attn_v.weight has the shape [32, 16]",
    );
}
