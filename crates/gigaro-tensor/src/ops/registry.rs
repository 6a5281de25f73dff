//! Every op in one table: what kind it is, whether it has a gradient, and the cases it is tested on.
//!
//! A new op is a line here; `tests/ops.rs` walks the table and runs each case through every check in
//! `testing/`.

use super::functional as f;
use super::optim;
use crate::device::cpu::quantized::{Bits, Form, QuantizedMatrix};
use crate::testing::{Case, Input};
use crate::{DType, Device, Generator, Tensor};
use half::f16;

/// How an op is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Kernels of its own.
    Primitive,
    /// Kernels of its own, and a composite that they must agree with.
    Fused,
    /// Written in terms of other ops.
    Composite,
    /// Another view of the same storage.
    View,
}

/// Whether gradients flow through an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gradient {
    /// They do, and can be differentiated again.
    Yes,
    /// They do not, for this reason.
    None(&'static str),
}

/// One op of the table.
pub struct Op {
    /// The name that users call and errors show.
    pub name: &'static str,
    /// How it is made.
    pub kind: Kind,
    /// The file under `ops/` (or `tensor/`) that holds it.
    pub file: &'static str,
    /// Whether gradients flow.
    pub gradient: Gradient,
    /// The cases it is tested on.
    pub cases: fn() -> Vec<Case>,
}

/// Ops without kernels for graphics cards, and why.
pub const CPU_ONLY: [(&str, &str); 1] = [(
    "linear_quantized",
    "its panels are laid out for the processor's registers; on a card weights are bf16",
)];

/// Shapes that elementwise ops are tested on: a vector, a batch with an odd last dim, more than one
/// parallel piece.
fn elementwise(run: fn(&Tensor) -> Tensor, low: f64, high: f64) -> Vec<Case> {
    [vec![7], vec![2, 3, 33], vec![130, 131]]
        .into_iter()
        .map(|shape| Case::new(vec![Input::between(low, high, shape)], move |x| run(&x[0])))
        .collect()
}

fn pairs(run: fn(&Tensor, &Tensor) -> Tensor, low: f64, high: f64) -> Vec<Case> {
    [
        ([5, 17], vec![5, 17]),
        ([5, 17], vec![17]),
        ([5, 17], vec![5, 1]),
        ([130, 129], vec![1, 1]),
    ]
    .into_iter()
    .map(|(a, b)| {
        let inputs = vec![Input::between(low, high, a), Input::between(low, high, b)];
        Case::new(inputs, move |x| run(&x[0], &x[1]))
    })
    .collect()
}

fn one(inputs: Vec<Input>, run: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static) -> Vec<Case> {
    vec![Case::new(inputs, run)]
}

fn normal<const N: usize>(shape: [usize; N]) -> Input {
    Input::normal(shape)
}

/// Integers `0..n`, shuffled and repeated, as indices into `x`.
fn indices<const N: usize>(x: &Tensor, n: usize, shape: [usize; N]) -> Tensor {
    Tensor::randint(
        0,
        n as i64,
        shape,
        DType::I64,
        x.device(),
        &Generator::new(3),
    )
}

macro_rules! op {
    ($name:literal $kind:ident $file:literal, $cases:expr) => {
        Op {
            name: $name,
            kind: Kind::$kind,
            file: $file,
            gradient: Gradient::Yes,
            cases: || $cases,
        }
    };
    ($name:literal $kind:ident $file:literal, no gradient: $why:literal, $cases:expr) => {
        Op {
            name: $name,
            kind: Kind::$kind,
            file: $file,
            gradient: Gradient::None($why),
            cases: || $cases,
        }
    };
}

const COMPARISON: &str = "a truth value does not move with its operands";

/// The table.
#[must_use]
pub fn registry() -> Vec<Op> {
    let mut ops = elementwise_ops();
    ops.extend(comparisons());
    ops.extend(reductions());
    ops.extend(indexing());
    ops.extend(views());
    ops.extend(layers());
    ops.extend(optimiser_steps());
    ops
}

fn elementwise_ops() -> Vec<Op> {
    vec![
        op!("exp" Primitive "unary/mod.rs", elementwise(Tensor::exp, -3.0, 3.0)),
        op!("log" Primitive "unary/mod.rs", elementwise(Tensor::log, 0.1, 5.0)),
        op!("sqrt" Primitive "unary/mod.rs", elementwise(Tensor::sqrt, 0.1, 5.0)),
        op!("rsqrt" Primitive "unary/mod.rs", elementwise(Tensor::rsqrt, 0.2, 5.0)),
        op!("reciprocal" Primitive "unary/mod.rs", elementwise(Tensor::reciprocal, 0.5, 4.0)),
        op!("square" Primitive "unary/mod.rs", elementwise(Tensor::square, -3.0, 3.0)),
        op!("tanh" Primitive "unary/mod.rs", elementwise(Tensor::tanh, -3.0, 3.0)),
        op!("sigmoid" Primitive "unary/mod.rs", elementwise(Tensor::sigmoid, -4.0, 4.0)),
        op!("erf" Primitive "unary/mod.rs", elementwise(Tensor::erf, -3.0, 3.0)),
        op!("sin" Primitive "unary/mod.rs", elementwise(Tensor::sin, -3.0, 3.0)),
        op!("cos" Primitive "unary/mod.rs", elementwise(Tensor::cos, -3.0, 3.0)),
        // Kinks are kept out of the range: there the finite difference sees both sides.
        op!("abs" Primitive "unary/mod.rs", elementwise(Tensor::abs, 0.1, 2.0)),
        op!("relu" Primitive "unary/mod.rs", elementwise(Tensor::relu, 0.1, 2.0)),
        op!("sign" Primitive "unary/mod.rs", elementwise(Tensor::sign, 0.1, 2.0)),
        op!("floor" Primitive "unary/mod.rs", elementwise(Tensor::floor, 0.1, 0.9)),
        op!("ceil" Primitive "unary/mod.rs", elementwise(Tensor::ceil, 0.1, 0.9)),
        op!("round" Primitive "unary/mod.rs", elementwise(Tensor::round, 0.55, 1.45)),
        op!("pow" Primitive "unary/mod.rs", elementwise(|x| x.pow(2.5), 0.2, 3.0)),
        op!("clamp" Composite "unary/mod.rs", elementwise(|x| x.clamp(-5.0, 5.0), -3.0, 3.0)),
        op!("add" Primitive "binary/mod.rs", pairs(Tensor::add, -2.0, 2.0)),
        op!("sub" Primitive "binary/mod.rs", pairs(Tensor::sub, -2.0, 2.0)),
        op!("mul" Primitive "binary/mod.rs", pairs(Tensor::mul, -2.0, 2.0)),
        op!("div" Primitive "binary/mod.rs", pairs(Tensor::div, 0.5, 2.0)),
        op!("maximum" Primitive "binary/mod.rs", pairs(Tensor::maximum, -2.0, 2.0)),
        op!("minimum" Primitive "binary/mod.rs", pairs(Tensor::minimum, -2.0, 2.0)),
        op!("where_" Primitive "where_cond/mod.rs", pairs(|a, b| {
            let condition = Tensor::arange(0.0, a.numel() as f64, 1.0, DType::I64, a.device());
            let half = Tensor::full((), a.numel() as f64 / 2.0, DType::F64, a.device());
            Tensor::where_(&condition.lt(&half).reshape(a.shape()), a, b)
        }, -2.0, 2.0)),
        op!("masked_fill" Composite "where_cond/mod.rs", elementwise(|x| {
            x.masked_fill(&x.detach().gt(&x.detach().zeros_like()), 2.0) }, 0.1, 1.0)),
        op!("to_dtype" Primitive "cast/mod.rs", elementwise(|x| x.to_dtype(DType::F64).to_dtype(x.dtype()), -2.0, 2.0)),
        op!("copy" Primitive "cast/mod.rs", elementwise(Tensor::copy, -2.0, 2.0)),
        op!("gelu" Fused "activation/mod.rs", elementwise(f::gelu, -3.0, 3.0)),
        op!("gelu_tanh" Fused "activation/mod.rs", elementwise(f::gelu_tanh, -3.0, 3.0)),
        op!("silu" Fused "activation/mod.rs", elementwise(f::silu, -3.0, 3.0)),
        op!("relu_squared" Fused "activation/mod.rs", elementwise(f::relu_squared, 0.1, 3.0)),
        op!("dropout" Primitive "dropout/mod.rs", elementwise(|x| f::dropout(x, 0.3, &Generator::new(5)), -2.0, 2.0)),
    ]
}

fn comparisons() -> Vec<Op> {
    type Comparison = (&'static str, fn() -> Vec<Case>);
    let ops: [Comparison; 8] = [
        ("eq", || pairs(Tensor::eq, -2.0, 2.0)),
        ("ne", || pairs(Tensor::ne, -2.0, 2.0)),
        ("lt", || pairs(Tensor::lt, -2.0, 2.0)),
        ("le", || pairs(Tensor::le, -2.0, 2.0)),
        ("gt", || pairs(Tensor::gt, -2.0, 2.0)),
        ("ge", || pairs(Tensor::ge, -2.0, 2.0)),
        ("logical_and", || pairs(Tensor::logical_and, -2.0, 2.0)),
        ("logical_or", || pairs(Tensor::logical_or, -2.0, 2.0)),
    ];
    let mut ops: Vec<Op> = ops
        .into_iter()
        .map(|(name, cases)| Op {
            name,
            kind: Kind::Primitive,
            file: "compare/mod.rs",
            gradient: Gradient::None(COMPARISON),
            cases,
        })
        .collect();
    ops.push(op!("logical_not" Primitive "compare/mod.rs", no gradient: "a truth value does not move with its operand",
        elementwise(Tensor::logical_not, -2.0, 2.0)));
    ops.push(op!("is_finite" Primitive "compare/mod.rs", no gradient: "a truth value does not move with its operand",
        elementwise(Tensor::is_finite, -2.0, 2.0)));
    ops.push(
        op!("argmax" Primitive "arg_reduce/mod.rs", no gradient: "an index does not move smoothly",
        elementwise(|x| x.argmax(-1), -2.0, 2.0)),
    );
    ops.push(
        op!("argmin" Primitive "arg_reduce/mod.rs", no gradient: "an index does not move smoothly",
        elementwise(|x| x.argmin(0), -2.0, 2.0)),
    );
    ops
}

/// A reduction over the last dim, the first, two of three, and all.
fn over_dims(
    last: fn(&Tensor) -> Tensor,
    first: fn(&Tensor) -> Tensor,
    all: fn(&Tensor) -> Tensor,
) -> Vec<Case> {
    vec![
        Case::new(vec![normal([5, 37])], move |x| last(&x[0])),
        Case::new(vec![normal([300, 19])], move |x| first(&x[0])),
        Case::new(vec![normal([3, 300, 5])], move |x| last(&x[0])),
        Case::new(vec![normal([4, 3, 70])], move |x| all(&x[0])),
    ]
}

/// Few elements, so that none are so close that a finite difference changes their order.
fn few(last: fn(&Tensor) -> Tensor, first: fn(&Tensor) -> Tensor) -> Vec<Case> {
    vec![
        Case::new(vec![normal([3, 7])], move |x| last(&x[0])),
        Case::new(vec![normal([5, 2, 3])], move |x| first(&x[0])),
    ]
}

fn reductions() -> Vec<Op> {
    vec![
        op!("sum" Primitive "reduce/mod.rs", over_dims(|x| x.sum(-1), |x| x.sum([0]), Tensor::sum_all)),
        op!("max" Primitive "reduce/mod.rs", over_dims(|x| x.max(-1), |x| x.max([0]), Tensor::max_all)),
        op!("min" Primitive "reduce/mod.rs", over_dims(|x| x.min(-1), |x| x.min([0]), Tensor::min_all)),
        op!("mean" Composite "composite/statistics.rs", over_dims(|x| x.mean(-1), |x| x.mean([0]), Tensor::mean_all)),
        op!("var" Composite "composite/statistics.rs",
            over_dims(|x| x.var(-1, 1), |x| x.var([0], 0), |x| x.var([0, 1, 2], 1))),
        op!("logsumexp" Composite "composite/statistics.rs",
            over_dims(|x| x.logsumexp(-1), |x| x.logsumexp([0]), |x| x.logsumexp([0, 1, 2]))),
        op!("cumsum" Primitive "cumsum/mod.rs", over_dims(|x| x.cumsum(-1), |x| x.cumsum(0), |x| x.cumsum(1))),
        op!("softmax" Fused "softmax/mod.rs", over_dims(|x| f::softmax(x, -1), |x| f::softmax(x, 0), |x| f::softmax(x, 1))),
        op!("log_softmax" Fused "softmax/mod.rs",
            over_dims(|x| f::log_softmax(x, -1), |x| f::log_softmax(x, 0), |x| f::log_softmax(x, 1))),
        op!("sort" Primitive "sort/mod.rs", few(|x| x.sort(-1, false).0, |x| x.sort(0, true).0)),
        op!("topk" Primitive "sort/mod.rs", few(|x| x.topk(3, -1).0, |x| x.topk(2, 0).0)),
    ]
}

fn indexing() -> Vec<Op> {
    vec![
        op!("gather" Primitive "gather/mod.rs", one(vec![normal([4, 6])], |x| x[0].gather(1, &indices(&x[0], 6, [4, 9])))),
        op!("index_select" Primitive "gather/mod.rs",
            one(vec![normal([4, 6, 5])], |x| x[0].index_select(1, &indices(&x[0], 6, [9])))),
        op!("embedding" Composite "gather/mod.rs", one(vec![normal([11, 7])], |x| f::embedding(&indices(&x[0], 11, [2, 9]), &x[0]))),
        op!("scatter" Primitive "scatter/mod.rs", one(vec![normal([4, 6]), normal([4, 5])],
            |x| x[0].scatter(1, &indices(&x[0], 6, [4, 5]), &x[1]))),
        op!("scatter_add" Primitive "scatter/mod.rs", one(vec![normal([4, 6]), normal([4, 9])],
            |x| x[0].scatter_add(1, &indices(&x[0], 6, [4, 9]), &x[1]))),
        op!("index_add" Primitive "scatter/mod.rs", one(vec![normal([6, 70]), normal([9, 70])],
            |x| x[0].index_add(0, &indices(&x[0], 6, [9]), &x[1]))),
        op!("cat" Primitive "cat/mod.rs", one(vec![normal([3, 4, 5]), normal([3, 2, 5])],
            |x| Tensor::cat(&[&x[0], &x[1], &x[0]], 1))),
        op!("stack" Composite "cat/mod.rs", one(vec![normal([3, 4]), normal([3, 4])],
            |x| Tensor::stack(&[&x[0], &x[1]], -1))),
        op!("pad" Composite "cat/mod.rs", one(vec![normal([3, 4])], |x| x[0].pad(&[(1, 2), (0, 3)], 1.5))),
        op!("tril" Composite "composite/masks.rs", one(vec![normal([2, 5, 7])], |x| x[0].tril(1))),
        op!("triu" Composite "composite/masks.rs", one(vec![normal([2, 5, 7])], |x| x[0].triu(-1))),
    ]
}

fn views() -> Vec<Op> {
    vec![
        op!("reshape" View "../tensor/views.rs", one(vec![normal([4, 6])], |x| x[0].reshape([3, 8]))),
        op!("flatten" View "../tensor/views.rs", one(vec![normal([2, 3, 4])], |x| x[0].flatten(1, 2))),
        op!("permute" View "../tensor/views.rs", one(vec![normal([2, 3, 4])], |x| x[0].permute(&[2, 0, 1]))),
        op!("transpose" View "../tensor/views.rs", one(vec![normal([2, 3, 4])], |x| x[0].transpose(0, -1))),
        op!("unsqueeze" View "../tensor/views.rs", one(vec![normal([2, 3])], |x| x[0].unsqueeze(1))),
        op!("squeeze" View "../tensor/views.rs", one(vec![normal([2, 1, 3])], |x| x[0].squeeze(1))),
        op!("expand" View "../tensor/views.rs", one(vec![normal([2, 1, 3])], |x| x[0].expand([5, 2, 4, 3]))),
        op!("narrow" View "../tensor/views.rs", one(vec![normal([4, 6])], |x| x[0].narrow(1, 2, 3))),
        op!("select" View "../tensor/views.rs", one(vec![normal([4, 6])], |x| x[0].select(0, 2))),
        op!("step_by" View "../tensor/views.rs", one(vec![normal([4, 7])], |x| x[0].step_by(1, 3))),
        op!("split" View "../tensor/views.rs", one(vec![normal([4, 7])], |x| {
            let parts = x[0].split(3, 1);
            &parts[0] * &parts[1]
        })),
        op!("chunk" View "../tensor/views.rs", one(vec![normal([4, 6])], |x| {
            let parts = x[0].chunk(2, 1);
            &parts[0] * &parts[1]
        })),
    ]
}

fn layers() -> Vec<Op> {
    vec![
        op!("matmul" Primitive "matmul/mod.rs", vec![
            Case::new(vec![normal([5, 7]), normal([7, 3])], |x| x[0].matmul(&x[1])).scaled(7.0),
            Case::new(vec![normal([2, 1, 5, 7]), normal([3, 7, 4])], |x| x[0].matmul(&x[1])).scaled(7.0),
            Case::new(vec![normal([2, 5, 7]), normal([7, 4])], |x| x[0].matmul(&x[1])).scaled(7.0),
            Case::new(vec![normal([65, 70]), normal([33, 70])], |x| x[0].matmul(&x[1].t())).scaled(70.0),
            Case::new(vec![normal([7]), normal([2, 7, 3])], |x| x[0].matmul(&x[1])).scaled(7.0),
            Case::new(vec![normal([7]), normal([7])], |x| x[0].matmul(&x[1])).scaled(7.0),
        ]),
        op!("feed_forward" Fused "feed_forward/mod.rs", vec![
            Case::new(vec![normal([2, 9, 7]), normal([16, 7]), normal([16]), normal([5, 16]), normal([5])],
                |x| f::feed_forward(&x[0], (&x[1], Some(&x[2])), (&x[3], Some(&x[4])), x[0].dtype())).scaled(60.0),
            Case::new(vec![normal([6, 7]), normal([9, 7]), normal([5, 9])],
                |x| f::feed_forward(&x[0], (&x[1], None), (&x[2], None), x[0].dtype())).scaled(60.0)
                .composite(|x| f::linear(&f::gelu_tanh(&f::linear(&x[0], &x[1], None)), &x[2], None)),
        ]),
        op!("linear" Fused "linear/mod.rs", vec![
            Case::new(vec![normal([2, 9, 7]), normal([5, 7]), normal([5])],
                |x| f::linear(&x[0], &x[1], Some(&x[2]))).scaled(7.0)
                .composite(|x| x[0].matmul(&x[1].t()) + &x[2]),
            Case::new(vec![normal([3, 7]), normal([5, 7])], |x| f::linear(&x[0], &x[1], None)).scaled(7.0)
                .composite(|x| x[0].matmul(&x[1].t())),
            // As a decoding step has it: few rows, of whole fours.
            Case::new(vec![normal([3, 140]), normal([9, 140]), normal([9])],
                |x| f::linear(&x[0], &x[1], Some(&x[2]))).scaled(140.0),
        ]),
        op!("linear_quantized" Primitive "linear/mod.rs",
            no gradient: "rounded weights are for decoding; inputs that want a gradient are refused",
            [3, 31].into_iter()
                .flat_map(|rows| [on_4_bits as fn(&[Tensor]) -> Tensor, on_8_bits].map(|f| (rows, f)))
                .flat_map(|(rows, f)| one(vec![Input::between(-250.0, 250.0, [rows, 33])], f)).collect()),
        op!("layer_norm" Fused "layer_norm/mod.rs", vec![
            Case::new(vec![normal([70, 33]), normal([33]), normal([33])],
                |x| f::layer_norm(&x[0], &x[1], Some(&x[2]), 1e-5)),
            Case::new(vec![normal([2, 3, 16]), normal([16])], |x| f::layer_norm(&x[0], &x[1], None, 1e-5)),
        ]),
        op!("rms_norm" Fused "rms_norm/mod.rs", vec![
            Case::new(vec![normal([70, 33]), normal([33])], |x| f::rms_norm(&x[0], Some(&x[1]), 1e-6)),
            Case::new(vec![normal([2, 3, 16])], |x| f::rms_norm(&x[0], None, 1e-6)),
        ]),
        op!("rotary_embedding" Primitive "rotary/mod.rs", one(vec![normal([2, 5, 3, 8])], |x| {
            let (cos, sin) = f::rotary_tables(2, 5, 8, 10_000.0);
            let there = |t: Tensor| t.to_device(x[0].device());
            f::rotary_embedding(&x[0], &there(cos), &there(sin))
        })),
        op!("scaled_dot_product_attention" Fused "attention/mod.rs", attention_cases()),
        op!("attention_qkv_packed" Fused "attention/mod.rs", one(vec![normal([2, 9, 24])],
            |x| f::attention_qkv_packed(&x[0], 2))),
        op!("cross_entropy" Composite "composite/loss.rs", one(vec![normal([6, 11])],
            |x| f::cross_entropy(&x[0], &with_ignored(&x[0]), -100))),
        op!("soft_capped" Composite "composite/loss.rs",
            elementwise(|x| f::soft_capped(x.clone(), Some(2.0)), -5.0, 5.0)),
        op!("nll_loss" Composite "composite/loss.rs", one(vec![normal([6, 11])],
            |x| f::nll_loss(&x[0], &with_ignored(&x[0]), -100))),
        op!("mse_loss" Composite "composite/loss.rs", one(vec![normal([6, 11]), normal([11])],
            |x| f::mse_loss(&x[0], &x[1]))),
        op!("linear_cross_entropy" Fused "cross_entropy/mod.rs", vec![
            Case::new(vec![normal([6, 5]), normal([11, 5])],
                |x| f::linear_cross_entropy(&x[0], &x[1], &with_ignored(&x[0]), -100, None)).scaled(5.0)
                .composite(|x| f::cross_entropy(&f::linear(&x[0], &x[1], None), &with_ignored(&x[0]), -100)),
            Case::new(vec![normal([6, 5]), normal([11, 5])],
                |x| f::linear_cross_entropy(&x[0], &x[1], &with_ignored(&x[0]), -100, Some(3.0))).scaled(5.0)
                .composite(|x| f::cross_entropy(
                    &f::soft_capped(f::linear(&x[0], &x[1], None), Some(3.0)), &with_ignored(&x[0]), -100)),
        ]),
    ]
}

fn on_4_bits(x: &[Tensor]) -> Tensor {
    on_integers(x, Bits::Four, 8)
}

fn on_8_bits(x: &[Tensor]) -> Tensor {
    on_integers(x, Bits::Eight, 128)
}

/// `linear_quantized` on whole numbers, with scales that are powers of two: then every sum is exact, also in f32, and nothing may
/// differ at all.
fn on_integers(x: &[Tensor], bits: Bits, zero: u8) -> Tensor {
    let (outputs, inputs) = (5, 34);
    let form = Form {
        bits,
        group: 32,
        minima: true,
        zero,
    };
    let weight = QuantizedMatrix::build([outputs, inputs], form, 1.0, |output, row| {
        for group in 0..2 {
            let value = |k: usize| match group * 32 + k {
                // The input that sets the scale; its products would need more digits than f32 has.
                33 => zero,
                at => ((output * 34 + at) * 37 % (2 * usize::from(zero))) as u8,
            };
            let values: Vec<u8> = (0..32).map(value).collect();
            let minimum = 2.0 - 2.0 * group as f32;
            row.set(group, &values, f16::from_f32(0.5), f16::from_f32(minimum));
        }
    });
    let bias = Tensor::arange(-2.0, 3.0, 1.0, DType::F32, Device::Cpu);
    // The largest input sets the scale: 32767 / 128, so that steps are of 1 / 128.
    let x = x[0].detach().round().pad(&[(0, 1)], 32767.0 / 128.0);
    f::linear_quantized(&x, &weight, Some(&bias))
}

/// What changes weights in place, here on copies.
fn optimiser_steps() -> Vec<Op> {
    vec![
        op!("adamw_" Primitive "optim/mod.rs", no gradient: "a step changes weights in place and is no part of the graph",
            [[7, 3], [130, 131]].into_iter().flat_map(|shape| {
                let second = Input::between(0.1, 1.0, shape);
                one(vec![normal(shape), normal(shape), normal(shape), second], adamw_on_copies)
            }).collect()),
        op!("squared_norm" Primitive "optim/mod.rs", no gradient: "a number for clipping; `x.square().sum_all()` has a gradient",
        vec![Case::new(vec![normal([130, 131])], |x| {
            Tensor::full((), optim::squared_norm(&x[0]), DType::F64, Device::Cpu)
        })]),
    ]
}

/// Parameter and moments after a step, side by side.
fn adamw_on_copies(x: &[Tensor]) -> Tensor {
    let dtype = if x[0].dtype() == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let [param, first, second] = [0, 2, 3].map(|i| x[i].detach().to_dtype(dtype).copy());
    let rule = optim::AdamStep {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 3,
        grad_scale: 0.5,
    };
    optim::adamw_(&param, &x[1].detach(), &first, &second, &rule);
    Tensor::stack(&[&param, &first, &second], 0)
}

/// Six targets of eleven classes, one of them left out.
fn with_ignored(x: &Tensor) -> Tensor {
    Tensor::from_slice(&[3_i64, 0, -100, 10, 7, 7], [6]).to_device(x.device())
}

fn attention_cases() -> Vec<Case> {
    let inputs = |h: usize, kv: usize, t: usize, s: usize| {
        vec![
            normal([2, h, t, 8]),
            normal([2, kv, s, 8]),
            normal([2, kv, s, 8]),
        ]
    };
    let bool_mask = |device| {
        Tensor::ones([9, 9], DType::F32, device)
            .tril(2)
            .to_dtype(DType::Bool)
    };
    vec![
        Case::new(inputs(2, 2, 9, 9), |x| {
            f::scaled_dot_product_attention(&x[0], &x[1], &x[2], None, true, None)
        }),
        Case::new(inputs(4, 2, 70, 70), |x| {
            f::scaled_dot_product_attention(&x[0], &x[1], &x[2], None, true, None)
        }),
        Case::new(inputs(2, 1, 3, 9), |x| {
            f::scaled_dot_product_attention(&x[0], &x[1], &x[2], None, true, None)
        }),
        Case::new(inputs(2, 2, 5, 11), |x| {
            f::scaled_dot_product_attention(&x[0], &x[1], &x[2], None, false, Some(0.3))
        }),
        Case::new(inputs(2, 2, 9, 9), move |x| {
            f::scaled_dot_product_attention(
                &x[0],
                &x[1],
                &x[2],
                Some(&bool_mask(x[0].device())),
                false,
                None,
            )
        }),
    ]
}
