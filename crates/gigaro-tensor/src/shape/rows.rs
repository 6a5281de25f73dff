//! The one walk over strided operands that every elementwise kernel shares.
//!
//! [`Rows`] merges the dims that all operands step through alike, and splits what remains into an
//! inner row (the last merged dim), where each operand has one stride, and an outer index. Kernels
//! loop over the inner row with the strides in registers, and over pieces of rows in parallel; the
//! pieces depend on the shape only, never on the number of threads.

use super::{Layout, Shape};

/// A joint walk over `N` operands that have been expanded to one shape.
#[derive(Clone, Debug)]
pub(crate) struct Rows<const N: usize> {
    outer: Vec<(usize, [usize; N])>,
    /// Elements of one inner row.
    pub(crate) len: usize,
    /// How many inner rows.
    pub(crate) count: usize,
    /// Stride of each operand along the inner row.
    pub(crate) strides: [usize; N],
}

/// Elements that one parallel piece of an elementwise kernel covers: long enough to hide the cost
/// of handing it out, short enough to balance.
const PIECE: usize = 16_384;

impl<const N: usize> Rows<N> {
    /// Plans the walk.
    ///
    /// # Panics
    /// If a layout does not broadcast to `shape`: callers check first and say so in their terms.
    pub(crate) fn new(shape: &Shape, layouts: [&Layout; N]) -> Self {
        let expanded =
            layouts.map(|l| l.expand(shape).expect("operands were checked to broadcast"));
        let mut dims: Vec<(usize, [usize; N])> = Vec::with_capacity(shape.len());
        for (i, &n) in shape.iter().enumerate() {
            if n == 1 {
                continue;
            }
            let strides = std::array::from_fn(|k| expanded[k].strides()[i]);
            match dims.last_mut() {
                // Outer dim and this one are a single run for every operand.
                Some((m, outer)) if (0..N).all(|k| outer[k] == strides[k] * n) => {
                    *m *= n;
                    *outer = strides;
                }
                _ => dims.push((n, strides)),
            }
        }
        let (len, strides) = dims.pop().unwrap_or((shape.numel().min(1), [1; N]));
        let count = dims.iter().map(|d| d.0).product();
        Self {
            outer: dims,
            len,
            count,
            strides,
        }
    }

    /// The merged dims, outermost first, each with the stride of every operand; the last is the inner row.
    pub(crate) fn dims(&self) -> impl Iterator<Item = (usize, [usize; N])> + '_ {
        self.outer.iter().copied().chain([(self.len, self.strides)])
    }

    /// Where row `index` of each operand starts, relative to the operand's first element.
    pub(crate) fn offsets(&self, mut index: usize) -> [usize; N] {
        let mut at = [0; N];
        for (n, strides) in self.outer.iter().rev() {
            let i = index % n;
            index /= n;
            for k in 0..N {
                at[k] += i * strides[k];
            }
        }
        at
    }

    /// Calls `f(output offset, operand offsets, length)` for runs that together cover every
    /// element once; the output is contiguous. Runs in parallel.
    pub(crate) fn for_each_run(&self, f: impl Fn(usize, [usize; N], usize) + Sync) {
        if self.len == 0 || self.count == 0 {
            return;
        }
        let run = |row: usize, from: usize, to: usize| {
            let at = self.offsets(row);
            f(
                row * self.len + from,
                std::array::from_fn(|k| at[k] + from * self.strides[k]),
                to - from,
            );
        };
        if self.len >= PIECE {
            let per_row = self.len.div_ceil(PIECE);
            crate::device::cpu::threads::parallel_for(self.count * per_row, |i| {
                let from = i % per_row * PIECE;
                run(i / per_row, from, (from + PIECE).min(self.len));
            });
        } else {
            let rows = PIECE / self.len;
            crate::device::cpu::threads::parallel_for(self.count.div_ceil(rows), |i| {
                for row in i * rows..((i + 1) * rows).min(self.count) {
                    run(row, 0, self.len);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn runs_cover_each_element_once_and_merge_what_is_contiguous() {
        let a = Layout::contiguous([3, 4, 5]);
        let b = Layout::contiguous([4, 3, 5]).permute(&[1, 0, 2]);
        let rows = Rows::new(a.shape(), [&a, &a]);
        assert_eq!((rows.count, rows.len), (1, 60));
        let rows = Rows::new(a.shape(), [&a, &b]);
        assert_eq!((rows.count, rows.len), (12, 5));
        let seen = Mutex::new(vec![0; 60]);
        rows.for_each_run(|out, [x, y], n| {
            assert_eq!(out, x);
            assert_eq!(y, (x / 20) * 5 + (x / 5 % 4) * 15);
            seen.lock().unwrap()[out..out + n]
                .iter_mut()
                .for_each(|s| *s += 1);
        });
        assert_eq!(*seen.lock().unwrap(), vec![1; 60]);
    }
}
