//! Activation checkpointing: forget what the forward pass computed inside, compute it again in the
//! backward pass.

use super::captured::run_noting;
use super::fused::stand_in;
use super::mode::autocast_dtype;
use super::node::{BackwardArgs, Saved, record};
use super::{Targets, autocast, enable_grad, is_grad_enabled};
use crate::{DType, Generator, Tensor};

/// Runs `f(inputs)` without keeping its intermediate results; the backward pass runs it again.
///
/// The parameters and other tensors that `f` captures get their gradients as the inputs do, also
/// when no input wants one, and the gradients can be differentiated again; what `torch` calls
/// `use_reentrant=False`. `generator` is the source of randomness inside `f` (dropout), if any: the
/// second run replays the same numbers. `f` must do the same in both runs.
///
/// # Panics
/// In the backward pass, if an input, or a captured tensor that wants gradients, was changed in place since; captured
/// constants are not watched.
/// # Reference
/// Chen, Xu, Zhang, Guestrin (2016), <https://arxiv.org/abs/1604.06174>
pub fn checkpoint(
    f: impl Fn(&[Tensor]) -> Tensor + Send + Sync + 'static,
    inputs: &[&Tensor],
    generator: Option<&Generator>,
) -> Tensor {
    // Cut off, so that what is noted is captured and not passed.
    let owned: Vec<Tensor> = inputs.iter().map(|t| t.detach()).collect();
    let generator = generator.map(|g| (g.clone(), g.state()));
    let precision = autocast_dtype().unwrap_or(DType::F32);
    let (result, captured) = run_noting(|| f(&owned));
    let sources: Vec<&Tensor> = inputs.iter().copied().chain(&captured).collect();
    record("checkpoint", result.detach(), &sources, false, || {
        let piece = Piece {
            f,
            inputs: inputs.iter().map(|t| Saved::new(t)).collect(),
            captured: captured.iter().map(Saved::new).collect(),
            generator,
            precision,
        };
        Box::new(move |args| piece.gradients(&args))
    })
}

/// What is needed to run a checkpointed piece again.
struct Piece<F> {
    f: F,
    inputs: Vec<Saved>,
    captured: Vec<Saved>,
    /// The source of randomness, and where it stood before the first run.
    generator: Option<(Generator, [u64; 2])>,
    precision: DType,
}

impl<F: Fn(&[Tensor]) -> Tensor> Piece<F> {
    /// Runs the piece again, recorded, and walks back to the inputs and what was captured.
    fn gradients(&self, args: &BackwardArgs<'_>) -> Vec<Option<Tensor>> {
        let create_graph = is_grad_enabled();
        let (stand_ins, output) = enable_grad(|| self.replay());
        let targets: Vec<&Tensor> = stand_ins
            .iter()
            .chain(self.captured.iter().map(|s| &**s))
            .collect();
        let found = super::backward(
            &[(&output, args.grad.clone())],
            Targets::UpTo(&targets),
            false,
            create_graph,
        );
        // What the piece used and its result does not depend on has a gradient: zero.
        let known = |(gradient, target): (Option<Tensor>, &&Tensor)| {
            gradient.unwrap_or_else(|| target.zeros_like())
        };
        found
            .into_iter()
            .zip(&targets)
            .zip(args.needs)
            .map(|(pair, &needed)| needed.then(|| known(pair)))
            .collect()
    }

    /// The second run: the stand-ins of the inputs, and the result.
    fn replay(&self) -> (Vec<Tensor>, Tensor) {
        let stand_ins: Vec<Tensor> = self.inputs.iter().map(|s| stand_in(s)).collect();
        let now = self.generator.as_ref().map(|(generator, before)| {
            let now = generator.state();
            generator.set_state(*before);
            (generator, now)
        });
        let output = autocast(self.precision, || (self.f)(&stand_ins));
        if let Some((generator, now)) = now {
            generator.set_state(now);
        }
        (stand_ins, output)
    }
}
