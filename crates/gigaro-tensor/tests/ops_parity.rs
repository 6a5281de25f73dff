//! The engine's ops against PyTorch: outputs and gradients of `fixtures/ops.safetensors`, in f64 and in f32.
//!
//! The fixture was computed in f64 by `fixtures/make_ops.py`, whose head describes its keys. The registry's checks
//! (`tests/ops.rs`) find errors that PyTorch would share; this finds a different meaning of the same name.

use std::collections::BTreeMap;
use std::path::Path;

use gigaro_tensor::functional as f;
use gigaro_tensor::io::load_safetensors;
use gigaro_tensor::{DType, Tensor};

/// One case's inputs, cast to the dtype under test.
struct Inputs(BTreeMap<String, Tensor>);

impl Inputs {
    /// The input of this name.
    fn get(&self, name: &str) -> &Tensor {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("the fixture has no input {name}"))
    }
}

type Run = fn(&Inputs) -> Tensor;

/// `scaled_dot_product_attention` on q, k, v and, if the fixture has one, the boolean mask.
fn attention(i: &Inputs, is_causal: bool, scale: Option<f64>) -> Tensor {
    let mask = i.0.get("mask").map(|m| m.to_dtype(DType::Bool));
    f::scaled_dot_product_attention(
        i.get("q"),
        i.get("k"),
        i.get("v"),
        mask.as_ref(),
        is_causal,
        scale,
    )
}

const CASES: [(&str, Run); 28] = [
    ("layer_norm", |i| {
        f::layer_norm(i.get("x"), i.get("weight"), Some(i.get("bias")), 1e-5)
    }),
    ("layer_norm_no_bias", |i| {
        f::layer_norm(i.get("x"), i.get("weight"), None, 1e-6)
    }),
    ("rms_norm", |i| {
        f::rms_norm(i.get("x"), Some(i.get("weight")), 1e-6)
    }),
    ("rms_norm_no_weight", |i| {
        f::rms_norm(i.get("x"), None, 1e-5)
    }),
    ("gelu", |i| f::gelu(i.get("x"))),
    ("gelu_tanh", |i| f::gelu_tanh(i.get("x"))),
    ("silu", |i| f::silu(i.get("x"))),
    ("softmax", |i| f::softmax(i.get("x"), -1)),
    ("softmax_dim_1", |i| f::softmax(i.get("x"), 1)),
    ("log_softmax", |i| f::log_softmax(i.get("x"), -1)),
    ("cross_entropy", |i| {
        f::cross_entropy(i.get("logits"), i.get("targets"), -100)
    }),
    ("linear_cross_entropy", |i| {
        f::linear_cross_entropy(i.get("x"), i.get("weight"), i.get("targets"), -100)
    }),
    ("sdpa", |i| attention(i, false, None)),
    ("sdpa_causal", |i| attention(i, true, None)),
    ("sdpa_scale", |i| attention(i, true, Some(0.25))),
    ("sdpa_gqa", |i| attention(i, true, None)),
    ("sdpa_mask", |i| attention(i, false, None)),
    ("rotary", |i| {
        f::rotary_embedding(i.get("x"), i.get("cos"), i.get("sin"))
    }),
    ("logsumexp", |i| i.get("x").logsumexp(-1)),
    ("var", |i| i.get("x").var(-1, 1)),
    ("var_population", |i| i.get("x").var([0, 2], 0)),
    ("cumsum", |i| i.get("x").cumsum(1)),
    ("topk", |i| i.get("x").topk(4, -1).0),
    ("sort", |i| i.get("x").sort(-1, false).0),
    ("sort_descending", |i| i.get("x").sort(0, true).0),
    ("embedding", |i| f::embedding(i.get("ids"), i.get("weight"))),
    ("gather", |i| i.get("x").gather(1, i.get("index"))),
    ("matmul", |i| i.get("a").matmul(i.get("b"))),
];

/// Inputs that the engine does not differentiate, because they are tables of constants.
const CONSTANT: [&str; 3] = ["cos", "sin", "mask"];

fn fixture() -> BTreeMap<String, Tensor> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ops.safetensors");
    load_safetensors(&path).expect("the committed fixture is readable")
}

/// The inputs of a case: floats in `dtype` and wanting gradients, everything else as it is.
fn inputs(fixture: &BTreeMap<String, Tensor>, case: &str, dtype: DType) -> Inputs {
    let prefix = format!("{case}.in.");
    let named = fixture
        .iter()
        .filter_map(|(key, t)| Some((key.strip_prefix(&prefix)?.to_owned(), t)));
    let cast = |(name, t): (String, &Tensor)| {
        let wants_gradient = t.dtype().is_float() && !CONSTANT.contains(&name.as_str());
        let t = if t.dtype().is_float() {
            t.to_dtype(dtype)
        } else {
            t.clone()
        };
        let t = if wants_gradient {
            t.detach().requires_grad_(true)
        } else {
            t
        };
        (name, t)
    };
    Inputs(named.map(cast).collect())
}

/// The largest difference, in units of `1 + |expected|`.
fn difference(actual: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(
        actual.numel(),
        expected.numel(),
        "shapes {:?} and {:?}",
        actual.shape(),
        expected.shape()
    );
    let values = |t: &Tensor| t.to_dtype(DType::F64).to_vec::<f64>();
    let pairs = values(actual).into_iter().zip(values(expected));
    pairs
        .map(|(a, e)| {
            if a == e {
                0.0
            } else {
                (a - e).abs() / (1.0 + e.abs())
            }
        })
        .fold(0.0, |worst: f64, d| {
            if d.is_nan() {
                f64::INFINITY
            } else {
                worst.max(d)
            }
        })
}

/// Runs every case in `dtype` and reports all differences above `tolerance` at once.
fn check(dtype: DType, tolerance: f64) {
    let fixture = fixture();
    let mut failures = Vec::new();
    for (case, run) in CASES {
        let inputs = inputs(&fixture, case, dtype);
        let y = run(&inputs);
        let expected = &fixture[&format!("{case}.y")];
        let mut compare = |what: &str, actual: &Tensor, expected: &Tensor| {
            let worst = difference(actual, expected);
            if worst > tolerance {
                failures.push(format!("{case}: {what} off by {worst:.2e}"));
            }
        };
        compare("output", &y, expected);
        let dy = fixture[&format!("{case}.dy")]
            .to_dtype(dtype)
            .reshape(y.shape().to_vec());
        y.backward_with(&dy);
        for (name, input) in inputs.0.iter().filter(|(_, t)| t.requires_grad()) {
            let gradient = input
                .grad()
                .unwrap_or_else(|| panic!("{case}: no gradient for {name}"));
            compare(
                &format!("gradient of {name}"),
                &gradient,
                &fixture[&format!("{case}.grad.{name}")],
            );
        }
    }
    assert!(
        failures.is_empty(),
        "in {dtype}, above {tolerance:e}:\n{}",
        failures.join("\n")
    );
}

#[test]
fn outputs_and_gradients_equal_pytorchs_in_f64() {
    check(DType::F64, 1e-9);
}

#[test]
fn outputs_and_gradients_equal_pytorchs_in_f32() {
    check(DType::F32, 2e-5);
}

#[test]
fn order_of_sorted_elements_equals_pytorchs() {
    let fixture = fixture();
    let x = |case: &str| fixture[&format!("{case}.in.x")].clone();
    let orders = [
        ("topk", x("topk").topk(4, -1).1),
        ("sort", x("sort").sort(-1, false).1),
        ("sort_descending", x("sort_descending").sort(0, true).1),
    ];
    for (case, order) in orders {
        assert_eq!(
            order.to_vec::<i64>(),
            fixture[&format!("{case}.y1")].to_vec::<i64>(),
            "{case}"
        );
    }
}

#[test]
fn every_case_of_the_fixture_is_compared() {
    let cases: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
    for key in fixture().keys() {
        let case = key
            .split('.')
            .next()
            .expect("split gives at least one part");
        assert!(
            cases.contains(&case),
            "{case} is in the fixture and in no case here"
        );
    }
}
