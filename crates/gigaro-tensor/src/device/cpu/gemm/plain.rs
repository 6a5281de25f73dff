//! Products of f64 and of integers: a simple loop that the compiler vectorises, for gradient checks and index
//! arithmetic. It makes no claim to speed.

use super::Shape;
use crate::device::cpu::isa::{self, vectorized};
use crate::device::cpu::threads::{SendPtr, parallel_for};

/// An element of these products. Integers wrap, as everywhere in tensors.
pub(super) trait Number: Copy + Send + Sync {
    const ZERO: Self;
    fn multiply_add(self, x: Self, y: Self) -> Self;
    fn plus(self, x: Self) -> Self;
}
impl Number for f64 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn multiply_add(self, x: Self, y: Self) -> Self {
        self + x * y
    }
    #[inline(always)]
    fn plus(self, x: Self) -> Self {
        self + x
    }
}
impl Number for i64 {
    const ZERO: Self = 0;
    #[inline(always)]
    fn multiply_add(self, x: Self, y: Self) -> Self {
        self.wrapping_add(x.wrapping_mul(y))
    }
    #[inline(always)]
    fn plus(self, x: Self) -> Self {
        self.wrapping_add(x)
    }
}
impl Number for i32 {
    const ZERO: Self = 0;
    #[inline(always)]
    fn multiply_add(self, x: Self, y: Self) -> Self {
        self.wrapping_add(x.wrapping_mul(y))
    }
    #[inline(always)]
    fn plus(self, x: Self) -> Self {
        self.wrapping_add(x)
    }
}

/// Columns of `C` that are summed at once.
const COLUMNS: usize = 64;
/// Rows of `C` in a task.
const ROWS: usize = 32;

/// Computes `p` for one entry of a batch; the slices begin at its matrices.
pub(super) fn run<T: Number>(p: &Shape, a: &[T], b: &[T], c: &mut [T], bias: Option<&[T]>) {
    let isa = isa::isa();
    let (rows, columns) = (p.m.div_ceil(ROWS), p.n.div_ceil(COLUMNS));
    let c = SendPtr::new(c.as_mut_ptr());
    parallel_for(rows * columns, |task| {
        let (i0, j0) = (task % rows * ROWS, task / rows * COLUMNS);
        let width = COLUMNS.min(p.n - j0);
        // One strip of B, made contiguous, serves all rows of the task.
        let mut strip = vec![T::ZERO; p.k * COLUMNS];
        for (k, line) in strip.chunks_exact_mut(COLUMNS).enumerate() {
            for (j, x) in line[..width].iter_mut().enumerate() {
                *x = b[k * p.b.0 + (j0 + j) * p.b.1];
            }
        }
        for i in i0..(i0 + ROWS).min(p.m) {
            let row = sum_row(isa, &a[(i * p.a.0).min(a.len())..], p.a.1, &strip);
            for (j, &sum) in row[..width].iter().enumerate() {
                // SAFETY: `Gemm::check` found the element inside the slice and no other (i, j) at its place.
                let at = unsafe { &mut *c.get().add(i * p.c.0 + (j0 + j) * p.c.1) };
                let mut x = if p.accumulate { at.plus(sum) } else { sum };
                if let Some(bias) = bias {
                    x = x.plus(bias[j0 + j]);
                }
                *at = x;
            }
        }
    });
}

vectorized! {
    /// One row of `A`, with elements `step` apart, times a strip of `B`.
    fn sum_row[T: Number](a: &[T], step: usize, strip: &[T]) -> [T; COLUMNS] {
        let mut sums = [T::ZERO; COLUMNS];
        for (k, line) in strip.chunks_exact(COLUMNS).enumerate() {
            let x = a[k * step];
            for (sum, &y) in sums.iter_mut().zip(line) {
                *sum = sum.multiply_add(x, y);
            }
        }
        sums
    }
}
