//! Reductions over dims: sum, max, min. Mean, variance and their kin are composites of these.

mod cpu;
pub(in crate::ops) mod cuda;

use crate::autograd::{Saved, record};
use crate::shape::Dims;
use crate::{DType, Shape, Tensor};

/// What a reduction keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reduction {
    Sum,
    Max,
    Min,
}

impl Reduction {
    /// The op that reduces so.
    fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Max => "max",
            Self::Min => "min",
        }
    }
}

/// `shape` with the given dims set to 1.
fn kept_shape(shape: &[usize], dims: &[usize]) -> Shape {
    let mut kept = shape.to_vec();
    for &d in dims {
        kept[d] = 1;
    }
    kept.into()
}

impl Tensor {
    /// `keepdim` form of every reduction.
    #[track_caller]
    fn reduced(&self, op: &'static str, kind: Reduction, dims: &[usize]) -> Self {
        let x = if self.dtype() == DType::Bool {
            self.to_dtype(DType::I64)
        } else {
            self.clone()
        };
        let shape = kept_shape(x.shape(), dims);
        let empty = dims.iter().any(|&d| x.shape()[d] == 0);
        assert!(
            kind == Reduction::Sum || !empty,
            "{op}: nothing to choose from along an empty dim of shape {}",
            x.layout().shape()
        );
        let result = match x.gpu() {
            Some(gpu) => cuda::reduce(gpu, &x, dims, kind, shape),
            None => cpu::reduce(&x, dims, kind, shape),
        };
        let whole = x.layout().shape().clone();
        if kind == Reduction::Sum {
            return record(op, result, &[&x], false, || {
                Box::new(move |a| vec![Some(a.grad.expand(whole.clone()))])
            });
        }
        let dims: Vec<isize> = dims.iter().map(|&d| d as isize).collect();
        record(op, result, &[&x], true, || {
            let x = Saved::new(&x);
            Box::new(move |args| {
                // Ties share the gradient evenly, as PyTorch's amax and amin do.
                let hit = x.eq(args.output()).to_dtype(args.grad.dtype());
                let share = &hit / hit.sum_keepdim(&dims[..]);
                vec![Some(args.grad * share)]
            })
        })
    }

    /// Without the reduced dims.
    fn without(&self, dims: &[usize]) -> Self {
        let shape: Vec<usize> = self
            .shape()
            .iter()
            .enumerate()
            .filter(|(d, _)| !dims.contains(d))
            .map(|(_, &n)| n)
            .collect();
        self.reshape(shape)
    }

    fn every_dim(&self) -> Vec<usize> {
        (0..self.ndim()).collect()
    }
}

macro_rules! reduction {
    ($($kind:ident: $name:ident $keepdim:ident $all:ident, $what:literal;)*) => {
        impl Tensor {$(
            #[doc = concat!($what, " over one dim or several, which disappear.")]
            ///
            /// # Panics
            /// If a dim is out of range (or, for max and min, empty).
            #[must_use]
            #[track_caller]
            pub fn $name(&self, dims: impl Dims) -> Self {
                let dims = dims.resolve(stringify!($name), self.ndim());
                self.reduced(stringify!($name), Reduction::$kind, &dims).without(&dims)
            }

            #[doc = concat!($what, " over one dim or several, which stay with extent 1.")]
            ///
            /// # Panics
            /// If a dim is out of range (or, for max and min, empty).
            #[must_use]
            #[track_caller]
            pub fn $keepdim(&self, dims: impl Dims) -> Self {
                let dims = dims.resolve(stringify!($keepdim), self.ndim());
                self.reduced(stringify!($name), Reduction::$kind, &dims)
            }

            #[doc = concat!($what, " over all elements: a scalar.")]
            ///
            /// # Panics
            /// For max and min, if there are no elements.
            #[must_use]
            #[track_caller]
            pub fn $all(&self) -> Self {
                let dims = self.every_dim();
                self.reduced(stringify!($name), Reduction::$kind, &dims).without(&dims)
            }
        )*}
    };
}
reduction! {
    Sum: sum sum_keepdim sum_all, "Sum (bool counts as i64)";
    Max: max max_keepdim max_all, "Largest value, NaN if there is one,";
    Min: min min_keepdim min_all, "Smallest value, NaN if there is one,";
}
