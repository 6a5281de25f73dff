//! Fused optimiser steps: one pass over parameter, gradient and state, in parallel, in place.
//!
//! The rules and their state live in gigaro-nn; here are only the loops. Parameters and states are
//! contiguous f32 (or f64) tensors of one shape.

pub(in crate::ops) mod cuda;
mod many;
mod newton_schulz;

pub use many::{AdamRules, AdamSlot, adamw_all_, adamw_by_rules_, norm_and_clip, total_norm};
pub use newton_schulz::newton_schulz;

use crate::device::cpu::isa::isa;
use crate::device::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Compute, Number, Real};
use crate::storage::Buffer;
use crate::{DType, Tensor};

/// The numbers of one Adam step, bias corrections included.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled decay: the parameter shrinks by `lr * weight_decay` (AdamW).
    pub weight_decay: f64,
    /// Steps taken, this one included, from 1.
    pub step: u64,
    /// The gradient is multiplied by this first (clipping, accumulation).
    pub grad_scale: f64,
}

/// Elements of one parallel piece.
const PIECE: usize = 16_384;

/// One step of Adam with decoupled weight decay on one parameter.
///
/// # Panics
/// If the tensors differ in shape or dtype or are not contiguous f32 or f64.
/// # Reference
/// Kingma, Ba (2014), <https://arxiv.org/abs/1412.6980>; Loshchilov, Hutter (2017),
/// <https://arxiv.org/abs/1711.05101>
#[track_caller]
pub fn adamw_(param: &Tensor, grad: &Tensor, exp_avg: &Tensor, exp_avg_sq: &Tensor, s: &AdamStep) {
    let grad = fitting("adamw_", param, grad, [exp_avg, exp_avg_sq]);
    match Tensor::common_gpu("adamw_", &[param, &grad, exp_avg, exp_avg_sq]) {
        Some(_) => adamw_all_(
            &[AdamSlot {
                param,
                grad: &grad,
                exp_avg,
                exp_avg_sq,
            }],
            std::slice::from_ref(s),
        ),
        None => update2(param, &grad, exp_avg, exp_avg_sq, AdamRule::new(s)),
    }
}

/// An update of a parameter with two states.
trait Rule: Copy + Sync {
    fn apply<C: Real>(self, p: C, g: C, m: C, v: C) -> (C, C, C);
}

/// As `optim.cu` has it.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct AdamRule {
    grad_scale: f64,
    keep: f64,
    beta1: f64,
    beta2: f64,
    step_size: f64,
    root_scale: f64,
    eps: f64,
}

impl AdamRule {
    fn new(s: &AdamStep) -> Self {
        let step = i32::try_from(s.step).unwrap_or(i32::MAX);
        Self {
            grad_scale: s.grad_scale,
            keep: 1.0 - s.lr * s.weight_decay,
            beta1: s.beta1,
            beta2: s.beta2,
            step_size: s.lr / (1.0 - s.beta1.powi(step)),
            root_scale: 1.0 / (1.0 - s.beta2.powi(step)).sqrt(),
            eps: s.eps,
        }
    }
}

impl Rule for AdamRule {
    #[inline(always)]
    fn apply<C: Real>(self, p: C, g: C, m: C, v: C) -> (C, C, C) {
        let c = C::from_f64;
        let g = g * c(self.grad_scale);
        let m = m * c(self.beta1) + g * c(1.0 - self.beta1);
        let v = v * c(self.beta2) + g * g * c(1.0 - self.beta2);
        let denominator = v.sqrt() * c(self.root_scale) + c(self.eps);
        (p * c(self.keep) - c(self.step_size) * m / denominator, m, v)
    }
}

/// # Panics
/// If the tensors cannot be stepped over together.
#[track_caller]
fn check(op: &str, tensors: &[&Tensor]) {
    let first = tensors[0];
    for t in tensors {
        assert!(
            t.shape() == first.shape()
                && t.dtype() == first.dtype()
                && t.is_contiguous()
                && t.layout().offset() == 0,
            "{op}: {} of shape {} next to {} of shape {}; all must be whole, contiguous and alike",
            t.dtype(),
            t.layout().shape(),
            first.dtype(),
            first.layout().shape()
        );
    }
}

/// The gradient as the parameter's dtype and in row-major order.
///
/// # Panics
/// If parameter, gradient and states cannot be stepped over together.
#[track_caller]
fn fitting(op: &str, param: &Tensor, grad: &Tensor, [m, v]: [&Tensor; 2]) -> Tensor {
    check(op, &[param, m, v]);
    let grad = grad.to_dtype(param.dtype()).contiguous();
    assert!(
        grad.shape() == param.shape(),
        "{op}: gradient {:?} for {:?}",
        grad.shape(),
        param.shape()
    );
    assert!(
        matches!(param.dtype(), DType::F32 | DType::F64),
        "{op}: parameters must be f32 or f64, got {}; keep master weights in f32",
        param.dtype()
    );
    grad
}

fn update2(param: &Tensor, grad: &Tensor, m: &Tensor, v: &Tensor, rule: impl Rule) {
    if param.dtype() == DType::F64 {
        update2_typed::<f64>(param, grad, m, v, rule);
    } else {
        update2_typed::<f32>(param, grad, m, v, rule);
    }
}

fn update2_typed<T: Number<Compute = T> + Real>(
    param: &Tensor,
    grad: &Tensor,
    m: &Tensor,
    v: &Tensor,
    rule: impl Rule,
) {
    let (g, n, isa) = (grad.data::<T>(), param.numel(), isa());
    let pointer = |b: &mut Buffer| SendPtr::new(b.as_mut::<T>().as_mut_ptr());
    param.storage().write(|p| {
        m.storage().write(|m| {
            v.storage().write(|v| {
                let (p, m, v) = (pointer(p), pointer(m), pointer(v));
                parallel_for(n.div_ceil(PIECE), |i| {
                    let (from, len) = (i * PIECE, PIECE.min(n - i * PIECE));
                    // SAFETY: pieces do not overlap, and the three buffers are held for writing.
                    let (p, m, v) = unsafe {
                        (
                            p.slice_mut(from, len),
                            m.slice_mut(from, len),
                            v.slice_mut(from, len),
                        )
                    };
                    isa.vectorize(
                        #[inline(always)]
                        || {
                            for (((p, m), v), &g) in p
                                .iter_mut()
                                .zip(&mut *m)
                                .zip(&mut *v)
                                .zip(&g[from..from + len])
                            {
                                (*p, *m, *v) = rule.apply(*p, g, *m, *v);
                            }
                        },
                    );
                });
            })
        })
    });
}

/// Sum of the squares of all elements, in f64: for the norm of a gradient.
///
/// # Panics
/// If the tensor is not floating-point.
#[must_use]
#[track_caller]
pub fn squared_norm(x: &Tensor) -> f64 {
    /// Elements whose squares are summed in f32 before they join the total.
    const BLOCK: usize = 1024;
    x.check_float("squared_norm");
    let x = x.detach().contiguous();
    if x.gpu().is_some() {
        return total_norm(&[x]).powi(2);
    }
    let n = x.numel();
    let mut partial = vec![0.0_f64; n.div_ceil(PIECE)];
    let (base, isa) = (SendPtr::new(partial.as_mut_ptr()), isa());
    crate::dtype::dispatch_float!("squared_norm", x.dtype(), T => {
        let data = x.data::<T>();
        parallel_for(partial.len(), |i| {
            let piece = &data[i * PIECE..((i + 1) * PIECE).min(n)];
            let sum = piece
                .chunks(BLOCK)
                .map(|b| isa.vectorize(#[inline(always)] || crate::ops::row_math::sum1(b, |v| v * v)))
                .map(Compute::to_f64)
                .sum();
            // SAFETY: each piece writes its own element.
            unsafe { base.slice_mut(i, 1)[0] = sum };
        });
    });
    partial.iter().sum()
}
