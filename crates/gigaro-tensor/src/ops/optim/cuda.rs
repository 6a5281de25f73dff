//! Optimiser steps and norms on a card.

use super::{AdamRule, PIECE};
use crate::device::cuda::driver::{Grid, Kernel};
use crate::device::cuda::launches::{THREADS, grid_over};
use crate::device::cuda::{Argument, Gpu, Module, arguments, module};
use crate::storage::Buffer;
use crate::{DType, Tensor};

pub(in crate::ops) static MODULE: Module = module!("optim");

impl Argument for AdamRule {}

/// One step; all tensors are contiguous, whole, and f32 or f64 alike.
pub(super) fn adamw(
    gpu: &'static Gpu,
    param: &Tensor,
    grad: &Tensor,
    m: &Tensor,
    v: &Tensor,
    rule: AdamRule,
) {
    let name = format!("adamw_{}", param.dtype().name());
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let (n, from) = (param.numel(), grad.address());
    param.storage().write(|p| {
        m.storage().write(|m| {
            v.storage().write(|v| {
                let arguments =
                    arguments![p.address(), from, m.address(), v.address(), n as u64, rule];
                // SAFETY: the arguments of the kernel, and four blocks of `n` elements.
                unsafe { gpu.launch("adamw_", kernel, grid_over(n), arguments) };
            });
        });
    });
}

/// Sums of squares of stretches of a contiguous tensor, in f64.
pub(super) fn squared_parts(gpu: &'static Gpu, x: &Tensor) -> Tensor {
    let n = x.numel();
    let parts = n.div_ceil(PIECE);
    let out = Buffer::on(gpu, "squared_norm", parts * DType::F64.size_bytes());
    let name = format!("squared_norm_{}", x.dtype().name());
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let grid = Grid {
        blocks: [u32::try_from(parts).expect("a tensor on a card"), 1, 1],
        threads: THREADS,
        shared: 0,
    };
    let arguments = arguments![out.address(), x.address(), n as u64, PIECE as u64];
    // SAFETY: the arguments of the kernel, and a place for each stretch.
    unsafe { gpu.launch("squared_norm", kernel, grid, arguments) };
    Tensor::from_buffer(out, [parts], DType::F64)
}
