//! Gradient clipping by norm, as a factor: optimisers multiply gradients by it while they read
//! them, so that no extra pass over memory is made.
//!
//! ```
//! use gigaro_nn::{Linear, Module, clip};
//! use gigaro_tensor::{DType, Device, Generator, Tensor};
//! let layer = Linear::new(2, 1, false, &Generator::new(0));
//! layer.forward(&Tensor::full([1, 2], 3.0, DType::F32, Device::Cpu)).sum_all().backward();
//! let norm = clip::grad_norm(&layer.named_parameters());
//! assert!((norm - 18.0_f64.sqrt()).abs() < 1e-6);
//! let scale = clip::clip_scale(norm, 1.0); // hand this to `Optimizer::step`
//! assert!((scale * norm - 1.0).abs() < 1e-6);
//! ```

use gigaro_tensor::Tensor;
use gigaro_tensor::optim::{squared_norm, total_norm};

/// Norm of all gradients taken as one vector; parameters without a gradient count as zero. Not
/// finite if a gradient is not.
#[must_use]
pub fn grad_norm(parameters: &[(String, Tensor)]) -> f64 {
    total_norm(&gradients(parameters))
}

/// The gradients that there are, in the order of the parameters.
#[must_use]
pub fn gradients(parameters: &[(String, Tensor)]) -> Vec<Tensor> {
    parameters.iter().filter_map(|(_, p)| p.grad()).collect()
}

/// The factor that brings a norm down to `max_norm`; 1 if it is not above. The same small number
/// as in PyTorch keeps the quotient finite.
#[must_use]
pub fn clip_scale(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}

/// The first parameter whose gradient holds a NaN or an infinity: where training went wrong.
#[must_use]
pub fn first_non_finite(parameters: &[(String, Tensor)]) -> Option<&str> {
    let broken = |p: &Tensor| p.grad().is_some_and(|g| !squared_norm(&g).is_finite());
    parameters
        .iter()
        .find(|(_, p)| broken(p))
        .map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use gigaro_tensor::{DType, Device};

    use super::*;

    fn with_grad(name: &str, grad: &[f32]) -> (String, Tensor) {
        let p = Tensor::zeros([grad.len()], DType::F32, Device::Cpu).requires_grad_(true);
        p.set_grad(Some(Tensor::from_slice(grad, [grad.len()])));
        (name.to_owned(), p)
    }

    #[test]
    fn the_norm_spans_all_parameters_and_small_ones_are_left_alone() {
        let mut all = vec![with_grad("a", &[3.0]), with_grad("b", &[0.0, 4.0])];
        all.push((
            "c".into(),
            Tensor::zeros([5], DType::F32, Device::Cpu).requires_grad_(true),
        ));
        assert_eq!(grad_norm(&all), 5.0);
        assert_eq!(clip_scale(5.0, 10.0), 1.0);
        assert!((clip_scale(5.0, 1.0) - 0.2).abs() < 1e-6);
    }

    #[test]
    fn a_broken_gradient_is_found_by_name() {
        let all = [
            with_grad("a", &[1.0]),
            with_grad("b", &[f32::NAN]),
            with_grad("c", &[f32::INFINITY]),
        ];
        assert!(!grad_norm(&all).is_finite());
        assert_eq!(first_non_finite(&all), Some("b"));
        assert_eq!(first_non_finite(&all[..1]), None);
    }
}
