//! The inner loop in plain Rust, for machines without a kernel of their own; the compiler vectorises it.

use super::Compute;
use super::kernels::{Kernels, MicroKernel, Tile};
use super::pack;
use crate::device::cpu::isa::Isa;

const NR: usize = 8;

/// The table for any instruction set.
pub(super) fn kernels(isa: Isa, compute: Compute) -> Kernels {
    let packer = match compute {
        Compute::F32 => pack::packer::<false>,
        Compute::BF16 => pack::packer::<true>,
    };
    // NEON has a fused multiply-add in every machine; elsewhere it may be a function call.
    let run = if isa == Isa::Neon { &FUSED } else { &PLAIN };
    Kernels {
        mr: 4,
        nr: NR,
        per_unit: 1,
        block_units: 512,
        run,
        stream: |_| None,
        packer,
    }
}

static PLAIN: [MicroKernel; 5] = [
    kernel::<1, false>,
    kernel::<1, false>,
    kernel::<2, false>,
    kernel::<3, false>,
    kernel::<4, false>,
];
static FUSED: [MicroKernel; 5] = [
    kernel::<1, true>,
    kernel::<1, true>,
    kernel::<2, true>,
    kernel::<3, true>,
    kernel::<4, true>,
];

/// # Safety
/// See [`MicroKernel`].
unsafe fn kernel<const MR: usize, const FUSE: bool>(
    units: usize,
    a: *const u32,
    b: *const u32,
    tile: &Tile,
) {
    let mut sums = [[0.0f32; NR]; MR];
    for p in 0..units {
        // SAFETY: the panels hold `units` steps of `MR` and `NR` values.
        let (x, y) = unsafe {
            (
                &*a.cast::<[f32; MR]>().add(p),
                &*b.cast::<[f32; NR]>().add(p),
            )
        };
        for i in 0..MR {
            for j in 0..NR {
                sums[i][j] = if FUSE {
                    x[i].mul_add(y[j], sums[i][j])
                } else {
                    sums[i][j] + x[i] * y[j]
                };
            }
        }
    }
    for (i, row) in sums.iter().enumerate() {
        // SAFETY: passed on to the caller.
        unsafe { tile.store_row(i, row) };
    }
}

impl Tile {
    /// Writes row `i` of the tile.
    ///
    /// # Safety
    /// The tile's pointers are good for that row and its columns.
    #[inline(always)]
    pub(super) unsafe fn store_row(&self, i: usize, sums: &[f32]) {
        for (j, &sum) in sums.iter().enumerate().take(self.cols) {
            // SAFETY: passed on to the caller.
            unsafe {
                let at = self.c.add(i * self.ldc + j);
                let mut x = if self.add { *at + sum } else { sum };
                if !self.col_bias.is_null() {
                    x += *self.col_bias.add(j);
                }
                if !self.row_bias.is_null() {
                    x += *self.row_bias.add(i);
                }
                *at = x;
            }
        }
    }
}
