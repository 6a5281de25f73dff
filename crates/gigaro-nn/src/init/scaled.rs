//! Kaiming and Xavier initialisation: variance by the number of inputs and outputs, so that
//! signals neither grow nor fade with depth.
//!
//! Shapes are read as PyTorch has them: `(out, in, ..)`, where further dims are a convolution's
//! window.

use gigaro_tensor::{Generator, Shape, Tensor};

use super::{normal, uniform};

/// Which side's variance is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fan {
    /// That of the forward pass.
    In,
    /// That of the backward pass.
    Out,
}

/// What ReLU takes away from the deviation: `sqrt(2)`.
pub const RELU_GAIN: f64 = std::f64::consts::SQRT_2;

/// How many numbers each output sees, and each input reaches.
///
/// # Panics
/// If there are fewer than two dims.
#[must_use]
#[track_caller]
pub fn fan_in_and_out(shape: &[usize]) -> (usize, usize) {
    assert!(
        shape.len() >= 2,
        "init: a weight of shape {shape:?} has no inputs and outputs"
    );
    let window: usize = shape[2..].iter().product();
    (shape[1] * window, shape[0] * window)
}

#[track_caller]
fn kaiming_std(shape: &Shape, fan: Fan, gain: f64) -> f64 {
    let (n_in, n_out) = fan_in_and_out(shape.dims());
    let n = if fan == Fan::In { n_in } else { n_out };
    gain / (n.max(1) as f64).sqrt()
}

#[track_caller]
fn xavier_std(shape: &Shape, gain: f64) -> f64 {
    let (n_in, n_out) = fan_in_and_out(shape.dims());
    gain * (2.0 / (n_in + n_out).max(1) as f64).sqrt()
}

/// Normal with deviation `gain / sqrt(fan)`.
///
/// # Panics
/// If there are fewer than two dims.
/// # Reference
/// He, Zhang, Ren, Sun (2015), <https://arxiv.org/abs/1502.01852>
#[must_use]
#[track_caller]
pub fn kaiming_normal(
    shape: impl Into<Shape>,
    fan: Fan,
    gain: f64,
    generator: &Generator,
) -> Tensor {
    let shape = shape.into();
    let std = kaiming_std(&shape, fan, gain);
    normal(shape, 0.0, std, generator)
}

/// Uniform with deviation `gain / sqrt(fan)`: bounds are `sqrt(3)` times that.
///
/// # Panics
/// If there are fewer than two dims.
/// # Reference
/// He, Zhang, Ren, Sun (2015), <https://arxiv.org/abs/1502.01852>
#[must_use]
#[track_caller]
pub fn kaiming_uniform(
    shape: impl Into<Shape>,
    fan: Fan,
    gain: f64,
    generator: &Generator,
) -> Tensor {
    let shape = shape.into();
    let bound = 3.0_f64.sqrt() * kaiming_std(&shape, fan, gain);
    uniform(shape, -bound, bound, generator)
}

/// Normal with deviation `gain * sqrt(2 / (fan_in + fan_out))`.
///
/// # Panics
/// If there are fewer than two dims.
/// # Reference
/// Glorot, Bengio (2010), <https://proceedings.mlr.press/v9/glorot10a.html>
#[must_use]
#[track_caller]
pub fn xavier_normal(shape: impl Into<Shape>, gain: f64, generator: &Generator) -> Tensor {
    let shape = shape.into();
    let std = xavier_std(&shape, gain);
    normal(shape, 0.0, std, generator)
}

/// Uniform with deviation `gain * sqrt(2 / (fan_in + fan_out))`.
///
/// # Panics
/// If there are fewer than two dims.
/// # Reference
/// Glorot, Bengio (2010), <https://proceedings.mlr.press/v9/glorot10a.html>
#[must_use]
#[track_caller]
pub fn xavier_uniform(shape: impl Into<Shape>, gain: f64, generator: &Generator) -> Tensor {
    let shape = shape.into();
    let bound = 3.0_f64.sqrt() * xavier_std(&shape, gain);
    uniform(shape, -bound, bound, generator)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(x: &Tensor, bound: Option<f64>, std: f64) {
        let values = x.to_vec::<f32>();
        let square =
            values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(
            (square.sqrt() / std - 1.0).abs() < 0.02,
            "{} for {std}",
            square.sqrt()
        );
        if let Some(bound) = bound {
            let top = values
                .iter()
                .fold(0.0_f64, |m, &v| m.max(f64::from(v.abs())));
            assert!(
                top <= bound * 1.000_001 && top > 0.99 * bound,
                "{top} for {bound}"
            );
        }
    }

    #[test]
    fn deviations_and_bounds_follow_the_fans() {
        let g = Generator::new(5);
        let shape = [96, 32, 3, 3];
        let (n_in, n_out) = (32.0 * 9.0, 96.0 * 9.0);
        check(
            &kaiming_normal(shape, Fan::In, RELU_GAIN, &g),
            None,
            (2.0_f64 / n_in).sqrt(),
        );
        let std = (2.0_f64 / n_out).sqrt();
        check(
            &kaiming_uniform(shape, Fan::Out, RELU_GAIN, &g),
            Some(3.0_f64.sqrt() * std),
            std,
        );
        let std = (2.0_f64 / (n_in + n_out)).sqrt();
        check(&xavier_normal(shape, 1.0, &g), None, std);
        check(
            &xavier_uniform(shape, 1.0, &g),
            Some(3.0_f64.sqrt() * std),
            std,
        );
    }
}
