//! Layers against what they are defined to be, and gradients to all of their weights.

use gigaro_nn::{
    Activation, Dropout, Embedding, LayerNorm, Linear, Mlp, Mode, Module, MultiheadAttention,
    RmsNorm, attention_with_dropout,
};
use gigaro_tensor::{DType, Device, Generator, Tensor, functional};

fn randn(shape: &[usize], seed: u64) -> Tensor {
    Tensor::randn(shape, DType::F32, Device::Cpu, &Generator::new(seed))
}

fn close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.shape(), b.shape());
    for (x, y) in a.to_vec::<f32>().into_iter().zip(b.to_vec::<f32>()) {
        assert!((x - y).abs() < 1e-5 * x.abs().max(1.0), "{x} {y}");
    }
}

/// Every parameter gets a gradient that is not zero.
fn all_have_gradients(module: &dyn Module, output: &Tensor) {
    (output * randn(output.shape(), 99)).sum_all().backward();
    for (name, p) in module.named_parameters() {
        let grad = p
            .grad()
            .unwrap_or_else(|| panic!("no gradient reaches {name}"));
        assert!(
            grad.to_vec::<f32>().iter().any(|&g| g != 0.0),
            "the gradient of {name} is zero"
        );
    }
}

#[test]
fn linear_is_a_product_and_a_shift() {
    let layer = Linear::new(5, 3, true, &Generator::new(1));
    let x = randn(&[2, 4, 5], 2);
    let y = layer.forward(&x);
    close(
        &y,
        &(x.matmul(&layer.weight.t()) + layer.bias.as_ref().unwrap()),
    );
    let bound = 1.0 / 5.0_f32.sqrt();
    assert!(
        layer
            .weight
            .to_vec::<f32>()
            .iter()
            .all(|w| w.abs() <= bound)
    );
    all_have_gradients(&layer, &y);
}

#[test]
fn embedding_takes_rows_and_adds_the_gradients_of_repeated_ids() {
    let layer = Embedding::new(4, 3, &Generator::new(1));
    let ids = Tensor::from_slice(&[1i64, 3, 1, 1], [2, 2]);
    let y = layer.forward(&ids);
    assert_eq!(y.shape(), [2, 2, 3]);
    y.sum_all().backward();
    let grad = layer.weight.grad().unwrap().sum(-1).to_vec::<f32>();
    assert_eq!(grad, [0.0, 9.0, 0.0, 3.0]);
}

#[test]
fn norms_centre_and_scale() {
    let x = randn(&[6, 32], 3) * 5.0 + 2.0;
    let layer = LayerNorm::new(32, true, 1e-5);
    let y = layer.forward(&x);
    assert!(y.mean(-1).to_vec::<f32>().iter().all(|m| m.abs() < 1e-5));
    assert!(
        y.var(-1, 0)
            .to_vec::<f32>()
            .iter()
            .all(|v| (v - 1.0).abs() < 1e-3)
    );
    all_have_gradients(&layer, &y);
    let layer = RmsNorm::new(32, 1e-6);
    let y = layer.forward(&x);
    assert!(
        y.square()
            .mean(-1)
            .to_vec::<f32>()
            .iter()
            .all(|v| (v - 1.0).abs() < 1e-4)
    );
    all_have_gradients(&layer, &y);
}

#[test]
fn dropout_only_acts_while_training_and_follows_its_seed() {
    let x = Tensor::ones([1000], DType::F32, Device::Cpu);
    let layer = Dropout::new(0.3);
    assert_eq!(
        layer.forward(&x, &Mode::Eval).to_vec::<f32>(),
        x.to_vec::<f32>()
    );
    let train = |seed| {
        layer
            .forward(&x, &Mode::Train(Generator::new(seed)))
            .to_vec::<f32>()
    };
    assert_eq!(train(1), train(1));
    let zeros = train(1).iter().filter(|&&v| v == 0.0).count();
    assert!((250..350).contains(&zeros), "{zeros}");
}

#[test]
fn an_mlp_is_its_layers_in_a_row() {
    let mlp = Mlp::new(&[4, 8, 3], Activation::Relu, 0.0, &Generator::new(4));
    let x = randn(&[5, 4], 5);
    let y = mlp.forward(&x, &Mode::Eval);
    close(
        &y,
        &mlp.layers[1].forward(&mlp.layers[0].forward(&x).relu()),
    );
    assert_eq!(mlp.num_parameters(), 4 * 8 + 8 + 8 * 3 + 3);
    all_have_gradients(&mlp, &y);
}

#[test]
fn causal_self_attention_does_not_look_ahead() {
    let layer = MultiheadAttention::new(12, 3, true, 0.0, &Generator::new(6));
    let x = randn(&[2, 5, 12], 7);
    let y = layer.forward(&x, None, true, &Mode::Eval);
    let cut = layer.forward(&x.narrow(1, 0, 3), None, true, &Mode::Eval);
    close(&y.narrow(1, 0, 3), &cut);
    let mask = Tensor::ones([5, 5], DType::F32, Device::Cpu)
        .tril(0)
        .to_dtype(DType::Bool);
    close(&y, &layer.forward(&x, Some(&mask), false, &Mode::Eval));
    all_have_gradients(&layer, &y);
    let names: Vec<String> = layer
        .named_parameters()
        .into_iter()
        .map(|(n, _)| n)
        .collect();
    assert_eq!(
        names,
        [
            "in_proj_weight",
            "in_proj_bias",
            "out_proj.weight",
            "out_proj.bias"
        ]
    );
}

#[test]
fn attention_to_oneself_as_another_is_self_attention() {
    let layer = MultiheadAttention::new(8, 2, true, 0.0, &Generator::new(8));
    let x = randn(&[2, 4, 8], 9);
    let cross = layer.forward_cross(&x, &x, None, &Mode::Eval);
    close(&layer.forward(&x, None, false, &Mode::Eval), &cross);
    assert_eq!(
        layer
            .forward_cross(&x, &randn(&[2, 7, 8], 1), None, &Mode::Eval)
            .shape(),
        [2, 4, 8]
    );
    all_have_gradients(&layer, &cross);
}

#[test]
fn dropped_attention_weights_average_to_attention() {
    let (q, k, v) = (
        randn(&[1, 4, 6, 8], 1),
        randn(&[1, 2, 6, 8], 2),
        randn(&[1, 2, 6, 8], 3),
    );
    let plain = functional::scaled_dot_product_attention(&q, &k, &v, None, true, None);
    let mode = Mode::Train(Generator::new(4));
    let mut sum = plain.zeros_like();
    for _ in 0..800 {
        sum = sum + attention_with_dropout(&q, &k, &v, None, true, Dropout::new(0.2), &mode);
    }
    let error = (sum * (1.0 / 800.0) - &plain).abs().max_all().item();
    assert!(error < 0.12, "{error}");
    let off = attention_with_dropout(&q, &k, &v, None, true, Dropout::new(0.2), &Mode::Eval);
    close(&off, &plain);
}
