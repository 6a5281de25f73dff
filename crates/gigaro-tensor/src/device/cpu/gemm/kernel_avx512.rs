//! The inner loops for AVX-512: a tile of up to 14 by 32 sums in 28 of the 32 registers.
//!
//! Each step over `k` loads two vectors of `B` and, for each row, one broadcast value of `A` that feeds two
//! multiply-adds: 28 of them for 16 loads, so the multiply-add unit is the limit and packed
//! panels may stream from the second-level cache. The bf16 loop is the same with pairs along
//! `k` in place of single values and `vdpbf16ps` in place of `vfmadd231ps`.

use super::Compute;
use super::kernels::{Kernels, MicroKernel, Tile};
use super::pack::{Packer, Source};
use super::{pack_avx512, stream_avx512};
use std::arch::x86_64::*;

const NR: usize = 32;

/// The table for this instruction set; `bf16` says whether to use `vdpbf16ps`. Without it, bf16 operands are rounded while they
/// are packed and multiplied as f32.
pub(in crate::device::cpu) fn kernels(compute: Compute, bf16: bool) -> Kernels {
    let (per_unit, run, packer): (_, _, fn(&Source) -> Packer) = match compute {
        Compute::BF16 if bf16 => (2, &TABLE_BF16, pack_avx512::packer_pairs),
        Compute::BF16 => (1, &TABLE_F32, pack_avx512::packer::<true>),
        Compute::F32 => (1, &TABLE_F32, pack_avx512::packer::<false>),
    };
    let stream = match compute {
        Compute::BF16 if bf16 => stream_avx512::pairs,
        Compute::BF16 => stream_avx512::rounded,
        Compute::F32 => stream_avx512::single,
    };
    Kernels {
        mr: 14,
        nr: NR,
        per_unit,
        // 14 rows of `A` fill most of a first-level cache of 32 KB.
        block_units: 512,
        run,
        stream,
        packer,
    }
}

macro_rules! table {
    ($kernel:ident) => {
        [
            $kernel::<1>,
            $kernel::<1>,
            $kernel::<2>,
            $kernel::<3>,
            $kernel::<4>,
            $kernel::<5>,
            $kernel::<6>,
            $kernel::<7>,
            $kernel::<8>,
            $kernel::<9>,
            $kernel::<10>,
            $kernel::<11>,
            $kernel::<12>,
            $kernel::<13>,
            $kernel::<14>,
        ]
    };
}

static TABLE_F32: [MicroKernel; 15] = table!(kernel_f32);
static TABLE_BF16: [MicroKernel; 15] = table!(kernel_bf16);

/// # Safety
/// See [`MicroKernel`]; needs AVX-512 F.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn kernel_f32<const MR: usize>(units: usize, a: *const u32, b: *const u32, tile: &Tile) {
    // SAFETY: passed on to the caller.
    unsafe {
        prefetch_tile::<MR>(tile);
        let (mut a, mut b) = (a.cast::<f32>(), b.cast::<f32>());
        let mut sums = [[_mm512_setzero_ps(); 2]; MR];
        for _ in 0..units {
            let b0 = _mm512_loadu_ps(b);
            let b1 = _mm512_loadu_ps(b.add(16));
            // `B` comes from the second-level cache; eight steps are longer than it takes.
            _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(8 * NR).cast());
            _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(8 * NR + 16).cast());
            for i in 0..MR {
                let x = _mm512_set1_ps(*a.add(i));
                sums[i][0] = _mm512_fmadd_ps(x, b0, sums[i][0]);
                sums[i][1] = _mm512_fmadd_ps(x, b1, sums[i][1]);
            }
            a = a.add(MR);
            b = b.add(NR);
        }
        store::<MR, 2>(&sums, tile);
    }
}

/// # Safety
/// See [`MicroKernel`]; needs AVX-512 F and BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn kernel_bf16<const MR: usize>(units: usize, a: *const u32, b: *const u32, tile: &Tile) {
    // SAFETY: passed on to the caller.
    unsafe {
        prefetch_tile::<MR>(tile);
        let (mut a, mut b) = (a.cast::<i32>(), b.cast::<i32>());
        let mut sums = [[_mm512_setzero_ps(); 2]; MR];
        for _ in 0..units {
            let b0: __m512bh = std::mem::transmute(_mm512_loadu_epi32(b));
            let b1: __m512bh = std::mem::transmute(_mm512_loadu_epi32(b.add(16)));
            for i in 0..MR {
                let x: __m512bh = std::mem::transmute(_mm512_set1_epi32(*a.add(i)));
                sums[i][0] = _mm512_dpbf16_ps(sums[i][0], x, b0);
                sums[i][1] = _mm512_dpbf16_ps(sums[i][1], x, b1);
            }
            a = a.add(MR);
            b = b.add(NR);
        }
        store::<MR, 2>(&sums, tile);
    }
}

/// Fetches the tile of `C` while the products run, so that the update at the end does not wait.
///
/// # Safety
/// None beyond the instruction set: prefetching never faults.
#[inline(always)]
unsafe fn prefetch_tile<const MR: usize>(tile: &Tile) {
    for i in 0..MR {
        let row = tile.c.wrapping_add(i * tile.ldc).cast::<i8>();
        // SAFETY: prefetching is allowed at any address.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(row);
            _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(127));
        }
    }
}

/// # Safety
/// The tile's pointers are good for `MR` rows and its columns; needs AVX-512 F.
// Inlined by force, so that the sums never leave their registers.
#[inline(always)]
pub(in crate::device::cpu) unsafe fn store<const MR: usize, const VECTORS: usize>(
    sums: &[[__m512; VECTORS]; MR],
    tile: &Tile,
) {
    // SAFETY: passed on to the caller; masks keep partial vectors inside the tile.
    unsafe {
        let live = u32::MAX >> (32 - tile.cols.clamp(1, NR));
        for half in 0..VECTORS {
            let mask = (live >> (16 * half)) as __mmask16;
            let bias = match tile.col_bias {
                p if p.is_null() => None,
                p => Some(_mm512_maskz_loadu_ps(mask, p.wrapping_add(16 * half))),
            };
            for i in 0..MR {
                let at = tile.c.wrapping_add(i * tile.ldc + 16 * half);
                let mut x = sums[i][half];
                if tile.add {
                    x = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, at), x);
                }
                if let Some(bias) = bias {
                    x = _mm512_add_ps(x, bias);
                }
                if !tile.row_bias.is_null() {
                    x = _mm512_add_ps(x, _mm512_set1_ps(*tile.row_bias.add(i)));
                }
                _mm512_mask_storeu_ps(at, mask, x);
            }
        }
    }
}
