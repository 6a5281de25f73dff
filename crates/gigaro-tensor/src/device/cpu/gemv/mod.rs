//! A few rows times a weight, `Y = X W^T + bias`, as one step of decoding does for every layer.
//!
//! With so few rows the weight is read once and used once, so the product takes as long as reading it from
//! memory: what counts is how many bytes it has. Weights in f32, bf16 and f16 go to
//! [`gemm`](mod@super::gemm), whose streaming kernel serves up to eight rows. Weights in 8 bits are an
//! [`Int8Matrix`].
//!
//! # What can be relied on
//! Row `i` of `Y` depends on row `i` of `X` alone, never on how many rows there are or on threads. For f32, bf16
//! and f16 it has the bits that the same row has in a `gemm` of any size. For 8 bits that holds
//! up to [`MAX_ROWS`] rows; more rows go through the weights in floating point and
//! differ by rounding.

mod int8;
#[cfg(target_arch = "x86_64")]
mod int8_avx2;
#[cfg(target_arch = "x86_64")]
mod int8_avx512;
#[cfg(test)]
mod tests;

pub use int8::{GROUP, Int8Matrix, quantize_int8};

use super::gemm::{Compute, Data, DataMut, Gemm, Operand, Output, gemm};
use half::{bf16, f16};

/// Rows up to which the product streams the weight.
pub const MAX_ROWS: usize = 8;

/// A weight `(out, in)`, row by row without gaps.
#[derive(Clone, Copy, Debug)]
pub enum Weight<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// Brain floats.
    BF16(&'a [bf16]),
    /// IEEE half floats.
    F16(&'a [f16]),
    /// 8-bit integers with a scale per group.
    Int8(&'a Int8Matrix),
}

/// Computes `y = x W^T + bias`.
///
/// `compute` says how floats are multiplied: [`Compute::BF16`] rounds `x` (and f32 weights) to bf16 first. 8-bit
/// weights are multiplied as integers by `x` in 16 bits, which is finer than either.
///
/// # Shapes
/// `x: (rows, inputs)`, `weight: (outputs, inputs)`, `bias: (outputs)` -> `y: (rows, outputs)`, all without
/// gaps
/// # Panics
/// If a slice does not have as many elements as its shape.
#[track_caller]
pub fn gemv(
    (rows, inputs, outputs): (usize, usize, usize),
    x: &[f32],
    weight: Weight<'_>,
    bias: Option<&[f32]>,
    y: &mut [f32],
    compute: Compute,
) {
    let elements = |what: &str, len: usize, a: usize, b: usize| {
        assert!(
            len == a * b,
            "gemv: {what} has {len} elements where ({a}, {b}) is wanted"
        );
    };
    elements("x", x.len(), rows, inputs);
    elements("y", y.len(), rows, outputs);
    let data = match weight {
        Weight::F32(w) => Data::F32(w),
        Weight::BF16(w) => Data::BF16(w),
        Weight::F16(w) => Data::F16(w),
        Weight::Int8(w) => {
            elements("weight", w.outputs() * w.inputs(), outputs, inputs);
            if let Some(bias) = bias {
                elements("bias", bias.len(), 1, outputs);
            }
            return w.multiply(rows, x, bias, y, compute);
        }
    };
    elements("weight", data.len(), outputs, inputs);
    gemm(Gemm {
        m: rows,
        n: outputs,
        k: inputs,
        a: Operand {
            data: Data::F32(x),
            rs: inputs,
            cs: 1,
        },
        b: Operand {
            data,
            rs: 1,
            cs: inputs,
        },
        c: Output {
            data: DataMut::F32(y),
            rs: outputs,
            cs: 1,
        },
        compute,
        accumulate: false,
        bias: bias.map(Data::F32),
    });
}
