//! A GPT on a card, an emulated one unless `GIGARO_TEST_DEVICE` says otherwise: what it says, learns and writes is what it does on the processor.

use std::collections::BTreeMap;

use gigaro_models::gpt::KvCache;
use gigaro_models::{ActorCritic, Gpt, GptConfig, RewardModel};
use gigaro_nn::optim::{AdamOptions, AdamW, Muon, MuonOptions, Optimizer};
use gigaro_nn::{Mode, Module, clip};
use gigaro_tensor::{DType, Device, Generator, Tensor, autocast, cuda, no_grad};

fn card() -> Device {
    cuda::open_for_tests().expect("a card")
}

/// GPT-2's form with dropout, and the modern one with grouped heads and a soft cap.
fn configs() -> [GptConfig; 2] {
    let gpt2 = GptConfig {
        dropout: 0.2,
        ..GptConfig::gpt2(61, 24, 2, 4, 32)
    };
    let modern = GptConfig {
        n_kv_head: 2,
        value_embeddings: true,
        ..GptConfig::modern(61, 24, 2, 4, 32)
    };
    [gpt2, modern]
}

fn model(config: &GptConfig, device: Device) -> Gpt {
    let model = Gpt::new(config, &Generator::new(3));
    model.to_device(device);
    model
}

fn batch(step: i64) -> (Tensor, Tensor) {
    let ids: Vec<i64> = (0..2 * 24).map(|i| (i * 37 + step) % 61).collect();
    let targets = ids
        .iter()
        .map(|i| if i % 9 == 0 { -100 } else { (i + 1) % 61 })
        .collect();
    (
        Tensor::from_vec(ids, [2, 24]),
        Tensor::from_vec(targets, [2, 24]),
    )
}

/// Loss, and every gradient.
fn learned(model: &Gpt, dtype: DType) -> (f64, BTreeMap<String, Vec<f32>>) {
    let (ids, targets) = batch(0);
    let loss = autocast(dtype, || {
        let loss = model.loss(&ids, &targets, &Mode::Train(Generator::new(5)));
        loss.backward();
        loss.item()
    });
    let grads = model.named_parameters().into_iter().map(|(name, p)| {
        let grad = p.grad().expect("a gradient");
        assert_eq!(grad.device(), model.device(), "{name}");
        (name, grad.to_vec::<f32>())
    });
    (loss, grads.collect())
}

fn worst(a: &[f32], b: &[f32]) -> f32 {
    let scale = a.iter().fold(1e-3, |m: f32, x| m.max(x.abs()));
    a.iter()
        .zip(b)
        .map(|(x, y)| (x - y).abs() / scale)
        .fold(0.0, f32::max)
}

#[test]
fn loss_and_every_gradient_are_those_of_the_processor() {
    alike(card());
}

#[test]
fn so_they_are_where_a_library_multiplies() {
    // An emulated one on every machine.
    alike(cuda::open_emulated_with_library(904).expect("an emulated card"));
}

fn alike(device: Device) {
    for config in configs() {
        for (dtype, allowed) in [(DType::F32, 1e-4), (DType::BF16, 0.1)] {
            let (loss, grads) = learned(&model(&config, Device::Cpu), dtype);
            let (there, grads_there) = learned(&model(&config, device), dtype);
            assert!(
                (loss - there).abs() < f64::from(allowed) * loss,
                "{dtype}: {loss} {there}"
            );
            for (name, grad) in &grads {
                let off = worst(grad, &grads_there[name]);
                assert!(off < allowed, "{name} in {dtype}: {off}");
            }
        }
    }
}

/// The losses of some steps, and the weights after them.
fn trained(device: Device, muon: bool) -> (Vec<f64>, Vec<Vec<f32>>) {
    let model = model(&configs()[1], device);
    let mut optimizer: Box<dyn Optimizer> = if muon {
        let (matrices, rest) = model.muon_groups(0.1);
        Box::new(Muon::new(matrices, rest, MuonOptions::default()))
    } else {
        Box::new(AdamW::new(model.param_groups(0.1), AdamOptions::default()))
    };
    let step = |i| {
        let (ids, targets) = batch(i);
        model.zero_grad();
        let loss = model.loss(&ids, &targets, &Mode::Eval);
        loss.backward();
        let norm = clip::grad_norm(&model.named_parameters());
        optimizer.step(0.01, clip::clip_scale(norm, 1.0));
        loss.item()
    };
    let losses = (0..4).map(step).collect();
    let weights = model.state_dict();
    (
        losses,
        weights.values().map(Tensor::to_vec::<f32>).collect(),
    )
}

#[test]
fn training_goes_the_same_way_and_twice_the_same_bits() {
    for muon in [false, true] {
        let (losses, weights) = trained(Device::Cpu, muon);
        let (there, weights_there) = trained(card(), muon);
        for (a, b) in losses.iter().zip(&there) {
            assert!((a - b).abs() < 1e-3, "{losses:?} {there:?}");
        }
        assert!(losses[3] < losses[0]);
        for (a, b) in weights.iter().zip(&weights_there) {
            assert!(worst(a, b) < 0.05);
        }
        assert_eq!(trained(card(), muon), (there, weights_there));
    }
}

#[test]
fn it_writes_what_it_writes_on_the_processor() {
    for config in configs() {
        let written = |device| {
            let model = model(&config, device);
            let mut cache = KvCache::new(&model);
            let (mut text, mut next) = (vec![1_u32, 2, 3], vec![1, 2, 3]);
            for _ in 0..12 {
                let logits = model.decode(&next, &mut cache);
                let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
                next = vec![best.expect("a vocabulary") as u32];
                text.extend(&next);
            }
            assert_eq!(cache.captured_steps(), usize::from(device != Device::Cpu));
            text
        };
        assert_eq!(written(card()), written(Device::Cpu));
    }
}

/// Logits of steps in changing company, while weights change under them and the model is replaced and moved.
fn stepped(device: Device) -> Vec<Vec<f32>> {
    let (first, second) = (model(&configs()[1], device), model(&configs()[1], device));
    for (_, weight) in second.named_parameters() {
        no_grad(|| weight.mul_(1.1));
    }
    let mut cache = KvCache::with_rows(&first, 3);
    let mut found = Vec::new();
    let mut step = |model: &Gpt, rows: &[usize]| {
        let ids: Vec<u32> = rows
            .iter()
            .map(|row| *row as u32 + found.len() as u32)
            .collect();
        let logits = model.decode_rows(&ids, rows, &mut cache);
        found.push(logits);
    };
    for _ in 0..3 {
        step(&first, &[0, 1, 2]);
        step(&first, &[2]);
    }
    for (_, weight) in first.named_parameters() {
        no_grad(|| weight.mul_(0.9));
    }
    step(&first, &[1, 0, 2]);
    step(&second, &[0, 1, 2]);
    step(&first, &[2, 0, 1]);
    first.to_device(Device::Cpu);
    first.to_device(device);
    (0..3).for_each(|_| step(&first, &[0, 1, 2]));
    found.iter().map(|logits| logits.to_vec()).collect()
}

#[test]
fn steps_that_are_repeated_follow_the_texts_and_the_weights() {
    let (here, there) = (stepped(Device::Cpu), stepped(card()));
    for (i, (a, b)) in here.iter().zip(&there).enumerate() {
        assert!(worst(a, b) < 1e-4, "step {i}");
    }
}

#[test]
fn steps_of_models_that_take_turns_are_captured_once_each_and_hold_no_model() {
    let device = cuda::open_emulated_of(907, 64 << 20).expect("an emulated card");
    let held = || cuda::memory_stats(907).expect("open").allocated_bytes;
    let first = model(&configs()[1], device);
    let with_one = held();
    let second = model(&configs()[1], device);
    let weights = held() - with_one;
    let mut cache = KvCache::with_rows(&first, 2);
    let mut step = |model: &Gpt, id: u32| {
        let before = held();
        let _ = model.decode_rows(&[id, id], &[0, 1], &mut cache);
        (cache.captured_steps(), held() > before)
    };
    for id in 0..3 {
        step(&first, id);
        step(&second, id);
    }
    // Nothing is captured any more, and nothing taken.
    assert_eq!(step(&first, 5), (2, false));
    assert_eq!(step(&second, 5), (2, false));
    let before = held();
    drop(second);
    assert!(before - held() >= weights);
    assert_eq!(step(&first, 6).0, 2);
    cache.clear();
    assert_eq!(cache.captured_steps(), 0);
}

#[test]
fn judges_move_with_what_they_judge() {
    let trunk = model(&configs()[1], card());
    let judge = RewardModel::new(trunk.clone(), &Generator::new(1));
    let (ids, _) = batch(0);
    let rewards = judge.rewards(&ids, &[24, 7], &Mode::Eval);
    assert_eq!(rewards.device(), card());
    judge.to_device(Device::Cpu);
    let here = judge.rewards(&ids, &[24, 7], &Mode::Eval);
    assert!(worst(&here.to_vec::<f32>(), &rewards.to_vec::<f32>()) < 1e-4);
    let critic = ActorCritic::separate(model(&configs()[0], card()), &model(&configs()[0], card()));
    let (_, of_value) = critic.hidden(&ids);
    assert_eq!(
        critic.value_head.forward(&of_value).to_vec::<f32>(),
        [0.0; 48]
    );
}
