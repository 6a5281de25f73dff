//! Reading by index: gather, index_select, embedding. Indices in main memory are brought to where the tensor is.

pub(in crate::ops) mod cuda;

use crate::autograd::record;
use crate::device::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::dispatch;
use crate::shape::resolve_dim;
use crate::storage::Buffer;
use crate::{DType, Shape, Tensor};

/// The indices as i64 in row-major order, each checked to lie below `n`.
///
/// # Panics
/// If the dtype is no integer or an index is out of range.
#[track_caller]
pub(super) fn checked_indices(op: &str, index: &Tensor, n: usize) -> Vec<usize> {
    let index = whole_numbers(op, index);
    let data = index.data::<i64>();
    data.iter()
        .map(|&i| {
            assert!(
                i >= 0 && (i as usize) < n,
                "{op}: index {i} is out of range for {n} entries"
            );
            i as usize
        })
        .collect()
}

/// The indices as a contiguous tensor of i64.
///
/// # Panics
/// If the dtype is no integer.
#[track_caller]
pub(super) fn whole_numbers(op: &str, index: &Tensor) -> Tensor {
    assert!(
        matches!(index.dtype(), DType::I64 | DType::I32 | DType::U8),
        "{op}: indices must be integers, got {}",
        index.dtype()
    );
    index.detach().to_dtype(DType::I64).contiguous()
}

impl Tensor {
    /// `out[i][j][k] = self[i][index[i][j][k]][k]` for `dim = 1`, and so on.
    ///
    /// # Shapes
    /// `index` has as many dims as `self` and is no larger in every dim but `dim`; the result has
    /// its shape.
    /// # Panics
    /// If shapes do not fit or an index is out of range.
    #[must_use]
    #[track_caller]
    pub fn gather(&self, dim: isize, index: &Self) -> Self {
        let d = resolve_dim("gather", dim, self.ndim());
        check_index_shape("gather", self.shape(), index.shape(), d);
        let x = self.contiguous();
        let result = match self.gpu() {
            Some(gpu) => cuda::gather(
                gpu,
                &x,
                d,
                &whole_numbers("gather", index).to_device(self.device()),
            ),
            None => pick(&x, d, index),
        };
        record("gather", result, &[self], false, || {
            let (shape, index) = (x.layout().shape().clone(), index.detach());
            Box::new(move |args| {
                let zeros = Self::zeros(shape.clone(), args.grad.dtype(), args.grad.device());
                vec![Some(zeros.scatter_add(d as isize, &index, args.grad))]
            })
        })
    }

    /// The slices of `dim` at the given indices.
    ///
    /// # Shapes
    /// `(.., N, ..)` and `index: (M)` -> `(.., M, ..)`
    /// # Panics
    /// If `index` is not a vector of integers or one is out of range.
    #[must_use]
    #[track_caller]
    pub fn index_select(&self, dim: isize, index: &Self) -> Self {
        let d = resolve_dim("index_select", dim, self.ndim());
        assert!(
            index.ndim() == 1,
            "index_select: index must be a vector, got shape {}",
            index.layout().shape()
        );
        let mut shape = self.shape().to_vec();
        shape[d] = index.numel();
        let result = if let Some(gpu) = self.gpu() {
            let index = whole_numbers("index_select", index).to_device(self.device());
            cuda::take_rows(gpu, &self.contiguous(), d, &index, shape.into())
        } else {
            let indices = checked_indices("index_select", index, self.shape()[d]);
            take_rows(&self.contiguous(), d, &indices, shape.into())
        };
        record("index_select", result, &[self], false, || {
            let (shape, index) = (self.layout().shape().clone(), index.detach());
            Box::new(move |args| {
                let zeros = Self::zeros(shape.clone(), args.grad.dtype(), args.grad.device());
                vec![Some(zeros.index_add(d as isize, &index, args.grad))]
            })
        })
    }
}

/// The elements of a contiguous tensor that an index names.
#[track_caller]
fn pick(x: &Tensor, d: usize, index: &Tensor) -> Tensor {
    let indices = checked_indices("gather", index, x.shape()[d]);
    let from = positions(x.shape(), index.shape(), d, &indices);
    dispatch!(x.dtype(), T => {
        let data = x.data::<T>();
        let mut buffer = Buffer::scratch::<T>(indices.len());
        for (o, &at) in buffer.as_mut::<T>().iter_mut().zip(&from) {
            *o = data[at];
        }
        Tensor::from_buffer(buffer, index.shape(), x.dtype())
    })
}

/// A row of `weight` for each id.
///
/// # Shapes
/// `ids: (..)` of integers, `weight: (V, C)` -> `(.., C)`
/// # Panics
/// If `weight` is not a matrix or an id is not below `V`.
#[must_use]
#[track_caller]
pub fn embedding(ids: &Tensor, weight: &Tensor) -> Tensor {
    assert!(
        weight.ndim() == 2,
        "embedding: weight must be a matrix, got shape {}",
        weight.layout().shape()
    );
    let shape = [ids.shape(), &weight.shape()[1..]].concat();
    weight
        .index_select(0, &ids.reshape([ids.numel()]))
        .reshape(shape)
}

/// Copies whole slices of `dim` of a contiguous tensor.
fn take_rows(x: &Tensor, dim: usize, indices: &[usize], shape: Shape) -> Tensor {
    let inner: usize = x.shape()[dim + 1..].iter().product();
    let (n, m) = (x.shape()[dim], indices.len());
    let outer: usize = x.shape()[..dim].iter().product();
    dispatch!(x.dtype(), T => {
        let data = x.data::<T>();
        let mut buffer = Buffer::scratch::<T>(shape.numel());
        let base = SendPtr::new(buffer.as_mut::<T>().as_mut_ptr());
        let per_task = (16_384 / inner.max(1)).max(1);
        parallel_for((outer * m).div_ceil(per_task), |task| {
            for row in task * per_task..((task + 1) * per_task).min(outer * m) {
                let from = (row / m * n + indices[row % m]) * inner;
                // SAFETY: rows of the output do not overlap.
                unsafe { base.slice_mut(row * inner, inner) }.copy_from_slice(&data[from..from + inner]);
            }
        });
        Tensor::from_buffer(buffer, shape, x.dtype())
    })
}

/// # Panics
/// If `index` does not fit over `shape` outside `dim`.
#[track_caller]
pub(super) fn check_index_shape(op: &str, shape: &[usize], index: &[usize], dim: usize) {
    let fits =
        shape.len() == index.len() && (0..shape.len()).all(|i| i == dim || index[i] <= shape[i]);
    assert!(
        fits,
        "{op}: index of shape {index:?} does not fit over {shape:?} along dim {dim}"
    );
}

/// For each element of `index`, in row-major order: the position in a contiguous tensor of `shape`
/// that it names.
pub(super) fn positions(
    shape: &[usize],
    index: &[usize],
    dim: usize,
    indices: &[usize],
) -> Vec<usize> {
    let strides = crate::Layout::contiguous(shape).strides().to_vec();
    let mut at = vec![0; index.len()];
    let mut positions = Vec::with_capacity(indices.len());
    for &i in indices {
        let line: usize = (0..at.len())
            .filter(|&d| d != dim)
            .map(|d| at[d] * strides[d])
            .sum();
        positions.push(line + i * strides[dim]);
        for d in (0..at.len()).rev() {
            at[d] += 1;
            if at[d] < index[d] {
                break;
            }
            at[d] = 0;
        }
    }
    positions
}
