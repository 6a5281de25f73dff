//! Every parser of foreign bytes in this crate, each behind one function of arbitrary bytes.
//!
//! A function feeds the bytes to a parser and, where they are accepted, checks that what came out holds together. It panics
//! where that fails; being refused is fine. The fuzz targets in `fuzz/` call these and nothing else, and an ordinary test
//! calls them with thousands of mutations of valid files.

use crate::lora::{ADAPTER_CONFIG, read_config};
use crate::{Gpt, GptConfig};
use gigaro_nn::Module;
use gigaro_tensor::Generator;
use gigaro_tensor::io::gguf::Gguf;
use std::path::Path;

/// A model's `config.json`, ours or that of transformers.
pub fn config_json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(config) = GptConfig::from_json(text) {
        config.check().expect("what is read has been checked");
        let again = GptConfig::from_json(&config.to_json()).expect("our own file is read");
        assert_eq!(again, config, "writing changed the configuration");
    }
}

/// A model in a GGUF file.
pub fn gguf_model(bytes: &[u8]) {
    let Ok(file) = Gguf::from_bytes(bytes.to_vec()) else {
        return;
    };
    let Ok(config) = GptConfig::from_gguf(&file) else {
        return;
    };
    config.check().expect("what is read has been checked");
    // A long context is no lie that could be told from the file, and its tables take long to make.
    if config.max_seq_len * config.head_dim() < 1 << 16
        && let Ok(model) = Gpt::from_gguf(&file, "foreign")
    {
        assert_eq!(model.num_parameters() as u64, config.num_params());
    }
}

/// `adapter_config.json` and `adapter_model.safetensors` of a LoRA adapter, a zero byte between them.
pub fn lora_adapter(bytes: &[u8]) {
    let middle = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    let (config, rest) = bytes.split_at(middle);
    let weights = rest.get(1..).unwrap_or_default();
    let dir = Path::new("foreign");
    let Ok(config) = read_config(config, &dir.join(ADAPTER_CONFIG)) else {
        return;
    };
    config.check().expect("what is read has been checked");
    let mut model = small_model();
    if model.read_lora(&config, weights, dir).is_ok() {
        assert!(
            !model.lora_parameters().named_parameters().is_empty(),
            "an adapter without a weight passed"
        );
    }
}

/// What adapters are put on: as small as a model can be with two of everything.
fn small_model() -> Gpt {
    Gpt::new(&GptConfig::gpt2(5, 4, 1, 2, 4), &Generator::new(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoraConfig;
    use crate::lora::ADAPTER_MODEL;
    use gigaro_tensor::testing::mutated;

    fn check(parser: fn(&[u8]), seeds: &[Vec<u8>]) {
        let dice = Generator::new(seeds.len() as u64);
        for seed in seeds {
            parser(seed);
            for _ in 0..3000 / seeds.len() {
                parser(&mutated(seed, &dice));
            }
        }
    }

    #[test]
    fn no_config_json_panics() {
        let modern = GptConfig {
            qk_norm: true,
            value_embeddings: true,
            logit_soft_cap: Some(15.0),
            ..GptConfig::llama(41, 16, 2, 4, 2, 32, 48)
        };
        let llama = br#"{"model_type": "llama", "vocab_size": 41, "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 16,
            "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true}"#;
        let gpt2 =
            br#"{"model_type": "gpt2", "vocab_size": 41, "n_embd": 32, "n_layer": 2, "n_head": 4,
            "n_positions": 16, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5}"#;
        let own = [GptConfig::gpt2(41, 16, 2, 4, 32), modern].map(|c| c.to_json().into_bytes());
        let mut seeds = own.to_vec();
        seeds.extend([llama.to_vec(), gpt2.to_vec()]);
        for seed in &seeds {
            let text = std::str::from_utf8(seed).expect("text");
            GptConfig::from_json(text).expect("the seeds are valid");
        }
        check(config_json, &seeds);
    }

    #[test]
    fn no_model_in_gguf_panics() {
        let config = GptConfig::llama(7, 8, 1, 2, 1, 8, 8);
        let model = Gpt::new(&config, &Generator::new(1));
        let seed = crate::gpt::gguf_tests::written(&model, "llama");
        let file = Gguf::from_bytes(seed.clone()).expect("is valid");
        Gpt::from_gguf(&file, "seed").expect("the seed is valid");
        check(gguf_model, &[seed]);
    }

    #[test]
    fn no_lora_adapter_panics() {
        let mut model = small_model();
        let config = LoraConfig {
            target_modules: vec!["c_attn".to_owned()],
            ..LoraConfig::new(2)
        };
        model
            .add_lora(&config, &Generator::new(2))
            .expect("has such a layer");
        let dir = std::env::temp_dir().join(format!("gigaro-hostile-{}", std::process::id()));
        model.save_lora(&dir, None).expect("is saved");
        let read = |name| std::fs::read(dir.join(name)).expect("was just written");
        let (keys, weights) = (read(ADAPTER_CONFIG), read(ADAPTER_MODEL));
        small_model().load_lora(&dir).expect("the seed is valid");
        std::fs::remove_dir_all(&dir).expect("is ours");
        check(lora_adapter, &[[keys, vec![0], weights].concat()]);
    }
}
