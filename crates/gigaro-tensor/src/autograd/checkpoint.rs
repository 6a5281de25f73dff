//! Activation checkpointing: forget what the forward pass computed inside, compute it again in the
//! backward pass.

use super::mode::autocast_dtype;
use super::node::{Saved, record};
use super::{autocast, enable_grad, no_grad};
use crate::{DType, Generator, Tensor};

/// Runs `f(inputs)` without keeping its intermediate results; the backward pass runs it again.
///
/// Parameters that `f` captures get their gradients as usual. `generator` is the source of
/// randomness inside `f` (dropout), if any: the second run replays the same numbers. Some input
/// must require gradients, or the backward pass never arrives here.
///
/// # Reference
/// Chen, Xu, Zhang, Guestrin (2016), <https://arxiv.org/abs/1604.06174>
pub fn checkpoint(
    f: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static,
    inputs: &[&Tensor],
    generator: Option<&Generator>,
) -> Tensor {
    let owned: Vec<Tensor> = inputs.iter().map(|t| (*t).clone()).collect();
    let before = generator.map(|g| (g.clone(), g.state()));
    let precision = autocast_dtype().unwrap_or(DType::F32);
    let result = no_grad(|| f(&owned)).detach();
    record("checkpoint", result, inputs, false, || {
        let saved: Vec<Saved> = owned.iter().map(Saved::new).collect();
        Box::new(move |args| {
            let replay = before.as_ref().map(|(g, state)| {
                let now = g.state();
                g.set_state(*state);
                (g, now)
            });
            let again: Vec<Tensor> = saved
                .iter()
                .map(|s| {
                    s.detach()
                        .requires_grad_(s.requires_grad() && s.dtype().is_float())
                })
                .collect();
            let output = enable_grad(|| autocast(precision, || f(&again)));
            if let Some((g, now)) = replay {
                g.set_state(now);
            }
            super::backward(
                &[(&output, args.grad.clone())],
                super::Targets::Leaves,
                false,
                false,
            );
            again.iter().map(Tensor::grad).collect()
        })
    })
}
