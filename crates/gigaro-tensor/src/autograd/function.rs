//! Ops from outside the crate, with a backward of their own.

use super::no_grad;
use super::node::{Saved, record};
use crate::Tensor;

/// An op that is defined by its forward and its backward instead of by recorded ops.
///
/// ```
/// use gigaro_tensor::{DType, Device, Tensor, autograd::{Function, apply}};
///
/// /// Identity whose gradient is turned around: the gradient reversal layer of Ganin and
/// /// Lempitsky (2015), <https://arxiv.org/abs/1409.7495>.
/// struct ReverseGradient;
/// impl Function for ReverseGradient {
///     fn name(&self) -> &'static str { "reverse_gradient" }
///     fn forward(&self, inputs: &[Tensor]) -> Tensor { inputs[0].clone() }
///     fn backward(&self, _: &[Tensor], _: &Tensor, grad: &Tensor) -> Vec<Option<Tensor>> {
///         vec![Some(-grad)]
///     }
/// }
///
/// let x = Tensor::ones([3], DType::F32, Device::Cpu).requires_grad_(true);
/// apply(ReverseGradient, &[&x]).sum_all().backward();
/// assert_eq!(x.grad().unwrap().to_vec::<f32>(), [-1.0; 3]);
/// ```
pub trait Function: Send + Sync + 'static {
    /// The name that errors show.
    fn name(&self) -> &'static str;

    /// Computes the output; runs without recording.
    fn forward(&self, inputs: &[Tensor]) -> Tensor;

    /// Gradients of the inputs, in their order and shapes; `None` only for inputs that do not require
    /// gradients: the backward pass panics if one that does gets none. Recorded when second
    /// derivatives were asked for, if it is written with tensor ops.
    fn backward(&self, inputs: &[Tensor], output: &Tensor, grad: &Tensor) -> Vec<Option<Tensor>>;
}

/// Applies a [`Function`] and records it.
pub fn apply(function: impl Function, inputs: &[&Tensor]) -> Tensor {
    let owned: Vec<Tensor> = inputs.iter().map(|t| (*t).clone()).collect();
    let name = function.name();
    let result = no_grad(|| function.forward(&owned)).detach();
    record(name, result, inputs, true, || {
        let saved: Vec<Saved> = owned.iter().map(Saved::new).collect();
        Box::new(move |args| {
            let inputs: Vec<Tensor> = saved.iter().map(|s| (**s).clone()).collect();
            function.backward(&inputs, args.output(), args.grad)
        })
    })
}
