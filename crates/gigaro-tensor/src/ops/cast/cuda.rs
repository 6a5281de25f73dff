//! Conversions, copies and constants on a card.

use crate::device::cuda::driver::Kernel;
use crate::device::cuda::launches::{grid_over, pointwise, suffix};
use crate::device::cuda::{Gpu, Module, arguments, module};
use crate::dtype::{Number, dispatch};
use crate::storage::Buffer;
use crate::{DType, Shape, Tensor};

pub(in crate::ops) static MODULE: Module = module!("cast");

fn kernel(name: &str) -> Kernel<'_> {
    Kernel {
        module: &MODULE,
        name,
    }
}

pub(super) fn converted(gpu: &'static Gpu, x: &Tensor, dtype: DType) -> Tensor {
    let name = format!("{}_to_{}", suffix(x.dtype()), dtype.name());
    pointwise(
        gpu,
        "to_dtype",
        kernel(&name),
        x.layout().shape(),
        [x],
        dtype,
        &[],
    )
}

pub(super) fn copied(gpu: &'static Gpu, x: &Tensor) -> Tensor {
    let shape = x.layout().shape();
    if x.is_contiguous() {
        let bytes = x.numel() * x.dtype().size_bytes();
        let out = Buffer::on(gpu, "copy", bytes);
        gpu.copy(out.address(), x.address(), bytes);
        return Tensor::from_buffer(out, shape, x.dtype());
    }
    let name = format!("copy_{}", x.dtype().size_bytes());
    pointwise(gpu, "copy", kernel(&name), shape, [x], x.dtype(), &[])
}

/// One value everywhere.
pub(crate) fn filled(gpu: &'static Gpu, shape: Shape, value: f64, dtype: DType) -> Tensor {
    let bits: u64 = dispatch!(dtype, T => {
        let value = <T as Number>::of_f64(if dtype == DType::Bool { f64::from(value != 0.0) } else { value });
        let mut bits = [0; 8];
        bits[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
        u64::from_ne_bytes(bits)
    });
    let n = shape.numel();
    let out = Buffer::on(gpu, "full", n * dtype.size_bytes());
    let name = format!("fill_{}", dtype.size_bytes());
    // SAFETY: the arguments of the kernel, and a block of `n` elements.
    unsafe {
        gpu.launch(
            "full",
            kernel(&name),
            grid_over(n),
            arguments![out.address(), n as u64, bits],
        );
    }
    Tensor::from_buffer(out, shape, dtype)
}

/// `n` numbers from `start` on in steps of `step`.
pub(crate) fn arange(gpu: &'static Gpu, [start, step]: [f64; 2], n: usize, dtype: DType) -> Tensor {
    let out = Buffer::on(gpu, "arange", n * dtype.size_bytes());
    let name = format!("arange_{}", dtype.name());
    // SAFETY: the arguments of the kernel, and a block of `n` elements.
    unsafe {
        gpu.launch(
            "arange",
            kernel(&name),
            grid_over(n),
            arguments![out.address(), n as u64, start, step],
        );
    }
    Tensor::from_buffer(out, [n], dtype)
}
