//! Making tensors.

use crate::device::cuda;
use crate::dtype::{Number, dispatch};
use crate::ops::cast;
use crate::storage::Buffer;
use crate::{DType, Device, Element, Generator, Shape, Tensor};

impl Tensor {
    /// All zeros (`false` for bool).
    #[must_use]
    pub fn zeros(shape: impl Into<Shape>, dtype: DType, device: Device) -> Self {
        let shape = shape.into();
        if let Device::Cuda(index) = device {
            let gpu = cuda::gpu(index);
            let buffer = Buffer::on(gpu, "zeros", shape.numel() * dtype.size_bytes());
            gpu.clear(buffer.address(), buffer.bytes());
            return Self::from_buffer(buffer, shape, dtype);
        }
        let buffer = dispatch!(dtype, T => Buffer::zeros::<T>(shape.numel()));
        Self::from_buffer(buffer, shape, dtype)
    }

    /// Room on a card for what an op writes; whatever the block held is in it.
    pub(crate) fn empty_on(
        gpu: &'static cuda::Gpu,
        op: &str,
        shape: impl Into<Shape>,
        dtype: DType,
    ) -> Self {
        let shape = shape.into();
        let buffer = Buffer::on(gpu, op, shape.numel() * dtype.size_bytes());
        Self::from_buffer(buffer, shape, dtype)
    }

    /// All ones (`true` for bool).
    #[must_use]
    pub fn ones(shape: impl Into<Shape>, dtype: DType, device: Device) -> Self {
        Self::full(shape, 1.0, dtype, device)
    }

    /// One value everywhere, converted to `dtype`.
    #[must_use]
    pub fn full(shape: impl Into<Shape>, value: f64, dtype: DType, device: Device) -> Self {
        if let Device::Cuda(index) = device {
            return cast::cuda::filled(cuda::gpu(index), shape.into(), value, dtype);
        }
        Self::generate(shape.into(), dtype, device, |_| value)
    }

    /// `start, start + step, ..` up to but without `end`.
    ///
    /// # Panics
    /// If `step` is zero or leads away from `end`.
    #[must_use]
    #[track_caller]
    pub fn arange(start: f64, end: f64, step: f64, dtype: DType, device: Device) -> Self {
        let n = ((end - start) / step).ceil();
        assert!(
            n >= 0.0 && n.is_finite(),
            "arange: step {step} does not lead from {start} to {end}"
        );
        if let Device::Cuda(index) = device
            && dtype != DType::Bool
        {
            return cast::cuda::arange(cuda::gpu(index), [start, step], n as usize, dtype);
        }
        Self::generate([n as usize].into(), dtype, device, |i| {
            start + step * i as f64
        })
    }

    /// The identity matrix, `(n, n)`.
    #[must_use]
    pub fn eye(n: usize, dtype: DType, device: Device) -> Self {
        Self::generate([n, n].into(), dtype, device, |i| {
            f64::from(i / n.max(1) == i % n.max(1))
        })
    }

    /// Element `i` in row-major order is `value(i)`.
    fn generate(
        shape: Shape,
        dtype: DType,
        device: Device,
        mut value: impl FnMut(usize) -> f64,
    ) -> Self {
        let n = shape.numel();
        let buffer = dispatch!(dtype, T => {
            let mut buffer = Buffer::scratch::<T>(n);
            let bool_value = |x: f64| if dtype == DType::Bool { f64::from(x != 0.0) } else { x };
            for (i, x) in buffer.as_mut::<T>().iter_mut().enumerate() {
                *x = <T as Number>::of_f64(bool_value(value(i)));
            }
            buffer
        });
        // A card gets the very numbers of the processor.
        Self::from_buffer(buffer, shape, dtype).to_device(device)
    }

    /// A tensor on the CPU with these elements in row-major order.
    ///
    /// # Panics
    /// If there are not as many elements as the shape has.
    #[must_use]
    #[track_caller]
    pub fn from_slice<T: Element>(values: &[T], shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        assert!(
            values.len() == shape.numel(),
            "from_slice: {} values for shape {shape} of {} elements",
            values.len(),
            shape.numel()
        );
        let mut buffer = Buffer::scratch::<T::Raw>(values.len());
        for (x, v) in buffer.as_mut::<T::Raw>().iter_mut().zip(values) {
            *x = v.into_raw();
        }
        Self::from_buffer(buffer, shape, T::DTYPE)
    }

    /// [`Tensor::from_slice`] of a vector.
    ///
    /// # Panics
    /// If there are not as many elements as the shape has.
    #[must_use]
    #[track_caller]
    pub fn from_vec<T: Element>(values: Vec<T>, shape: impl Into<Shape>) -> Self {
        Self::from_slice(&values, shape)
    }

    /// Uniform on `[0, 1)`. Drawn in f32 (f64 for f64 tensors) and rounded.
    #[must_use]
    pub fn rand(
        shape: impl Into<Shape>,
        dtype: DType,
        device: Device,
        generator: &Generator,
    ) -> Self {
        Self::generate(shape.into(), dtype, device, |_| generator.uniform())
    }

    /// Normal with mean 0 and variance 1 (Box-Muller).
    #[must_use]
    pub fn randn(
        shape: impl Into<Shape>,
        dtype: DType,
        device: Device,
        generator: &Generator,
    ) -> Self {
        let mut spare = None;
        Self::generate(shape.into(), dtype, device, |_| {
            spare.take().unwrap_or_else(|| {
                let (a, b) = generator.normal_pair();
                spare = Some(b);
                a
            })
        })
    }

    /// Whole numbers, uniform on `low..high`.
    ///
    /// # Panics
    /// If the range is empty.
    #[must_use]
    #[track_caller]
    pub fn randint(
        low: i64,
        high: i64,
        shape: impl Into<Shape>,
        dtype: DType,
        device: Device,
        generator: &Generator,
    ) -> Self {
        assert!(low < high, "randint: nothing lies in {low}..{high}");
        let span = (high - low) as u64;
        Self::generate(shape.into(), dtype, device, |_| {
            (low + generator.below(span) as i64) as f64
        })
    }

    /// The numbers `0..n` in random order, i64 (Fisher-Yates).
    #[must_use]
    pub fn randperm(n: usize, generator: &Generator) -> Self {
        let mut order: Vec<i64> = (0..n as i64).collect();
        for i in (1..n).rev() {
            order.swap(i, generator.below(i as u64 + 1) as usize);
        }
        Self::from_vec(order, [n])
    }

    /// A contiguous tensor from stored bytes in native order, as weight files hold them.
    ///
    /// # Panics
    /// If the bytes are not as many as shape and dtype need.
    #[must_use]
    #[track_caller]
    pub fn from_bytes(bytes: &[u8], shape: impl Into<Shape>, dtype: DType) -> Self {
        let shape = shape.into();
        let needed = shape.numel() * dtype.size_bytes();
        assert!(
            bytes.len() == needed,
            "from_bytes: {} bytes where {shape} of {dtype} needs {needed}",
            bytes.len()
        );
        let mut buffer = Buffer::copy_of(bytes);
        if dtype == DType::Bool {
            buffer
                .as_mut::<u8>()
                .iter_mut()
                .for_each(|b| *b = u8::from(*b != 0));
        }
        Self::from_buffer(buffer, shape, dtype)
    }
}
