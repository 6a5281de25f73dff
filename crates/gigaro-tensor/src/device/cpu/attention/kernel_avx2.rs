//! The micro-kernels of attention for AVX2 with FMA: three rows by 32 columns of sums in 12 of the 16 registers.

use super::kernel::{Kernel, LD, MR, NR, Table, table};
use crate::device::cpu::gemm::kernels::Tile;
use std::arch::x86_64::*;

/// Vectors of a tile's row.
const VECTORS: usize = NR / 8;
/// Rows whose sums fit into registers, with a row of `B` and a value of `A`.
const STRIP: usize = 3;

/// Units of one f32. Operands in bf16 are rounded when they are packed.
pub(super) fn single() -> Table {
    let rows = table!(kernel, LD);
    Table {
        adjacent: table!(kernel, 1),
        rows,
        wide_rows: rows,
    }
}

/// # Safety
/// See [`Kernel`].
#[target_feature(enable = "avx2,fma")]
unsafe fn kernel<const M: usize, const ROWS: usize>(
    steps: usize,
    a: *const u32,
    a_step: usize,
    b: *const u32,
    tile: &Tile,
) {
    let (a, b) = (a.cast::<f32>(), b.cast::<f32>());
    for row in (0..M).step_by(STRIP) {
        let (a, c) = (
            a.wrapping_add(row * ROWS),
            tile.c.wrapping_add(row * tile.ldc),
        );
        let tile = Tile { c, ..*tile };
        // SAFETY: passed on to the caller.
        unsafe {
            match M - row {
                1 => strip::<1, ROWS>(steps, a, a_step, b, &tile),
                2 => strip::<2, ROWS>(steps, a, a_step, b, &tile),
                _ => strip::<STRIP, ROWS>(steps, a, a_step, b, &tile),
            }
        }
    }
}

/// # Safety
/// See [`Kernel`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn strip<const M: usize, const ROWS: usize>(
    steps: usize,
    mut a: *const f32,
    a_step: usize,
    mut b: *const f32,
    tile: &Tile,
) {
    let mut sums = [[_mm256_setzero_ps(); VECTORS]; M];
    // SAFETY: passed on to the caller.
    unsafe {
        for _ in 0..steps {
            let mut x = [_mm256_setzero_ps(); M];
            for i in 0..M {
                x[i] = _mm256_broadcast_ss(&*a.add(i * ROWS));
            }
            for v in 0..VECTORS {
                let row = _mm256_loadu_ps(b.add(8 * v));
                for i in 0..M {
                    sums[i][v] = _mm256_fmadd_ps(x[i], row, sums[i][v]);
                }
            }
            a = a.wrapping_add(a_step);
            b = b.wrapping_add(NR);
        }
        for i in 0..M {
            for v in 0..VECTORS {
                let at = tile.c.wrapping_add(i * tile.ldc + 8 * v);
                let sum = if tile.add {
                    _mm256_add_ps(_mm256_loadu_ps(at), sums[i][v])
                } else {
                    sums[i][v]
                };
                _mm256_storeu_ps(at, sum);
            }
        }
    }
}
