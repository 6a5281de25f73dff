//! Reductions on a card.

use super::Reduction;
use crate::device::cuda::driver::{Grid, Kernel};
use crate::device::cuda::launches::{THREADS, suffix};
use crate::device::cuda::{Gpu, Module, Walk, arguments, module};
use crate::shape::Rows;
use crate::storage::Buffer;
use crate::{DType, Shape, Tensor};

pub(in crate::ops) static MODULE: Module = module!("reduce");

/// Elements of an output that one block folds.
const ROW_SEGMENT: usize = 1 << 16;
/// Elements of an output that one thread folds.
const COLUMN_SEGMENT: usize = 256;
/// Blocks along y at most.
const MOST_SEGMENTS: usize = 65_535;

/// The type that sums of a dtype are held in.
pub(in crate::ops) fn computed(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        dtype if dtype.is_float() => DType::F32,
        _ => DType::I64,
    }
}

/// Reduces `dims` of `x` to extent 1.
pub(super) fn reduce(
    gpu: &'static Gpu,
    x: &Tensor,
    dims: &[usize],
    kind: Reduction,
    kept: Shape,
) -> Tensor {
    let keep: Vec<usize> = (0..x.ndim()).filter(|d| !dims.contains(d)).collect();
    let (outer, inner) = (x.layout().permute(&keep), x.layout().permute(dims));
    let (outputs, n) = (outer.numel(), inner.numel());
    if n == 0 || outputs == 0 {
        // Only sums come here without elements; the others have refused.
        return Tensor::zeros(kept, x.dtype(), x.device());
    }
    let (outer, inner) = (
        Rows::new(outer.shape(), [&outer]),
        Rows::new(inner.shape(), [&inner]),
    );
    let by_columns = outer.strides == [1] && outer.len > 1 && inner.strides != [1];
    let (way, blocks, shortest) = if by_columns {
        (
            "columns",
            outputs.div_ceil(THREADS as usize),
            COLUMN_SEGMENT,
        )
    } else {
        ("rows", outputs, ROW_SEGMENT)
    };
    let segment = shortest.max(n.div_ceil(MOST_SEGMENTS));
    let segments = n.div_ceil(segment);
    let name = kind.name();
    let (dtype, partial) = if segments == 1 {
        (x.dtype(), "")
    } else {
        (computed(x.dtype()), "partial_")
    };
    let out = Buffer::on(gpu, name, segments * outputs * dtype.size_bytes());
    let full = format!("{name}_{way}_{partial}{}", suffix(x.dtype()));
    let kernel = Kernel {
        module: &MODULE,
        name: &full,
    };
    let threads = if by_columns || n > 32 { THREADS } else { 32 };
    let grid = Grid {
        blocks: [blocks.min(1 << 20) as u32, segments as u32, 1],
        threads,
        shared: 0,
    };
    let (outer, inner) = (Walk::new(&outer), Walk::new(&inner));
    let arguments = arguments![
        out.address(),
        outputs as u64,
        outer,
        inner,
        x.address(),
        n as u64,
        segment as u64
    ];
    // SAFETY: the arguments of the kernel; the walks together cover the view and no more.
    unsafe { gpu.launch(name, kernel, grid, arguments) };
    if segments == 1 {
        return Tensor::from_buffer(out, kept, dtype);
    }
    let parts = Tensor::from_buffer(out, [segments, outputs], dtype);
    reduce(gpu, &parts, &[0], kind, [1, outputs].into())
        .to_dtype(x.dtype())
        .alias(crate::Layout::contiguous(kept))
}
