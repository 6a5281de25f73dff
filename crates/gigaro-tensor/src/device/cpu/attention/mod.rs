//! Attention in tiles, forward and backward: memory grows with the number of queries and keys, never with their
//! product.
//!
//! The forward pass goes over the keys in blocks and keeps a running maximum and sum for each query (Milakov
//! and Gimelshein, 2018; Dao et al., 2022, <https://arxiv.org/abs/2205.14135>). It leaves the logarithm of
//! each query's sum of exponentials, from which the backward pass computes the weights again.
//!
//! The tiles are products of small packed panels by the micro-kernels of [`gemm`](super::gemm). AVX-512 and
//! AVX2 have them; [`is_supported`] says so, and elsewhere `ops/attention` has a path in plain Rust. Results do
//! not depend on threads: a task owns what it writes, and sums over a group of query heads in order.

#[cfg(target_arch = "x86_64")]
mod backward;
#[cfg(target_arch = "x86_64")]
mod forward;
#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod kernel_avx2;
#[cfg(target_arch = "x86_64")]
mod kernel_avx512;
pub(crate) mod paged;
#[cfg(target_arch = "x86_64")]
mod panels;
#[cfg(target_arch = "x86_64")]
mod rows;
#[cfg(target_arch = "x86_64")]
mod rows_avx2;
#[cfg(target_arch = "x86_64")]
mod rows_avx512;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use super::gemm::{Compute, Data};
use super::isa::{self, Isa};
use super::threads::SendPtr;

/// Extents of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// Batch entries.
    pub b: usize,
    /// Heads of queries.
    pub h: usize,
    /// Heads of keys and values; `h` is a multiple, and neighbouring query heads share one.
    pub h_kv: usize,
    /// Queries.
    pub t: usize,
    /// Keys.
    pub s: usize,
    /// Width of a head.
    pub d: usize,
}

/// How scores are scaled and hidden.
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    /// Multiplies the scores.
    pub scale: f32,
    /// Query `t` sees the first `t + 1 + S - T` keys only: the last query sees all.
    pub causal: bool,
    /// Added to the scores: elements, and strides over (B, H, T, S), zero where it repeats.
    pub mask: Option<(&'a [f32], [usize; 4])>,
}

/// An operand (B, H, T, D): element `(b, h, t, d)` is `data[b * strides[0] + h * strides[1] + t * strides[2] + d]`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// f32, bf16 or f16.
    pub data: Data<'a>,
    /// Of batch, head and row, in elements.
    pub strides: [usize; 3],
}

/// A result, addressed like a [`View`].
#[derive(Debug)]
pub struct Target<'a> {
    base: SendPtr<f32>,
    len: usize,
    strides: [usize; 3],
    owner: PhantomData<&'a mut [f32]>,
}

impl<'a> Target<'a> {
    /// Elements with the strides of batch, head and row.
    pub fn new(data: &'a mut [f32], strides: [usize; 3]) -> Self {
        // SAFETY: the slice is borrowed for as long as the target lives.
        unsafe { Self::from_raw(SendPtr::new(data.as_mut_ptr()), data.len(), strides) }
    }

    /// As [`Target::new`], for results that lie between one another in one buffer.
    ///
    /// # Safety
    /// The `len` elements are live during `'a`, and nothing else touches those that the strides reach.
    pub unsafe fn from_raw(base: SendPtr<f32>, len: usize, strides: [usize; 3]) -> Self {
        Self {
            base,
            len,
            strides,
            owner: PhantomData,
        }
    }
}

/// What the backward pass reads.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    /// Queries (B, H, T, D).
    pub q: View<'a>,
    /// Keys (B, Hkv, S, D).
    pub k: View<'a>,
    /// Values (B, Hkv, S, D).
    pub v: View<'a>,
    /// What the forward pass gave (B, H, T, D); f32.
    pub out: View<'a>,
    /// The gradient of that; f32.
    pub grad: View<'a>,
    /// What the forward pass left (B, H, T).
    pub lse: &'a [f32],
}

/// Whether the kernels of this module serve heads of width `d` on the calling thread.
pub fn is_supported(d: usize) -> bool {
    matches!(isa::isa(), Isa::Avx512 | Isa::Avx2) && (1..=512).contains(&d)
}

/// Attention: `softmax(scale q k^T + mask) v`.
///
/// Writes the output (B, H, T, D) and, to `lse` (B, H, T), the natural logarithm of each query's sum of
/// exponentials. A query that sees nothing gets zeros, and minus infinity. With
/// [`Compute::BF16`], where the machine has the instruction, products are in bf16 and sums in f32.
///
/// # Panics
/// If it is not [supported](is_supported), a slice is too short, results overlap, or an operand is not f32,
/// bf16 or f16.
#[track_caller]
pub fn forward(
    dims: Dims,
    rule: Rule<'_>,
    [q, k, v]: [View<'_>; 3],
    out: Target<'_>,
    lse: &mut [f32],
    compute: Compute,
) {
    dims.check(&rule, lse.len());
    q.check("q", [dims.b, dims.h, dims.t, dims.d]);
    k.check("k", [dims.b, dims.h_kv, dims.s, dims.d]);
    v.check("v", [dims.b, dims.h_kv, dims.s, dims.d]);
    out.check("out", [dims.b, dims.h, dims.t, dims.d]);
    #[cfg(target_arch = "x86_64")]
    forward::run(dims, rule, [q, k, v], out, lse, compute);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = compute;
}

/// The gradients of queries, keys and values for the output's; see [`forward`].
///
/// # Panics
/// As [`forward`].
#[track_caller]
pub fn backward(
    dims: Dims,
    rule: Rule<'_>,
    saved: Saved<'_>,
    [dq, dk, dv]: [Target<'_>; 3],
    compute: Compute,
) {
    dims.check(&rule, saved.lse.len());
    let (queries, keys) = (
        [dims.b, dims.h, dims.t, dims.d],
        [dims.b, dims.h_kv, dims.s, dims.d],
    );
    saved.q.check("q", queries);
    saved.k.check("k", keys);
    saved.v.check("v", keys);
    saved.out.check("out", queries);
    saved.grad.check("grad", queries);
    assert!(
        matches!(
            (saved.out.data, saved.grad.data),
            (Data::F32(_), Data::F32(_))
        ),
        "attention: the output and its gradient must be f32"
    );
    dq.check("dq", queries);
    dk.check("dk", keys);
    dv.check("dv", keys);
    #[cfg(target_arch = "x86_64")]
    backward::run(dims, rule, saved, [dq, dk, dv], compute);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = compute;
}

impl Dims {
    /// How many keys query `t` sees at most; with a causal rule, the first ones.
    pub(crate) fn visible(&self, causal: bool, t: usize) -> usize {
        if causal {
            (t + 1 + self.s).saturating_sub(self.t).min(self.s)
        } else {
            self.s
        }
    }

    #[track_caller]
    fn check(&self, rule: &Rule<'_>, lse: usize) {
        let &Dims {
            b,
            h,
            h_kv,
            t,
            s,
            d,
        } = self;
        assert!(
            is_supported(d),
            "attention: no kernel for heads of {d} here; see is_supported"
        );
        assert!(
            h_kv > 0 && h % h_kv == 0,
            "attention: {h} query heads for {h_kv} key heads"
        );
        assert!(
            lse == b * h * t,
            "attention: lse has {lse} elements for ({b}, {h}, {t})"
        );
        if let Some((mask, [sb, sh, st, ss])) = rule.mask
            && b * h * t * s > 0
        {
            let last = (b - 1) * sb + (h - 1) * sh + (t - 1) * st + (s - 1) * ss;
            assert!(
                last < mask.len(),
                "attention: the mask has {} elements and needs {}",
                mask.len(),
                last + 1
            );
        }
    }
}

/// The index of the last element.
fn last([b, h, t, d]: [usize; 4], [sb, sh, st]: [usize; 3]) -> Option<usize> {
    let parts = [(b, sb), (h, sh), (t, st), (d, 1)];
    parts.into_iter().try_fold(0usize, |sum, (n, stride)| {
        sum.checked_add(n.checked_sub(1)?.checked_mul(stride)?)
    })
}

impl View<'_> {
    #[track_caller]
    fn check(&self, what: &str, shape: [usize; 4]) {
        let narrow = matches!(self.data, Data::F32(_) | Data::BF16(_) | Data::F16(_));
        assert!(narrow, "attention: {what} must be f32, bf16 or f16");
        if let Some(last) = last(shape, self.strides) {
            let len = self.data.len();
            assert!(
                last < len,
                "attention: {what} {shape:?} needs {} elements, but its slice holds {len}",
                last + 1
            );
        }
    }
}

impl Target<'_> {
    #[track_caller]
    fn check(&self, what: &str, shape: [usize; 4]) {
        let Some(last) = last(shape, self.strides) else {
            return;
        };
        let len = self.len;
        assert!(
            last < len,
            "attention: {what} {shape:?} needs {} elements, but its slice holds {len}",
            last + 1
        );
        // Sorted by stride, each dim must step over all that the smaller ones cover.
        let mut dims: Vec<_> = self
            .strides
            .into_iter()
            .zip(shape)
            .filter(|&(_, n)| n > 1)
            .collect();
        dims.sort_unstable();
        let mut covered = shape[3];
        for (stride, n) in dims {
            assert!(
                stride >= covered,
                "attention: rows of {what} {shape:?} overlap: strides {:?}",
                self.strides
            );
            covered += (n - 1) * stride;
        }
    }
}
