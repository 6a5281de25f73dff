//! What a weight is multiplied by: rows of floats as 16-bit integers with a scale each, in tiles of rows.

use super::super::isa::{Isa, vectorized};
use super::super::threads::parallel_chunks_mut;
use super::Form;

/// The largest integer of an input.
const LARGEST: f32 = 32767.0;

/// Some rows of `x` as integers: what a kernel takes at a time.
#[derive(Default)]
pub(super) struct Tile {
    /// `(groups, rows, group)`; zeros behind the last input.
    pub(super) values: Vec<i16>,
    /// Sums over groups, times the negative of the weight's zero: what that zero adds to a product. `(groups, rows)`
    pub(super) starts: Vec<i32>,
    /// Sums over groups, for minima: `(groups, rows)`.
    pub(super) sums: Vec<f32>,
    /// What an integer stands for, `(rows)`.
    pub(super) scales: Vec<f32>,
}

impl Tile {
    /// The rows of `x`, `tile` in each but perhaps the last.
    ///
    /// # Shapes
    /// `x: (rows, inputs)`, not empty
    pub(super) fn cut(isa: Isa, inputs: usize, x: &[f32], form: Form, tile: usize) -> Vec<Self> {
        let rows = x.chunks(tile * inputs);
        let mut tiles: Vec<Self> = rows
            .map(|x| Self::zeroed(x.len() / inputs, inputs, form))
            .collect();
        parallel_chunks_mut(&mut tiles, 1, |t, this| {
            let first = t * tile * inputs;
            let x = &x[first..][..this[0].rows() * inputs];
            write(isa, x, inputs, form, &mut this[0]);
        });
        tiles
    }

    fn zeroed(rows: usize, inputs: usize, form: Form) -> Self {
        let groups = inputs.div_ceil(form.group);
        Self {
            values: vec![0; groups * rows * form.group],
            starts: vec![0; groups * rows],
            sums: vec![0.0; groups * rows],
            scales: vec![0.0; rows],
        }
    }

    pub(super) const fn rows(&self) -> usize {
        self.scales.len()
    }
}

vectorized! {
    /// Writes the rows of `x` into the tile.
    fn write(x: &[f32], inputs: usize, form: Form, tile: &mut Tile) {
        let (rows, group) = (tile.rows(), form.group);
        for (i, x) in x.chunks_exact(inputs).enumerate() {
            let scale = largest(x) / LARGEST;
            let inverse = if scale > 0.0 { scale.recip() } else { 0.0 };
            tile.scales[i] = scale;
            for (g, x) in x.chunks(group).enumerate() {
                let at = g * rows + i;
                let sum = round(x, inverse, &mut tile.values[at * group..][..group]);
                tile.starts[at] = -i32::from(form.zero) * sum;
                tile.sums[at] = sum as f32;
            }
        }
    }
}

/// The largest magnitude; not a number if any element is not.
#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (whole, rest) = x.as_chunks::<16>();
    for chunk in whole {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = if x.abs() > *lane || x.is_nan() {
                x.abs()
            } else {
                *lane
            };
        }
    }
    let rest = rest.iter().map(|x| x.abs());
    let all = lanes.into_iter().chain(rest);
    all.fold(0.0, |m, x| if x > m || x.is_nan() { x } else { m })
}

/// Rounds numbers to integers, and adds those up.
#[inline(always)]
fn round(x: &[f32], inverse: f32, to: &mut [i16]) -> i32 {
    let mut sum = 0;
    for (to, &x) in to.iter_mut().zip(x) {
        let value = (x * inverse).round_ties_even() as i32;
        sum += value;
        *to = value as i16;
    }
    sum
}
