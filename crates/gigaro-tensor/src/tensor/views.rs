//! Views: other shapes over the same storage. None of these copies, except [`Tensor::reshape`]
//! where the strides leave no choice.

use crate::autograd::record;
use crate::shape::resolve_dim;
use crate::{Layout, Shape, Tensor};

impl Tensor {
    /// A recorded view with its backward.
    fn viewed(
        &self,
        op: &'static str,
        layout: Layout,
        backward: impl Fn(&Self) -> Self + Send + Sync + 'static,
    ) -> Self {
        record(op, self.alias(layout), &[self], false, || {
            Box::new(move |args| vec![Some(backward(args.grad))])
        })
    }

    /// The same elements under another shape; copies only if the strides do not allow a view.
    ///
    /// # Panics
    /// If the sizes differ.
    #[must_use]
    #[track_caller]
    pub fn reshape(&self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        assert!(
            shape.numel() == self.numel(),
            "reshape: {} elements of shape {} do not fit into {shape}",
            self.numel(),
            self.layout().shape()
        );
        let back = self.layout().shape().clone();
        match self.layout().reshape(&shape) {
            Some(layout) => self.viewed("reshape", layout, move |g| g.reshape(back.clone())),
            None => self.contiguous().reshape(shape),
        }
    }

    /// [`Tensor::reshape`] that never copies.
    ///
    /// # Panics
    /// If the sizes differ or the strides do not allow it.
    #[must_use]
    #[track_caller]
    pub fn view(&self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        let possible = shape.numel() == self.numel() && self.layout().reshape(&shape).is_some();
        assert!(
            possible,
            "view: {:?} cannot be seen as {shape} without a copy; use reshape",
            self.layout().shape()
        );
        self.reshape(shape)
    }

    /// Merges the dims from `start_dim` to `end_dim` into one.
    ///
    /// # Panics
    /// If a dim is out of range or they are in the wrong order.
    #[must_use]
    #[track_caller]
    pub fn flatten(&self, start_dim: isize, end_dim: isize) -> Self {
        if self.ndim() == 0 {
            return self.reshape([1]);
        }
        let start = resolve_dim("flatten", start_dim, self.ndim());
        let end = resolve_dim("flatten", end_dim, self.ndim());
        assert!(
            start <= end,
            "flatten: dim {start_dim} comes after dim {end_dim}"
        );
        let s = self.shape();
        self.reshape(
            [
                &s[..start],
                &[s[start..=end].iter().product()],
                &s[end + 1..],
            ]
            .concat(),
        )
    }

    /// Reorders the dims: dim `i` of the result is dim `dims[i]` of this tensor.
    ///
    /// # Panics
    /// If `dims` is not an order of all dims.
    #[must_use]
    #[track_caller]
    pub fn permute(&self, dims: &[isize]) -> Self {
        let order: Vec<usize> = dims
            .iter()
            .map(|&d| resolve_dim("permute", d, self.ndim()))
            .collect();
        let mut inverse = vec![isize::MAX; self.ndim()];
        for (i, &d) in order.iter().enumerate() {
            inverse[d] = i as isize;
        }
        assert!(
            order.len() == self.ndim() && !inverse.contains(&isize::MAX),
            "permute: {dims:?} is not an order of the dims of shape {}",
            self.layout().shape()
        );
        self.viewed("permute", self.layout().permute(&order), move |g| {
            g.permute(&inverse)
        })
    }

    /// Swaps two dims.
    ///
    /// # Panics
    /// If a dim is out of range.
    #[must_use]
    #[track_caller]
    pub fn transpose(&self, dim0: isize, dim1: isize) -> Self {
        let (a, b) = (
            resolve_dim("transpose", dim0, self.ndim()),
            resolve_dim("transpose", dim1, self.ndim()),
        );
        let mut order: Vec<isize> = (0..self.ndim() as isize).collect();
        order.swap(a, b);
        self.permute(&order)
    }

    /// The transpose of a matrix.
    ///
    /// # Panics
    /// If there are not two dims.
    #[must_use]
    #[track_caller]
    pub fn t(&self) -> Self {
        assert!(
            self.ndim() == 2,
            "t: needs a matrix, got shape {}",
            self.layout().shape()
        );
        self.transpose(0, 1)
    }

    /// Inserts a dim of extent 1 before `dim`; -1 appends one.
    ///
    /// # Panics
    /// If the dim is out of range.
    #[must_use]
    #[track_caller]
    pub fn unsqueeze(&self, dim: isize) -> Self {
        let dim = resolve_dim("unsqueeze", dim, self.ndim() + 1);
        self.viewed("unsqueeze", self.layout().unsqueeze(dim), move |g| {
            g.squeeze(dim as isize)
        })
    }

    /// Removes `dim` if its extent is 1.
    ///
    /// # Panics
    /// If the dim is out of range.
    #[must_use]
    #[track_caller]
    pub fn squeeze(&self, dim: isize) -> Self {
        let dim = resolve_dim("squeeze", dim, self.ndim());
        if self.shape()[dim] != 1 {
            return self.clone();
        }
        self.viewed("squeeze", self.layout().remove(dim), move |g| {
            g.unsqueeze(dim as isize)
        })
    }

    /// Repeats dims of extent 1, and adds leading dims, without copying.
    ///
    /// # Panics
    /// If the shape does not broadcast to `shape`.
    #[must_use]
    #[track_caller]
    pub fn expand(&self, shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        if &shape == self.layout().shape() {
            return self.clone();
        }
        let Some(layout) = self.layout().expand(&shape) else {
            panic!(
                "expand: shape {} does not broadcast to {shape}",
                self.layout().shape()
            )
        };
        let back = self.layout().shape().clone();
        self.viewed("expand", layout, move |g| g.sum_to(&back))
    }

    /// Elements `start..start + len` of one dim.
    ///
    /// # Panics
    /// If they are out of range.
    #[must_use]
    #[track_caller]
    pub fn narrow(&self, dim: isize, start: usize, len: usize) -> Self {
        let d = resolve_dim("narrow", dim, self.ndim());
        let n = self.shape()[d];
        assert!(
            start + len <= n,
            "narrow: elements {start}..{} of dim {d} in a tensor of shape {}",
            start + len,
            self.layout().shape()
        );
        if len == n {
            return self.clone();
        }
        self.viewed("narrow", self.layout().narrow(d, start, len), move |g| {
            g.pad_dim(d, start, n - start - len)
        })
    }

    /// The slice at `index` of one dim, which disappears.
    ///
    /// # Panics
    /// If the index is out of range.
    #[must_use]
    #[track_caller]
    pub fn select(&self, dim: isize, index: usize) -> Self {
        let d = resolve_dim("select", dim, self.ndim());
        assert!(
            index < self.shape()[d],
            "select: index {index} of dim {d} in a tensor of shape {}",
            self.layout().shape()
        );
        let n = self.shape()[d];
        self.viewed(
            "select",
            self.layout().narrow(d, index, 1).remove(d),
            move |g| g.unsqueeze(d as isize).pad_dim(d, index, n - index - 1),
        )
    }

    /// Every `step`-th element of one dim, from the first.
    ///
    /// # Panics
    /// If `step` is zero.
    #[must_use]
    #[track_caller]
    pub fn step_by(&self, dim: isize, step: usize) -> Self {
        let d = resolve_dim("step_by", dim, self.ndim());
        assert!(step > 0, "step_by: step must be at least 1");
        let shape = self.layout().shape().clone();
        self.viewed("step_by", self.layout().step(d, step), move |g| {
            let zeros = Self::zeros(shape.clone(), g.dtype(), g.device());
            let at = Self::arange(
                0.0,
                shape[d] as f64,
                step as f64,
                crate::DType::I64,
                g.device(),
            );
            zeros.index_add(d as isize, &at, g)
        })
    }

    /// Pieces of `split_size` along one dim; the last may be shorter.
    ///
    /// # Panics
    /// If `split_size` is zero.
    #[must_use]
    #[track_caller]
    pub fn split(&self, split_size: usize, dim: isize) -> Vec<Self> {
        assert!(split_size > 0, "split: split_size must be at least 1");
        let n = self.size(dim);
        (0..n.div_ceil(split_size).max(1))
            .map(|i| self.narrow(dim, i * split_size, split_size.min(n - i * split_size)))
            .collect()
    }

    /// At most `chunks` pieces of equal size along one dim; the last may be shorter.
    ///
    /// # Panics
    /// If `chunks` is zero.
    #[must_use]
    #[track_caller]
    pub fn chunk(&self, chunks: usize, dim: isize) -> Vec<Self> {
        assert!(chunks > 0, "chunk: chunks must be at least 1");
        self.split(self.size(dim).div_ceil(chunks).max(1), dim)
    }
}
