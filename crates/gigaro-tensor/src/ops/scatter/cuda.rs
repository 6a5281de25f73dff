//! Writing by index on a card.

use crate::device::cuda::driver::Kernel;
use crate::device::cuda::launches::{grid_of_blocks, grid_over, suffix};
use crate::device::cuda::{Gpu, Module, Walk, arguments, module};
use crate::ops::gather::cuda::lines_under;
use crate::shape::Rows;
use crate::{DType, Tensor};

pub(in crate::ops) static MODULE: Module = module!("scatter");

/// Changes `out`, which is contiguous and nobody else's; `index` and `src` are contiguous and of one shape.
pub(super) fn scatter(
    gpu: &'static Gpu,
    op: &'static str,
    out: &Tensor,
    d: usize,
    index: &Tensor,
    src: &Tensor,
) {
    let count = index.shape()[d];
    if index.numel() == 0 {
        return;
    }
    let source = index.layout().narrow(d, 0, 1);
    let target = lines_under(out.layout(), source.shape(), d);
    let walk = Walk::new(&Rows::new(source.shape(), [&target, &source]));
    let step = |t: &Tensor| t.layout().strides()[d] as i64;
    let lines = index.numel() / count;
    let (number, fault) = gpu.index_check(op);
    let name = format!("{op}_{}", suffix(out.dtype()));
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let (index_at, from) = (index.address(), src.address());
    let limit = out.shape()[d] as i64;
    out.storage().write(|buffer| {
        let arguments = arguments![
            buffer.address(),
            lines as u64,
            walk,
            index_at,
            from,
            count as i64,
            step(out),
            step(index),
            limit,
            number,
            fault
        ];
        // SAFETY: the arguments of the kernel; walk and steps stay within the views, and indices are checked.
        unsafe { gpu.launch(op, kernel, grid_over(lines), arguments) };
    });
}

/// Adds slices to `out`, which is contiguous and nobody else's.
pub(super) fn add_slices(gpu: &'static Gpu, out: &Tensor, d: usize, index: &Tensor, src: &Tensor) {
    let inner = out.shape()[d + 1..].iter().product::<usize>();
    let slices = out.shape()[..=d].iter().product::<usize>();
    let (op, fault) = gpu.index_check("index_add");
    let name = format!("index_add_{}", suffix(out.dtype()));
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let grid = grid_of_blocks(slices);
    let (count, limit) = (index.numel() as u64, out.shape()[d] as i64);
    let (index_at, from) = (index.address(), src.address());
    out.storage().write(|buffer| {
        let arguments = arguments![
            buffer.address(),
            slices as u64,
            index_at,
            from,
            count,
            inner as u64,
            limit,
            op,
            fault
        ];
        // SAFETY: the arguments of the kernel; sizes are those of the tensors, and indices are checked.
        unsafe { gpu.launch("index_add", kernel, grid, arguments) };
    });
}

/// 1 where an element of `index` is the last to name its position, else 0: each position is given the number of its last writer.
pub(super) fn last_writer(shape: &[usize], d: usize, index: &Tensor, dtype: DType) -> Tensor {
    let device = index.device();
    let number =
        Tensor::arange(0.0, index.numel() as f64, 1.0, DType::I64, device).reshape(index.shape());
    let writers = Tensor::zeros(shape, DType::I64, device).scatter(d as isize, index, &number);
    writers
        .gather(d as isize, index)
        .eq(&number)
        .to_dtype(dtype)
}
