//! Reading by index on a card.

use crate::device::cuda::driver::Kernel;
use crate::device::cuda::launches::grid_over;
use crate::device::cuda::{Gpu, Module, Walk, arguments, module};
use crate::shape::Rows;
use crate::storage::Buffer;
use crate::{Layout, Shape, Tensor};

pub(in crate::ops) static MODULE: Module = module!("gather");

/// The part of `x` that an index of this shape reaches, with `dim` left standing still: a walk over it and an index, in step, finds where
/// the line of each element begins.
pub(in crate::ops) fn lines_under(x: &Layout, index: &Shape, dim: usize) -> Layout {
    let reached = (0..index.len()).fold(x.clone(), |layout, d| {
        layout.narrow(d, 0, if d == dim { 1 } else { index[d] })
    });
    reached
        .expand(index)
        .expect("it has the shape of the index but for the dim, where it has one element")
}

/// `index` is i64 and contiguous.
pub(super) fn gather(gpu: &'static Gpu, x: &Tensor, d: usize, index: &Tensor) -> Tensor {
    let shape = index.layout().shape();
    let n = shape.numel();
    let size = x.dtype().size_bytes();
    let out = Buffer::on(gpu, "gather", n * size);
    if n > 0 {
        let lines = lines_under(x.layout(), shape, d);
        let walk = Walk::new(&Rows::new(shape, [&lines, index.layout()]));
        let (step, limit) = (x.layout().strides()[d] as i64, x.shape()[d] as i64);
        let (op, fault) = gpu.index_check("gather");
        let name = format!("gather_{size}");
        let kernel = Kernel {
            module: &MODULE,
            name: &name,
        };
        let arguments = arguments![
            out.address(),
            n as u64,
            walk,
            x.address(),
            index.address(),
            step,
            limit,
            op,
            fault
        ];
        // SAFETY: the arguments of the kernel; the walk stays within the views, and indices are checked.
        unsafe { gpu.launch("gather", kernel, grid_over(n), arguments) };
    }
    Tensor::from_buffer(out, shape, x.dtype())
}

/// Whole slices of `d` of a contiguous tensor; `index` is i64 and contiguous.
pub(super) fn take_rows(
    gpu: &'static Gpu,
    x: &Tensor,
    d: usize,
    index: &Tensor,
    shape: Shape,
) -> Tensor {
    let inner = x.shape()[d + 1..].iter().product::<usize>() as u64;
    let (n, size) = (shape.numel(), x.dtype().size_bytes());
    let out = Buffer::on(gpu, "index_select", n * size);
    let (op, fault) = gpu.index_check("index_select");
    let name = format!("index_select_{size}");
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let (count, limit) = (index.numel() as u64, x.shape()[d] as i64);
    let arguments = arguments![
        out.address(),
        n as u64,
        x.address(),
        index.address(),
        count,
        inner,
        limit,
        op,
        fault
    ];
    // SAFETY: the arguments of the kernel, and indices are checked.
    unsafe { gpu.launch("index_select", kernel, grid_over(n), arguments) };
    Tensor::from_buffer(out, shape, x.dtype())
}
