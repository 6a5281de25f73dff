//! The packers for AVX2. Whichever way the matrix lies, eight elements are read at a time: across lanes they are
//! stored as they come, along `k` they go through an 8 by 8 transpose in registers.
//!
//! Units are one f32; for products in bf16 the elements are rounded on the way. See `pack.rs` for what a panel is.

use super::pack::{self, Kind, Packer, Piece, Source, Widen};
use super::panels::PACK_STEPS;
use half::{bf16, f16};
use std::arch::x86_64::*;

/// How far ahead elements are fetched where lanes are neighbours, in steps: as many as are packed of each panel before
/// the next ones, so that what is fetched is needed when the first panel's turn comes again.
const AHEAD: usize = PACK_STEPS;

/// Units of one f32, which was rounded to bf16 first if asked for.
pub(super) fn packer<const ROUND: bool>(source: &Source) -> Packer {
    if source.lane != 1 && source.step != 1 {
        return pack::packer::<ROUND>(source);
    }
    match source.kind {
        Kind::F32 => pack_single::<f32, ROUND>,
        Kind::BF16 => pack_single::<bf16, false>,
        Kind::F16 => pack_single::<f16, ROUND>,
    }
}

/// Eight neighbours in memory, widened to f32.
pub(super) trait Load8: Widen {
    /// All eight.
    ///
    /// # Safety
    /// The elements can be read; needs AVX2 and F16C.
    unsafe fn load(from: *const Self) -> __m256;

    /// The first `count`, at most 8; zeros behind them.
    ///
    /// # Safety
    /// The first `count` elements can be read; needs AVX2 and F16C.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_first(from: *const Self, count: usize) -> __m256 {
        let mut x = [0.0f32; 8];
        for (i, x) in x.iter_mut().enumerate().take(count) {
            // SAFETY: passed on to the caller.
            *x = unsafe { *from.wrapping_add(i) }.widen();
        }
        // SAFETY: eight numbers of our own.
        unsafe { _mm256_loadu_ps(x.as_ptr()) }
    }
}
impl Load8 for f32 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load(from: *const Self) -> __m256 {
        // SAFETY: passed on to the caller.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load_first(from: *const Self, count: usize) -> __m256 {
        let places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), places);
        // SAFETY: passed on to the caller; masked elements are not read.
        unsafe { _mm256_maskload_ps(from, mask) }
    }
}
impl Load8 for bf16 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load(from: *const Self) -> __m256 {
        // SAFETY: passed on to the caller.
        let bits = unsafe { _mm_loadu_si128(from.cast()) };
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
    }
}
impl Load8 for f16 {
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn load(from: *const Self) -> __m256 {
        // SAFETY: passed on to the caller.
        _mm256_cvtph_ps(unsafe { _mm_loadu_si128(from.cast()) })
    }
}

/// The first `count` elements, rounded to bf16 if asked for.
///
/// # Safety
/// As [`Load8::load_first`].
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn load<T: Load8, const ROUND: bool>(from: *const T, count: usize) -> __m256 {
    // SAFETY: passed on to the caller.
    let x = unsafe {
        if count >= 8 {
            T::load(from)
        } else {
            T::load_first(from, count)
        }
    };
    if ROUND { round(x) } else { x }
}

/// Each number rounded to the nearest in bf16, ties to even, as `bf16::from_f32` does it.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn round(x: __m256) -> __m256 {
    let bits = _mm256_castps_si256(x);
    let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
    let half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
    let rounded = _mm256_castsi256_ps(_mm256_add_epi32(bits, half));
    // What is not a number must not be carried into infinity: it becomes a quiet one instead.
    let quiet = _mm256_or_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x0040_0000)));
    let number = _mm256_cmp_ps::<_CMP_ORD_Q>(x, x);
    let high = _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000_u32 as i32));
    _mm256_and_ps(_mm256_blendv_ps(quiet, rounded, number), high)
}

/// # Safety
/// See [`Packer`]; needs AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn pack_single<T: Load8, const ROUND: bool>(source: &Source, piece: Piece, out: *mut u32) {
    let Piece {
        lane0,
        lanes,
        width,
        k0,
        k1,
    } = piece;
    // SAFETY: counts keep every access inside the piece and the panel.
    unsafe {
        let base = source
            .ptr
            .cast::<T>()
            .add(lane0 * source.lane + k0 * source.step);
        for lane in (0..width).step_by(8) {
            let (live, kept) = (lanes.saturating_sub(lane).min(8), (width - lane).min(8));
            let strip = Strip {
                from: base.wrapping_add(lane * source.lane),
                lane: source.lane,
                step: source.step,
                steps: k1 - k0,
                out: out.cast::<f32>().add(lane),
                width,
            };
            // The widths that panels have, so that loops over lanes are unrolled and stay in registers.
            match (live, kept) {
                (8, 8) => strip.pack::<ROUND, 8>(8, 8),
                (6, 6) => strip.pack::<ROUND, 6>(6, 6),
                _ => strip.pack::<ROUND, 0>(live, kept),
            }
        }
    }
}

/// At most eight lanes of a piece.
struct Strip<T> {
    from: *const T,
    lane: usize,
    step: usize,
    steps: usize,
    out: *mut f32,
    width: usize,
}

impl<T: Load8> Strip<T> {
    /// Packs `live` lanes and zeros up to `kept`; both are `N`, unless that is 0.
    ///
    /// # Safety
    /// See [`Packer`]; needs AVX2, FMA and F16C.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn pack<const ROUND: bool, const N: usize>(&self, live: usize, kept: usize) {
        let (live, kept) = if N > 0 { (N, N) } else { (live, kept) };
        // SAFETY: passed on to the caller.
        unsafe {
            if self.lane == 1 {
                return self.pack_across::<ROUND>(live, kept);
            }
            let whole = self.steps / 8 * 8;
            for k in (0..whole).step_by(8) {
                self.pack_square::<ROUND>(k, 8, live, kept);
            }
            if whole < self.steps {
                self.pack_square::<ROUND>(whole, self.steps - whole, live, kept);
            }
        }
    }

    /// Lanes are neighbours in memory.
    ///
    /// # Safety
    /// As [`Strip::pack`].
    #[inline(always)]
    unsafe fn pack_across<const ROUND: bool>(&self, live: usize, kept: usize) {
        // SAFETY: counts keep every access inside the piece and the panel.
        unsafe {
            for k in 0..self.steps {
                let from = self.from.wrapping_add(k * self.step);
                // To the second level: rows a power of two apart would push each other out of the first.
                let ahead = from.wrapping_add(AHEAD * self.step);
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                let x = load::<T, ROUND>(from, live);
                self.store(k, kept, x);
            }
        }
    }

    /// Steps are neighbours in memory: `count` of them from `k` on, at most 8.
    ///
    /// # Safety
    /// As [`Strip::pack`].
    #[inline(always)]
    unsafe fn pack_square<const ROUND: bool>(
        &self,
        k: usize,
        count: usize,
        live: usize,
        kept: usize,
    ) {
        // SAFETY: counts keep every access inside the piece and the panel.
        unsafe {
            let mut rows = [_mm256_setzero_ps(); 8];
            for i in 0..8 {
                if i < live {
                    let from = self.from.wrapping_add(i * self.lane + k);
                    rows[i] = load::<T, ROUND>(from, count);
                }
            }
            let columns = transpose(rows);
            for i in 0..8 {
                if i < count {
                    self.store(k + i, kept, columns[i]);
                }
            }
        }
    }

    /// Writes the first `kept` numbers of step `k`.
    ///
    /// # Safety
    /// As [`Strip::pack`].
    #[inline(always)]
    unsafe fn store(&self, k: usize, kept: usize, x: __m256) {
        // SAFETY: passed on to the caller.
        unsafe { store_first(self.out.add(k * self.width), kept, x) }
    }
}

/// Writes the first `count` (at most 8) numbers. In pieces: a store under a mask takes dozens of cycles on some machines.
///
/// # Safety
/// The numbers can be written.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn store_first(to: *mut f32, count: usize, y: __m256) {
    // SAFETY: passed on to the caller.
    unsafe {
        if count == 8 {
            return _mm256_storeu_ps(to, y);
        }
        let (mut to, mut x) = (to, _mm256_castps256_ps128(y));
        if count & 4 != 0 {
            _mm_storeu_ps(to, x);
            (to, x) = (to.add(4), _mm256_extractf128_ps::<1>(y));
        }
        if count & 2 != 0 {
            _mm_storel_pd(to.cast(), _mm_castps_pd(x));
            (to, x) = (to.add(2), _mm_movehl_ps(x, x));
        }
        if count & 1 != 0 {
            _mm_store_ss(to, x);
        }
    }
}

/// Swaps rows and columns of an 8 by 8 block of 32-bit words.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn transpose(rows: [__m256; 8]) -> [__m256; 8] {
    let mut t = rows;
    // 4 by 4 blocks inside each 128-bit lane ...
    for i in [0, 4] {
        let [a, b, c, d] = [rows[i], rows[i + 1], rows[i + 2], rows[i + 3]];
        let (ab0, ab1) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (cd0, cd1) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        t[i] = _mm256_shuffle_ps::<0b01_00_01_00>(ab0, cd0);
        t[i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(ab0, cd0);
        t[i + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(ab1, cd1);
        t[i + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(ab1, cd1);
    }
    // ... then the blocks themselves.
    let mut columns = t;
    for i in 0..4 {
        columns[i] = _mm256_permute2f128_ps::<0x20>(t[i], t[i + 4]);
        columns[i + 4] = _mm256_permute2f128_ps::<0x31>(t[i], t[i + 4]);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu::isa::Isa;

    #[test]
    fn rounding_in_vectors_is_rounding_one_by_one() {
        if !Isa::Avx2.is_available() {
            return;
        }
        pack::check_rounding(|x: &[f32; 8]| {
            let mut y = [0.0; 8];
            // SAFETY: the machine has the instructions, and both arrays hold that many numbers.
            unsafe { _mm256_storeu_ps(y.as_mut_ptr(), load::<f32, true>(x.as_ptr(), 8)) };
            y
        });
    }
}
