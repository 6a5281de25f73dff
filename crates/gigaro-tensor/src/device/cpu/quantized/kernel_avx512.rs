//! The product of a panel and a tile with 512-bit vectors: a vector is sixteen outputs, two inputs of each.
//!
//! With VNNI an instruction multiplies those and adds both products to 32-bit sums; without it takes two. The integers of the
//! weight are unpacked once for all rows of the tile.

use super::product::Piece;
use super::{Bits, PANEL, VECTOR};
use std::arch::x86_64::*;

/// Rows of a tile: their integer sums and their totals fill the registers.
pub(super) const ROWS: usize = 12;

/// How far ahead the weight is fetched, in bytes: what memory delivers while one access takes its time.
const AHEAD: usize = 4 << 10;

macro_rules! kernel {
    ($name:ident, $features:literal, $dot:ident) => {
        /// See [`Kernel`](super::product).
        ///
        /// # Safety
        /// As there.
        pub(super) unsafe fn $name(piece: &Piece<'_>) {
            /// # Safety
            /// As above, for `M` rows.
            #[target_feature(enable = $features)]
            unsafe fn rows<const M: usize>(piece: &Piece<'_>) {
                let form = piece.form;
                // SAFETY: passed on to the caller.
                unsafe {
                    match (form.bits, form.group, form.minima) {
                        (Bits::Four, 16, false) => body!(piece, M, 4, 16, false, $dot),
                        (Bits::Four, 16, true) => body!(piece, M, 4, 16, true, $dot),
                        (Bits::Four, _, false) => body!(piece, M, 4, 32, false, $dot),
                        (Bits::Four, _, true) => body!(piece, M, 4, 32, true, $dot),
                        (Bits::Eight, 16, false) => body!(piece, M, 8, 16, false, $dot),
                        (Bits::Eight, 16, true) => body!(piece, M, 8, 16, true, $dot),
                        (Bits::Eight, _, false) => body!(piece, M, 8, 32, false, $dot),
                        (Bits::Eight, _, true) => body!(piece, M, 8, 32, true, $dot),
                    }
                }
            }
            const TABLE: [unsafe fn(&Piece<'_>); ROWS] = [
                rows::<1>, rows::<2>, rows::<3>, rows::<4>, rows::<5>, rows::<6>, rows::<7>,
                rows::<8>, rows::<9>, rows::<10>, rows::<11>, rows::<12>,
            ];
            // SAFETY: passed on to the caller.
            unsafe { TABLE[piece.tile.rows() - 1](piece) };
        }
    };
}

/// The loop over groups, with everything that a form decides known to the compiler.
macro_rules! body {
    ($piece:ident, $rows:ident, $bits:literal, $group:literal, $minima:literal, $dot:ident) => {{
        const VECTORS: usize = $group * $bits / 32;
        const BYTES: usize = VECTORS * VECTOR + 2 * PANEL * if $minima { 2 } else { 1 };
        let tile = $piece.tile;
        let groups = $piece.panel.len() / BYTES;
        let mut totals = [_mm512_setzero_ps(); $rows];
        let mut panel = $piece.panel.as_ptr();
        let (mut x, mut starts) = (tile.values.as_ptr(), tile.starts.as_ptr());
        let mut input_sums = tile.sums.as_ptr();
        for _ in 0..groups {
            let mut sums = [_mm512_setzero_si512(); $rows];
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = _mm512_set1_epi32(*starts.add(i));
            }
            for line in 0..BYTES.div_ceil(64) {
                _mm_prefetch::<_MM_HINT_T0>(panel.wrapping_add(AHEAD + 64 * line).cast());
            }
            for v in 0..VECTORS {
                let packed = _mm512_loadu_si512(panel.add(v * VECTOR).cast());
                for (j, weight) in unpack::<$bits>(packed)
                    .into_iter()
                    .enumerate()
                    .take(16 / $bits)
                {
                    for (i, sum) in sums.iter_mut().enumerate() {
                        let at = i * $group + 2 * (v * (16 / $bits) + j);
                        let pair = x.add(at).cast::<i32>().read_unaligned();
                        *sum = $dot(*sum, weight, _mm512_set1_epi32(pair));
                    }
                }
            }
            let number = |at: usize| {
                let from = panel.add(VECTORS * VECTOR + 2 * at);
                _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))
            };
            let scale = number(0);
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scale, *total);
            }
            if $minima {
                let minimum = number(PANEL);
                for (i, total) in totals.iter_mut().enumerate() {
                    let sum = _mm512_set1_ps(*input_sums.add(i));
                    *total = _mm512_fmadd_ps(sum, minimum, *total);
                }
            }
            panel = panel.add(BYTES);
            x = x.add($rows * $group);
            starts = starts.add($rows);
            input_sums = input_sums.add($rows);
        }
        let bias = _mm512_loadu_ps($piece.bias.as_ptr());
        for (i, total) in totals.iter().enumerate() {
            let scale = _mm512_set1_ps(tile.scales[i] * $piece.unit);
            let y = _mm512_fmadd_ps(*total, scale, bias);
            _mm512_storeu_ps($piece.to.add(i * $piece.stride), y);
        }
    }};
}

kernel!(
    with_vnni,
    "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    multiply_add_fused
);
kernel!(
    without_vnni,
    "avx512f,avx512bw,avx512dq,avx512vl",
    multiply_add
);

/// `vpdpwssd`: adds the products of both inputs of each lane to its sum.
///
/// In assembly, because the compiler takes the intrinsic for a multiplication and an addition, puts the additions of a chain
/// into another order, and then has two instructions where one would do: a third of the speed.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn multiply_add_fused(mut sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the instruction touches registers only, and the machine has it.
    unsafe {
        std::arch::asm!(
            "vpdpwssd {sum}, {a}, {b}",
            sum = inout(zmm_reg) sum,
            a = in(zmm_reg) a,
            b = in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// What VNNI does in one instruction.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn multiply_add(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(sum, _mm512_madd_epi16(a, b))
}

/// The pairs of inputs that a vector of integers holds: four of 4 bits, or two of 8 bits in the first places.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn unpack<const BITS: usize>(packed: __m512i) -> [__m512i; 4] {
    if BITS == 4 {
        let mask = _mm512_set1_epi16(15);
        [
            _mm512_and_si512(packed, mask),
            _mm512_and_si512(_mm512_srli_epi16::<4>(packed), mask),
            _mm512_and_si512(_mm512_srli_epi16::<8>(packed), mask),
            _mm512_srli_epi16::<12>(packed),
        ]
    } else {
        let low = _mm512_and_si512(packed, _mm512_set1_epi16(255));
        let high = _mm512_srli_epi16::<8>(packed);
        [low, high, low, high]
    }
}
