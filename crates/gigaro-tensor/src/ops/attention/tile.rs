//! Small matrix products on blocks that lie in the cache: the arithmetic of the attention kernels.
//!
//! `C (+)= A B` with any strides on `A` (its elements are broadcast one by one) and rows of `B` and `C`
//! contiguous. A tile of `C` stays in registers for the whole of `k`. Operands are not packed: they are a few
//! dozen kilobytes and used while they are hot.

use crate::dtype::Real;

/// A float that tiles are made of.
pub(super) trait Scalar: Real + bytemuck::Pod {
    /// `self * a + b`, rounded once.
    fn fused(self, a: Self, b: Self) -> Self;
    /// Whether this is `f32`, for which the device may have kernels of its own.
    const IS_F32: bool;
}
impl Scalar for f32 {
    const IS_F32: bool = true;
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
}
impl Scalar for f64 {
    const IS_F32: bool = false;
    #[inline(always)]
    fn fused(self, a: Self, b: Self) -> Self {
        self.mul_add(a, b)
    }
}

/// A matrix whose elements are read one at a time: `(i, j)` is `data[i * rs + j * cs]`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a, T> {
    pub(super) data: &'a [T],
    pub(super) rs: usize,
    pub(super) cs: usize,
}

/// A matrix with contiguous rows, `rs` apart.
#[derive(Clone, Copy)]
pub(super) struct Right<'a, T> {
    pub(super) data: &'a [T],
    pub(super) rs: usize,
}

/// `C = A B`, or `C += A B`: `a` is `(m, k)`, `b` is `(k, n)`, `c` is `(m, n)` with rows `c_rs` apart.
///
/// `FMA` says that the machine fuses multiplication and addition; without it, asking for the fused
/// form would call a function for every element.
#[inline(always)]
pub(super) fn product<T: Scalar, const FMA: bool>(
    [m, n, k]: [usize; 3],
    a: Left<'_, T>,
    b: Right<'_, T>,
    c: &mut [T],
    c_rs: usize,
    accumulate: bool,
) {
    // The tile that fills half of the 32 registers of AVX-512 with f32.
    const ROWS: usize = 8;
    const WIDE: usize = 32;
    const NARROW: usize = 8;
    let mut j = 0;
    while j < n {
        let width = if n - j >= WIDE {
            WIDE
        } else {
            NARROW.min(n - j)
        };
        let mut i = 0;
        while i < m {
            let left = Left {
                data: &a.data[(i * a.rs).min(a.data.len())..],
                ..a
            };
            let right = Right {
                data: &b.data[j.min(b.data.len())..],
                ..b
            };
            let out = &mut c[i * c_rs + j..];
            let tall = m - i >= ROWS;
            match (tall, width) {
                (true, WIDE) => tile::<T, FMA, ROWS, WIDE>(k, left, right, out, c_rs, accumulate),
                (false, WIDE) => tile::<T, FMA, 1, WIDE>(k, left, right, out, c_rs, accumulate),
                (true, NARROW) => {
                    tile::<T, FMA, ROWS, NARROW>(k, left, right, out, c_rs, accumulate)
                }
                (false, NARROW) => tile::<T, FMA, 1, NARROW>(k, left, right, out, c_rs, accumulate),
                // A loop and not an iterator: its closure would not be compiled for the instruction set.
                _ => {
                    for x in 0..width {
                        let right = Right {
                            data: &right.data[x.min(right.data.len())..],
                            ..b
                        };
                        tile::<T, FMA, 1, 1>(k, left, right, &mut out[x..], c_rs, accumulate);
                    }
                }
            }
            i += if tall && width >= NARROW { ROWS } else { 1 };
        }
        j += width;
    }
}

#[inline(always)]
fn tile<T: Scalar, const FMA: bool, const M: usize, const N: usize>(
    k: usize,
    a: Left<'_, T>,
    b: Right<'_, T>,
    c: &mut [T],
    c_rs: usize,
    accumulate: bool,
) {
    if k == 0 {
        if !accumulate {
            for i in 0..M {
                c[i * c_rs..][..N].fill(T::ZERO);
            }
        }
        return;
    }
    // One check for all: the last elements that the loops below reach.
    assert!(a.data.len() > (M - 1) * a.rs + (k - 1) * a.cs && b.data.len() >= (k - 1) * b.rs + N);
    let mut sums = [[T::ZERO; N]; M];
    for l in 0..k {
        // SAFETY: within the bounds asserted above.
        let row = unsafe { &*b.data.as_ptr().add(l * b.rs).cast::<[T; N]>() };
        for i in 0..M {
            // SAFETY: as above.
            let x = unsafe { *a.data.get_unchecked(i * a.rs + l * a.cs) };
            for j in 0..N {
                sums[i][j] = if FMA {
                    x.fused(row[j], sums[i][j])
                } else {
                    sums[i][j] + x * row[j]
                };
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        let out = &mut c[i * c_rs..][..N];
        for j in 0..N {
            out[j] = if accumulate {
                out[j] + sums[j]
            } else {
                sums[j]
            };
        }
    }
}
