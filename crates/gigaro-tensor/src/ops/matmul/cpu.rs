//! From tensors to the CPU's matrix kernel.

use crate::device::cpu::gemm::{self, Compute, Data, DataMut, Gemm, Operand, Output};
use crate::storage::Buffer;
use crate::{DType, Layout, Shape, Tensor};

/// Hands a tensor's elements to the kernel under their type.
macro_rules! with_data {
    ($op:expr, $tensor:expr, $data:ident => $body:expr) => {
        match $tensor.dtype() {
            $crate::DType::F64 => {
                let d = $tensor.data::<f64>();
                let $data = $crate::device::cpu::gemm::Data::F64(&d);
                $body
            }
            $crate::DType::F32 => {
                let d = $tensor.data::<f32>();
                let $data = $crate::device::cpu::gemm::Data::F32(&d);
                $body
            }
            $crate::DType::BF16 => {
                let d = $tensor.data::<$crate::dtype::bf16>();
                let $data = $crate::device::cpu::gemm::Data::BF16(&d);
                $body
            }
            $crate::DType::F16 => {
                let d = $tensor.data::<$crate::dtype::f16>();
                let $data = $crate::device::cpu::gemm::Data::F16(&d);
                $body
            }
            $crate::DType::I64 => {
                let d = $tensor.data::<i64>();
                let $data = $crate::device::cpu::gemm::Data::I64(&d);
                $body
            }
            $crate::DType::I32 => {
                let d = $tensor.data::<i32>();
                let $data = $crate::device::cpu::gemm::Data::I32(&d);
                $body
            }
            other => panic!(
                "{}: no matrix products of {other}; convert with to_dtype",
                $op
            ),
        }
    };
}
pub(in crate::ops) use with_data;

/// The elements of a fresh buffer, to be written by the kernel.
pub(in crate::ops) fn data_mut<'a>(op: &str, buffer: &'a mut Buffer, dtype: DType) -> DataMut<'a> {
    match dtype {
        DType::F64 => DataMut::F64(buffer.as_mut()),
        DType::F32 => DataMut::F32(buffer.as_mut()),
        DType::BF16 => DataMut::BF16(buffer.as_mut()),
        DType::F16 => DataMut::F16(buffer.as_mut()),
        DType::I64 => DataMut::I64(buffer.as_mut()),
        DType::I32 => DataMut::I32(buffer.as_mut()),
        other => panic!("{op}: no matrix products of {other}; convert with to_dtype"),
    }
}

/// Where each matrix of a broadcast batch begins.
fn batch_offsets(layout: &Layout, batch: &Shape) -> Vec<usize> {
    let n = layout.shape().len();
    let lead = layout.narrow(n - 1, 0, 1).remove(n - 1);
    let lead = lead.narrow(n - 2, 0, 1).remove(n - 2);
    let lead = lead.expand(batch).expect("checked to broadcast");
    let mut offsets = vec![0];
    for (&extent, &stride) in batch.iter().zip(lead.strides()) {
        offsets = offsets
            .iter()
            .flat_map(|&o| (0..extent).map(move |i| o + i * stride))
            .collect();
    }
    offsets
}

/// `a @ b` for operands of at least two dims whose inner dims agree; not recorded.
///
/// # Panics
/// If the batch dims do not broadcast or the dtype has no products.
#[track_caller]
pub(in crate::ops) fn product(
    op: &str,
    a: &Tensor,
    b: &Tensor,
    compute: Compute,
    out: DType,
) -> Tensor {
    product_with_bias(op, a, b, None, compute, out)
}

/// The batch dims of both operands, broadcast.
///
/// # Panics
/// If they do not.
#[track_caller]
fn common_batch(op: &str, a: &Tensor, b: &Tensor) -> Shape {
    let lead = |t: &Tensor| Shape::from(&t.shape()[..t.ndim() - 2]);
    let Some(batch) = lead(a).broadcast(&lead(b)) else {
        panic!(
            "{op}: batches of {} and {} do not broadcast",
            a.layout().shape(),
            b.layout().shape()
        )
    };
    batch
}

/// [`product`] with a vector added to each row.
#[track_caller]
pub(in crate::ops) fn product_with_bias(
    op: &str,
    a: &Tensor,
    b: &Tensor,
    bias: Option<&Tensor>,
    compute: Compute,
    out: DType,
) -> Tensor {
    // Elements that are bf16 already lose nothing by the fast instruction.
    let compute = match (a.dtype(), b.dtype()) {
        (DType::BF16, DType::BF16) => Compute::BF16,
        _ => compute,
    };
    let ((m, k), n) = ((a.size(-2), a.size(-1)), b.size(-1));
    let batch = common_batch(op, a, b);
    if let Some(gpu) = Tensor::common_gpu(op, &[a, b]) {
        return super::cuda::product(gpu, op, [a, b], bias, compute, &batch, out);
    }
    let shape = [&batch[..], &[m, n]].concat();
    let mut buffer = match out.size_bytes() {
        8 => Buffer::scratch::<u64>(batch.numel() * m * n),
        4 => Buffer::scratch::<u32>(batch.numel() * m * n),
        _ => Buffer::scratch::<u16>(batch.numel() * m * n),
    };
    let (from_a, from_b) = (
        batch_offsets(a.layout(), &batch),
        batch_offsets(b.layout(), &batch),
    );
    let offsets: Vec<[usize; 3]> = from_a
        .iter()
        .zip(&from_b)
        .enumerate()
        .map(|(i, (&x, &y))| [x, y, i * m * n])
        .collect();
    let strides = |t: &Tensor| {
        let s = t.layout().strides();
        (s[s.len() - 2], s[s.len() - 1])
    };
    let ((a_rs, a_cs), (b_rs, b_cs)) = (strides(a), strides(b));
    let bias = bias.map(|b| b.contiguous());
    with_data!(op, a, a_data => with_data!(op, b, b_data => {
        let run = |bias: Option<Data<'_>>, c: DataMut<'_>| {
            gemm::batched_at(
                Gemm {
                    m,
                    n,
                    k,
                    a: Operand { data: a_data, rs: a_rs, cs: a_cs },
                    b: Operand { data: b_data, rs: b_rs, cs: b_cs },
                    c: Output { data: c, rs: n.max(1), cs: 1 },
                    compute,
                    accumulate: false,
                    bias,
                },
                &offsets,
            );
        };
        let c = data_mut(op, &mut buffer, out);
        match &bias {
            Some(bias) => with_data!(op, bias, bias_data => run(Some(bias_data), c)),
            None => run(None, c),
        }
    }));
    Tensor::from_buffer(buffer, shape, out)
}
