//! Where adapters go, that nothing else is trained, and what is refused.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gigaro_nn::optim::{AdamOptions, AdamW, Muon, MuonOptions};
use gigaro_nn::{Mode, Module, Optimizer, init};
use gigaro_tensor::{DType, Generator, Tensor, no_grad};

use super::files::read_config;
use super::*;
use crate::GptConfig;

fn models() -> Vec<Gpt> {
    let gpt2 = GptConfig::gpt2(41, 16, 2, 4, 32);
    let llama = GptConfig {
        qk_norm: true,
        ..GptConfig::llama(41, 16, 2, 4, 2, 32, 48)
    };
    let modern = GptConfig {
        value_embeddings: true,
        logit_soft_cap: Some(15.0),
        ..llama.clone()
    };
    let model = |c: &GptConfig| Gpt::new(c, &Generator::new(2));
    [gpt2, llama, modern].iter().map(model).collect()
}

/// With adapters that look trained.
fn adapted(mut model: Gpt, config: &LoraConfig) -> Gpt {
    let random = Generator::new(7);
    model.add_lora(config, &random).expect("layers to carry it");
    for (_, p) in model.lora_parameters().named_parameters() {
        let drawn = init::normal(p.shape(), 0.0, 0.1, &random);
        no_grad(|| p.copy_(&drawn));
    }
    model
}

fn logits(model: &Gpt) -> Tensor {
    let ids: Vec<i64> = (0..16).map(|i| i * 7 % 41).collect();
    no_grad(|| model.forward(&Tensor::from_vec(ids, [2, 8]), &Mode::Eval))
}

fn largest(x: &Tensor) -> f64 {
    x.detach().abs().max_all().item()
}

fn bytes(tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Vec<u8>> {
    let tensors = tensors.into_iter();
    tensors.map(|(name, t)| (name, t.to_bytes())).collect()
}

/// A folder that is gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let unique = format!("gigaro-lora-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(unique))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn all_linear_is_every_matrix_that_a_layer_has_and_names_match_from_a_dot_on() {
    for mut model in models() {
        let mut named = Vec::new();
        model.visit("", &mut |name, t| {
            let inside = name.contains(".h.") || name.contains(".layers.");
            // Rows that are looked up are no matrix that multiplies.
            if t.ndim() == 2 && inside && !name.contains("embedding") {
                named.push(name.trim_end_matches(".weight").to_owned());
            }
        });
        let mut listed = model.lora_modules();
        named.sort();
        listed.sort();
        assert_eq!(listed, named);
    }
    let config = |targets: &[&str]| LoraConfig {
        target_modules: targets.iter().map(|t| (*t).to_owned()).collect(),
        ..LoraConfig::new(2)
    };
    let [attention, mlp] = ["h.0.attn.c_proj", "h.0.mlp.c_proj"];
    assert!(config(&["c_proj"]).matches(attention) && config(&["c_proj"]).matches(mlp));
    assert!(config(&["attn.c_proj"]).matches(attention));
    assert!(!config(&["attn.c_proj"]).matches(mlp) && !config(&["proj"]).matches(mlp));
    assert!(config(&[ALL_LINEAR]).matches(mlp) && config(&[attention]).matches(attention));
}

#[test]
fn training_moves_the_adapters_and_leaves_every_bit_of_the_base() {
    let ids = Tensor::from_vec((0..32).map(|i| i * 5 % 41).collect::<Vec<i64>>(), [2, 16]);
    for checkpointed in [false, true] {
        for plain in models() {
            let mut config = LoraConfig::new(3);
            config.lora_dropout = 0.2;
            let before = bytes(plain.state_dict());
            let train = || {
                let mut model = plain.clone();
                model.checkpoint_activations = checkpointed;
                model.add_lora(&config, &Generator::new(4)).expect("fits");
                let mut optimizer = AdamW::new(model.param_groups(0.1), AdamOptions::default());
                let mode = Mode::Train(Generator::new(9));
                let mut losses = Vec::new();
                for _ in 0..12 {
                    let loss = model.loss(&ids, &ids, &mode);
                    losses.push(loss.item());
                    loss.backward();
                    optimizer.step(1e-2, 1.0);
                    optimizer.zero_grad();
                }
                for name in optimizer.state_dict().keys() {
                    assert!(name.contains(".lora_"), "{name}");
                }
                assert!(losses[11] < losses[0] - 0.05, "{losses:?}");
                model
            };
            let model = train();
            let after = bytes(model.state_dict());
            for (name, bits) in &before {
                assert_eq!(&after[name], bits, "{name}");
            }
            let adapters = bytes(model.lora_parameters().state_dict());
            assert_eq!(after.len(), before.len() + adapters.len());
            assert_eq!(
                model.num_parameters(),
                model.lora_parameters().num_parameters()
            );
            assert_eq!(bytes(train().lora_parameters().state_dict()), adapters);
        }
    }
}

#[test]
fn muon_is_given_the_adapters_only() {
    for mut model in models() {
        model
            .add_lora(&LoraConfig::new(2), &Generator::new(1))
            .expect("fits");
        let (inside, rest) = model.muon_groups(0.0);
        let optimizer = Muon::new(inside, rest, MuonOptions::default());
        for group in optimizer.groups() {
            for (name, _) in &group.params {
                assert!(name.contains(".lora_"), "{name}");
            }
        }
    }
}

#[test]
fn merging_changes_nothing_but_the_cost_and_can_be_taken_back_or_kept() {
    for plain in models() {
        let names: Vec<String> = plain.state_dict().into_keys().collect();
        let mut model = adapted(plain.clone(), &LoraConfig::new(3));
        let beside = logits(&model);
        assert!(largest(&(&beside - logits(&plain))) > 1e-2);
        model.merge_lora();
        assert!(largest(&(logits(&model) - &beside)) < 1e-5 * largest(&beside).max(1.0));
        assert!(model.state_dict().into_keys().eq(names.iter().cloned()));
        assert!(model.save_lora(&Folder::new("merged").0, None).is_err());
        model.unmerge_lora();
        assert_eq!(logits(&model).to_bytes(), beside.to_bytes());
        model.merge_and_unload();
        assert!(model.lora_config().is_none());
        assert_eq!(model.named_parameters().len(), names.len());
        assert!(largest(&(logits(&model) - &beside)) < 1e-5 * largest(&beside).max(1.0));
    }
}

#[test]
fn what_is_saved_loads_again_bit_for_bit() {
    for (i, plain) in models().into_iter().enumerate() {
        let folder = Folder::new(&format!("round-{i}"));
        let mut config = LoraConfig::new(3);
        config.lora_alpha = 4.5;
        let model = adapted(plain.clone(), &config);
        model
            .save_lora(&folder.0, Some("runs/base"))
            .expect("writes");
        let mut again = plain.clone();
        again.load_lora(&folder.0).expect("reads");
        assert_eq!(again.lora_config(), Some(&config));
        assert_eq!(logits(&again).to_bytes(), logits(&model).to_bytes());
        let mut other = GptConfig::gpt2(41, 16, 3, 4, 32);
        for (change, told) in [(0, "is missing"), (1, "for another base")] {
            if change == 1 {
                other = GptConfig::llama(41, 16, 2, 4, 2, 64, 48);
            }
            let mut other = Gpt::new(&other, &Generator::new(1));
            let before = other.named_parameters().len();
            let said = other
                .load_lora(&folder.0)
                .expect_err("another base")
                .to_string();
            assert!(said.contains("adapter_model.safetensors"), "{said}");
            assert!(said.contains(told) || said.contains("is missing"), "{said}");
            assert_eq!(
                other.named_parameters().len(),
                before,
                "nothing was changed"
            );
        }
    }
}

#[test]
fn adapters_that_do_not_fit_are_refused_with_a_sentence() {
    let mut model = models().remove(0);
    let mut config = LoraConfig::new(2);
    config.target_modules = vec!["q_proj".into()];
    let said = model
        .add_lora(&config, &Generator::new(1))
        .expect_err("no such layer");
    let said = said.to_string();
    assert!(
        said.contains("`q_proj`") && said.contains("c_attn, c_proj, c_fc"),
        "{said}"
    );
    config.target_modules = vec!["lm_head".into()];
    assert!(model.add_lora(&config, &Generator::new(1)).is_err());
    assert!(model.save_lora(&Folder::new("none").0, None).is_err());

    let folder = Folder::new("refused");
    let mut config = LoraConfig::new(2);
    config.target_modules = vec!["c_attn".into()];
    adapted(model.clone(), &config)
        .save_lora(&folder.0, None)
        .expect("writes");
    let path = folder.0.join(ADAPTER_CONFIG);
    let text = fs::read_to_string(&path).expect("was written");
    let mut told = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replace(from, to)).expect("writes");
        model.load_lora(&folder.0).expect_err(to).to_string()
    };
    let said = told("\"r\": 2", "\"r\": 4");
    assert!(said.contains("rank 2") && said.contains("r = 4"), "{said}");
    let said = told("\"c_attn\"", "\"c_attn\",\"c_fc\"");
    assert!(said.contains("mlp.c_fc.lora_A.weight is missing"), "{said}");
    let said = told("\"c_attn\"", "\"c_fc\"");
    assert!(said.contains("is missing"), "{said}");
    let said = told("\"LORA\"", "\"IA3\"");
    assert!(said.contains("peft_type is \"IA3\""), "{said}");
    let said = told("\"bias\"", "\"use_dora\": true, \"bias\"");
    assert!(said.contains("use_dora is true"), "{said}");
    let said = told("\"r\": 2", "\"r\": -2");
    assert!(said.contains("r must be a whole number"), "{said}");
    fs::write(&path, &text).expect("writes");
    model.load_lora(&folder.0).expect("as it was");
    let weights = folder.0.join(ADAPTER_MODEL);
    let whole = fs::read(&weights).expect("was written");
    fs::write(&weights, &whole[..whole.len() - 5]).expect("writes");
    assert!(model.load_lora(&folder.0).is_err());
    assert!(model.load_lora(&folder.0.join("missing")).is_err());
}

#[test]
fn whatever_a_configuration_says_it_is_refused_or_makes_sense() {
    let valid = br#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": ["q_proj"], "bias": "none"}"#;
    assert!(read_config(valid, Path::new(ADAPTER_CONFIG)).is_ok());
    let random = Generator::new(3);
    let numbers = Tensor::rand([3000, 2], DType::F64, gigaro_tensor::Device::Cpu, &random);
    for pair in numbers.to_vec::<f64>().chunks(2) {
        let mut bytes = valid.to_vec();
        let at = (pair[0] * bytes.len() as f64) as usize;
        bytes[at] = (pair[1] * 256.0) as u8;
        if let Ok(config) = read_config(&bytes, Path::new(ADAPTER_CONFIG)) {
            config.check().expect("was checked");
        }
        assert!(read_config(&valid[..at], Path::new(ADAPTER_CONFIG)).is_err());
    }
}
