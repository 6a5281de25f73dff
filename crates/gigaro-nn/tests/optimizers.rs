//! What every optimiser must do: find a minimum, resume bit for bit, treat groups as asked.

use std::collections::BTreeMap;

use gigaro_nn::optim::{
    Adagrad, AdagradOptions, Adam, AdamOptions, AdamW, Muon, MuonOptions, ParamGroup, Sgd,
    SgdOptions,
};
use gigaro_nn::{Optimizer, StateDictError};
use gigaro_tensor::optim::newton_schulz;
use gigaro_tensor::{DType, Device, Generator, Tensor};

type Params = Vec<(String, Tensor)>;

/// A matrix and a vector, as parameters.
fn params(seed: u64) -> Params {
    let g = Generator::new(seed);
    let draw =
        |shape: &[usize]| Tensor::randn(shape, DType::F32, Device::Cpu, &g).requires_grad_(true);
    vec![("w".into(), draw(&[6, 4])), ("b".into(), draw(&[5]))]
}

type Make = fn(Params) -> Box<dyn Optimizer>;

fn optimizers() -> Vec<(&'static str, f64, Make)> {
    fn groups(p: Params) -> Vec<ParamGroup> {
        vec![ParamGroup::new(p)]
    }
    fn sgd(p: Params, momentum: f64, nesterov: bool) -> Box<dyn Optimizer> {
        Box::new(Sgd::new(
            groups(p),
            SgdOptions {
                momentum,
                nesterov,
                dampening: 0.0,
            },
        ))
    }
    vec![
        ("sgd", 0.1, |p| sgd(p, 0.0, false)),
        ("momentum", 0.02, |p| sgd(p, 0.9, false)),
        ("nesterov", 0.02, |p| sgd(p, 0.9, true)),
        ("adam", 0.05, |p| {
            Box::new(Adam::new(groups(p), AdamOptions::default()))
        }),
        ("adamw", 0.05, |p| {
            Box::new(AdamW::new(groups(p), AdamOptions::default()))
        }),
        ("adagrad", 0.5, |p| {
            Box::new(Adagrad::new(groups(p), AdagradOptions::default()))
        }),
        ("muon", 0.02, |mut p| {
            let rest = p.split_off(1);
            Box::new(Muon::new(groups(p), groups(rest), MuonOptions::default()))
        }),
    ]
}

/// `sum of (p - target)^2`, whose minimum is known.
fn loss(params: &Params) -> Tensor {
    let parts: Vec<Tensor> = params
        .iter()
        .map(|(_, p)| (p - 0.5).square().sum_all())
        .collect();
    &parts[0] + &parts[1]
}

fn train(
    params: &Params,
    optimizer: &mut dyn Optimizer,
    lr: impl Fn(usize) -> f64,
    steps: std::ops::Range<usize>,
) {
    for step in steps {
        optimizer.zero_grad();
        loss(params).backward();
        optimizer.step(lr(step), 1.0);
    }
}

fn bits(params: &Params) -> Vec<u32> {
    params
        .iter()
        .flat_map(|(_, p)| p.to_vec::<f32>())
        .map(f32::to_bits)
        .collect()
}

#[test]
fn every_optimizer_finds_the_minimum_of_a_quadratic() {
    for (name, lr, make) in optimizers() {
        let params = params(1);
        let mut optimizer = make(params.clone());
        let before = loss(&params).item();
        // Steps of constant length (Adam, Muon) settle only when the rate falls.
        train(
            &params,
            &mut *optimizer,
            |step| lr * (1.0 - step as f64 / 600.0),
            0..600,
        );
        let after = loss(&params).item();
        assert!(after < 1e-3 * before, "{name}: {before} -> {after}");
    }
}

#[test]
fn a_resumed_optimizer_continues_bit_for_bit() {
    for (name, lr, make) in optimizers() {
        let whole = params(2);
        train(&whole, &mut *make(whole.clone()), |_| lr, 0..20);

        let first = params(2);
        let mut optimizer = make(first.clone());
        train(&first, &mut *optimizer, |_| lr, 0..9);
        let saved: BTreeMap<_, _> = optimizer
            .state_dict()
            .into_iter()
            .map(|(k, t)| (k, t.copy()))
            .collect();
        let second: Params = first
            .iter()
            .map(|(n, p)| (n.clone(), p.detach().copy().requires_grad_(true)))
            .collect();
        let mut resumed = make(second.clone());
        resumed.load_state_dict(&saved).unwrap();
        train(&second, &mut *resumed, |_| lr, 9..20);
        assert_eq!(bits(&whole), bits(&second), "{name}");
    }
}

#[test]
fn foreign_state_is_refused_and_changes_nothing() {
    for (name, lr, make) in optimizers() {
        let params = params(3);
        let mut optimizer = make(params.clone());
        train(&params, &mut *optimizer, |_| lr, 0..3);
        let whole: BTreeMap<_, _> = optimizer
            .state_dict()
            .into_iter()
            .map(|(k, t)| (k, t.copy()))
            .collect();
        let mut given = whole.clone();
        given.remove("step.b").unwrap();
        assert!(
            matches!(
                optimizer.load_state_dict(&given),
                Err(StateDictError::Missing { .. })
            ),
            "{name}"
        );
        let mut given = whole.clone();
        given.insert(
            "exp_avg.other".into(),
            Tensor::zeros([1], DType::F32, Device::Cpu),
        );
        assert!(
            matches!(
                optimizer.load_state_dict(&given),
                Err(StateDictError::Unexpected { .. })
            ),
            "{name}"
        );
        let now = optimizer.state_dict();
        assert!(
            whole.iter().all(|(k, t)| t.to_bytes() == now[k].to_bytes()),
            "{name}"
        );
    }
}

#[test]
fn parameters_without_a_gradient_stay_and_do_not_count_steps() {
    for (name, lr, make) in optimizers() {
        let params = params(4);
        let before = bits(&params);
        let mut optimizer = make(params.clone());
        optimizer.step(lr, 1.0);
        assert_eq!(bits(&params), before, "{name}");
        assert_eq!(optimizer.state_dict()["step.w"].item(), 0.0, "{name}");
    }
}

#[test]
fn a_scale_on_the_gradient_equals_a_scaled_gradient() {
    for (name, lr, make) in optimizers() {
        let (a, b) = (params(5), params(5));
        let (mut on_a, mut on_b) = (make(a.clone()), make(b.clone()));
        loss(&a).backward();
        on_a.step(lr, 0.25);
        (loss(&b) * 0.25).backward();
        on_b.step(lr, 1.0);
        for (x, y) in bits(&a).into_iter().zip(bits(&b)) {
            let (x, y) = (f32::from_bits(x), f32::from_bits(y));
            assert!((x - y).abs() <= 1e-5 * x.abs().max(1.0), "{name}: {x} {y}");
        }
    }
}

#[test]
fn groups_have_their_own_decay_and_learning_rate() {
    let params = params(6);
    let start: Vec<f32> = params[0].1.to_vec();
    let groups = ParamGroup::decay_matrices(params.clone(), 0.5);
    assert_eq!((groups[0].params.len(), groups[1].params.len()), (1, 1));
    let groups = groups.into_iter().map(|g| g.lr_scale(0.1)).collect();
    let mut optimizer = AdamW::new(groups, AdamOptions::default());
    params
        .iter()
        .for_each(|(_, p)| p.set_grad(Some(p.detach().zeros_like())));
    let b = params[1].1.to_vec::<f32>();
    optimizer.step(1.0, 1.0);
    assert_eq!(params[1].1.to_vec::<f32>(), b);
    for (now, start) in params[0].1.to_vec::<f32>().into_iter().zip(start) {
        assert!((now - start * (1.0 - 0.1 * 0.5)).abs() < 1e-6);
    }
}

#[test]
fn newton_schulz_brings_singular_values_near_one() {
    for shape in [[8, 32], [32, 8], [16, 16]] {
        let x = Tensor::randn(shape, DType::F64, Device::Cpu, &Generator::new(7));
        let y = newton_schulz(&x, 5);
        assert_eq!(y.shape(), shape);
        let gram = if shape[0] <= shape[1] {
            y.matmul(&y.t())
        } else {
            y.t().matmul(&y)
        };
        let n = gram.size(0);
        // The trace is the sum of squared singular values, each in [0.7, 1.2] squared; a square
        // matrix may have one so small that five iterations do not lift it.
        let trace = (&gram * Tensor::eye(n, DType::F64, Device::Cpu))
            .sum_all()
            .item()
            / n as f64;
        assert!((0.45..1.45).contains(&trace), "{shape:?}: {trace}");
    }
}

#[test]
fn gradients_of_several_pieces_add_up_to_that_of_the_whole() {
    let (a, b) = (params(8), params(8));
    for _ in 0..4 {
        loss(&a).backward();
    }
    (loss(&b) * 4.0).backward();
    assert_eq!(
        a[0].1.grad().unwrap().to_vec::<f32>(),
        b[0].1.grad().unwrap().to_vec::<f32>()
    );
}
