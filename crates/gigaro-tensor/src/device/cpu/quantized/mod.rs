//! Weights as small integers: a step of decoding takes as long as reading the weights, so it is worth having fewer bytes of
//! them.
//!
//! A row of a [`QuantizedMatrix`] is cut into groups of inputs, each with a scale of its own and perhaps a minimum, so that
//! one large weight costs precision only around itself: `weight = scale * (value - zero) + minimum`. While multiplying, `x` is
//! written as 16-bit integers with one scale per row, and the sums over a group are exact integers; so what is lost is lost in
//! the rounding of the weights, not here.
//!
//! # How they lie in memory
//! Sixteen outputs make a panel. A panel holds its groups one after the other, and a group is what a product needs at a time,
//! without gaps: the integers, then 16 scales and, where the form has them, 16 minima as f16. The integers fill vectors of 64 bytes
//! that hold 32 units of 16 bits: unit `2 o + h` belongs to output `o` and holds 4 (or 2) integers of 4 (or 8) bits,
//! the `j`-th of them for input `2 j + h` of those that the vector is about. So a shift and a mask leave, for each output, two
//! neighbouring inputs in 16 bits, which is what `vpdpwssd` and `vpmaddwd` multiply; and lanes are outputs, so nothing is ever
//! added across them.
//!
//! # What can be relied on
//! A row of the result depends on the same row of `x` alone: never on how many rows there are, nor on threads. So a prompt read at
//! once gives the bits of a prompt read token by token.

mod inputs;
#[cfg(target_arch = "x86_64")]
mod kernel_avx2;
#[cfg(target_arch = "x86_64")]
mod kernel_avx512;
mod kernel_portable;
mod product;
mod rounding;
#[cfg(test)]
mod tests;

use super::threads::parallel_chunks_mut;
use crate::storage::pages::ask_for_huge;
use half::f16;

pub use rounding::{quantize_int4, quantize_int8};

/// Outputs of a panel: the 32-bit lanes of the widest vector.
pub const PANEL: usize = 16;
/// The longest group.
const LONGEST_GROUP: usize = 32;
/// Bytes of a vector of integers.
const VECTOR: usize = 64;

/// How wide the integers of a matrix are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// From 0 to 15.
    Four,
    /// From 0 to 255.
    Eight,
}

/// What a group of a matrix is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// Of an integer.
    pub bits: Bits,
    /// Inputs that share a scale: 16 or 32.
    pub group: usize,
    /// Whether each group has a minimum.
    pub minima: bool,
    /// The integer that stands for 0 before the minimum is added.
    pub zero: u8,
}

impl Form {
    /// Inputs of a vector of integers.
    const fn inputs_of_vector(self) -> usize {
        match self.bits {
            Bits::Four => 8,
            Bits::Eight => 4,
        }
    }

    const fn vectors(self) -> usize {
        self.group / self.inputs_of_vector()
    }

    /// Bytes of a group of a panel.
    const fn group_bytes(self) -> usize {
        let numbers = if self.minima { 2 } else { 1 };
        self.vectors() * VECTOR + numbers * PANEL * 2
    }
}

/// One cache line: the unit of allocation, so that vectors do not cross lines more than they must.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A weight `(outputs, inputs)` of small integers; see the [module](self).
#[derive(Clone)]
pub struct QuantizedMatrix {
    outputs: usize,
    inputs: usize,
    form: Form,
    /// A power of two that all scales and minima are to be multiplied by.
    unit: f32,
    /// `(panels, groups)`, each of [`Form::group_bytes`].
    lines: Vec<Line>,
}

/// One row of a matrix that is being filled.
#[derive(Debug)]
pub struct RowMut<'a> {
    panel: &'a mut [u8],
    /// The row's place in its panel.
    lane: usize,
    form: Form,
}

impl RowMut<'_> {
    /// Sets group `group`: its integers (those behind the last input are ignored by every product), scale and minimum.
    ///
    /// # Panics
    /// If there is no such group, or `values` are not one group.
    #[track_caller]
    pub fn set(&mut self, group: usize, values: &[u8], scale: f16, minimum: f16) {
        let form = self.form;
        assert!(
            values.len() == form.group,
            "RowMut: {} values are not one group",
            values.len()
        );
        let bytes = &mut self.panel[group * form.group_bytes()..][..form.group_bytes()];
        let (vectors, numbers) = bytes.split_at_mut(form.vectors() * VECTOR);
        let parts = values.chunks_exact(form.inputs_of_vector());
        for (vector, values) in vectors.chunks_exact_mut(VECTOR).zip(parts) {
            let to = &mut vector[4 * self.lane..][..4];
            to.copy_from_slice(&match form.bits {
                Bits::Four => pack_nibbles(values),
                Bits::Eight => [values[0], values[2], values[1], values[3]],
            });
        }
        numbers[2 * self.lane..][..2].copy_from_slice(&scale.to_le_bytes());
        if form.minima {
            numbers[2 * (PANEL + self.lane)..][..2].copy_from_slice(&minimum.to_le_bytes());
        }
    }
}

/// Eight integers of 4 bits: even inputs in the first unit, odd ones in the second.
fn pack_nibbles(values: &[u8]) -> [u8; 4] {
    let [a, b, c, d, e, f, g, h] = *values else {
        unreachable!("a vector has 8 inputs of an output")
    };
    [a | c << 4, e | g << 4, b | d << 4, f | h << 4]
}

impl QuantizedMatrix {
    /// A matrix whose rows `fill` sets, several at once; what it leaves out is zero. `unit` is a power of two that
    /// all scales and minima are multiplied by.
    ///
    /// # Panics
    /// If the form has groups of other than 16 or 32.
    #[track_caller]
    pub fn build(
        [outputs, inputs]: [usize; 2],
        form: Form,
        unit: f32,
        fill: impl Fn(usize, &mut RowMut<'_>) + Sync,
    ) -> Self {
        assert!(
            matches!(form.group, 16 | LONGEST_GROUP),
            "QuantizedMatrix: groups of {} inputs are not supported; they may have 16 or 32",
            form.group
        );
        let mut this = Self {
            outputs,
            inputs,
            form,
            unit,
            lines: Vec::new(),
        };
        let bytes = outputs.div_ceil(PANEL) * this.panel_bytes();
        let lines = bytes.div_ceil(64);
        this.lines = Vec::with_capacity(lines);
        ask_for_huge(this.lines.as_mut_ptr().cast(), lines * 64);
        this.lines.resize(lines, Line([0; 64]));
        let panel_bytes = this.panel_bytes();
        if bytes > 0 {
            parallel_chunks_mut(&mut this.bytes_mut()[..bytes], panel_bytes, |p, panel| {
                for lane in 0..PANEL.min(outputs - p * PANEL) {
                    fill(p * PANEL + lane, &mut RowMut { panel, lane, form });
                }
            });
        }
        this
    }

    /// Rows of the weight.
    #[must_use]
    pub const fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the weight.
    #[must_use]
    pub const fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes that one product reads.
    #[must_use]
    pub const fn size_bytes(&self) -> usize {
        self.lines.len() * 64
    }

    /// Row `output` as f32.
    ///
    /// # Panics
    /// If `to` is not one row long or there is no such row.
    #[track_caller]
    pub fn dequantize_row(&self, output: usize, to: &mut [f32]) {
        let (outputs, inputs, form) = (self.outputs, self.inputs, self.form);
        assert!(
            output < outputs && to.len() == inputs,
            "dequantize_row: row {output} of ({outputs}, {inputs}) into {} elements",
            to.len()
        );
        let (panel, lane) = (self.panel(output / PANEL), output % PANEL);
        let groups = panel.chunks_exact(form.group_bytes());
        for (to, bytes) in to.chunks_mut(form.group).zip(groups) {
            let (vectors, numbers) = bytes.split_at(form.vectors() * VECTOR);
            let number =
                |i: usize| f16::from_le_bytes([numbers[2 * i], numbers[2 * i + 1]]).to_f32();
            let scale = number(lane) * self.unit;
            let minimum = if form.minima {
                number(PANEL + lane) * self.unit
            } else {
                0.0
            };
            for (k, to) in to.iter_mut().enumerate() {
                let value = f32::from(value(form, vectors, lane, k)) - f32::from(form.zero);
                *to = scale.mul_add(value, minimum);
            }
        }
    }

    fn groups(&self) -> usize {
        self.inputs.div_ceil(self.form.group)
    }

    fn panel_bytes(&self) -> usize {
        self.groups() * self.form.group_bytes()
    }

    fn panel(&self, p: usize) -> &[u8] {
        let bytes = self.panel_bytes();
        &self.bytes()[p * bytes..][..bytes]
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: a line is 64 bytes without padding.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * 64) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: a line is 64 bytes without padding, and every bit pattern is one.
        unsafe {
            std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * 64)
        }
    }
}

/// The integer of input `k` of a group for the output in `lane`.
#[inline(always)]
fn value(form: Form, vectors: &[u8], lane: usize, k: usize) -> u8 {
    let per_vector = form.inputs_of_vector();
    let (vector, pair, half) = (k / per_vector, k % per_vector / 2, k % 2);
    let unit = &vectors[vector * VECTOR + 4 * lane + 2 * half..][..2];
    match form.bits {
        Bits::Four => unit[pair / 2] >> (pair % 2 * 4) & 15,
        Bits::Eight => unit[pair],
    }
}

impl std::fmt::Debug for QuantizedMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QuantizedMatrix")
            .field("outputs", &self.outputs)
            .field("inputs", &self.inputs)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}
