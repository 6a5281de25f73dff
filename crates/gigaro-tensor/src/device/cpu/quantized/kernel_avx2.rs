//! The product of a panel and a tile with 256-bit vectors: half a panel at a time, eight outputs and two inputs of each.

use super::product::Piece;
use super::{Bits, PANEL, VECTOR};
use std::arch::x86_64::*;

/// Rows of a tile: their integer sums and their totals fill the registers.
pub(super) const ROWS: usize = 4;

/// How far ahead the weight is fetched, in bytes: what memory delivers while one access takes its time.
const AHEAD: usize = 2 << 10;
/// Outputs of a vector.
const LANES: usize = 8;

/// See [`Kernel`](super::product).
///
/// # Safety
/// As there.
pub(super) unsafe fn multiply(piece: &Piece<'_>) {
    const TABLE: [unsafe fn(&Piece<'_>, usize); ROWS] =
        [rows::<1>, rows::<2>, rows::<3>, rows::<4>];
    for half in 0..PANEL / LANES {
        // SAFETY: passed on to the caller.
        unsafe { TABLE[piece.tile.rows() - 1](piece, half) };
    }
}

/// One half of the panel.
///
/// # Safety
/// Needs AVX2, FMA and F16C; the piece has `M` rows and is as its form says.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn rows<const M: usize>(piece: &Piece<'_>, half: usize) {
    let (form, tile) = (piece.form, piece.tile);
    let (vectors, bytes) = (form.vectors(), form.group_bytes());
    let mut totals = [_mm256_setzero_ps(); M];
    for g in 0..piece.panel.len() / bytes {
        // SAFETY: the panel holds whole groups, and the tile as many inputs, starts and sums.
        unsafe {
            let panel = piece.panel.as_ptr().add(g * bytes);
            let x = tile.values.as_ptr().add(g * M * form.group);
            if half == 0 {
                for line in 0..bytes.div_ceil(64) {
                    _mm_prefetch::<_MM_HINT_T0>(panel.wrapping_add(AHEAD + 64 * line).cast());
                }
            }
            let mut sums = [_mm256_setzero_si256(); M];
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = _mm256_set1_epi32(*tile.starts.as_ptr().add(g * M + i));
            }
            for v in 0..vectors {
                let from = panel.add(v * VECTOR + 4 * LANES * half);
                let packed = _mm256_loadu_si256(from.cast());
                let x = x.add(v * form.inputs_of_vector());
                match form.bits {
                    Bits::Four => add::<M, 4>(&mut sums, unpack4(packed), x, form.group),
                    Bits::Eight => add::<M, 2>(&mut sums, unpack8(packed), x, form.group),
                }
            }
            let number = |at: usize| {
                let from = panel.add(vectors * VECTOR + 2 * (at + LANES * half));
                _mm256_cvtph_ps(_mm_loadu_si128(from.cast()))
            };
            let scale = number(0);
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), scale, *total);
            }
            if form.minima {
                let minimum = number(PANEL);
                for (i, total) in totals.iter_mut().enumerate() {
                    let sum = _mm256_set1_ps(*tile.sums.as_ptr().add(g * M + i));
                    *total = _mm256_fmadd_ps(sum, minimum, *total);
                }
            }
        }
    }
    for (i, total) in totals.iter().enumerate() {
        // SAFETY: the piece says where its rows go, and a bias has a whole panel.
        unsafe {
            let bias = _mm256_loadu_ps(piece.bias.as_ptr().add(LANES * half));
            let scale = _mm256_set1_ps(tile.scales[i] * piece.unit);
            let to = piece.to.add(i * piece.stride + LANES * half);
            _mm256_storeu_ps(to, _mm256_fmadd_ps(*total, scale, bias));
        }
    }
}

/// Adds the products of `N` pairs of inputs of each output to the sums of all rows.
///
/// # Safety
/// Each row has `2 N` inputs from `x` on, rows being `stride` apart.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn add<const M: usize, const N: usize>(
    sums: &mut [__m256i; M],
    weights: [__m256i; N],
    x: *const i16,
    stride: usize,
) {
    for (j, weight) in weights.into_iter().enumerate() {
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: passed on to the caller.
            let pair = unsafe { x.add(i * stride + 2 * j).cast::<i32>().read_unaligned() };
            let products = _mm256_madd_epi16(weight, _mm256_set1_epi32(pair));
            *sum = _mm256_add_epi32(*sum, products);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn unpack4(packed: __m256i) -> [__m256i; 4] {
    let mask = _mm256_set1_epi16(15);
    [
        _mm256_and_si256(packed, mask),
        _mm256_and_si256(_mm256_srli_epi16::<4>(packed), mask),
        _mm256_and_si256(_mm256_srli_epi16::<8>(packed), mask),
        _mm256_srli_epi16::<12>(packed),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn unpack8(packed: __m256i) -> [__m256i; 2] {
    [
        _mm256_and_si256(packed, _mm256_set1_epi16(255)),
        _mm256_srli_epi16::<8>(packed),
    ]
}
