//! What happens to rows of scores between the products: scaling, hiding, exponentials, sums.
//!
//! Exponentials are powers of two; the factor between them is part of the scale. `rows_avx512.rs` and `rows_avx2.rs` have
//! the loops, each for rows of one to four tiles.

use super::kernel::NR;

/// Turns a row of products into weights relative to the running maximum, in place (as bf16, if the precision is pairs).
/// Gives the factor by which what was summed before must shrink.
///
/// # Safety
/// The row has the kernel's vectors, the mask `limit` elements; the machine has the kernel's instructions.
pub(super) type Weights = unsafe fn(
    row: *mut f32,
    scale: f32,
    mask: Option<MaskRow>,
    limit: usize,
    running: &mut Running,
) -> f32;

/// In place: products become weights, and their gradients those of the scores. `scales` are that of the scores and the
/// same for powers of two.
///
/// # Safety
/// As [`Weights`].
pub(super) type Gradients =
    unsafe fn(row: *mut f32, grad: *mut f32, scales: (f32, f32), query: &Query);

/// The kernels for rows in f32 of one to four tiles of columns.
#[derive(Clone, Copy)]
pub(super) struct RowKernels {
    pub(super) weights: &'static [Weights; 4],
    pub(super) gradients: &'static [Gradients; 4],
}

/// Lanes of what is worked on at a time; every instruction set sums in this many.
pub(super) const LANES: usize = 16;
/// Vectors of [`LANES`] in a tile's row.
pub(super) const PER_TILE: usize = NR / LANES;

/// Part of the additive mask: that of one query, from the first key of a block on.
#[derive(Clone, Copy)]
pub(super) struct MaskRow {
    pub(super) ptr: *const f32,
    pub(super) stride: usize,
}

/// The running maximum and sum of a query.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Running {
    /// Of powers of two of scores minus the maximum, lane by lane.
    pub(super) sums: [f32; LANES],
    pub(super) max: f32,
}

impl Running {
    pub(super) const START: Self = Self {
        sums: [0.0; LANES],
        max: f32::NEG_INFINITY,
    };

    /// The sum, and the binary logarithm of the sum of powers of two of the scores themselves.
    pub(super) fn finish(&self) -> (f32, f32) {
        let sum: f32 = self.sums.iter().sum();
        (
            sum,
            if sum == 0.0 {
                f32::NEG_INFINITY
            } else {
                self.max + sum.log2()
            },
        )
    }
}

/// What the backward pass knows of a query.
#[derive(Clone, Copy)]
pub(super) struct Query {
    /// The binary logarithm of its sum of powers of two.
    pub(super) lse: f32,
    /// The product of its output and that one's gradient.
    pub(super) delta: f32,
    pub(super) mask: Option<MaskRow>,
    /// Keys that it sees in this block.
    pub(super) limit: usize,
}
