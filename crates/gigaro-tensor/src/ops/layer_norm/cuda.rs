//! Normalisation of rows on a card: this op's, and what it shares with `rms_norm`.

use crate::device::cuda::launches::{grid_of_rows, grid_of_stretches, launch_rows};
use crate::device::cuda::{Gpu, Module, arguments, module};
use crate::ops::reduce::cuda::computed;
use crate::storage::Buffer;
use crate::{DType, Tensor};

pub(in crate::ops) static MODULE: Module = module!("layer_norm");

const LAYER_NORM: Normalisation = Normalisation {
    op: "layer_norm",
    module: &MODULE,
    kept: 2,
    sums: 2,
};

pub(super) fn forward(
    gpu: &'static Gpu,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    dtype: DType,
) -> Tensor {
    LAYER_NORM.forward(gpu, x, &[weight, bias], eps, dtype)
}

/// Gradients of input, weight and bias.
pub(super) fn backward(
    gpu: &'static Gpu,
    x: &Tensor,
    weight: &Tensor,
    grad: &Tensor,
    eps: f64,
) -> Vec<Option<Tensor>> {
    let (dx, sums) = LAYER_NORM.backward(gpu, x, weight, grad, eps);
    vec![Some(dx), Some(sums.select(0, 0)), Some(sums.select(0, 1))]
}

/// An op that normalises contiguous rows of `n`: kernels `op_`, `op_backward_` and `op_weights_` with the dtypes of input and output behind. Weights
/// are in what it is computed in.
pub(in crate::ops) struct Normalisation {
    pub(in crate::ops) op: &'static str,
    pub(in crate::ops) module: &'static Module,
    /// Numbers of a row that the backward kernel leaves for that of the weights.
    pub(in crate::ops) kept: usize,
    /// Vectors of `n` that have a gradient.
    pub(in crate::ops) sums: usize,
}

impl Normalisation {
    /// `weights` are vectors of `n`.
    pub(in crate::ops) fn forward(
        &self,
        gpu: &'static Gpu,
        x: &Tensor,
        weights: &[&Tensor],
        eps: f64,
        dtype: DType,
    ) -> Tensor {
        let n = x.size(-1);
        let rows = x.numel() / n.max(1);
        let out = Buffer::on(gpu, self.op, x.numel() * dtype.size_bytes());
        let mut addresses = vec![out.address(), x.address()];
        addresses.extend(weights.iter().map(|w| w.address()));
        let name = format!("{}_{}_{}", self.op, x.dtype().name(), dtype.name());
        let (grid, extra) = (grid_of_rows(rows, n), arguments![eps]);
        // SAFETY: the arguments of the kernel, and blocks of `rows` times `n` and of `n` elements.
        unsafe {
            launch_rows(
                gpu,
                self.module,
                self.op,
                &name,
                grid,
                &addresses,
                [rows, n],
                extra,
            );
        }
        Tensor::from_buffer(out, x.shape(), dtype)
    }

    /// The gradient of the input, and those of the weights, `(sums, n)`.
    pub(in crate::ops) fn backward(
        &self,
        gpu: &'static Gpu,
        x: &Tensor,
        weight: &Tensor,
        grad: &Tensor,
        eps: f64,
    ) -> (Tensor, Tensor) {
        let Self {
            op,
            module,
            kept,
            sums,
        } = *self;
        let (n, grad) = (x.size(-1), grad.contiguous());
        let (rows, wide) = (x.numel() / n.max(1), computed(x.dtype()));
        let dx = Buffer::on(gpu, op, x.numel() * x.dtype().size_bytes());
        let kept = Buffer::on(gpu, op, kept * rows * wide.size_bytes());
        let (kept_at, x_at, grad_at) = (kept.address(), x.address(), grad.address());
        let addresses = [dx.address(), kept_at, x_at, weight.address(), grad_at];
        let dtypes = format!("{}_{}", x.dtype().name(), grad.dtype().name());
        let name = format!("{op}_backward_{dtypes}");
        let (grid, extra) = (grid_of_rows(rows, n), arguments![eps]);
        // SAFETY: the arguments of the kernel, and blocks of the sizes above.
        unsafe { launch_rows(gpu, module, op, &name, grid, &addresses, [rows, n], extra) };
        let (grid, stretches, stretch) = grid_of_stretches(rows, n);
        let parts = Buffer::on(gpu, op, stretches * sums * n * wide.size_bytes());
        let addresses = [parts.address(), kept_at, x_at, grad_at];
        let name = format!("{op}_weights_{dtypes}");
        let extra = arguments![stretch as u64];
        // SAFETY: as above.
        unsafe { launch_rows(gpu, module, op, &name, grid, &addresses, [rows, n], extra) };
        let parts = Tensor::from_buffer(parts, [stretches, sums, n], wide);
        (
            Tensor::from_buffer(dx, x.shape(), x.dtype()),
            parts.sum(0_isize),
        )
    }
}
