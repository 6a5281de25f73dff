//! The orthogonal direction of Muon: Newton-Schulz iterations on the matrix kernels themselves.
//!
//! Of an iteration's three products two are symmetric, so that half of each need not be computed; and the polynomial takes the
//! multiple of the matrix itself in on its diagonal, so that no pass over the long side is left.

use crate::autograd::autocast_dtype;
use crate::device::cpu::gemm::{
    Compute, Data, DataMut, Gemm, Operand, Output, gemm, gemm_symmetric,
};
use crate::device::cpu::scratch::Scratch;
use crate::{DType, Tensor};

use super::{norm_and_clip, squared_norm};

/// Coefficients of the fifth-degree polynomial that grows small singular values fastest (Jordan et al. 2024).
const A: f32 = 3.4445;
const B: f32 = -4.7750;
const C: f32 = 2.0315;
/// Keeps a matrix of zeros from being divided by its norm.
const EPS: f64 = 1e-7;

/// A matrix with the singular vectors of `x` and all singular values near 1 (0.7 to 1.2), by `steps` iterations. Computed in
/// f32, or with bf16 products under [`autocast`](crate::autocast); given back in the dtype of `x`.
///
/// It is part of an optimiser step: `x` is cut off from the graph, so the result never requires gradients.
///
/// # Shapes
/// `(M, N)` -> `(M, N)`
/// # Panics
/// If `x` is no matrix of floats.
/// # Reference
/// Jordan et al. (2024), <https://kellerjordan.github.io/posts/muon>
#[must_use]
#[track_caller]
pub fn newton_schulz(x: &Tensor, steps: usize) -> Tensor {
    assert!(
        x.ndim() == 2,
        "newton_schulz: needs a matrix, got shape {:?}",
        x.shape()
    );
    let (dtype, x) = (x.dtype(), x.detach().to_dtype(DType::F32));
    // The shorter side first: its Gram matrix is the smaller one.
    let tall = x.size(0) > x.size(1);
    let turned = |x: &Tensor| if tall { x.t() } else { x.clone() };
    if x.gpu().is_some() {
        // The norm stays there: nobody waits for it.
        let norm = norm_and_clip(std::slice::from_ref(&x), f64::INFINITY).narrow(0, 0, 1);
        let least = Tensor::full([1], EPS, DType::F64, x.device());
        let x = turned(&x) / norm.maximum(&least).to_dtype(DType::F32);
        let y = (0..steps).fold(x, |x, _| iterated(&x)).to_dtype(dtype);
        return turned(&y).contiguous();
    }
    let x = turned(&x) * (1.0 / squared_norm(&x).sqrt().max(EPS));
    let shape = [x.size(0), x.size(1)];
    let mut state = Iteration::new(&x.contiguous().data::<f32>(), shape);
    for _ in 0..steps {
        state.advance();
    }
    let y = Tensor::from_slice(&state.x.floats()[..x.numel()], shape).to_dtype(dtype);
    if tall { y.t().contiguous() } else { y }
}

/// One iteration in terms of products: `a x + (b g + c g^2) x` with `g = x x^t`.
fn iterated(x: &Tensor) -> Tensor {
    let gram = x.matmul(&x.t());
    let polynomial = &gram * f64::from(B) + gram.matmul(&gram) * f64::from(C);
    x * f64::from(A) + polynomial.matmul(x)
}

/// The matrix on its way, `(m, n)` with `m <= n`, and room to work in.
struct Iteration {
    m: usize,
    n: usize,
    compute: Compute,
    x: Scratch,
    next: Scratch,
    gram: Scratch,
    square: Scratch,
}

impl Iteration {
    fn new(from: &[f32], [m, n]: [usize; 2]) -> Self {
        let compute = if autocast_dtype() == Some(DType::BF16) {
            Compute::BF16
        } else {
            Compute::F32
        };
        let mut x = Scratch::take(m * n);
        x.floats()[..m * n].copy_from_slice(from);
        Self {
            m,
            n,
            compute,
            x,
            next: Scratch::take(m * n),
            gram: Scratch::take(m * m),
            square: Scratch::take(m * m),
        }
    }

    /// `x <- (A I + B G + C G^2) x` with `G = x x^T`.
    fn advance(&mut self) {
        let (m, n, compute) = (self.m, self.n, self.compute);
        let x = &self.x.floats()[..m * n];
        let gram = &mut self.gram.floats()[..m * m];
        let square = &mut self.square.floats()[..m * m];
        let next = &mut self.next.floats()[..m * n];
        let transposed = Operand {
            data: Data::F32(x),
            rs: 1,
            cs: n,
        };
        let (left, right) = (rows(x, n), transposed);
        gemm_symmetric(product([m, m, n], left, right, gram, compute));
        let (left, right) = (rows(gram, m), rows(gram, m));
        gemm_symmetric(product([m, m, m], left, right, square, compute));
        for (i, (p, g)) in square.chunks_mut(m).zip(gram.chunks(m)).enumerate() {
            for (p, g) in p.iter_mut().zip(g) {
                *p = C * *p + B * g;
            }
            p[i] += A;
        }
        let (left, right) = (rows(square, m), rows(x, n));
        gemm(product([m, n, m], left, right, next, compute));
        std::mem::swap(&mut self.x, &mut self.next);
    }
}

/// A matrix row by row.
fn rows(data: &[f32], width: usize) -> Operand<'_> {
    Operand {
        data: Data::F32(data),
        rs: width,
        cs: 1,
    }
}

/// `c = a b` of these extents.
fn product<'a>(
    [m, n, k]: [usize; 3],
    a: Operand<'a>,
    b: Operand<'a>,
    c: &'a mut [f32],
    compute: Compute,
) -> Gemm<'a> {
    Gemm {
        m,
        n,
        k,
        a,
        b,
        c: Output {
            data: DataMut::F32(c),
            rs: n,
            cs: 1,
        },
        compute,
        accumulate: false,
        bias: None,
    }
}
