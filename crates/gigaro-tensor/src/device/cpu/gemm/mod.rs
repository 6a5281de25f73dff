//! Matrix products: `C = A B`, with every layout, mixed element types, and the bias of a linear layer.
//!
//! An operand is a slice and two strides, so a transpose costs nothing. Floats narrower than f64 meet in
//! one blocked kernel that works on 32-bit units: one f32, or two neighbours along `k` in bf16.
//! Operands are packed into panels of such units (converting on the way), and a tile of `C` that
//! fits the registers is updated for a stretch of `k` at a time. f64 and integers take a plain loop.
//!
//! # What can be relied on
//! The value of `C[i][j]` depends on row `i` of `A`, column `j` of `B`, `k`, and the instruction set, and on
//! nothing else: not on `m`, `n`, strides, batching or threads. Each element is summed in the same
//! order: `k` is cut into blocks by its size alone, a block is summed in increasing `k`, and the
//! blocks' sums are added in increasing order. So a row in a batch has the bits it has alone.
//! (Adding to what `C` held, or a bias, comes before or after all that, depending on the layout of `C`; bf16
//! and f16 results are rounded once, at the end.)
//!
//! This is not the place for broadcasting of batch dimensions or for gradients; see `ops/matmul`.
//! Start reading at [`Gemm`], then `driver.rs` and `tile.rs` (how the work is cut) and `kernel_avx512.rs` (the inner loop).

mod driver;
#[cfg(target_arch = "x86_64")]
pub(super) mod kernel_avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod kernel_avx512;
mod kernel_portable;
pub(super) mod kernels;
pub(super) mod pack;
#[cfg(target_arch = "x86_64")]
mod pack_avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod pack_avx512;
mod panels;
mod plain;
pub(super) mod split;
mod stream;
#[cfg(target_arch = "x86_64")]
mod stream_avx2;
#[cfg(target_arch = "x86_64")]
mod stream_avx512;
mod symmetric;
#[cfg(test)]
mod tests;
mod tile;

use half::{bf16, f16};
use std::borrow::Cow;

/// The elements of an operand.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// 64-bit floats.
    F64(&'a [f64]),
    /// 32-bit floats.
    F32(&'a [f32]),
    /// Brain floats.
    BF16(&'a [bf16]),
    /// IEEE half floats.
    F16(&'a [f16]),
    /// 64-bit integers.
    I64(&'a [i64]),
    /// 32-bit integers.
    I32(&'a [i32]),
}

/// The elements of the result.
#[derive(Debug)]
pub enum DataMut<'a> {
    /// 64-bit floats.
    F64(&'a mut [f64]),
    /// 32-bit floats.
    F32(&'a mut [f32]),
    /// Brain floats.
    BF16(&'a mut [bf16]),
    /// IEEE half floats.
    F16(&'a mut [f16]),
    /// 64-bit integers.
    I64(&'a mut [i64]),
    /// 32-bit integers.
    I32(&'a mut [i32]),
}

/// What the products of floats narrower than f64 are computed in; sums are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compute {
    /// Products in f32.
    #[default]
    F32,
    /// Both operands are rounded to bf16 first: twice as fast where the machine has a `vdpbf16ps` of full rate, about as fast as
    /// f32 elsewhere.
    BF16,
}

/// A matrix to read: element `(i, j)` is `data[i * rs + j * cs]`. Strides are in elements; zero repeats
/// a row or a column.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The elements; the matrix begins at the first one.
    pub data: Data<'a>,
    /// From one row to the next.
    pub rs: usize,
    /// From one column to the next.
    pub cs: usize,
}

/// A matrix to write: element `(i, j)` is `data[i * rs + j * cs]`.
#[derive(Debug)]
pub struct Output<'a> {
    /// The elements; the matrix begins at the first one.
    pub data: DataMut<'a>,
    /// From one row to the next.
    pub rs: usize,
    /// From one column to the next.
    pub cs: usize,
}

/// One product `C = A B (+ C) (+ bias)`.
///
/// # Shapes
/// `a: (m, k)`, `b: (k, n)`, `c: (m, n)`, `bias: (n)`
///
/// Element types: f64 with f64; i64 with i64; i32 with i32; and any of f32, bf16, f16 for `a`, `b`, `c` and
/// `bias` each.
#[derive(Debug)]
pub struct Gemm<'a> {
    /// Rows of `a` and `c`.
    pub m: usize,
    /// Columns of `b` and `c`.
    pub n: usize,
    /// Columns of `a` and rows of `b`, summed over. With zero the product is all zeros.
    pub k: usize,
    /// The left operand.
    pub a: Operand<'a>,
    /// The right operand.
    pub b: Operand<'a>,
    /// The result.
    pub c: Output<'a>,
    /// The precision of the products.
    pub compute: Compute,
    /// Adds the product to what `c` holds instead of replacing it.
    pub accumulate: bool,
    /// Added to each row of the result.
    pub bias: Option<Data<'a>>,
}

/// Where the matrices of each product of a batch begin: product `i` uses `a[i * a_stride..]` and so on.
/// Zero for an operand means that all products share it.
#[derive(Clone, Copy, Debug)]
pub struct BatchStrides {
    /// From one left operand to the next.
    pub a: usize,
    /// From one right operand to the next.
    pub b: usize,
    /// From one result to the next.
    pub c: usize,
}

/// Computes one product; see [`Gemm`].
///
/// # Panics
/// If a slice is too short for its shape and strides, if elements of `c` overlap, or if the
/// element types do not go together.
#[track_caller]
pub fn gemm(p: Gemm<'_>) {
    batched(p, 1, BatchStrides { a: 0, b: 0, c: 0 });
}

/// Computes a product whose result is its own transpose, such as `A A^T`, or `A A` of a symmetric `A`, in little more than
/// half the time: one triangle is computed, the other one copied from it.
///
/// The bits are those of [`gemm`]. That the result is symmetric is the caller's promise; if it is not, the
/// result is some symmetric matrix of the product's elements.
///
/// # Panics
/// As [`gemm`]; and if the result is not square, is added to, or has a bias.
#[track_caller]
pub fn gemm_symmetric(p: Gemm<'_>) {
    assert!(
        p.m == p.n && !p.accumulate && p.bias.is_none(),
        "gemm_symmetric: a ({}, {}) result{}{} is not symmetric",
        p.m,
        p.n,
        if p.accumulate { ", added to," } else { "" },
        if p.bias.is_some() { " with a bias" } else { "" },
    );
    p.check([0; 3]);
    if p.m > 0 {
        p.dispatch(&[[0; 3]], true);
    }
}

/// Computes `batch` products of one shape, regularly spaced; see [`Gemm`] and [`BatchStrides`].
///
/// # Panics
/// As [`gemm`].
#[track_caller]
pub fn batched(p: Gemm<'_>, batch: usize, strides: BatchStrides) {
    let offsets: Vec<_> = (0..batch)
        .map(|i| [i * strides.a, i * strides.b, i * strides.c])
        .collect();
    batched_at(p, &offsets);
}

/// Computes one product for each entry of `offsets`: where its `a`, `b` and `c` begin in their slices.
///
/// For batch dimensions that are not regularly spaced, as after broadcasting. It is fastest when each result
/// begins behind the end of the one before.
///
/// # Panics
/// As [`gemm`].
#[track_caller]
pub fn batched_at(p: Gemm<'_>, offsets: &[[usize; 3]]) {
    let Some(last) = offsets
        .iter()
        .copied()
        .reduce(|x, y| std::array::from_fn(|i| x[i].max(y[i])))
    else {
        return;
    };
    p.check(last);
    if p.m > 0 && p.n > 0 {
        p.dispatch(offsets, false);
    }
}

/// The elements from `start` on; none if there are not so many, as in an empty operand.
fn from<T>(x: &[T], start: usize) -> &[T] {
    x.get(start..).unwrap_or(&[])
}

impl<'a> Data<'a> {
    /// The name of the element type.
    fn kind(&self) -> &'static str {
        match self {
            Data::F64(_) => "f64",
            Data::F32(_) => "f32",
            Data::BF16(_) => "bf16",
            Data::F16(_) => "f16",
            Data::I64(_) => "i64",
            Data::I32(_) => "i32",
        }
    }

    /// The elements as f32, if they are floats narrower than f64.
    fn to_f32(self) -> Option<Cow<'a, [f32]>> {
        match self {
            Data::F32(x) => Some(Cow::Borrowed(x)),
            Data::BF16(x) => Some(x.iter().map(|x| x.to_f32()).collect()),
            Data::F16(x) => Some(x.iter().map(|x| x.to_f32()).collect()),
            Data::F64(_) | Data::I64(_) | Data::I32(_) => None,
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Data::F64(x) => x.len(),
            Data::F32(x) => x.len(),
            Data::BF16(x) => x.len(),
            Data::F16(x) => x.len(),
            Data::I64(x) => x.len(),
            Data::I32(x) => x.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl DataMut<'_> {
    /// The name of the element type.
    fn kind(&self) -> &'static str {
        match self {
            DataMut::F64(_) => "f64",
            DataMut::F32(_) => "f32",
            DataMut::BF16(_) => "bf16",
            DataMut::F16(_) => "f16",
            DataMut::I64(_) => "i64",
            DataMut::I32(_) => "i32",
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            DataMut::F64(x) => x.len(),
            DataMut::F32(x) => x.len(),
            DataMut::BF16(x) => x.len(),
            DataMut::F16(x) => x.len(),
            DataMut::I64(x) => x.len(),
            DataMut::I32(x) => x.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The sizes and strides (row, column) of a product, without its elements.
#[derive(Clone, Copy, Debug)]
struct Shape {
    m: usize,
    n: usize,
    k: usize,
    a: (usize, usize),
    b: (usize, usize),
    c: (usize, usize),
    accumulate: bool,
    symmetric: bool,
}

/// One past the index of the last element of a `rows` by `cols` matrix that begins at `offset`.
fn span(rows: usize, cols: usize, rs: usize, cs: usize, offset: usize) -> Option<usize> {
    if rows == 0 || cols == 0 {
        return Some(0);
    }
    let row = (rows - 1).checked_mul(rs)?;
    let col = (cols - 1).checked_mul(cs)?;
    row.checked_add(col)?.checked_add(offset)?.checked_add(1)
}

impl Gemm<'_> {
    /// Picks the code for the element types.
    #[track_caller]
    fn dispatch(self, offsets: &[[usize; 3]], symmetric: bool) {
        let apart = self.results_follow(offsets);
        let Gemm {
            m,
            n,
            k,
            a,
            b,
            mut c,
            compute,
            accumulate,
            bias,
        } = self;
        let shape = Shape {
            m,
            n,
            k,
            a: (a.rs, a.cs),
            b: (b.rs, b.cs),
            c: (c.rs, c.cs),
            accumulate,
            symmetric,
        };
        macro_rules! plain {
            ($kind:ident, $a:ident, $b:ident, $c:ident) => {{
                let bias = match bias {
                    None => None,
                    Some(Data::$kind(bias)) => Some(bias),
                    Some(other) => panic!(
                        "gemm: the bias is {} in a product of {}",
                        other.kind(),
                        a.data.kind()
                    ),
                };
                for &[i, j, l] in offsets {
                    plain::run(&shape, from($a, i), from($b, j), &mut $c[l..], bias);
                }
            }};
        }
        match (a.data, b.data, &mut c.data) {
            (Data::F64(x), Data::F64(y), DataMut::F64(z)) => plain!(F64, x, y, z),
            (Data::I64(x), Data::I64(y), DataMut::I64(z)) => plain!(I64, x, y, z),
            (Data::I32(x), Data::I32(y), DataMut::I32(z)) => plain!(I32, x, y, z),
            (x, y, z) => {
                let (Some(x), Some(y), Some(z)) = (
                    driver::Pointer::of(x),
                    driver::Pointer::of(y),
                    driver::Place::of(z),
                ) else {
                    panic!(
                        "gemm: no product of {} and {} into {}",
                        a.data.kind(),
                        b.data.kind(),
                        c.data.kind()
                    );
                };
                let bias = bias.map(|bias| {
                    bias.to_f32().unwrap_or_else(|| {
                        panic!("gemm: no bias of {} in a product of floats", bias.kind())
                    })
                });
                driver::run(&shape, compute, [x, y], z, bias.as_deref(), offsets, apart);
            }
        }
    }

    #[track_caller]
    fn check(&self, last: [usize; 3]) {
        let &Gemm {
            m,
            n,
            k,
            ref a,
            ref b,
            ref c,
            ..
        } = self;
        let fits = |what: &str, len: usize, rows, cols, rs, cs, offset| {
            let needed = span(rows, cols, rs, cs, offset);
            assert!(
                needed.is_some_and(|needed| needed <= len),
                "gemm: {what} is ({rows}, {cols}) with strides ({rs}, {cs}) from {offset}, \
                 but its slice holds {len} elements"
            );
        };
        fits("a", a.data.len(), m, k, a.rs, a.cs, last[0]);
        fits("b", b.data.len(), k, n, b.rs, b.cs, last[1]);
        fits("c", c.data.len(), m, n, c.rs, c.cs, last[2]);
        if let Some(bias) = &self.bias {
            assert!(
                bias.len() == n,
                "gemm: bias has {} elements for {n} columns",
                bias.len()
            );
        }
        let rows_apart = m <= 1 || c.rs > (n.max(1) - 1) * c.cs;
        let cols_apart = n <= 1 || c.cs > (m.max(1) - 1) * c.rs;
        let distinct = (rows_apart && (n <= 1 || c.cs > 0)) || (cols_apart && (m <= 1 || c.rs > 0));
        assert!(
            distinct,
            "gemm: elements of c overlap: ({m}, {n}) with strides ({}, {})",
            c.rs, c.cs
        );
    }

    /// Whether each result of the batch begins behind the end of the one before, so that they may be
    /// computed at the same time.
    fn results_follow(&self, offsets: &[[usize; 3]]) -> bool {
        let size = span(self.m, self.n, self.c.rs, self.c.cs, 0).unwrap_or(usize::MAX);
        offsets
            .windows(2)
            .all(|w| w[0][2].saturating_add(size) <= w[1][2])
    }
}
