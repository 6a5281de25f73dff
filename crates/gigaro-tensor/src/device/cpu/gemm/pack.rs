//! Packing: copying a strip of a matrix into the order in which the micro-kernels read it, converting
//! the elements on the way. This file has the portable packers.
//!
//! A panel holds some rows of `A` or columns of `B`, its lanes. Step after step along `k`, it stores the
//! 32-bit unit of every lane, and zeros for the lanes that the matrix lacks.

use half::{bf16, f16};

/// The type of the elements to be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::device::cpu) enum Kind {
    F32,
    BF16,
    F16,
}

/// An operand seen as lanes (rows of `A`, columns of `B`) and steps along `k`.
#[derive(Clone, Copy, Debug)]
pub(in crate::device::cpu) struct Source {
    pub(in crate::device::cpu) ptr: *const u8,
    pub(in crate::device::cpu) kind: Kind,
    /// From one lane to the next, in elements.
    pub(in crate::device::cpu) lane: usize,
    /// From one step along `k` to the next, in elements.
    pub(in crate::device::cpu) step: usize,
}

/// The part of a source that goes into a panel.
#[derive(Clone, Copy, Debug)]
pub(in crate::device::cpu) struct Piece {
    /// The first lane.
    pub(in crate::device::cpu) lane0: usize,
    /// How many lanes the source has for this panel.
    pub(in crate::device::cpu) lanes: usize,
    /// How many lanes the panel has; the rest are zeros.
    pub(in crate::device::cpu) width: usize,
    /// The first element along `k`.
    pub(in crate::device::cpu) k0: usize,
    /// One past the last element along `k`.
    pub(in crate::device::cpu) k1: usize,
}

/// Packs a piece of a source to `out`.
///
/// # Safety
/// The piece lies inside the source, `out` has room for the panel, and the machine has the packer's
/// instructions.
pub(in crate::device::cpu) type Packer = unsafe fn(&Source, Piece, *mut u32);

impl Source {
    /// Moves the beginning by so many elements.
    pub(in crate::device::cpu) fn offset(self, elements: usize) -> Self {
        Self {
            ptr: self.ptr.wrapping_add(elements * self.kind.size_bytes()),
            ..self
        }
    }
}

impl Kind {
    pub(in crate::device::cpu) fn size_bytes(self) -> usize {
        match self {
            Kind::F32 => 4,
            Kind::BF16 | Kind::F16 => 2,
        }
    }
}

/// An element that widens to f32.
pub(in crate::device::cpu) trait Widen: Copy {
    fn widen(self) -> f32;
}
impl Widen for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}
impl Widen for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}
impl Widen for f16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }
}

/// Units of one f32, which was rounded to bf16 first if asked for, as for products in bf16 without a dot product.
pub(in crate::device::cpu) fn packer<const ROUND: bool>(source: &Source) -> Packer {
    match source.kind {
        Kind::F32 => pack_single::<f32, ROUND>,
        Kind::BF16 => pack_single::<bf16, false>,
        Kind::F16 => pack_single::<f16, ROUND>,
    }
}

/// # Safety
/// See [`Packer`].
unsafe fn pack_single<T: Widen, const ROUND: bool>(source: &Source, piece: Piece, out: *mut u32) {
    let Piece {
        lane0,
        lanes,
        width,
        k0,
        k1,
    } = piece;
    let unit = |x: T| match ROUND {
        true => bf16::from_f32(x.widen()).widen().to_bits(),
        false => x.widen().to_bits(),
    };
    // SAFETY: all indices stay inside the piece and the panel.
    unsafe {
        let base = source
            .ptr
            .cast::<T>()
            .add(lane0 * source.lane + k0 * source.step);
        if source.lane == 1 {
            for k in 0..k1 - k0 {
                let (from, to) = (base.add(k * source.step), out.add(k * width));
                for lane in 0..lanes {
                    *to.add(lane) = unit(*from.add(lane));
                }
            }
        } else {
            for lane in 0..lanes {
                let from = base.add(lane * source.lane);
                for k in 0..k1 - k0 {
                    *out.add(k * width + lane) = unit(*from.add(k * source.step));
                }
            }
        }
        for k in 0..k1 - k0 {
            for lane in lanes..width {
                *out.add(k * width + lane) = 0;
            }
        }
    }
}

/// Units of a pair in bf16, for strides that leave nothing contiguous.
///
/// # Safety
/// See [`Packer`].
pub(in crate::device::cpu) unsafe fn pack_pairs_strided<T: Widen>(
    source: &Source,
    piece: Piece,
    out: *mut u32,
) {
    let Piece {
        lane0,
        lanes,
        width,
        k0,
        k1,
    } = piece;
    let base = source.ptr.cast::<T>();
    let bits = |lane: usize, k: usize| {
        if lane < lanes && k < k1 {
            // SAFETY: the element lies inside the piece.
            let x = unsafe { *base.add((lane0 + lane) * source.lane + k * source.step) };
            u32::from(bf16::from_f32(x.widen()).to_bits())
        } else {
            0
        }
    };
    for (step, k) in (k0..k1).step_by(2).enumerate() {
        for lane in 0..width {
            // SAFETY: the panel has room for every step and lane.
            unsafe { *out.add(step * width + lane) = bits(lane, k) | bits(lane, k + 1) << 16 };
        }
    }
}

/// Checks that rounding `N` numbers at once is rounding each to bf16, edges and what is no number among them.
#[cfg(test)]
pub(super) fn check_rounding<const N: usize>(round: impl Fn(&[f32; N]) -> [f32; N]) {
    let bits = (0..1u32 << 16).map(|i| i.wrapping_mul(0x9e37_79b1));
    let edges = [
        0u32,
        1,
        0x7f7f_ffff,
        0x7f80_0000,
        0x7f80_0001,
        0xffff_ffff,
        0x3f80_8000,
        0x3f81_8000,
    ];
    let numbers: Vec<f32> = bits.chain(edges.repeat(2)).map(f32::from_bits).collect();
    let (groups, rest) = numbers.as_chunks::<N>();
    assert!(rest.is_empty());
    for x in groups {
        for (x, y) in x.iter().zip(round(x)) {
            assert_eq!(y.to_bits(), bf16::from_f32(*x).widen().to_bits(), "{x}");
        }
    }
}
