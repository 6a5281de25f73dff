//! Rotary position embedding on a card.

use crate::Tensor;
use crate::device::cuda::driver::Kernel;
use crate::device::cuda::launches::grid_over;
use crate::device::cuda::{Gpu, Module, arguments, module};
use crate::storage::Buffer;

pub(in crate::ops) static MODULE: Module = module!("rotary");

/// The rotation of a contiguous `(B, T, H, D)` by tables `(T, D/2)`, with `sign` -1 the one back.
pub(super) fn rotated(
    gpu: &'static Gpu,
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    sign: f32,
) -> Tensor {
    let [t, h, half] = [x.shape()[1], x.shape()[2], x.shape()[3] / 2].map(|n| n as u64);
    let pairs = x.numel() / 2;
    let out = Buffer::on(gpu, "rotary_embedding", x.numel() * x.dtype().size_bytes());
    let name = format!("rotary_embedding_{}", x.dtype().name());
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let (cos, sin) = (cos.address(), sin.address());
    let arguments = arguments![
        out.address(),
        x.address(),
        cos,
        sin,
        pairs as u64,
        t,
        h,
        half,
        sign
    ];
    // SAFETY: the arguments of the kernel, and blocks of the sizes that the caller has checked.
    unsafe { gpu.launch("rotary_embedding", kernel, grid_over(pairs), arguments) };
    Tensor::from_buffer(out, x.shape(), x.dtype())
}
