//! Getting numbers out.

use crate::dtype::{Number, dispatch};
use crate::{Device, Element, Tensor};

impl Tensor {
    /// The elements in row-major order.
    ///
    /// # Panics
    /// If `T` is not the tensor's dtype; convert with [`Tensor::to_dtype`].
    #[must_use]
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        assert!(
            T::DTYPE == self.dtype(),
            "to_vec: asked for {} from a tensor of {}",
            T::DTYPE,
            self.dtype()
        );
        self.detach()
            .to_device(Device::Cpu)
            .contiguous()
            .data::<T::Raw>()
            .iter()
            .map(|&x| T::from_raw(x))
            .collect()
    }

    /// The value of a tensor of one element.
    ///
    /// # Panics
    /// If there is not exactly one element.
    #[must_use]
    #[track_caller]
    pub fn item(&self) -> f64 {
        assert!(
            self.numel() == 1,
            "item: needs one element, got shape {}",
            self.layout().shape()
        );
        let x = self.detach().to_device(Device::Cpu);
        dispatch!(x.dtype(), T => Number::as_f64(x.data::<T>()[0]))
    }

    /// The elements in row-major order as bytes in native order, as weight files hold them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let x = self.detach().to_device(Device::Cpu).contiguous();
        dispatch!(x.dtype(), T => bytemuck::cast_slice::<T, u8>(&x.data::<T>()).to_vec())
    }
}
