//! Comparisons and logic: bool tensors out, no gradients.

mod cuda;

use super::binary::broadcast;
use crate::dtype::{Number, dispatch};
use crate::ops::elementwise::{map, zip};
use crate::{DType, Tensor};

macro_rules! compare {
    ($($doc:literal $name:ident $operator:tt;)*) => {
        impl Tensor {$(
            #[doc = $doc]
            ///
            /// # Panics
            /// If the shapes do not broadcast.
            #[must_use]
            #[track_caller]
            pub fn $name(&self, other: &Self) -> Self {
                let shape = broadcast(stringify!($name), self, other);
                let dtype = self.dtype().promote(other.dtype());
                let (a, b) = (self.detach().to_dtype(dtype), other.detach().to_dtype(dtype));
                if let Some(gpu) = Self::common_gpu(stringify!($name), &[&a, &b]) {
                    return cuda::compare(gpu, stringify!($name), &shape, [&a, &b]);
                }
                dispatch!(dtype, T => zip::<T, T, u8>(&shape, &a, &b, DType::Bool,
                    #[inline(always)] |x, y| u8::from(Number::load(x) $operator Number::load(y))))
            }
        )*}
    };
}
compare! {
    "`self == other`, elementwise with broadcasting; a bool tensor." eq ==;
    "`self != other`, elementwise with broadcasting; a bool tensor." ne !=;
    "`self < other`, elementwise with broadcasting; a bool tensor." lt <;
    "`self <= other`, elementwise with broadcasting; a bool tensor." le <=;
    "`self > other`, elementwise with broadcasting; a bool tensor." gt >;
    "`self >= other`, elementwise with broadcasting; a bool tensor." ge >=;
}

impl Tensor {
    /// Whether both are true (non-zero), elementwise.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[must_use]
    #[track_caller]
    pub fn logical_and(&self, other: &Self) -> Self {
        let shape = broadcast("logical_and", self, other);
        let (a, b) = (
            self.detach().to_dtype(DType::Bool),
            other.detach().to_dtype(DType::Bool),
        );
        if let Some(gpu) = Self::common_gpu("logical_and", &[&a, &b]) {
            return cuda::compare(gpu, "logical_and", &shape, [&a, &b]);
        }
        zip::<u8, u8, u8>(&shape, &a, &b, DType::Bool, |x, y| x & y)
    }

    /// Whether either is true (non-zero), elementwise.
    ///
    /// # Panics
    /// If the shapes do not broadcast.
    #[must_use]
    #[track_caller]
    pub fn logical_or(&self, other: &Self) -> Self {
        let shape = broadcast("logical_or", self, other);
        let (a, b) = (
            self.detach().to_dtype(DType::Bool),
            other.detach().to_dtype(DType::Bool),
        );
        if let Some(gpu) = Self::common_gpu("logical_or", &[&a, &b]) {
            return cuda::compare(gpu, "logical_or", &shape, [&a, &b]);
        }
        zip::<u8, u8, u8>(&shape, &a, &b, DType::Bool, |x, y| x | y)
    }

    /// Whether each element is zero (false).
    #[must_use]
    pub fn logical_not(&self) -> Self {
        let x = self.detach().to_dtype(DType::Bool);
        if let Some(gpu) = x.gpu() {
            return cuda::compare(gpu, "logical_not", x.layout().shape(), [&x]);
        }
        map::<u8, u8>(&x, DType::Bool, |x| x ^ 1)
    }

    /// Whether each element is neither infinite nor NaN; true for integers.
    #[must_use]
    pub fn is_finite(&self) -> Self {
        let x = self.detach();
        if let Some(gpu) = x.gpu() {
            return cuda::compare(gpu, "is_finite", x.layout().shape(), [&x]);
        }
        dispatch!(x.dtype(), T => map::<T, u8>(&x, DType::Bool, |v| u8::from(Number::as_f64(v).is_finite())))
    }
}
