//! GPT-2 and Llama against transformers, on the processor and on a card: logits, loss, every gradient, ten optimiser steps.
//!
//! `fixtures/make_gpt.py` made the files, in float64 from float32 weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gigaro_models::gpt::{Gpt, GptConfig, is_conv1d};
use gigaro_nn::optim::{AdamOptions, AdamW, ParamGroup};
use gigaro_nn::{Mode, Module, Optimizer, clip};
use gigaro_tensor::{DType, Device, Generator, Tensor, cuda, io};
use serde_json::Value;

type Tensors = BTreeMap<String, Tensor>;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn load(name: &str) -> Tensors {
    io::load_safetensors(&fixture(name)).unwrap()
}

fn facts(name: &str) -> Value {
    let text = std::fs::read_to_string(fixture("fixtures.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[name].clone()
}

/// The largest difference relative to the largest value.
fn difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.shape(), theirs.shape());
    let as_f64 = |t: &Tensor| t.detach().to_device(Device::Cpu).to_dtype(DType::F64);
    let (a, b) = (as_f64(ours), as_f64(theirs));
    (&a - &b).abs().max_all().item() / b.abs().max_all().item().max(1e-3)
}

struct Case {
    gpt: Gpt,
    ids: Tensor,
    targets: Tensor,
    logits: Tensor,
    loss: f64,
}

fn case(name: &str, device: Device) -> Case {
    let mut config = facts(name)["config"].clone();
    config["model_type"] = name.trim_start_matches("tiny_").into();
    let gpt = Gpt::new(
        &GptConfig::from_json(&config.to_string()).unwrap(),
        &Generator::new(0),
    );
    let mut weights = load(&format!("{name}.safetensors"));
    let mut take = |key: &str| weights.remove(&format!("fixture.{key}")).unwrap();
    let (ids, targets) = (take("input_ids"), take("targets"));
    let (logits, loss) = (take("logits"), take("loss").item());
    gpt.load_hugging_face(&weights).unwrap();
    gpt.to_device(device);
    Case {
        gpt,
        ids,
        targets,
        logits,
        loss,
    }
}

fn check(name: &str, device: Device) {
    let Case {
        gpt,
        ids,
        targets,
        logits,
        loss,
    } = case(name, device);
    let error = difference(&gpt.forward(&ids, &Mode::Eval), &logits);
    assert!(error < 1e-5, "logits of {name} differ by {error:e}");
    let ours = gpt.loss(&ids, &targets, &Mode::Eval);
    assert!(
        (ours.item() - loss).abs() < 1e-5,
        "loss of {name}: {} for {loss}",
        ours.item()
    );

    ours.backward();
    let gradients = load(&format!("{name}_gradients.safetensors"));
    let named = gpt.named_parameters();
    assert_eq!(named.len(), gradients.len());
    for (key, p) in &named {
        let grad = p.grad().unwrap();
        let grad = if is_conv1d(key) { grad.t() } else { grad };
        let error = difference(&grad, &gradients[key]);
        assert!(
            error < 2e-5,
            "gradient of {name} {key} differs by {error:e}"
        );
    }
    gpt.zero_grad();

    let group = ParamGroup::new(named.clone()).weight_decay(0.1);
    let mut optimizer = AdamW::new(vec![group], AdamOptions::default());
    for (i, step) in facts(name)["steps"].as_array().unwrap().iter().enumerate() {
        let loss = gpt.loss(&ids, &targets, &Mode::Eval);
        loss.backward();
        let norm = clip::grad_norm(&named);
        let (want_loss, want_norm) = (
            step["loss"].as_f64().unwrap(),
            step["grad_norm"].as_f64().unwrap(),
        );
        assert!(
            (loss.item() - want_loss).abs() < 1e-4,
            "{name} step {i}: loss {} for {want_loss}",
            loss.item()
        );
        assert!(
            (norm / want_norm - 1.0).abs() < 1e-4,
            "{name} step {i}: norm {norm} for {want_norm}"
        );
        optimizer.step(1e-3, clip::clip_scale(norm, 1.0));
        optimizer.zero_grad();
    }
    let after = load(&format!("{name}_ten_steps.safetensors"));
    for (key, t) in gpt.to_hugging_face() {
        let error = if key.ends_with("c_attn.bias") {
            // Softmax does not feel a shift of all keys: the true gradient of their bias is zero, and
            // Adam turns what rounding leaves of it into steps of full length.
            let c = gpt.config.d_model;
            let part =
                |i: usize| difference(&t.narrow(0, i * c, c), &after[&key].narrow(0, i * c, c));
            part(0).max(part(2))
        } else {
            difference(&t, &after[&key])
        };
        assert!(
            error < 1e-3,
            "{name} {key} differs by {error:e} after ten steps"
        );
    }
}

#[test]
fn gpt2_is_gpt2lmheadmodel() {
    check("tiny_gpt2", Device::Cpu);
}

#[test]
fn llama_is_llamaforcausallm() {
    check("tiny_llama", Device::Cpu);
}

#[test]
fn both_are_on_a_card_too() {
    let card = cuda::open_for_tests().expect("a card");
    check("tiny_gpt2", card);
    check("tiny_llama", card);
}
