//! Products as the vendor's library does them, in plain loops: that the engine asks for the right ones, and takes what it gets, shows without a card.

use half::{bf16, f16};

use super::super::driver::{Address, Epilogue, Matrix, Product};
use super::super::nvidia;
use crate::DType;

/// # Safety
/// There is such an element.
unsafe fn read(at: Address, dtype: DType, index: usize) -> f64 {
    // SAFETY: the caller's.
    unsafe {
        match dtype {
            DType::F64 => *(at as *const f64).add(index),
            DType::F32 => f64::from(*(at as *const f32).add(index)),
            DType::BF16 => (*(at as *const bf16).add(index)).to_f64(),
            _ => (*(at as *const f16).add(index)).to_f64(),
        }
    }
}

/// # Safety
/// There is such an element.
unsafe fn write(at: Address, dtype: DType, index: usize, value: f64) {
    // SAFETY: the caller's.
    unsafe {
        match dtype {
            DType::F64 => *(at as *mut f64).add(index) = value,
            DType::F32 => *(at as *mut f32).add(index) = value as f32,
            DType::BF16 => *(at as *mut bf16).add(index) = bf16::from_f32(value as f32),
            _ => *(at as *mut f16).add(index) = f16::from_f32(value as f32),
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

const SLOPE: f64 = 1.595_769_121_605_730_8;
const CUBIC: f64 = 0.044_715;

fn gelu_tanh(x: f64) -> f64 {
    x * sigmoid(SLOPE * (x + CUBIC * x * x * x))
}

fn gelu_tanh_slope(x: f64) -> f64 {
    let s = sigmoid(SLOPE * (x + CUBIC * x * x * x));
    s + x * s * (1.0 - s) * SLOPE * (1.0 + 3.0 * CUBIC * x * x)
}

/// Does a product; `false` if the library would not.
///
/// # Safety
/// The addresses are of blocks as large as the product reads and writes.
pub(super) unsafe fn product(p: &Product) -> bool {
    if p.k == 0 || !nvidia::takes(p) {
        return false;
    }
    let place = |x: &Matrix, i: usize, row: usize, column: usize| {
        i * x.batch_stride + row * x.row_stride + column * x.column_stride
    };
    for i in 0..p.batch {
        for row in 0..p.m {
            // SAFETY: places within the matrices and vectors that the caller says are there.
            let of_a = |l: usize| unsafe { read(p.a.at, p.a.dtype, place(&p.a, i, row, l)) };
            for column in 0..p.n {
                // SAFETY: as above.
                let of_b = |l: usize| unsafe { read(p.b.at, p.b.dtype, place(&p.b, i, l, column)) };
                let c = place(&p.c, i, row, column);
                let mut sum: f64 = (0..p.k).map(|l| of_a(l) * of_b(l)).sum();
                // SAFETY: as above.
                unsafe {
                    if p.accumulate {
                        sum += read(p.c.at, p.c.dtype, c);
                    }
                    sum = finished(p, sum, c, column);
                    write(p.c.at, p.c.dtype, c, sum);
                }
            }
            if let Epilogue::RowSums(sums) = p.epilogue {
                // SAFETY: as above.
                unsafe { write(sums, p.c.dtype, row, (0..p.k).map(of_a).sum()) };
            }
        }
    }
    true
}

/// An element with what its epilogue makes of it.
///
/// # Safety
/// As [`product`].
unsafe fn finished(p: &Product, sum: f64, c: usize, column: usize) -> f64 {
    let dtype = p.c.dtype;
    // SAFETY: the caller's.
    unsafe {
        match p.epilogue {
            Epilogue::Plain | Epilogue::RowSums(_) => sum,
            Epilogue::Bias(bias) => sum + read(bias, dtype, column),
            Epilogue::Gelu { bias, inner } => {
                let sum = sum + bias.map_or(0.0, |bias| read(bias, dtype, column));
                write(inner, dtype, c, sum);
                gelu_tanh(sum)
            }
            Epilogue::GeluGradient { inner } => sum * gelu_tanh_slope(read(inner, dtype, c)),
        }
    }
}
