//! Changing a tensor's data where it lies: for optimisers, loading weights and running statistics.
//!
//! In-place ops are never recorded. A tensor that a pending backward pass needs notices the change
//! and says so, instead of giving a wrong gradient.

use crate::autograd::{Origin, is_grad_enabled};
use crate::device::cuda::Gpu;
use crate::dtype::{Number, dispatch};
use crate::ops::binary;
use crate::shape::Rows;
use crate::{Device, Tensor};

impl Tensor {
    /// Calls `f(current, operand)` on every element and stores what it returns.
    #[track_caller]
    fn zip_in_place(&self, op: &str, other: &Self, f: impl Fn(f64, f64) -> f64) {
        self.check_writable(op, other);
        let shape = self.layout().shape();
        assert!(
            other.layout().expand(shape).is_some(),
            "{op}: shape {} does not broadcast to {shape}",
            other.layout().shape()
        );
        let other = other
            .detach()
            .to_device(self.device())
            .to_dtype(self.dtype());
        if let Some(gpu) = self.gpu() {
            return binary::cuda::in_place(gpu, op, self, &other);
        }
        let rows = Rows::new(shape, [self.layout(), other.layout()]);
        let offset = self.layout().offset();
        dispatch!(self.dtype(), T => {
            let source = other.data::<T>();
            self.storage().write(|buffer| {
                let target = &mut buffer.as_mut::<T>()[offset..];
                for row in 0..rows.count {
                    let [at, from] = rows.offsets(row);
                    for i in 0..rows.len {
                        let x = &mut target[at + i * rows.strides[0]];
                        let y = source[from + i * rows.strides[1]];
                        *x = <T as Number>::of_f64(f(Number::as_f64(*x), Number::as_f64(y)));
                    }
                }
            });
        });
    }

    /// # Panics
    /// If the tensor is in a graph that is being recorded, or `source` is.
    #[track_caller]
    fn check_writable(&self, op: &str, source: &Self) {
        assert!(
            !is_grad_enabled() || !source.requires_grad(),
            "{op}: changes in place pass no gradient on, and the operand wants one; detach it or call this inside no_grad"
        );
        assert!(
            !is_grad_enabled() || matches!(self.origin(), Origin::Constant),
            "{op}: a tensor that requires gradients can only be changed in place inside no_grad"
        );
        let layout = self.layout();
        assert!(
            layout
                .shape()
                .iter()
                .zip(layout.strides())
                .all(|(&n, &s)| n <= 1 || s > 0),
            "{op}: an expanded tensor has elements that share memory; call contiguous() first"
        );
    }

    /// Copies `src` into this tensor, broadcasting, converting, and from another device if it is on one.
    ///
    /// # Panics
    /// If `src` does not broadcast to this shape, or either is being recorded.
    #[track_caller]
    pub fn copy_(&self, src: &Self) {
        let alike = self.is_contiguous() && src.shape() == self.shape();
        if let Some(gpu) = self.gpu()
            && alike
            && src.dtype() == self.dtype()
            && [self.device(), Device::Cpu].contains(&src.device())
        {
            self.check_writable("copy_", src);
            return self.take_bytes(gpu, &src.detach().contiguous());
        }
        if self.gpu().is_none() && alike {
            self.check_writable("copy_", src);
            let src = src
                .detach()
                .to_device(self.device())
                .to_dtype(self.dtype())
                .contiguous();
            let offset = self.layout().offset();
            dispatch!(self.dtype(), T => {
                let source = src.data::<T>();
                self.storage().write(|b| b.as_mut::<T>()[offset..offset + source.len()].copy_from_slice(&source));
            });
            return;
        }
        self.zip_in_place("copy_", src, |_, y| y);
    }

    /// Copies the bytes of a tensor that is alike, from main memory or on the card.
    fn take_bytes(&self, gpu: &Gpu, src: &Self) {
        let bytes = self.numel() * self.dtype().size_bytes();
        let to = self.address_to_write();
        if src.gpu().is_some() {
            return gpu.copy(to, src.address(), bytes);
        }
        let source = src.storage().read();
        let start = src.layout().offset() * src.dtype().size_bytes();
        gpu.upload(to, &source.as_slice()[start..start + bytes]);
    }

    /// Sets every element.
    ///
    /// # Panics
    /// If this tensor is being recorded.
    #[track_caller]
    pub fn fill_(&self, value: f64) {
        self.copy_(&Self::full((), value, self.dtype(), self.device()).expand(self.shape()));
    }

    /// Sets every element to zero.
    ///
    /// # Panics
    /// If this tensor is being recorded.
    #[track_caller]
    pub fn zero_(&self) {
        self.fill_(0.0);
    }

    /// Adds `other`, broadcasting.
    ///
    /// # Panics
    /// If `other` does not broadcast to this shape, or either is being recorded.
    #[track_caller]
    pub fn add_(&self, other: &Self) {
        let same =
            self.gpu().is_none() && other.shape() == self.shape() && other.dtype() == self.dtype();
        if same && self.is_contiguous() && other.is_contiguous() {
            self.check_writable("add_", other);
            let offset = self.layout().offset();
            dispatch!(self.dtype(), T => {
                let source = other.data::<T>();
                self.storage().write(|b| {
                    let target = &mut b.as_mut::<T>()[offset..offset + source.len()];
                    add_slices(target, &source);
                });
            });
            return;
        }
        self.zip_in_place("add_", other, |x, y| x + y);
    }

    /// Multiplies every element by `factor`.
    ///
    /// # Panics
    /// If this tensor is being recorded.
    #[track_caller]
    pub fn mul_(&self, factor: f64) {
        self.zip_in_place(
            "mul_",
            &Self::full((), factor, crate::DType::F64, self.device()),
            |x, y| x * y,
        );
    }
}

fn add_slices<T: Number>(target: &mut [T], source: &[T]) {
    let isa = crate::device::cpu::isa::isa();
    crate::device::cpu::threads::parallel_chunks_mut(target, 16_384, |i, piece| {
        let source = &source[i * 16_384..][..piece.len()];
        isa.vectorize(
            #[inline(always)]
            || {
                for (x, &y) in piece.iter_mut().zip(source) {
                    *x = T::store(x.load() + y.load());
                }
            },
        );
    });
}
