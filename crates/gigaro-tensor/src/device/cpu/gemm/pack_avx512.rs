//! The packers for AVX-512. Whichever way the matrix lies, sixteen elements are read at a time: across lanes
//! they are stored as they come, along `k` they go through a 16 by 16 transpose in registers.

use super::pack::{self, Kind, Packer, Piece, Source, Widen};
use half::{bf16, f16};
use std::arch::x86_64::*;

/// Units of one f32, which was rounded to bf16 first if asked for.
pub(in crate::device::cpu) fn packer<const ROUND: bool>(source: &Source) -> Packer {
    if source.lane != 1 && source.step != 1 {
        return pack::packer::<ROUND>(source);
    }
    match source.kind {
        Kind::F32 => pack_single::<f32, ROUND>,
        Kind::BF16 => pack_single::<bf16, false>,
        Kind::F16 => pack_single::<f16, ROUND>,
    }
}

/// Units of a pair in bf16.
pub(in crate::device::cpu) fn packer_pairs(source: &Source) -> Packer {
    let strided = source.lane != 1 && source.step != 1;
    match source.kind {
        Kind::F32 if strided => pack::pack_pairs_strided::<f32>,
        Kind::BF16 if strided => pack::pack_pairs_strided::<bf16>,
        Kind::F16 if strided => pack::pack_pairs_strided::<f16>,
        Kind::F32 => pack_pairs::<f32>,
        Kind::BF16 => pack_pairs::<bf16>,
        Kind::F16 => pack_pairs::<f16>,
    }
}

/// A mask for the first `count` of sixteen.
#[inline(always)]
pub(in crate::device::cpu) fn first(count: usize) -> __mmask16 {
    (0xffffu32 >> (16 - count.min(16))) as __mmask16
}

/// Sixteen neighbours in memory, widened to f32.
pub(in crate::device::cpu) trait Load16: Widen {
    /// Those under the mask; zeros elsewhere.
    ///
    /// # Safety
    /// The elements under the mask can be read.
    unsafe fn load(from: *const Self, mask: __mmask16) -> __m512;
}
impl Load16 for f32 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn load(from: *const Self, mask: __mmask16) -> __m512 {
        // SAFETY: passed on to the caller.
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    }
}
impl Load16 for bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn load(from: *const Self, mask: __mmask16) -> __m512 {
        // SAFETY: passed on to the caller.
        let bits = unsafe { _mm256_maskz_loadu_epi16(mask, from.cast()) };
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
    }
}
impl Load16 for f16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn load(from: *const Self, mask: __mmask16) -> __m512 {
        // SAFETY: passed on to the caller.
        _mm512_cvtph_ps(unsafe { _mm256_maskz_loadu_epi16(mask, from.cast()) })
    }
}

/// The elements under the mask, rounded to bf16 if asked for.
///
/// # Safety
/// As [`Load16::load`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load<T: Load16, const ROUND: bool>(from: *const T, mask: __mmask16) -> __m512 {
    // SAFETY: passed on to the caller.
    let x = unsafe { T::load(from, mask) };
    if ROUND { round(x) } else { x }
}

/// Each number rounded to the nearest in bf16, ties to even, as `bf16::from_f32` does it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn round(x: __m512) -> __m512 {
    let bits = _mm512_castps_si512(x);
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let half = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    let rounded = _mm512_add_epi32(bits, half);
    // What is not a number must not be carried into infinity: it becomes a quiet one instead.
    let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
    let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(x, x);
    let high = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    _mm512_castsi512_ps(_mm512_and_si512(
        _mm512_mask_blend_epi32(number, quiet, rounded),
        high,
    ))
}

/// Sixteen 32-bit units of neighbours along `k`.
pub(in crate::device::cpu) trait LoadUnits: Load16 {
    /// The first `count` (at most 16) elements, widened to f32; zeros behind them.
    ///
    /// # Safety
    /// The elements can be read; needs AVX-512.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn load_single(from: *const Self, count: usize) -> __m512 {
        // SAFETY: passed on to the caller.
        unsafe { Self::load(from, first(count)) }
    }

    /// The same, rounded to bf16.
    ///
    /// # Safety
    /// As [`LoadUnits::load_single`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn load_rounded(from: *const Self, count: usize) -> __m512 {
        // SAFETY: passed on to the caller.
        unsafe { load::<Self, true>(from, first(count)) }
    }

    /// Pairs of the first `count` (at most 32) elements as they lie in memory, if they are of 16 bits; zeros behind them.
    ///
    /// # Safety
    /// The elements can be read; needs AVX-512.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    unsafe fn load_as_they_are(from: *const Self, count: usize) -> __m512 {
        // Not in a const block: builds that keep unused code, as cargo-fuzz's do, make this for f32 too. It costs nothing here either.
        assert!(size_of::<Self>() == 2, "pairs of 16 bits each");
        let mask = u32::MAX.checked_shr(32 - count.min(32) as u32).unwrap_or(0);
        // SAFETY: passed on to the caller; masked elements are not read.
        _mm512_castsi512_ps(unsafe { _mm512_maskz_loadu_epi16(mask, from.cast()) })
    }

    /// Pairs in bf16 of the first `count` (at most 32) elements; zeros behind them.
    ///
    /// # Safety
    /// The elements can be read; needs AVX-512 with BF16.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn load_pairs(from: *const Self, count: usize) -> __m512 {
        // SAFETY: passed on to the caller; masked elements are not read.
        unsafe {
            let low = Self::load(from, first(count));
            let high = Self::load(from.wrapping_add(16), first(count.saturating_sub(16)));
            narrow(low, high)
        }
    }
}
impl LoadUnits for f32 {}
impl LoadUnits for f16 {}
impl LoadUnits for bf16 {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn load_pairs(from: *const Self, count: usize) -> __m512 {
        // SAFETY: passed on to the caller.
        unsafe { Self::load_as_they_are(from, count) }
    }
}

/// # Safety
/// See [`Packer`]; needs AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn pack_single<T: Load16, const ROUND: bool>(source: &Source, piece: Piece, out: *mut u32) {
    let Piece {
        lane0,
        lanes,
        width,
        k0,
        k1,
    } = piece;
    // SAFETY: masks keep every access inside the piece and the panel.
    unsafe {
        let base = source
            .ptr
            .cast::<T>()
            .add(lane0 * source.lane + k0 * source.step);
        let steps = k1 - k0;
        if width == 1 && source.step == 1 {
            // One row, as in decoding: the order is that of the source.
            for k in (0..steps).step_by(16) {
                let mask = first(steps - k);
                let x = load::<T, ROUND>(base.wrapping_add(k), mask);
                _mm512_mask_storeu_ps(out.wrapping_add(k).cast(), mask, x);
            }
            return;
        }
        for lane in (0..width).step_by(16) {
            let (live, kept) = (first(lanes.saturating_sub(lane)), first(width - lane));
            let out = out.cast::<f32>().add(lane);
            if source.lane == 1 {
                let base = base.wrapping_add(lane);
                if live == 0xffff && kept == 0xffff {
                    for k in 0..steps {
                        _mm512_storeu_ps(
                            out.add(k * width),
                            load::<T, ROUND>(base.add(k * source.step), 0xffff),
                        );
                    }
                } else {
                    for k in 0..steps {
                        let x = load::<T, ROUND>(base.wrapping_add(k * source.step), live);
                        _mm512_mask_storeu_ps(out.add(k * width), kept, x);
                    }
                }
                continue;
            }
            for k in (0..steps).step_by(16) {
                let mask = first(steps - k);
                let rows: [__m512; 16] = std::array::from_fn(|i| {
                    let mask = if lane + i < lanes { mask } else { 0 };
                    load::<T, ROUND>(base.wrapping_add((lane + i) * source.lane + k), mask)
                });
                store_columns(transpose(rows), steps - k, out.add(k * width), width, kept);
            }
        }
    }
}

/// # Safety
/// See [`Packer`]; needs AVX-512 with BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn pack_pairs<T: LoadUnits>(source: &Source, piece: Piece, out: *mut u32) {
    let Piece {
        lane0,
        lanes,
        width,
        k0,
        k1,
    } = piece;
    // SAFETY: masks keep every access inside the piece and the panel.
    unsafe {
        let base = source
            .ptr
            .cast::<T>()
            .add(lane0 * source.lane + k0 * source.step);
        let steps = k1 - k0;
        if width == 1 && source.step == 1 {
            for k in (0..steps).step_by(32) {
                let x = T::load_pairs(base.wrapping_add(k), (steps - k).min(32));
                let mask = first((steps - k).div_ceil(2));
                _mm512_mask_storeu_ps(out.wrapping_add(k / 2).cast(), mask, x);
            }
            return;
        }
        for lane in (0..width).step_by(16) {
            let (live, kept) = (first(lanes.saturating_sub(lane)), first(width - lane));
            let out = out.cast::<f32>().add(lane);
            if source.lane == 1 {
                let base = base.wrapping_add(lane);
                for k in (0..steps).step_by(2) {
                    let even = T::load(base.wrapping_add(k * source.step), live);
                    let mask = if k + 1 < steps { live } else { 0 };
                    let odd = T::load(base.wrapping_add((k + 1) * source.step), mask);
                    _mm512_mask_storeu_ps(out.add(k / 2 * width), kept, interleave(even, odd));
                }
                continue;
            }
            for k in (0..steps).step_by(32) {
                let rows: [__m512; 16] = std::array::from_fn(|i| {
                    let count = if lane + i < lanes {
                        (steps - k).min(32)
                    } else {
                        0
                    };
                    T::load_pairs(base.wrapping_add((lane + i) * source.lane + k), count)
                });
                store_columns(
                    transpose(rows),
                    (steps - k).div_ceil(2),
                    out.add(k / 2 * width),
                    width,
                    kept,
                );
            }
        }
    }
}

/// # Safety
/// The first `count` columns under the mask can be written, each `width` behind the last.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn store_columns(
    columns: [__m512; 16],
    count: usize,
    out: *mut f32,
    width: usize,
    mask: __mmask16,
) {
    for (i, &column) in columns.iter().enumerate() {
        if i < count {
            // SAFETY: passed on to the caller.
            unsafe { _mm512_mask_storeu_ps(out.add(i * width), mask, column) };
        }
    }
}

/// 32 numbers in bf16, as sixteen pairs of neighbours.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(in crate::device::cpu) fn narrow(low: __m512, high: __m512) -> __m512 {
    // SAFETY: both are 512 bits.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Sixteen pairs in bf16 of the elements of two vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(in crate::device::cpu) fn interleave(even: __m512, odd: __m512) -> __m512 {
    let halves: [u16; 32] = std::array::from_fn(|i| (i / 2 + 16 * (i % 2)) as u16);
    // SAFETY: both are 512 bits.
    let order: __m512i = unsafe { std::mem::transmute(halves) };
    _mm512_castsi512_ps(_mm512_permutexvar_epi16(
        order,
        _mm512_castps_si512(narrow(even, odd)),
    ))
}

/// Swaps rows and columns of a 16 by 16 block of 32-bit words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(in crate::device::cpu) fn transpose(rows: [__m512; 16]) -> [__m512; 16] {
    let mut t = rows;
    // 4 by 4 blocks inside each 128-bit lane ...
    for i in (0..16).step_by(4) {
        let [a, b, c, d] = [t[i], t[i + 1], t[i + 2], t[i + 3]];
        let (ab0, ab1) = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let (cd0, cd1) = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        t[i] = low_pairs(ab0, cd0);
        t[i + 1] = high_pairs(ab0, cd0);
        t[i + 2] = low_pairs(ab1, cd1);
        t[i + 3] = high_pairs(ab1, cd1);
    }
    // ... then the blocks themselves: lane l of t[4 r + c] belongs to lane r of column 4 l + c.
    let mut columns = t;
    for c in 0..4 {
        let [r0, r1, r2, r3] = [t[c], t[4 + c], t[8 + c], t[12 + c]];
        let even01 = _mm512_shuffle_f32x4::<0b10_00_10_00>(r0, r1);
        let odd01 = _mm512_shuffle_f32x4::<0b11_01_11_01>(r0, r1);
        let even23 = _mm512_shuffle_f32x4::<0b10_00_10_00>(r2, r3);
        let odd23 = _mm512_shuffle_f32x4::<0b11_01_11_01>(r2, r3);
        columns[c] = _mm512_shuffle_f32x4::<0b10_00_10_00>(even01, even23);
        columns[4 + c] = _mm512_shuffle_f32x4::<0b10_00_10_00>(odd01, odd23);
        columns[8 + c] = _mm512_shuffle_f32x4::<0b11_01_11_01>(even01, even23);
        columns[12 + c] = _mm512_shuffle_f32x4::<0b11_01_11_01>(odd01, odd23);
    }
    columns
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn low_pairs(a: __m512, b: __m512) -> __m512 {
    _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn high_pairs(a: __m512, b: __m512) -> __m512 {
    _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::isa::Isa;

    #[test]
    fn rounding_in_vectors_is_rounding_one_by_one() {
        if !Isa::Avx512.is_available() {
            return;
        }
        pack::check_rounding(|x: &[f32; 16]| {
            let mut y = [0.0; 16];
            // SAFETY: the machine has the instructions, and both arrays hold that many numbers.
            unsafe { _mm512_storeu_ps(y.as_mut_ptr(), load::<f32, true>(x.as_ptr(), 0xffff)) };
            y
        });
    }
}
