//! The launch that kernels over contiguous rows share: a block for each row.

use crate::device::cuda::driver::{Address, Grid, Kernel};
use crate::device::cuda::{Argument, Gpu, Module};
use crate::ops::elementwise::cuda::THREADS;

/// A block for each row, of one warp where rows are short.
pub(in crate::ops) fn grid_of_rows(rows: usize, n: usize) -> Grid {
    Grid {
        blocks: [rows.min(1 << 20) as u32, 1, 1],
        threads: if n > 128 { THREADS } else { 32 },
        shared: 0,
    }
}

/// Launches a kernel `(addresses .., rows, row length, extra ..)`.
///
/// # Safety
/// The kernel takes these, and the addresses are of blocks as large as it reads and writes.
pub(in crate::ops) unsafe fn launch_rows(
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
pub(in crate::ops) fn grid_of_stretches(rows: usize, n: usize) -> (Grid, usize, usize) {
    let stretch = 64.max(rows.div_ceil(65_535));
    let stretches = rows.div_ceil(stretch);
    let grid = Grid {
        blocks: [n.div_ceil(THREADS as usize) as u32, stretches as u32, 1],
        threads: THREADS,
        shared: 0,
    };
    (grid, stretches, stretch)
}
