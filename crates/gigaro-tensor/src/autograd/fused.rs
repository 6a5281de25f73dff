//! Fused kernels in the graph: a kernel of their own for the first derivative, their composite for
//! the second.

use super::engine::{Targets, backward};
use super::node::{BackwardArgs, Saved, record};
use super::{enable_grad, is_grad_enabled};
use crate::Tensor;

/// Records a fused op. `kernel` computes the gradients from the saved inputs; when the gradients
/// are to be differentiated again, `composite` - the same function in terms of recorded ops - is
/// run and differentiated instead.
pub(crate) fn record_fused(
    op: &'static str,
    result: Tensor,
    inputs: &[&Tensor],
    composite: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static,
    kernel: impl Fn(&[Saved], BackwardArgs<'_>) -> Vec<Option<Tensor>> + Send + Sync + 'static,
) -> Tensor {
    record(op, result, inputs, true, || {
        let saved: Vec<Saved> = inputs.iter().map(|t| Saved::new(t)).collect();
        Box::new(move |args| {
            if !is_grad_enabled() {
                return kernel(&saved, args);
            }
            let inputs: Vec<Tensor> = saved.iter().map(|s| (**s).clone()).collect();
            vjp(&inputs, args.grad, &composite)
        })
    })
}

/// Gradients that can be differentiated again, by running `composite` on stand-ins of the inputs,
/// so that the walk ends there.
pub(crate) fn vjp(
    inputs: &[Tensor],
    grad: &Tensor,
    composite: impl Fn(&[Tensor]) -> Tensor,
) -> Vec<Option<Tensor>> {
    let stand_ins: Vec<Tensor> = inputs.iter().map(stand_in).collect();
    let output = enable_grad(|| composite(&stand_ins));
    let targets: Vec<&Tensor> = stand_ins.iter().collect();
    backward(
        &[(&output, grad.clone())],
        Targets::UpTo(&targets),
        true,
        true,
    )
}

/// The same values behind a node of their own: a walk can end there and be continued from there.
pub(super) fn stand_in(t: &Tensor) -> Tensor {
    record("identity", t.detach(), &[t], false, || {
        Box::new(|args| vec![Some(args.grad.clone())])
    })
}
