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

/// Layers, and what is spread over several of the groups below.
const LAYERS: &[(&str, Run)] = &[
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
        f::linear_cross_entropy(i.get("x"), i.get("weight"), i.get("targets"), -100, None)
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

/// One and two inputs, element by element; with kinks, ties and bounds among the numbers.
const ELEMENTWISE: &[(&str, Run)] = &[
    ("exp", |i| i.get("x").exp()),
    ("square", |i| i.get("x").square()),
    ("tanh", |i| i.get("x").tanh()),
    ("sigmoid", |i| i.get("x").sigmoid()),
    ("erf", |i| i.get("x").erf()),
    ("sin", |i| i.get("x").sin()),
    ("cos", |i| i.get("x").cos()),
    ("abs", |i| i.get("x").abs()),
    ("relu", |i| i.get("x").relu()),
    ("sign", |i| i.get("x").sign()),
    ("floor", |i| i.get("x").floor()),
    ("ceil", |i| i.get("x").ceil()),
    ("round", |i| i.get("x").round()),
    ("neg", |i| -i.get("x")),
    ("log", |i| i.get("x").log()),
    ("sqrt", |i| i.get("x").sqrt()),
    ("rsqrt", |i| i.get("x").rsqrt()),
    ("reciprocal", |i| i.get("x").reciprocal()),
    ("pow", |i| i.get("x").pow(2.5)),
    ("pow_negative", |i| i.get("x").pow(-1.5)),
    ("pow_zero", |i| i.get("x").pow(0.0)),
    ("pow_one", |i| i.get("x").pow(1.0)),
    ("pow_three", |i| i.get("x").pow(3.0)),
    ("clamp", |i| i.get("x").clamp(-0.5, 1.5)),
    ("add", |i| i.get("a") + i.get("b")),
    ("sub", |i| i.get("a") - i.get("b")),
    ("mul", |i| i.get("a") * i.get("b")),
    ("div", |i| i.get("a") / i.get("b")),
    ("maximum", |i| i.get("a").maximum(i.get("b"))),
    ("minimum", |i| i.get("a").minimum(i.get("b"))),
    ("where", |i| {
        let condition = i.get("condition").to_dtype(DType::Bool);
        Tensor::where_(&condition, i.get("a"), i.get("b"))
    }),
    ("masked_fill", |i| {
        let mask = i.get("mask").to_dtype(DType::Bool);
        i.get("x").masked_fill(&mask, 7.0)
    }),
];

/// Joining, cutting, reducing, and reading and writing by index.
const SHAPES_AND_INDICES: &[(&str, Run)] = &[
    ("cat", |i| {
        Tensor::cat(&[i.get("a"), i.get("b"), i.get("a")], 1)
    }),
    ("stack", |i| Tensor::stack(&[i.get("a"), i.get("b")], -1)),
    ("pad", |i| i.get("x").pad(&[(1, 2), (0, 3)], 1.5)),
    ("tril", |i| i.get("x").tril(0)),
    ("tril_below", |i| i.get("x").tril(-1)),
    ("triu_above", |i| i.get("x").triu(1)),
    ("max", |i| i.get("x").max(-1)),
    ("min", |i| i.get("x").min(0)),
    ("max_dims", |i| i.get("x").max([0, 2])),
    ("sum", |i| i.get("x").sum([0, 2])),
    ("mean", |i| i.get("x").mean(1)),
    ("cumsum_last", |i| i.get("x").cumsum(-1)),
    ("var_all", |i| i.get("x").var([0, 1], 1)),
    ("topk_first_dim", |i| i.get("x").topk(3, 0).0),
    ("sort_tied", |i| i.get("x").sort(-1, false).0),
    ("sort_tied_descending", |i| i.get("x").sort(-1, true).0),
    ("index_select", |i| {
        i.get("x").index_select(1, i.get("index"))
    }),
    ("index_add", |i| {
        i.get("x").index_add(0, i.get("index"), i.get("src"))
    }),
    ("scatter", |i| {
        i.get("x").scatter(1, i.get("index"), i.get("src"))
    }),
    ("scatter_first_dim", |i| {
        i.get("x").scatter(0, i.get("index"), i.get("src"))
    }),
    ("scatter_add", |i| {
        i.get("x").scatter_add(1, i.get("index"), i.get("src"))
    }),
];

/// Every case of the fixture.
fn cases() -> impl Iterator<Item = &'static (&'static str, Run)> {
    [LAYERS, ELEMENTWISE, SHAPES_AND_INDICES]
        .into_iter()
        .flatten()
}

/// Inputs that the engine does not differentiate, because they are tables of constants.
const CONSTANT: [&str; 4] = ["cos", "sin", "mask", "condition"];

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
    for &(case, run) in cases() {
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
fn where_sorted_and_extreme_elements_were_equals_pytorchs() {
    let fixture = fixture();
    let x = |case: &str| fixture[&format!("{case}.in.x")].clone();
    let orders = [
        ("topk", x("topk").topk(4, -1).1),
        ("sort", x("sort").sort(-1, false).1),
        ("sort_descending", x("sort_descending").sort(0, true).1),
        ("topk_first_dim", x("topk_first_dim").topk(3, 0).1),
        ("sort_tied", x("sort_tied").sort(-1, false).1),
        (
            "sort_tied_descending",
            x("sort_tied_descending").sort(-1, true).1,
        ),
        ("max", x("max").argmax(-1)),
        ("min", x("min").argmin(0)),
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
    let cases: Vec<&str> = cases().map(|(name, _)| *name).collect();
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
