//! Writing by index: scatter, scatter_add, index_add. Indices in main memory are brought to where the tensor is.

mod cuda;

use super::gather::{check_index_shape, checked_indices, positions, whole_numbers};
use crate::Tensor;
use crate::autograd::record;
use crate::device::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Number, dispatch};
use crate::shape::resolve_dim;

impl Tensor {
    /// A copy of `self` with `out[i][index[i][j][k]][k] = src[i][j][k]` for `dim = 1`, and so on.
    /// Where indices repeat, the last one in row-major order stays.
    ///
    /// # Shapes
    /// `index` and `src` have the same shape, no larger than `self` in every dim but `dim`.
    /// # Panics
    /// If shapes or dtypes do not fit or an index is out of range.
    #[must_use]
    #[track_caller]
    pub fn scatter(&self, dim: isize, index: &Self, src: &Self) -> Self {
        let d = resolve_dim("scatter", dim, self.ndim());
        let result = self.scattered("scatter", d, index, src, |_, y| y);
        record("scatter", result, &[self, src], false, || {
            let index = index.detach();
            Box::new(move |args| {
                let g = args.grad;
                vec![
                    args.needs[0].then(|| {
                        let zeros = Self::zeros(index.shape(), g.dtype(), g.device());
                        g.scatter(d as isize, &index, &zeros)
                    }),
                    // Of repeated indices only the last was written; the others get no gradient.
                    args.needs[1].then(|| g.gather(d as isize, &index) * last_writer(g, d, &index)),
                ]
            })
        })
    }

    /// A copy of `self` with `src` added at the indices; repeated ones add up, in row-major order.
    ///
    /// # Shapes
    /// As [`Tensor::scatter`].
    /// # Panics
    /// As [`Tensor::scatter`].
    #[must_use]
    #[track_caller]
    pub fn scatter_add(&self, dim: isize, index: &Self, src: &Self) -> Self {
        let d = resolve_dim("scatter_add", dim, self.ndim());
        let result = self.scattered("scatter_add", d, index, src, |x, y| x + y);
        record("scatter_add", result, &[self, src], false, || {
            let index = index.detach();
            Box::new(move |args| {
                vec![
                    args.needs[0].then(|| args.grad.clone()),
                    args.needs[1].then(|| args.grad.gather(d as isize, &index)),
                ]
            })
        })
    }

    #[track_caller]
    fn scattered(
        &self,
        op: &'static str,
        d: usize,
        index: &Self,
        src: &Self,
        f: impl Fn(f64, f64) -> f64,
    ) -> Self {
        check_index_shape(op, self.shape(), index.shape(), d);
        assert!(
            src.shape() == index.shape() && src.dtype() == self.dtype(),
            "{op}: src of shape {} and {} for an index of shape {} into {}",
            src.layout().shape(),
            src.dtype(),
            index.layout().shape(),
            self.dtype()
        );
        if let Some(gpu) = Self::common_gpu(op, &[self, src]) {
            let (out, index) = (
                self.detach().contiguous().copy(),
                whole_numbers(op, index).to_device(self.device()),
            );
            cuda::scatter(gpu, op, &out, d, &index, &src.detach().contiguous());
            return out;
        }
        let indices = checked_indices(op, index, self.shape()[d]);
        let at = positions(self.shape(), index.shape(), d, &indices);
        let (out, src) = (self.detach().copy(), src.contiguous());
        dispatch!(self.dtype(), T => {
            let source = src.data::<T>();
            out.storage().write(|buffer| {
                let target = buffer.as_mut::<T>();
                for (&at, &y) in at.iter().zip(source.iter()) {
                    target[at] = <T as Number>::of_f64(f(Number::as_f64(target[at]), Number::as_f64(y)));
                }
            });
        });
        out
    }

    /// A copy of `self` with slice `j` of `src` added to slice `index[j]` along `dim`; repeated
    /// indices add up in order of `j`.
    ///
    /// # Shapes
    /// `self: (.., N, ..)`, `index: (M)`, `src: (.., M, ..)` -> `(.., N, ..)`
    /// # Panics
    /// If shapes or dtypes do not fit or an index is out of range.
    #[must_use]
    #[track_caller]
    pub fn index_add(&self, dim: isize, index: &Self, src: &Self) -> Self {
        let d = resolve_dim("index_add", dim, self.ndim());
        let mut expected = self.shape().to_vec();
        expected[d] = index.numel();
        assert!(
            index.ndim() == 1 && src.shape() == expected && src.dtype() == self.dtype(),
            "index_add: src of shape {} and {}, expected {expected:?} and {}",
            src.layout().shape(),
            src.dtype(),
            self.dtype()
        );
        let (out, source) = (self.detach().copy(), src.contiguous());
        if let Some(gpu) = Self::common_gpu("index_add", &[self, src]) {
            cuda::add_slices(
                gpu,
                &out,
                d,
                &whole_numbers("index_add", index).to_device(self.device()),
                &source,
            );
        } else {
            let indices = checked_indices("index_add", index, self.shape()[d]);
            add_slices(&out, d, &indices, &source);
        }
        record("index_add", out, &[self, src], false, || {
            let index = index.detach();
            Box::new(move |args| {
                vec![
                    args.needs[0].then(|| args.grad.clone()),
                    args.needs[1].then(|| args.grad.index_select(d as isize, &index)),
                ]
            })
        })
    }
}

/// Adds slices in place. Parallel over pieces of the inner dims, so that the order of additions to
/// any one element is that of the indices.
fn add_slices(out: &Tensor, dim: usize, indices: &[usize], src: &Tensor) {
    /// Columns of one piece.
    const STRIP: usize = 64;
    let inner: usize = out.shape()[dim + 1..].iter().product();
    let outer: usize = out.shape()[..dim].iter().product();
    let (n, m) = (out.shape()[dim], indices.len());
    let strips = inner.div_ceil(STRIP);
    dispatch!(out.dtype(), T => {
        let source = src.data::<T>();
        out.storage().write(|buffer| {
            let base = SendPtr::new(buffer.as_mut::<T>().as_mut_ptr());
            parallel_for(outer * strips, |task| {
                let (block, from) = (task / strips, task % strips * STRIP);
                let width = STRIP.min(inner - from);
                for (j, &i) in indices.iter().enumerate() {
                    let line = &source[(block * m + j) * inner + from..][..width];
                    // SAFETY: tasks write disjoint columns of the output.
                    let target = unsafe { base.slice_mut((block * n + i) * inner + from, width) };
                    for (x, &y) in target.iter_mut().zip(line) {
                        *x = <T as Number>::store(Number::load(*x) + Number::load(y));
                    }
                }
            });
        });
    });
}

/// 1 where an element of `index` is the last to name its position, else 0.
fn last_writer(like: &Tensor, dim: usize, index: &Tensor) -> Tensor {
    let (shape, dtype) = (like.shape(), like.dtype());
    if like.gpu().is_some() {
        return cuda::last_writer(shape, dim, &index.to_device(like.device()), dtype);
    }
    let indices = checked_indices("scatter", index, shape[dim]);
    let at = positions(shape, index.shape(), dim, &indices);
    let mut last = vec![usize::MAX; shape.iter().product()];
    for (i, &p) in at.iter().enumerate() {
        last[p] = i;
    }
    let won: Vec<f32> = at
        .iter()
        .enumerate()
        .map(|(i, &p)| f32::from(u8::from(last[p] == i)))
        .collect();
    Tensor::from_vec(won, index.shape()).to_dtype(dtype)
}
