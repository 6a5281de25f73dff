//! Launches that many kernels share: a thread for each element, a block for each row.

use super::driver::{Address, Grid, Kernel};
use super::{Argument, Gpu, Module, Walk};
use crate::shape::Rows;
use crate::storage::Buffer;
use crate::{DType, Layout, Shape, Tensor};

/// Threads of a block where nothing speaks for another number.
pub(crate) const THREADS: u32 = 256;
/// Blocks of a grid at most; a thread takes several elements then.
const MOST_BLOCKS: usize = 1 << 16;

/// The ending of a kernel's name for a dtype; truth values are bytes.
pub(crate) fn suffix(dtype: DType) -> &'static str {
    if dtype == DType::Bool {
        DType::U8.name()
    } else {
        dtype.name()
    }
}

/// Enough blocks for a thread per element.
pub(crate) fn grid_over(elements: usize) -> Grid {
    let blocks = elements.div_ceil(THREADS as usize).min(MOST_BLOCKS);
    Grid {
        blocks: [blocks as u32, 1, 1],
        threads: THREADS,
        shared: 0,
    }
}

/// Enough blocks for a thread per four elements, which it reads at once where they lie side by side.
pub(crate) fn grid_over_fours(elements: usize) -> Grid {
    grid_over(elements.div_ceil(4))
}

/// A tensor from a kernel `(out, number of elements, walk, inputs .., extra ..)` that writes each element from those of the inputs that lie
/// at the same place, over the shape that all were checked to broadcast to.
pub(crate) fn pointwise<const N: usize>(
    gpu: &'static Gpu,
    op: &str,
    kernel: Kernel<'_>,
    shape: &Shape,
    inputs: [&Tensor; N],
    dtype: DType,
    extra: &[&dyn Argument],
) -> Tensor {
    let n = shape.numel();
    let out = Buffer::on(gpu, op, n * dtype.size_bytes());
    let layouts: [&Layout; N] = inputs.map(Tensor::layout);
    let walk = Walk::new(&Rows::new(shape, layouts));
    let (address, count) = (out.address(), n as u64);
    let addresses = inputs.map(Tensor::address);
    let mut arguments: Vec<&dyn Argument> = vec![&address, &count, &walk];
    arguments.extend(addresses.iter().map(|a| a as &dyn Argument));
    arguments.extend(extra);
    // SAFETY: the arguments are those that elementwise kernels take, and the walk stays within the views.
    unsafe { gpu.launch(op, kernel, grid_over_fours(n), &arguments) };
    Tensor::from_buffer(out, shape, dtype)
}

/// [`pointwise`] with a kernel that is named by the op and the dtype of its last input.
pub(crate) fn pointwise_named<const N: usize>(
    gpu: &'static Gpu,
    op: &str,
    module: &'static Module,
    shape: &Shape,
    inputs: [&Tensor; N],
    dtype: DType,
    extra: &[&dyn Argument],
) -> Tensor {
    let name = format!("{op}_{}", suffix(inputs[N - 1].dtype()));
    let kernel = Kernel {
        module,
        name: &name,
    };
    pointwise(gpu, op, kernel, shape, inputs, dtype, extra)
}

/// A block of the usual width for each piece of work.
pub(crate) fn grid_of_blocks(pieces: usize) -> Grid {
    Grid {
        blocks: [pieces.min(1 << 20) as u32, 1, 1],
        threads: THREADS,
        shared: 0,
    }
}

/// A block for each row, of one warp where rows are short.
pub(crate) fn grid_of_rows(rows: usize, n: usize) -> Grid {
    Grid {
        threads: if n > 128 { THREADS } else { 32 },
        ..grid_of_blocks(rows)
    }
}

/// Launches a kernel `(addresses .., rows, row length, extra ..)`.
///
/// # Safety
/// The kernel takes these, and the addresses are of blocks as large as it reads and writes.
pub(crate) unsafe fn launch_rows(
    gpu: &'static Gpu,
    module: &'static Module,
    op: &str,
    name: &str,
    grid: Grid,
    addresses: &[Address],
    [rows, n]: [usize; 2],
    extra: &[&dyn Argument],
) {
    let sizes = [rows as u64, n as u64];
    let mut arguments: Vec<&dyn Argument> = Vec::with_capacity(addresses.len() + 4);
    arguments.extend(addresses.iter().map(|a| a as &dyn Argument));
    arguments.extend(sizes.iter().map(|s| s as &dyn Argument));
    arguments.extend(extra);
    // SAFETY: the caller's.
    unsafe { gpu.launch(op, Kernel { module, name }, grid, &arguments) };
}

/// A thread for each column of a stretch of rows: the grid, how many stretches there are, and how many rows one has.
pub(crate) fn grid_of_stretches(rows: usize, n: usize) -> (Grid, usize, usize) {
    let stretch = 64.max(rows.div_ceil(65_535));
    let stretches = rows.div_ceil(stretch);
    let grid = Grid {
        blocks: [n.div_ceil(THREADS as usize) as u32, stretches as u32, 1],
        threads: THREADS,
        shared: 0,
    };
    (grid, stretches, stretch)
}
