//! The inner loop for AVX2 with FMA: a tile of up to 6 by 16 sums in 12 of the 16 registers.
//!
//! Without a bf16 dot product, bf16 operands are rounded while they are packed and multiplied as f32.

use super::Compute;
use super::kernels::{Kernels, MicroKernel, Tile};
use super::pack;
use std::arch::x86_64::*;

const NR: usize = 16;

/// The table for this instruction set.
pub(in crate::device::cpu) fn kernels(compute: Compute) -> Kernels {
    let packer = match compute {
        Compute::F32 => pack::packer_single,
        Compute::BF16 => pack::packer_rounded,
    };
    Kernels {
        mr: 6,
        nr: NR,
        per_unit: 1,
        run: &TABLE,
        stream: |_| None,
        packer,
    }
}

static TABLE: [MicroKernel; 7] = [
    kernel::<1>,
    kernel::<1>,
    kernel::<2>,
    kernel::<3>,
    kernel::<4>,
    kernel::<5>,
    kernel::<6>,
];

/// # Safety
/// See [`MicroKernel`]; needs AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn kernel<const MR: usize>(units: usize, a: *const u32, b: *const u32, tile: &Tile) {
    // SAFETY: passed on to the caller.
    unsafe {
        let (mut a, mut b) = (a.cast::<f32>(), b.cast::<f32>());
        let mut sums = [[_mm256_setzero_ps(); 2]; MR];
        for _ in 0..units {
            let b0 = _mm256_loadu_ps(b);
            let b1 = _mm256_loadu_ps(b.add(8));
            for i in 0..MR {
                let x = _mm256_set1_ps(*a.add(i));
                sums[i][0] = _mm256_fmadd_ps(x, b0, sums[i][0]);
                sums[i][1] = _mm256_fmadd_ps(x, b1, sums[i][1]);
            }
            a = a.add(MR);
            b = b.add(NR);
        }
        for i in 0..MR {
            let mut row = [0.0f32; NR];
            _mm256_storeu_ps(row.as_mut_ptr(), sums[i][0]);
            _mm256_storeu_ps(row.as_mut_ptr().add(8), sums[i][1]);
            tile.store_row(i, &row);
        }
    }
}
