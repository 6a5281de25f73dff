//! The micro-kernels of attention for AVX-512, in f32 and in bf16.

use super::kernel::{Kernel, LD, MR, NR, Table, table};
use crate::device::cpu::gemm::kernel_avx512::store;
use crate::device::cpu::gemm::kernels::Tile;
use std::arch::x86_64::*;

/// How far ahead `B` is fetched, in 32-bit units: keys of a text that is being written come from memory.
const AHEAD: usize = 1 << 10;

/// Units of one f32.
pub(super) fn single() -> Table {
    let rows = table!(kernel_single, LD);
    Table {
        adjacent: table!(kernel_single, 1),
        rows,
        wide_rows: rows,
    }
}

/// Units of a pair in bf16.
pub(super) fn pairs() -> Table {
    Table {
        adjacent: table!(kernel_pairs, 1),
        rows: table!(kernel_pairs, LD / 2),
        wide_rows: table!(kernel_pairs, LD),
    }
}

/// # Safety
/// See [`Kernel`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn kernel_single<const M: usize, const ROWS: usize>(
    steps: usize,
    a: *const u32,
    a_step: usize,
    b: *const u32,
    tile: &Tile,
) {
    let (mut a, mut b) = (a.cast::<f32>(), b.cast::<f32>());
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    // SAFETY: passed on to the caller.
    unsafe {
        for _ in 0..steps {
            _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD).cast());
            _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD + 16).cast());
            let (b0, b1) = (_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16)));
            for i in 0..M {
                let x = _mm512_set1_ps(*a.add(i * ROWS));
                sums[i][0] = _mm512_fmadd_ps(x, b0, sums[i][0]);
                sums[i][1] = _mm512_fmadd_ps(x, b1, sums[i][1]);
            }
            a = a.wrapping_add(a_step);
            b = b.wrapping_add(NR);
        }
        store::<M, 2>(&sums, tile);
    }
}

/// # Safety
/// See [`Kernel`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn kernel_pairs<const M: usize, const ROWS: usize>(
    steps: usize,
    a: *const u32,
    a_step: usize,
    b: *const u32,
    tile: &Tile,
) {
    let (mut a, mut b) = (a.cast::<i32>(), b.cast::<i32>());
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    // SAFETY: passed on to the caller.
    unsafe {
        for _ in 0..steps {
            let b0: __m512bh = std::mem::transmute(_mm512_loadu_epi32(b));
            let b1: __m512bh = std::mem::transmute(_mm512_loadu_epi32(b.add(16)));
            for i in 0..M {
                let x: __m512bh = std::mem::transmute(_mm512_set1_epi32(*a.add(i * ROWS)));
                sums[i][0] = _mm512_dpbf16_ps(sums[i][0], x, b0);
                sums[i][1] = _mm512_dpbf16_ps(sums[i][1], x, b1);
            }
            a = a.wrapping_add(a_step);
            b = b.wrapping_add(NR);
        }
        store::<M, 2>(&sums, tile);
    }
}
