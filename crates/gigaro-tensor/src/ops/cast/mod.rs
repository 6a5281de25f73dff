//! Conversion between dtypes, and copies into row-major order.

pub(crate) mod cuda;

use crate::autograd::record;
use crate::dtype::{Number, bf16, dispatch, f16};
use crate::ops::elementwise::{copied, map};
use crate::{DType, Tensor};

/// Converts through the compute type of the target; exact wherever the target can hold the value.
fn convert<S: Number, T: Number>(x: &Tensor, dtype: DType) -> Tensor {
    map::<S, T>(
        x,
        dtype,
        #[inline(always)]
        |v| T::of_f64(v.as_f64()),
    )
}

fn half_pair(x: &Tensor, dtype: DType) -> Option<Tensor> {
    // The conversions of mixed precision, without the detour through f64.
    Some(match (x.dtype(), dtype) {
        (DType::F32, DType::BF16) => map::<f32, bf16>(x, dtype, Number::store),
        (DType::BF16, DType::F32) => map::<bf16, f32>(x, dtype, Number::load),
        (DType::F32, DType::F16) => map::<f32, f16>(x, dtype, f16::from_f32),
        (DType::F16, DType::F32) => map::<f16, f32>(x, dtype, f16::to_f32),
        _ => return None,
    })
}

impl Tensor {
    /// The same values in another dtype: floats round to nearest even, floats to integers truncate,
    /// anything to bool asks whether it differs from zero. Returns the same tensor if nothing
    /// changes.
    #[must_use]
    pub fn to_dtype(&self, dtype: DType) -> Self {
        if dtype == self.dtype() {
            return self.clone();
        }
        let result = if let Some(gpu) = self.gpu() {
            cuda::converted(gpu, self, dtype)
        } else if dtype == DType::Bool {
            dispatch!(self.dtype(), S => map::<S, u8>(self, dtype, |v| u8::from(Number::as_f64(v) != 0.0)))
        } else if let Some(converted) = half_pair(self, dtype) {
            converted
        } else {
            dispatch!(self.dtype(), S => dispatch!(dtype, T => convert::<S, T>(self, dtype)))
        };
        if !dtype.is_float() {
            return result;
        }
        let back = self.dtype();
        record("to_dtype", result, &[self], false, || {
            Box::new(move |args| vec![Some(args.grad.to_dtype(back))])
        })
    }

    /// The same values in row-major order; the tensor itself if they are already.
    #[must_use]
    pub fn contiguous(&self) -> Self {
        if self.is_contiguous() {
            return self.clone();
        }
        self.copy()
    }

    /// A copy with storage of its own.
    #[must_use]
    pub fn copy(&self) -> Self {
        let result = match self.gpu() {
            Some(gpu) => cuda::copied(gpu, self),
            None => dispatch!(self.dtype(), T => copied::<T>(self)),
        };
        record("copy", result, &[self], false, || {
            Box::new(|args| vec![Some(args.grad.clone())])
        })
    }
}
