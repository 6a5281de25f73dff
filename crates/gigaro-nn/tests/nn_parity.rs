//! Optimisers, clipping, schedules and initialisers against PyTorch and transformers.
//!
//! The numbers are in `fixtures/`, with the script that made them in float64. That an optimiser finds a minimum and
//! resumes is tested in `optimizers.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gigaro_nn::optim::{
    Adagrad, AdagradOptions, Adam, AdamOptions, AdamW, Muon, MuonOptions, ParamGroup, Sgd,
    SgdOptions,
};
use gigaro_nn::schedule::{Decay, Schedule};
use gigaro_nn::{Optimizer, clip, init};
use gigaro_tensor::io::load_safetensors;
use gigaro_tensor::{DType, Generator, Tensor};

type Fixture = BTreeMap<String, Tensor>;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn tensors() -> Fixture {
    load_safetensors(&path("optimizers.safetensors")).expect("the committed fixture is readable")
}

fn numbers() -> serde_json::Value {
    let text = std::fs::read_to_string(path("nn.json")).expect("the committed fixture is readable");
    serde_json::from_str(&text).expect("the committed fixture is JSON")
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).to_vec()
}

fn worst(actual: &Tensor, expected: &Tensor) -> f64 {
    let pairs = values(actual).into_iter().zip(values(expected));
    pairs.map(|(a, e)| (a - e).abs()).fold(0.0, f64::max)
}

/// Follows one optimiser through its ten gradients and compares the weights after every step.
fn check(
    name: &str,
    lr: f64,
    weights: &[&str],
    make: impl FnOnce(Vec<(String, Tensor)>) -> Box<dyn Optimizer>,
) {
    let fixture = tensors();
    let start = |w: &str| fixture[&format!("start.{w}")].copy().requires_grad_(true);
    let params: Vec<(String, Tensor)> = weights
        .iter()
        .map(|w| ((*w).to_owned(), start(w)))
        .collect();
    let mut optimizer = make(params.clone());
    for step in 0..10 {
        for (w, p) in &params {
            p.set_grad(Some(fixture[&format!("grad.{w}")].select(0, step).copy()));
        }
        optimizer.step(lr, 1.0);
        for (w, p) in &params {
            let difference = worst(p, &fixture[&format!("{name}.{w}")].select(0, step));
            assert!(
                difference < 5e-6,
                "{name}: weight {w} is off by {difference:.2e} after step {step}"
            );
        }
    }
}

fn decayed(params: Vec<(String, Tensor)>, weight_decay: f64) -> Vec<ParamGroup> {
    vec![ParamGroup::new(params).weight_decay(weight_decay)]
}

#[test]
fn sgd_takes_pytorchs_steps() {
    let options = |momentum, nesterov| SgdOptions {
        momentum,
        nesterov,
        dampening: 0.0,
    };
    let sgd = |decay, o| move |p| Box::new(Sgd::new(decayed(p, decay), o)) as Box<dyn Optimizer>;
    check("sgd", 0.1, &["a", "b"], sgd(0.0, options(0.0, false)));
    check(
        "sgd_momentum",
        0.1,
        &["a", "b"],
        sgd(0.01, options(0.9, false)),
    );
    check(
        "sgd_nesterov",
        0.05,
        &["a", "b"],
        sgd(0.01, options(0.9, true)),
    );
}

#[test]
fn adam_and_adamw_take_pytorchs_steps() {
    let options = |beta2| AdamOptions {
        beta1: 0.9,
        beta2,
        eps: 1e-8,
    };
    check("adam", 0.01, &["a", "b"], |p| {
        Box::new(Adam::new(decayed(p, 0.01), options(0.999)))
    });
    check("adamw", 0.01, &["a", "b"], |p| {
        Box::new(AdamW::new(decayed(p, 0.1), options(0.95)))
    });
}

#[test]
fn adagrad_takes_pytorchs_steps() {
    check("adagrad", 0.1, &["a", "b"], |p| {
        Box::new(Adagrad::new(decayed(p, 0.0), AdagradOptions::default()))
    });
}

#[test]
fn muon_takes_pytorchs_steps() {
    check("muon", 0.02, &["a"], |p| {
        Box::new(Muon::new(
            decayed(p, 0.1),
            Vec::new(),
            MuonOptions::default(),
        ))
    });
}

#[test]
fn clipping_measures_and_scales_as_pytorch() {
    let (fixture, numbers) = (tensors(), numbers());
    for case in ["clip_active", "clip_idle"] {
        let with_grad = |w: &str| {
            let before = &fixture[&format!("{case}.before.{w}")];
            let p = before.zeros_like().requires_grad_(true);
            p.set_grad(Some(before.clone()));
            (w.to_owned(), p)
        };
        let params = ["a", "b"].map(with_grad);
        let norm = clip::grad_norm(&params);
        let expected = &numbers["clipping"][case];
        assert!(
            (norm - expected["total_norm"].as_f64().unwrap()).abs() < 1e-5,
            "{case}: {norm}"
        );
        let scale = clip::clip_scale(norm, expected["max_norm"].as_f64().unwrap());
        for (w, p) in &params {
            let clipped = p.grad().unwrap() * scale;
            assert!(
                worst(&clipped, &fixture[&format!("{case}.after.{w}")]) < 1e-6,
                "{case}: {w}"
            );
        }
    }
}

#[test]
fn schedules_equal_those_of_pytorch_and_transformers() {
    let cosine = |min_lr| Decay::Cosine {
        total_steps: 60,
        min_lr,
    };
    let trapezoid = Decay::Trapezoid {
        total_steps: 60,
        decay_steps: 20,
        min_lr: 0.0,
    };
    let schedules = [
        ("cosine_warmup_10_total_60", 10, cosine(0.0)),
        (
            "linear_warmup_10_total_60",
            10,
            Decay::Linear {
                total_steps: 60,
                min_lr: 0.0,
            },
        ),
        (
            "step_15_gamma_0.5",
            0,
            Decay::Step {
                every: 15,
                gamma: 0.5,
            },
        ),
        ("cosine_total_60_min_0.1", 0, cosine(0.1)),
        ("trapezoid_warmup_10_decay_20_total_60", 10, trapezoid),
        ("noam_width_512_warmup_40", 40, Decay::Noam { d_model: 512 }),
    ];
    let numbers = numbers();
    for (name, warmup_steps, decay) in schedules {
        let schedule = Schedule {
            lr: 1.0,
            warmup_steps,
            decay,
        };
        let expected = numbers["schedules"][name].as_array().unwrap();
        for (step, lr) in expected.iter().enumerate() {
            let (ours, theirs) = (schedule.lr_at(step as u64), lr.as_f64().unwrap());
            assert!(
                (ours - theirs).abs() < 1e-9,
                "{name} at step {step}: {ours}, not {theirs}"
            );
        }
    }
}

#[test]
fn initialisers_have_pytorchs_bounds_and_deviations() {
    let numbers = &numbers()["initialisers"];
    let expected = |key: &str| numbers[key].as_f64().unwrap();
    let generator = Generator::new(7);
    // (out, in), large enough for the deviation to be known within a percent; the fixture's shape scaled by ten.
    let (shape, shrink) = ([480, 320], 10.0_f64.sqrt());
    let deviation = |t: Tensor| t.square().mean_all().item().sqrt() * shrink;
    let bound =
        |t: Tensor| t.abs().to_vec::<f32>().into_iter().fold(0.0_f32, f32::max) as f64 * shrink;
    let near = |what: &str, actual: f64, expected: f64| {
        assert!(
            (actual / expected - 1.0).abs() < 0.01,
            "{what}: {actual}, not {expected}"
        );
    };
    let kaiming = |key, t: Tensor| near(key, deviation(t), expected(key));
    kaiming(
        "kaiming_normal_relu_std",
        init::kaiming_normal(shape, init::Fan::In, init::RELU_GAIN, &generator),
    );
    kaiming(
        "xavier_normal_std",
        init::xavier_normal(shape, 1.0, &generator),
    );
    let uniform = |key, t: Tensor| near(key, bound(t), expected(key));
    uniform(
        "kaiming_uniform_relu_bound",
        init::kaiming_uniform(shape, init::Fan::In, init::RELU_GAIN, &generator),
    );
    uniform(
        "xavier_uniform_bound",
        init::xavier_uniform(shape, 1.0, &generator),
    );
    let cut = init::truncated_normal([100_000], 0.0, 0.02, -0.04, 0.04, &generator);
    near(
        "truncated_normal",
        cut.square().mean_all().item().sqrt(),
        expected("truncated_normal_std_0.02_at_2_sigma"),
    );
}
