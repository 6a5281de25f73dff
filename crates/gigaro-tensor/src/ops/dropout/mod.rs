//! Dropout.

mod cuda;

use crate::autograd::record;
use crate::device::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Compute, Number, dispatch_float};
use crate::random::{key, philox4x32};
use crate::storage::Buffer;
use crate::{Generator, Tensor};

/// Zeroes each element with probability `p` and scales the others by `1 / (1 - p)`.
///
/// Element `i` is decided by the generator's counter plus `i / 4`, so the mask is the same for any
/// number of threads and is drawn again in the backward pass instead of kept.
///
/// # Panics
/// If `p` is not in `[0, 1)` or the tensor is not floating-point.
/// # Reference
/// Srivastava et al. (2014), <https://jmlr.org/papers/v15/srivastava14a.html>
#[must_use]
#[track_caller]
pub fn dropout(x: &Tensor, p: f64, generator: &Generator) -> Tensor {
    assert!((0.0..1.0).contains(&p), "dropout: p = {p} is not in [0, 1)");
    x.check_float("dropout");
    if p == 0.0 {
        return x.clone();
    }
    let (seed, first) = generator.reserve((x.numel() as u64).div_ceil(4));
    masked(x, p, seed, first)
}

/// Elements of one parallel piece, a multiple of the four that one counter decides.
const PIECE: usize = 8192;

/// Applies the mask that a key and a counter stand for; linear, so it is its own gradient.
fn masked(x: &Tensor, p: f64, seed: u64, first: u64) -> Tensor {
    let source = x.contiguous();
    let threshold = (p * f64::from(u32::MAX)).round() as u32;
    let result = if let Some(gpu) = x.gpu() {
        cuda::masked(gpu, &source, p, threshold, seed, first)
    } else {
        dispatch_float!("dropout", x.dtype(), T => {
            type C = <T as Number>::Compute;
            let scale = C::from_f64(1.0 / (1.0 - p));
            let data = source.data::<T>();
            let mut buffer = Buffer::scratch::<T>(data.len());
            let base = SendPtr::new(buffer.as_mut::<T>().as_mut_ptr());
            parallel_for(data.len().div_ceil(PIECE), |i| {
                let piece = &data[i * PIECE..((i + 1) * PIECE).min(data.len())];
                // SAFETY: pieces of the output do not overlap.
                let out = unsafe { base.slice_mut(i * PIECE, piece.len()) };
                for (j, (out, x)) in out.chunks_mut(4).zip(piece.chunks(4)).enumerate() {
                    let at = first + (i * PIECE / 4 + j) as u64;
                    let bits = philox4x32([at as u32, (at >> 32) as u32, 0, 0], key(seed));
                    for ((o, &x), b) in out.iter_mut().zip(x).zip(bits) {
                        *o = if b >= threshold { Number::store(Number::load(x) * scale) } else { Number::store(C::ZERO) };
                    }
                }
            });
            Tensor::from_buffer(buffer, x.shape(), x.dtype())
        })
    };
    record("dropout", result, &[x], false, || {
        Box::new(move |args| vec![Some(masked(args.grad, p, seed, first))])
    })
}
