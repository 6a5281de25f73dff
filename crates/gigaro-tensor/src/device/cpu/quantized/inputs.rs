//! What a weight is multiplied by: rows of floats as 16-bit integers with a scale each, in tiles of rows.

use super::super::isa::{Isa, vectorized};
use super::super::threads::parallel_chunks_mut;
use super::Form;
use std::cell::RefCell;

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

thread_local! {
    /// The tiles of the last product, whose memory the next one uses again: fresh pages for them take as long as filling them.
    static KEPT: RefCell<Vec<Tile>> = const { RefCell::new(Vec::new()) };
}

/// The tiles of one product.
pub(super) struct Tiles {
    tiles: Vec<Tile>,
    count: usize,
}

impl std::ops::Deref for Tiles {
    type Target = [Tile];

    fn deref(&self) -> &[Tile] {
        &self.tiles[..self.count]
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // While a thread ends its tiles may be gone already.
        let _ = KEPT.try_with(|kept| kept.replace(std::mem::take(&mut self.tiles)));
    }
}

impl Tiles {
    /// The rows of `x`, `tile` in each but perhaps the last.
    ///
    /// # Shapes
    /// `x: (rows, inputs)`, not empty
    pub(super) fn cut(isa: Isa, inputs: usize, x: &[f32], form: Form, tile: usize) -> Self {
        let mut tiles = KEPT.take();
        let count = x.len().div_ceil(tile * inputs);
        if tiles.len() < count {
            tiles.resize_with(count, Tile::default);
        }
        parallel_chunks_mut(&mut tiles[..count], 1, |t, this| {
            let first = t * tile * inputs;
            let x = &x[first..x.len().min(first + tile * inputs)];
            this[0].resize(x.len() / inputs, inputs, form);
            write(isa, x, inputs, form, &mut this[0]);
        });
        Self { tiles, count }
    }
}

impl Tile {
    fn resize(&mut self, rows: usize, inputs: usize, form: Form) {
        let groups = inputs.div_ceil(form.group);
        let padded = !inputs.is_multiple_of(form.group);
        if padded {
            self.values.clear();
        }
        self.values.resize(groups * rows * form.group, 0);
        self.starts.resize(groups * rows, 0);
        self.sums.resize(groups * rows, 0.0);
        self.scales.resize(rows, 0.0);
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
                tile.starts[at] = sum.wrapping_mul(-i32::from(form.zero));
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

/// Rounds numbers to integers, and adds those up: sixteen at a time, because a group is too short for a loop of any length to be
/// worth vectors. What is no number becomes some integer; the row's scale is none then.
#[inline(always)]
fn round(x: &[f32], inverse: f32, to: &mut [i16]) -> i32 {
    const LANES: usize = 16;
    let mut sums = [0_i32; LANES];
    let (whole, rest) = x.as_chunks::<LANES>();
    let (to, to_rest) = to.split_at_mut(whole.len() * LANES);
    for (x, to) in whole.iter().zip(to.as_chunks_mut::<LANES>().0) {
        // One thing after the other, or the compiler takes lanes one by one.
        let values = x.map(|x| nearest(x * inverse));
        *to = values.map(|value| value as i16);
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = sum.wrapping_add(value);
        }
    }
    let mut sum = sums.iter().fold(0_i32, |sum, x| sum.wrapping_add(*x));
    for (to, &x) in to_rest.iter_mut().zip(rest) {
        let value = nearest(x * inverse);
        *to = value as i16;
        sum = sum.wrapping_add(value);
    }
    sum
}

/// The nearest integer, ties to even, of a number below 2^22: next to 1.5 * 2^23 the last bit of an f32 stands for 1. (A cast would look
/// for numbers out of range, one by one.)
#[inline(always)]
fn nearest(x: f32) -> i32 {
    const ANCHOR: f32 = 12_582_912.0;
    (x + ANCHOR).to_bits().wrapping_sub(ANCHOR.to_bits()) as i32
}
