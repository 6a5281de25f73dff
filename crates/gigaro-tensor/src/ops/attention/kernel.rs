//! Which kernel computes: the device's own where it has one, the portable one elsewhere.

use super::cpu::{self, Rule, Saved, Target, View};
use super::tile::Scalar;
use crate::device::cpu::attention::{self as native, Dims};
use crate::device::cpu::gemm::{Compute, Data};
use crate::device::cpu::threads::SendPtr;

/// The output to `out`, and each query's logarithm of its sum of exponentials, (B, H, T), to `lse`.
pub(super) fn forward<T: Scalar>(
    dims: Dims,
    rule: Rule<'_>,
    views: [View<'_, T>; 3],
    out: Target<T>,
    lse: &mut [T],
    compute: Compute,
) {
    if is_native::<T>(dims) {
        let lse = bytemuck::cast_slice_mut(lse);
        let (rule, views) = (native_rule(rule), views.map(native_view));
        native::forward(dims, rule, views, native_target(out), lse, compute);
    } else {
        cpu::forward(dims, rule, views, out, SendPtr::new(lse.as_mut_ptr()));
    }
}

/// The gradients of queries, keys and values.
pub(super) fn backward<T: Scalar>(
    dims: Dims,
    rule: Rule<'_>,
    saved: Saved<'_, T>,
    targets: [Target<T>; 3],
    compute: Compute,
) {
    if !is_native::<T>(dims) {
        return cpu::backward(dims, rule, saved, targets);
    }
    let views = [saved.q, saved.k, saved.v, saved.out, saved.grad];
    let [q, k, v, out, grad] = views.map(native_view);
    let lse = bytemuck::cast_slice(saved.lse);
    let saved = native::Saved {
        q,
        k,
        v,
        out,
        grad,
        lse,
    };
    let targets = targets.map(native_target);
    native::backward(dims, native_rule(rule), saved, targets, compute);
}

fn is_native<T: Scalar>(dims: Dims) -> bool {
    T::IS_F32 && native::is_supported(dims.d)
}

fn native_rule(rule: Rule<'_>) -> native::Rule<'_> {
    native::Rule {
        scale: rule.scale as f32,
        causal: rule.causal,
        mask: rule.mask,
    }
}

fn native_view<T: Scalar>(view: View<'_, T>) -> native::View<'_> {
    native::View {
        data: Data::F32(bytemuck::cast_slice(view.data)),
        strides: view.strides,
    }
}

fn native_target<'a, T: Scalar>(target: Target<T>) -> native::Target<'a> {
    let base = SendPtr::new(target.base.get().cast());
    // SAFETY: the buffer outlives the call, and the rows of the results are disjoint.
    unsafe { native::Target::from_raw(base, target.len, target.strides) }
}
