//! Which call of cuBLASLt a product is, decided from its strides alone.
//!
//! cuBLASLt takes matrices by columns, and ours lie by rows. A matrix by rows is its own transpose by columns, so instead of `C = A B` the
//! transposes are multiplied, `Cᵀ = Bᵀ Aᵀ`: the operands change places, and nothing is moved. A bias for each column of `C` is one for each row of
//! `Cᵀ`, which is the form that the library adds.

use super::super::driver::{Address, Epilogue, Matrix, Product};
use crate::DType;

/// Alignments beyond this make no difference to the library.
const ALIGNMENT: u64 = 256;

/// A matrix as it lies in memory, by columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stored {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// From one column to the next.
    pub(super) leading: usize,
    /// From one matrix of the batch to the next.
    pub(super) batch_stride: usize,
    /// Its transpose is what is multiplied.
    pub(super) transposed: bool,
    /// Bytes that divide each matrix's address.
    pub(super) alignment: u32,
}

/// How sums are added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sums {
    F64,
    F32,
    /// In f32, of f32 operands that are rounded to tf32.
    Tf32,
}

/// A product as the library is asked for it. Two with the same plan are done by the same algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Plan {
    /// Our `b`.
    pub(super) first: Stored,
    /// Our `a`.
    pub(super) second: Stored,
    pub(super) result: Stored,
    /// As the library counts.
    pub(super) batch: i32,
    /// Of the operands.
    pub(super) dtype: DType,
    pub(super) result_dtype: DType,
    pub(super) sums: Sums,
    pub(super) epilogue: Kind,
    pub(super) accumulate: bool,
    pub(super) any_order: bool,
}

/// An [`Epilogue`] without its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Plain,
    Bias,
    Gelu { bias: bool },
    GeluGradient,
    RowSums,
}

impl From<Epilogue> for Kind {
    fn from(epilogue: Epilogue) -> Self {
        match epilogue {
            Epilogue::Plain => Self::Plain,
            Epilogue::Bias(_) => Self::Bias,
            Epilogue::Gelu { bias, .. } => Self::Gelu {
                bias: bias.is_some(),
            },
            Epilogue::GeluGradient { .. } => Self::GeluGradient,
            Epilogue::RowSums(_) => Self::RowSums,
        }
    }
}

/// The vector and the matrix of an epilogue: 0 where there is none.
pub(super) fn beside(epilogue: Epilogue) -> [Address; 2] {
    match epilogue {
        Epilogue::Plain => [0, 0],
        Epilogue::Bias(vector) | Epilogue::RowSums(vector) => [vector, 0],
        Epilogue::Gelu { bias, inner } => [bias.unwrap_or(0), inner],
        Epilogue::GeluGradient { inner } => [0, inner],
    }
}

/// The plan of a product with no side of length 0; `None` if the library has no call for it.
pub(super) fn plan(product: &Product) -> Option<Plan> {
    let &Product {
        m,
        n,
        k,
        batch,
        a,
        b,
        c,
        ..
    } = product;
    let sums = match a.dtype {
        DType::F64 => Sums::F64,
        DType::F32 if product.tf32 => Sums::Tf32,
        DType::F32 | DType::BF16 | DType::F16 => Sums::F32,
        _ => return None,
    };
    let may_be_result = c.dtype == a.dtype || (c.dtype == DType::F32 && a.dtype != DType::F64);
    if b.dtype != a.dtype || !may_be_result {
        return None;
    }
    let first = stored(b, k, n, batch, 0)?;
    let second = stored(a, m, k, batch, 0)?;
    let [vector, inner] = beside(product.epilogue);
    let result = stored(c, m, n, batch, vector | inner)?;
    // The library reads and writes inner results 16 bytes at a time, from rows of whole such.
    let whole = result.leading.is_multiple_of(8) && inner.is_multiple_of(16);
    let alone = batch == 1 && !product.accumulate;
    match product.epilogue {
        Epilogue::Gelu { .. } | Epilogue::GeluGradient { .. } if !(whole && alone) => return None,
        Epilogue::RowSums(_) if !alone => return None,
        _ => {}
    }
    let count = i32::try_from(batch).ok()?;
    // A result by columns would need the other order of operands, and one that is shared has no order of writes.
    if result.transposed || (batch > 1 && c.batch_stride < m.saturating_sub(1) * c.row_stride + n) {
        return None;
    }
    Some(Plan {
        first,
        second,
        result,
        batch: count,
        dtype: a.dtype,
        result_dtype: c.dtype,
        sums,
        epilogue: product.epilogue.into(),
        accumulate: product.accumulate,
        any_order: product.any_order,
    })
}

/// How a matrix lies; `None` if neither its rows nor its columns are dense. `beside` is an address with which it shares its alignment.
fn stored(
    matrix: Matrix,
    rows: usize,
    columns: usize,
    batch: usize,
    beside: Address,
) -> Option<Stored> {
    // Along a side of length 1 no step is taken, and its stride says nothing.
    let by_rows =
        (columns == 1 || matrix.column_stride == 1) && (rows == 1 || matrix.row_stride >= columns);
    let by_columns =
        (rows == 1 || matrix.row_stride == 1) && (columns == 1 || matrix.column_stride >= rows);
    let batch_stride = if batch > 1 { matrix.batch_stride } else { 0 };
    let step = (batch_stride * matrix.dtype.size_bytes()) as Address;
    let alignment = alignment(matrix.at | step | beside);
    if by_rows {
        return Some(Stored {
            rows: columns,
            columns: rows,
            leading: if rows == 1 {
                columns
            } else {
                matrix.row_stride
            },
            batch_stride,
            transposed: false,
            alignment,
        });
    }
    by_columns.then_some(Stored {
        rows,
        columns,
        leading: if columns == 1 {
            rows
        } else {
            matrix.column_stride
        },
        batch_stride,
        transposed: true,
        alignment,
    })
}

/// The largest power of two that divides an address.
fn alignment(at: Address) -> u32 {
    1 << (at | ALIGNMENT).trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(at: Address, dtype: DType, strides: [usize; 3]) -> Matrix {
        let [batch_stride, row_stride, column_stride] = strides;
        Matrix {
            at,
            dtype,
            row_stride,
            column_stride,
            batch_stride,
        }
    }

    /// (m, n, k) = (2, 3, 4), all dense by rows.
    fn product() -> Product {
        Product {
            m: 2,
            n: 3,
            k: 4,
            batch: 1,
            a: matrix(256, DType::F32, [0, 4, 1]),
            b: matrix(512, DType::F32, [0, 3, 1]),
            c: matrix(768, DType::F32, [0, 3, 1]),
            epilogue: Epilogue::Plain,
            tf32: false,
            any_order: false,
            accumulate: false,
        }
    }

    /// What the library does with a plan, on memory that is indexed by element.
    fn emulate(plan: &Plan, product: &Product, memory: &mut [f32]) {
        let element = |s: &Stored, at: Address, i: usize, row: usize, column: usize| {
            let (row, column) = if s.transposed {
                (column, row)
            } else {
                (row, column)
            };
            assert!(row < s.rows && column < s.columns && s.leading >= s.rows);
            at as usize + i * s.batch_stride + column * s.leading + row
        };
        let inner = if plan.first.transposed {
            plan.first.rows
        } else {
            plan.first.columns
        };
        let [vector, _] = beside(product.epilogue);
        for i in 0..plan.batch as usize {
            for row in 0..plan.result.rows {
                for column in 0..plan.result.columns {
                    let c = element(&plan.result, product.c.at, i, row, column);
                    let mut sum = if plan.accumulate { memory[c] } else { 0.0 };
                    for l in 0..inner {
                        let x = memory[element(&plan.first, product.b.at, i, row, l)];
                        sum += x * memory[element(&plan.second, product.a.at, i, l, column)];
                    }
                    if plan.epilogue == Kind::Bias {
                        sum += memory[vector as usize + row];
                    }
                    memory[c] = sum;
                }
            }
            // The library sums over the columns of its second matrix: `BGRADB`.
            if plan.epilogue == Kind::RowSums {
                for column in 0..plan.result.columns {
                    let at = |l| element(&plan.second, product.a.at, i, l, column);
                    memory[vector as usize + column] = (0..inner).map(|l| memory[at(l)]).sum();
                }
            }
        }
    }

    /// The product from its definition.
    fn reference(p: &Product, memory: &mut [f32]) {
        let at = |x: &Matrix, i: usize, row: usize, column: usize| {
            x.at as usize + i * x.batch_stride + row * x.row_stride + column * x.column_stride
        };
        for i in 0..p.batch {
            for row in 0..p.m {
                for column in 0..p.n {
                    let c = at(&p.c, i, row, column);
                    let mut sum = if p.accumulate { memory[c] } else { 0.0 };
                    for l in 0..p.k {
                        sum += memory[at(&p.a, i, row, l)] * memory[at(&p.b, i, l, column)];
                    }
                    if let Epilogue::Bias(bias) = p.epilogue {
                        sum += memory[bias as usize + column];
                    }
                    memory[c] = sum;
                }
                if let Epilogue::RowSums(sums) = p.epilogue {
                    let of_row = (0..p.k).map(|l| memory[at(&p.a, i, row, l)]);
                    memory[sums as usize + row] = of_row.sum();
                }
            }
        }
    }

    #[test]
    fn the_planned_call_computes_the_product_whatever_the_strides() {
        let by_rows =
            |rows: usize, columns: usize, gap: usize| [rows * (columns + gap), columns + gap, 1];
        let by_columns =
            |rows: usize, columns: usize, gap: usize| [columns * (rows + gap), 1, rows + gap];
        for [m, n, k] in [
            [2, 3, 4],
            [1, 3, 4],
            [2, 1, 4],
            [2, 3, 1],
            [1, 1, 1],
            [5, 5, 5],
        ] {
            for way in 0..64 {
                let [a_way, b_way, gap, batch, shared, extra] =
                    std::array::from_fn(|bit| way >> bit & 1);
                let lies = |way: usize| {
                    if way == 0 {
                        by_rows
                    } else {
                        by_columns as fn(usize, usize, usize) -> [usize; 3]
                    }
                };
                let mut p = product();
                [p.m, p.n, p.k, p.batch] = [m, n, k, 1 + 2 * batch];
                p.a = matrix(0, DType::F32, lies(a_way)(m, k, gap));
                p.b = matrix(1000, DType::F32, lies(b_way)(k, n, gap));
                p.c = matrix(2000, DType::F32, by_rows(m, n, gap));
                if shared == 1 {
                    p.b.batch_stride = 0;
                }
                p.accumulate = extra == 1;
                if extra == 1 {
                    p.epilogue = Epilogue::Bias(3000);
                } else if batch == 0 && shared == 1 {
                    p.epilogue = Epilogue::RowSums(3000);
                }
                let memory: Vec<f32> = (0..4000).map(|i| (i * 37 % 11) as f32 - 5.0).collect();
                let (mut got, mut want) = (memory.clone(), memory);
                let plan = plan(&p).unwrap_or_else(|| panic!("no plan for {p:?}"));
                emulate(&plan, &p, &mut got);
                reference(&p, &mut want);
                assert_eq!(got, want, "{p:?}\n{plan:?}");
            }
        }
    }

    #[test]
    fn what_no_call_can_do_is_left_to_a_kernel() {
        let refused = |change: fn(&mut Product)| {
            let mut p = product();
            assert!(plan(&p).is_some());
            change(&mut p);
            assert_eq!(plan(&p), None, "{p:?}");
        };
        // Neither rows nor columns are dense.
        refused(|p| (p.a.row_stride, p.a.column_stride) = (8, 2));
        // One row for all.
        refused(|p| p.b.row_stride = 0);
        // Rows that overlap.
        refused(|p| p.a.row_stride = 3);
        // A result by columns, and one that a batch would write several times.
        refused(|p| (p.c.row_stride, p.c.column_stride) = (1, 2));
        refused(|p| (p.batch, p.c.batch_stride) = (2, 3));
        // Types.
        refused(|p| (p.a.dtype, p.b.dtype) = (DType::I64, DType::I64));
        refused(|p| p.b.dtype = DType::BF16);
        refused(|p| p.c.dtype = DType::BF16);
        refused(|p| (p.a.dtype, p.b.dtype) = (DType::F64, DType::F64));
        // Rows of 3 are not whole steps of 16 bytes; and inner results begin at such.
        let gelu = |inner| Epilogue::Gelu { bias: None, inner };
        let mut p = product();
        p.epilogue = gelu(4096);
        assert_eq!(plan(&p), None);
        p.c.row_stride = 8;
        assert!(plan(&p).is_some());
        p.epilogue = gelu(4096 + 8);
        assert_eq!(plan(&p), None);
    }

    #[test]
    fn sums_follow_the_operands() {
        let sums = |dtype, result, tf32| {
            let mut p = product();
            (p.a.dtype, p.b.dtype, p.c.dtype, p.tf32) = (dtype, dtype, result, tf32);
            plan(&p).map(|plan| plan.sums)
        };
        assert_eq!(sums(DType::F32, DType::F32, false), Some(Sums::F32));
        assert_eq!(sums(DType::F32, DType::F32, true), Some(Sums::Tf32));
        assert_eq!(sums(DType::F64, DType::F64, true), Some(Sums::F64));
        assert_eq!(sums(DType::BF16, DType::BF16, true), Some(Sums::F32));
        assert_eq!(sums(DType::F16, DType::F32, false), Some(Sums::F32));
    }

    #[test]
    fn alignment_is_that_of_the_worst_matrix_of_the_batch_and_of_the_bias() {
        let mut p = product();
        assert_eq!(plan(&p).unwrap().second.alignment, 256);
        (p.a.at, p.c.at, p.epilogue) = (256 + 8, 1024, Epilogue::Bias(2048 + 16));
        let planned = plan(&p).unwrap();
        assert_eq!(
            (planned.second.alignment, planned.result.alignment),
            (8, 16)
        );
        (p.batch, p.a.at, p.a.batch_stride, p.c.batch_stride) = (2, 256, 9, 64);
        assert_eq!(plan(&p).unwrap().second.alignment, 4);
    }
}
