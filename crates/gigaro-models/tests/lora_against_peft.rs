//! LoRA against PEFT: its files load, give its logits, merge to them, and come out again as they went in.
//!
//! `fixtures/make_lora.py` made the files.

use std::path::{Path, PathBuf};

use gigaro_models::gpt::{Gpt, GptConfig};
use gigaro_models::lora::{ADAPTER_CONFIG, ADAPTER_MODEL};
use gigaro_nn::{Mode, Module};
use gigaro_tensor::{DType, Tensor, io, no_grad};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("a file");
    serde_json::from_str(&text).expect("JSON")
}

/// The base model and the token ids of its fixture.
fn base(name: &str) -> (Gpt, Tensor) {
    let mut config = json(&fixture("fixtures.json"))[format!("tiny_{name}")]["config"].clone();
    config["model_type"] = name.into();
    let config = GptConfig::from_json(&config.to_string()).expect("a configuration");
    let gpt = Gpt::zeroed(&config);
    let mut tensors =
        io::load_safetensors(&fixture(&format!("tiny_{name}.safetensors"))).expect("weights");
    let ids = tensors.remove("fixture.input_ids").expect("ids");
    tensors.retain(|key, _| !key.starts_with("fixture."));
    gpt.load_hugging_face(&tensors).expect("all weights fit");
    (gpt, ids)
}

fn difference(gpt: &Gpt, ids: &Tensor, logits: &Tensor) -> f64 {
    let ours = no_grad(|| gpt.forward(ids, &Mode::Eval)).to_dtype(DType::F64);
    let theirs = logits.to_dtype(DType::F64);
    (&ours - &theirs).abs().max_all().item() / theirs.abs().max_all().item()
}

fn check(name: &str, adapters: usize) {
    let (mut gpt, ids) = base(name);
    let folder = fixture(&format!("lora_{name}"));
    let logits = io::load_safetensors(&folder.join("logits.safetensors")).expect("logits");
    let logits = &logits["logits"];
    let plain = difference(&gpt, &ids, logits);
    assert!(plain > 1e-2, "the adapter changes something: {plain:e}");

    gpt.load_lora(&folder).expect("PEFT's files are read");
    assert_eq!(gpt.lora_parameters().named_parameters().len(), 2 * adapters);
    let beside = difference(&gpt, &ids, logits);
    assert!(beside < 1e-5, "{name}: logits differ by {beside:e}");
    gpt.merge_lora();
    let merged = difference(&gpt, &ids, logits);
    assert!(merged < 1e-5, "{name}: merged logits differ by {merged:e}");
    gpt.unmerge_lora();

    // What PEFT reads comes out as PEFT wrote it: the same keys, shapes and bits, and the same settings.
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lora_{name}"));
    gpt.save_lora(&out, None).expect("writes");
    let [ours, theirs] = [&out, &folder]
        .map(|dir| io::load_safetensors(&dir.join(ADAPTER_MODEL)).expect("an adapter"));
    assert!(ours.keys().eq(theirs.keys()));
    for (key, tensor) in &theirs {
        assert_eq!(ours[key].shape(), tensor.shape(), "{key}");
        assert_eq!(ours[key].to_bytes(), tensor.to_bytes(), "{key}");
    }
    let [ours, theirs] = [&out, &folder].map(|dir| json(&dir.join(ADAPTER_CONFIG)));
    for (key, value) in ours.as_object().expect("keys") {
        assert_eq!(&theirs[key], value, "{key}");
    }
}

#[test]
fn an_adapter_of_gpt2_is_pefts() {
    check("gpt2", 4);
}

#[test]
fn an_adapter_of_llama_is_pefts() {
    check("llama", 6);
}
