//! Weights in 8 bits: a quarter of the bytes of f32, and so nearly four times as many tokens per second.
//!
//! Each row is cut into groups of [`GROUP`] inputs with a scale of their own, so that one large weight costs
//! precision only around itself. While multiplying, `x` is written as 16-bit integers `256 h + l`,
//! with one scale per row, and the sums over a group are exact integers; so what is lost is lost in the
//! rounding of the weights (about half a percent of their spread), not here.

use super::MAX_ROWS;
#[cfg(target_arch = "x86_64")]
use super::{int8_avx2, int8_avx512};
use crate::device::cpu::gemm::{Compute, Data, DataMut, Gemm, Operand, Output, gemm};
use crate::device::cpu::isa::{self, Isa, vectorized};
use crate::device::cpu::scratch::Scratch;
use crate::device::cpu::threads::{SendPtr, parallel_chunks_mut, parallel_for};

/// Inputs that share a scale.
pub const GROUP: usize = 128;
/// The largest integer of a weight.
const WEIGHT_MAX: f32 = 127.0;
/// The largest integer of an input: `256 * 127`, so that its high byte fits a signed one.
const INPUT_MAX: f32 = 32512.0;
/// Outputs of one task.
const TASK_ROWS: usize = 32;

/// A weight `(outputs, inputs)` in 8 bits with a scale per row and [`GROUP`] of inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Int8Matrix {
    outputs: usize,
    inputs: usize,
    /// `(outputs, groups, GROUP)`, zeros behind the last input.
    values: Vec<i8>,
    /// `(outputs, groups)`.
    scales: Vec<f32>,
}

/// Rounds a weight `(outputs, inputs)`, row by row without gaps, to 8 bits.
///
/// # Panics
/// If `weight` does not have `outputs * inputs` elements.
#[track_caller]
pub fn quantize_int8(weight: &[f32], outputs: usize, inputs: usize) -> Int8Matrix {
    assert!(
        weight.len() == outputs * inputs,
        "quantize_int8: {} elements where ({outputs}, {inputs}) is wanted",
        weight.len()
    );
    let groups = inputs.div_ceil(GROUP);
    let mut this = Int8Matrix {
        outputs,
        inputs,
        values: vec![0; outputs * groups * GROUP],
        scales: vec![0.0; outputs * groups],
    };
    if weight.is_empty() {
        return this;
    }
    let scales = SendPtr::new(this.scales.as_mut_ptr());
    parallel_chunks_mut(&mut this.values, groups * GROUP, |row, values| {
        // SAFETY: each row has its own scales.
        let scales = unsafe { scales.slice_mut(row * groups, groups) };
        let parts = weight[row * inputs..][..inputs]
            .chunks(GROUP)
            .zip(values.chunks_mut(GROUP));
        for ((from, to), scale) in parts.zip(scales) {
            let largest = from.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            *scale = largest / WEIGHT_MAX;
            let inverse = if *scale > 0.0 { scale.recip() } else { 0.0 };
            for (to, &x) in to.iter_mut().zip(from) {
                *to = (x * inverse).round() as i8;
            }
        }
    });
    this
}

impl Int8Matrix {
    /// Rows of the weight.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the weight.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes that one product reads.
    pub fn size_bytes(&self) -> usize {
        self.values.len() + self.scales.len() * 4
    }

    /// Row `output` as f32, as it was before rounding but for half a step.
    ///
    /// # Panics
    /// If `to` is not one row long or there is no such row.
    #[track_caller]
    pub fn dequantize_row(&self, output: usize, to: &mut [f32]) {
        assert!(
            output < self.outputs && to.len() == self.inputs,
            "dequantize_row: row {output} of ({}, {}) into {} elements",
            self.outputs,
            self.inputs,
            to.len()
        );
        let groups = self.groups();
        let values = self.values[output * groups * GROUP..].chunks_exact(GROUP);
        let scales = &self.scales[output * groups..][..groups];
        for ((to, values), &scale) in to.chunks_mut(GROUP).zip(values).zip(scales) {
            for (to, &value) in to.iter_mut().zip(values) {
                *to = f32::from(value) * scale;
            }
        }
    }

    fn groups(&self) -> usize {
        self.inputs.div_ceil(GROUP)
    }

    /// See [`gemv`](super::gemv); the sizes are checked.
    pub(super) fn multiply(
        &self,
        rows: usize,
        x: &[f32],
        bias: Option<&[f32]>,
        y: &mut [f32],
        compute: Compute,
    ) {
        if rows == 0 || self.outputs == 0 {
        } else if rows <= MAX_ROWS {
            self.stream(rows, x, bias, y);
        } else {
            self.multiply_as_floats(rows, x, bias, y, compute);
        }
    }

    /// Few rows: integers straight from memory.
    fn stream(&self, rows: usize, x: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let isa = isa::isa();
        let vnni = isa::has_vnni();
        let inputs = Inputs::new(isa, rows, x, self.inputs);
        let (groups, outputs) = (self.groups(), self.outputs);
        let y = SendPtr::new(y.as_mut_ptr());
        parallel_for(outputs.div_ceil(TASK_ROWS), |task| {
            let first = task * TASK_ROWS;
            let count = TASK_ROWS.min(outputs - first);
            let values = &self.values[first * groups * GROUP..][..count * groups * GROUP];
            let scales = &self.scales[first * groups..][..count * groups];
            let mut sums = [0.0; TASK_ROWS * MAX_ROWS];
            let sums = &mut sums[..count * rows];
            match (isa, vnni) {
                #[cfg(target_arch = "x86_64")]
                (_, true) => int8_avx512::multiply(&inputs, values, scales, sums),
                #[cfg(target_arch = "x86_64")]
                (Isa::Avx2, _) => int8_avx2::multiply(&inputs, values, scales, sums),
                _ => multiply_portable(isa, &inputs, values, scales, sums),
            }
            for i in 0..rows {
                // SAFETY: each task has its own outputs in each row.
                let y = unsafe { y.slice_mut(i * outputs + first, count) };
                for (o, y) in y.iter_mut().enumerate() {
                    *y = sums[o * rows + i] * inputs.scales[i]
                        + bias.map_or(0.0, |bias| bias[first + o]);
                }
            }
        });
    }

    /// Many rows: blocks of the weight are turned back into floats.
    fn multiply_as_floats(
        &self,
        rows: usize,
        x: &[f32],
        bias: Option<&[f32]>,
        y: &mut [f32],
        compute: Compute,
    ) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        const BLOCK: usize = 1024;
        let mut buffer = Scratch::take(BLOCK.min(outputs) * inputs);
        for first in (0..outputs).step_by(BLOCK) {
            let count = BLOCK.min(outputs - first);
            let weight = &mut buffer.floats()[..count * inputs];
            if inputs > 0 {
                parallel_chunks_mut(weight, inputs, |row, to| {
                    self.dequantize_row(first + row, to)
                });
            }
            gemm(Gemm {
                m: rows,
                n: count,
                k: inputs,
                a: Operand {
                    data: Data::F32(x),
                    rs: inputs,
                    cs: 1,
                },
                b: Operand {
                    data: Data::F32(weight),
                    rs: 1,
                    cs: inputs,
                },
                c: Output {
                    data: DataMut::F32(&mut y[first..]),
                    rs: outputs,
                    cs: 1,
                },
                compute,
                accumulate: false,
                bias: bias.map(|bias| Data::F32(&bias[first..first + count])),
            });
        }
    }
}

/// The rows of `x` as 16-bit integers with a scale each.
pub(super) struct Inputs {
    pub(super) rows: usize,
    /// `(groups, rows, GROUP)`.
    pub(super) values: Vec<i16>,
    /// The same as high and low bytes, `value = 256 * high + low`: `(groups, rows, 2, GROUP)`.
    pub(super) bytes: Vec<i8>,
    /// -128 times the inputs of each of 16 lanes, `(groups, rows)`: what adding 128 to the weights takes to undo.
    pub(super) starts: Vec<[i32; 16]>,
    /// `(rows)`.
    pub(super) scales: [f32; MAX_ROWS],
}

impl Inputs {
    fn new(isa: Isa, rows: usize, x: &[f32], inputs: usize) -> Self {
        let groups = inputs.div_ceil(GROUP);
        let mut this = Self {
            rows,
            values: vec![0; groups * rows * GROUP],
            bytes: vec![0; groups * rows * GROUP * 2],
            starts: Vec::with_capacity(groups * rows),
            scales: [0.0; MAX_ROWS],
        };
        for i in 0..rows {
            let row = &x[i * inputs..][..inputs];
            let scale = largest(isa, row) / INPUT_MAX;
            this.scales[i] = scale;
            let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
            for (g, part) in row.chunks(GROUP).enumerate() {
                let at = (g * rows + i) * GROUP;
                let (high, low) = this.bytes[2 * at..][..2 * GROUP].split_at_mut(GROUP);
                split(
                    isa,
                    part,
                    inverse,
                    &mut this.values[at..][..GROUP],
                    high,
                    low,
                );
            }
        }
        let parts = this.values.chunks_exact(GROUP);
        this.starts.extend(parts.map(start));
        this
    }
}

/// Lane `l` of a vector sums four inputs of each half of a group, as `vpdpbusd` does with two vectors.
fn start(x: &[i16]) -> [i32; 16] {
    let (one, other) = x.split_at(GROUP / 2);
    let four = |x: &[i16], l: usize| -> i32 { x[4 * l..][..4].iter().map(|&x| i32::from(x)).sum() };
    std::array::from_fn(|l| -128 * (four(one, l) + four(other, l)))
}

vectorized! {
    /// The largest magnitude; not a number if any element is not.
    fn largest(x: &[f32]) -> f32 {
        let mut lanes = [0.0f32; 16];
        let (whole, rest) = x.as_chunks::<16>();
        for chunk in whole {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane = if x.abs() > *lane || x.is_nan() { x.abs() } else { *lane };
            }
        }
        let rest = rest.iter().map(|x| x.abs());
        lanes.into_iter().chain(rest).fold(0.0, |m, x| if x > m || x.is_nan() { x } else { m })
    }

    /// Rounds numbers to integers, and splits those into bytes.
    fn split(x: &[f32], inverse: f32, values: &mut [i16], high: &mut [i8], low: &mut [i8]) {
        for (i, &x) in x.iter().enumerate() {
            let value = (x * inverse).round_ties_even() as i32;
            let upper = (value + 128) >> 8;
            values[i] = value as i16;
            high[i] = upper as i8;
            low[i] = (value - (upper << 8)) as i8;
        }
    }

    /// Some rows of the weight times all inputs: `sums` is (weight rows, input rows).
    fn multiply_portable(inputs: &Inputs, values: &[i8], scales: &[f32], sums: &mut [f32]) {
        let rows = inputs.rows;
        let groups = inputs.values.len() / (rows * GROUP);
        for (o, sums) in sums.chunks_exact_mut(rows).enumerate() {
            for g in 0..groups {
                let weight = &values[(o * groups + g) * GROUP..][..GROUP];
                for (i, sum) in sums.iter_mut().enumerate() {
                    let x = &inputs.values[(g * rows + i) * GROUP..][..GROUP];
                    let dot: i32 = weight.iter().zip(x).map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
                    *sum += dot as f32 * scales[o * groups + g];
                }
            }
        }
    }
}
