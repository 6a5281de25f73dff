//! From tensors to matrix products on a card: by the vendor's library where it can, else by a kernel.

use crate::device::cpu::gemm::Compute;
use crate::device::cuda::driver::{Epilogue, Grid, Kernel, Matrix, Product};
use crate::device::cuda::launches::grid_of_blocks;
use crate::device::cuda::{
    Argument, Gpu, Module, Walk, any_order_allowed, arguments, module, tf32_allowed,
};
use crate::ops::reduce::cuda::computed;
use crate::shape::Rows;
use crate::storage::Buffer;
use crate::{DType, Layout, Shape, Tensor};

pub(in crate::ops) static MODULE: Module = module!("matmul");

/// `Strides` of `matmul.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Strides([i64; 4]);
impl Argument for Strides {}

/// The types that operands are multiplied in and that the result is written in.
fn types(op: &str, a: DType, b: DType, compute: Compute, out: DType) -> (DType, DType) {
    let operands = match (a.promote(b), compute) {
        (DType::F64, _) => DType::F64,
        (DType::F32 | DType::F16 | DType::BF16, Compute::BF16) => DType::BF16,
        (
            dtype @ (DType::F32 | DType::F16 | DType::BF16 | DType::I64 | DType::I32),
            Compute::F32,
        ) => dtype,
        (dtype, _) => panic!("{op}: no matrix products of {dtype}; convert with to_dtype"),
    };
    let wide = match operands {
        DType::BF16 | DType::F16 => DType::F32,
        dtype => dtype,
    };
    (operands, if out == operands { out } else { wide })
}

/// A tensor as products of it are computed: in bf16 where they are in that.
pub(in crate::ops) fn operand(x: &Tensor, compute: Compute) -> Tensor {
    match (x.dtype(), compute) {
        (DType::F32 | DType::F16, Compute::BF16) => x.detach().to_dtype(DType::BF16),
        _ => x.detach(),
    }
}

/// `a @ b + bias` over broadcast batches, whose shape is given; not recorded.
#[track_caller]
pub(in crate::ops) fn product(
    gpu: &'static Gpu,
    op: &str,
    [a, b]: [&Tensor; 2],
    bias: Option<&Tensor>,
    compute: Compute,
    batch: &Shape,
    out: DType,
) -> Tensor {
    if let Some(rows) = few_rows(gpu, op, [a, b], bias, out) {
        return rows;
    }
    let (operands, written) = types(op, a.dtype(), b.dtype(), compute, out);
    let [a, b] = [a, b].map(|t| converted(t, operands));
    let bias = bias.map(|b| b.detach().to_dtype(written).contiguous());
    let (m, k, n) = (a.size(-2), a.size(-1), b.size(-1));
    let shape = [&batch[..], &[m, n]].concat();
    if batch.numel() * m * n == 0 {
        return Tensor::zeros(shape, out, a.device());
    }
    let buffer = Buffer::on(gpu, op, batch.numel() * m * n * written.size_bytes());
    let job = Job {
        gpu,
        op,
        a: &a,
        b: &b,
        epilogue: bias
            .as_ref()
            .map_or(Epilogue::Plain, |b| Epilogue::Bias(b.address())),
        out: (buffer.address(), written),
        row_stride: n,
        size: [m, n, k],
        batches: Rows::new(batch, [&lead(a.layout()), &lead(b.layout())]),
        accumulate: false,
    };
    if !job.by_library() {
        job.by_kernel();
    }
    Tensor::from_buffer(buffer, shape, written).to_dtype(out)
}

/// Rows that a kernel of their own multiplies: all that such a product costs is to read the matrix, which it does once and as it is.
pub(in crate::ops) const FEW_ROWS: usize = 4;

/// `a @ b + bias` of a few rows and a matrix that lies by columns; `None` if the operands are not such.
fn few_rows(
    gpu: &'static Gpu,
    op: &str,
    [a, b]: [&Tensor; 2],
    bias: Option<&Tensor>,
    out: DType,
) -> Option<Tensor> {
    let (&[m, k], &[_, n]) = (a.shape(), b.shape()) else {
        return None;
    };
    let (&[a_step, a_column], &[b_row, b_step]) = (a.layout().strides(), b.layout().strides())
    else {
        return None;
    };
    let narrow = |dtype| matches!(dtype, DType::F32 | DType::BF16);
    let dense = a_column == 1 && b_row == 1 && m > 0 && n > 0 && k > 0;
    let fours = [k, a_step, b_step].iter().all(|n| n.is_multiple_of(4));
    if m > FEW_ROWS || !dense || !fours || ![a.dtype(), b.dtype(), out].into_iter().all(narrow) {
        return None;
    }
    let at_four = |t: &Tensor| {
        t.address()
            .is_multiple_of(4 * t.dtype().size_bytes() as u64)
    };
    if !at_four(a) || !at_four(b) {
        return None;
    }
    let bias = bias.map(|t| t.detach().to_dtype(b.dtype()).contiguous());
    let y = Tensor::empty_on(gpu, op, [m, n], out);
    let dtypes = [a.dtype(), b.dtype(), out].map(DType::name);
    let name = format!("few_rows_{m}_{}_{}_{}", dtypes[0], dtypes[1], dtypes[2]);
    let kernel = Kernel {
        module: &MODULE,
        name: &name,
    };
    let arguments = arguments![
        y.address_to_write(),
        a.address(),
        b.address(),
        bias.as_ref().map_or(0, Tensor::address),
        n as u64,
        k as u64,
        a_step as u64,
        b_step as u64
    ];
    // SAFETY: the arguments of the kernel; a row and a column are `k` elements that follow one another.
    unsafe { gpu.launch(op, kernel, grid_of_blocks(n.div_ceil(8)), arguments) };
    Some(y)
}

/// Writes `a @ b` into a matrix whose rows are dense, or adds it to what that holds; nobody else reads it.
#[track_caller]
pub(in crate::ops) fn product_into(
    gpu: &'static Gpu,
    op: &str,
    into: &Tensor,
    [a, b]: [&Tensor; 2],
    compute: Compute,
    add: bool,
) {
    let (operands, written) = types(op, a.dtype(), b.dtype(), compute, into.dtype());
    let [a, b] = [a, b].map(|t| converted(t, operands));
    let job = Job {
        gpu,
        op,
        a: &a,
        b: &b,
        epilogue: Epilogue::Plain,
        out: (into.address_to_write(), written),
        row_stride: into.layout().strides()[0],
        size: [a.size(-2), b.size(-1), a.size(-1)],
        batches: Rows::new(&Shape::from([]), [&lead(a.layout()), &lead(b.layout())]),
        accumulate: add,
    };
    if written != into.dtype() || !job.by_library() {
        let shape = Shape::from([]);
        let product = product(gpu, op, [&a, &b], None, compute, &shape, into.dtype());
        if add {
            into.add_(&product);
        } else {
            into.copy_(&product);
        }
    }
}

/// The tensor in another dtype, by columns if it lies by columns: a walk along rows would read one element of many lines.
fn converted(x: &Tensor, dtype: DType) -> Tensor {
    let strides = x.layout().strides();
    let by_columns = strides[strides.len() - 2] == 1 && strides[strides.len() - 1] != 1;
    let x = x.detach();
    if by_columns && x.dtype() != dtype {
        x.transpose(-1, -2).to_dtype(dtype).transpose(-1, -2)
    } else {
        x.to_dtype(dtype)
    }
}

/// One product of matrices with an epilogue that only the library has; `None` if it cannot do it.
#[track_caller]
pub(in crate::ops) fn fused(
    gpu: &'static Gpu,
    op: &str,
    [a, b]: [&Tensor; 2],
    epilogue: Epilogue,
    out: DType,
) -> Option<Tensor> {
    let (m, k, n) = (a.size(-2), a.size(-1), b.size(-1));
    if m * n * k == 0 {
        return None;
    }
    let buffer = Buffer::on(gpu, op, m * n * out.size_bytes());
    let job = Job {
        gpu,
        op,
        a,
        b,
        epilogue,
        out: (buffer.address(), out),
        row_stride: n,
        size: [m, n, k],
        batches: Rows::new(&Shape::from([]), [&lead(a.layout()), &lead(b.layout())]),
        accumulate: false,
    };
    job.by_library()
        .then(|| Tensor::from_buffer(buffer, [m, n], out))
}

/// `a @ b` in f32, and the sums of the rows of `a`: the gradients of a weight and of its bias, from that of what they gave.
#[track_caller]
pub(in crate::ops) fn product_and_row_sums(
    gpu: &'static Gpu,
    op: &str,
    [a, b]: [&Tensor; 2],
    compute: Compute,
) -> (Tensor, Tensor) {
    let [a, b] = [a, b].map(|x| operand(x, compute));
    let wide = computed(a.dtype());
    let sums = Tensor::empty_on(gpu, op, [a.size(0)], wide);
    let epilogue = Epilogue::RowSums(sums.address_to_write());
    match fused(gpu, op, [&a, &b], epilogue, wide) {
        Some(product) => (product, sums),
        None => {
            let product = product(gpu, op, [&a, &b], None, compute, &Shape::from([]), wide);
            (product, a.to_dtype(wide).sum(1_isize))
        }
    }
}

/// The batch dims of a layout.
fn lead(layout: &Layout) -> Layout {
    let n = layout.shape().len();
    let one = layout.narrow(n - 1, 0, 1).remove(n - 1);
    one.narrow(n - 2, 0, 1).remove(n - 2)
}

struct Job<'a> {
    gpu: &'static Gpu,
    op: &'a str,
    a: &'a Tensor,
    b: &'a Tensor,
    epilogue: Epilogue,
    out: (u64, DType),
    /// From one row of the result to the next; the length of a row but for a single matrix by the library.
    row_stride: usize,
    size: [usize; 3],
    batches: Rows<2>,
    /// The library adds to what is there.
    accumulate: bool,
}

impl Job<'_> {
    /// One call for each batch of even steps; `false` if the first is refused, and then all would be.
    fn by_library(&self) -> bool {
        let [m, n, k] = self.size;
        let (out, written) = self.out;
        for row in 0..self.batches.count {
            let offsets = self.batches.offsets(row);
            let operand = |t: &Tensor, i: usize| {
                let strides = t.layout().strides();
                Matrix {
                    at: t.address() + (offsets[i] * t.dtype().size_bytes()) as u64,
                    dtype: t.dtype(),
                    row_stride: strides[strides.len() - 2],
                    column_stride: strides[strides.len() - 1],
                    batch_stride: self.batches.strides[i],
                }
            };
            let start = row * self.batches.len * m * n * written.size_bytes();
            let product = Product {
                m,
                n,
                k,
                batch: self.batches.len,
                a: operand(self.a, 0),
                b: operand(self.b, 1),
                c: Matrix {
                    at: out + start as u64,
                    dtype: written,
                    row_stride: self.row_stride,
                    column_stride: 1,
                    batch_stride: m * n,
                },
                epilogue: self.epilogue,
                tf32: tf32_allowed(),
                any_order: any_order_allowed(),
                accumulate: self.accumulate,
            };
            // SAFETY: the operands are views of tensors, and the result has a block of its own.
            if !unsafe { self.gpu.product(self.op, &product) } {
                assert!(
                    row == 0,
                    "the library did one batch of a product and refused another"
                );
                return false;
            }
        }
        true
    }

    /// The product, with what its epilogue adds to it if that is a bias, into rows that follow one another.
    fn by_kernel(&self) {
        let [m, n, k] = self.size;
        let strides = |t: &Tensor| {
            let s = t.layout().strides();
            [s[s.len() - 2] as i64, s[s.len() - 1] as i64]
        };
        let ([a_row, a_column], [b_row, b_column]) = (strides(self.a), strides(self.b));
        let batches = self.batches.count * self.batches.len;
        let name = format!("matmul_{}_{}", self.a.dtype().name(), self.out.1.name());
        let kernel = Kernel {
            module: &MODULE,
            name: &name,
        };
        let tiles =
            |n: usize| u32::try_from(n.div_ceil(64)).expect("a side of a matrix fits a grid");
        let grid = Grid {
            blocks: [tiles(n), tiles(m), batches.min(65_535) as u32],
            threads: 256,
            shared: 0,
        };
        let sizes = [m, n, k, batches].map(|n| n as u64);
        let (a, b) = (self.a.address(), self.b.address());
        let bias = match self.epilogue {
            Epilogue::Bias(bias) => bias,
            _ => 0,
        };
        let strides = Strides([a_row, a_column, b_row, b_column]);
        let walk = Walk::new(&self.batches);
        let arguments = arguments![
            self.out.0, a, b, bias, sizes[0], sizes[1], sizes[2], sizes[3], walk, strides
        ];
        // SAFETY: the arguments of the kernel; strides and walk are those of the operands.
        unsafe { self.gpu.launch(self.op, kernel, grid, arguments) };
    }
}
