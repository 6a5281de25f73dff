//! How weights start: each function draws a new f32 tensor from an explicit [`Generator`].
//!
//! - Here: normal, uniform, truncated normal. `scaled.rs`: Kaiming and Xavier, which look at how
//!   many numbers flow in and out. `orthogonal.rs`: orthonormal rows or columns.
//!
//! The result is plain data; layers make it a parameter.

mod orthogonal;
mod scaled;

use gigaro_tensor::{DType, Device, Generator, Shape, Tensor};

pub use orthogonal::orthogonal;
pub use scaled::{
    Fan, RELU_GAIN, fan_in_and_out, kaiming_normal, kaiming_uniform, xavier_normal, xavier_uniform,
};

/// Normal with this mean and standard deviation.
#[must_use]
pub fn normal(shape: impl Into<Shape>, mean: f64, std: f64, generator: &Generator) -> Tensor {
    let x = Tensor::randn(shape, DType::F32, Device::Cpu, generator);
    let x = if std == 1.0 { x } else { x * std };
    if mean == 0.0 { x } else { x + mean }
}

/// Uniform on `[low, high)`.
#[must_use]
pub fn uniform(shape: impl Into<Shape>, low: f64, high: f64, generator: &Generator) -> Tensor {
    Tensor::rand(shape, DType::F32, Device::Cpu, generator) * (high - low) + low
}

/// Normal, drawn again until it lies in `[low, high]`.
///
/// # Panics
/// If less than about a millionth of the distribution lies there.
#[must_use]
#[track_caller]
pub fn truncated_normal(
    shape: impl Into<Shape>,
    mean: f64,
    std: f64,
    low: f64,
    high: f64,
    generator: &Generator,
) -> Tensor {
    const MAX_TRIES: usize = 1_000_000;
    let shape = shape.into();
    let mut spare = None;
    let mut draw = || {
        for _ in 0..MAX_TRIES {
            let z = spare.take().unwrap_or_else(|| {
                let (a, b) = generator.normal_pair();
                spare = Some(b);
                a
            });
            let x = mean + std * z;
            if (low..=high).contains(&x) {
                return x as f32;
            }
        }
        panic!("truncated_normal: hardly any of N({mean}, {std}^2) lies in [{low}, {high}]")
    };
    let values: Vec<f32> = (0..shape.numel()).map(|_| draw()).collect();
    Tensor::from_vec(values, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(x: &Tensor) -> (f64, f64) {
        let x = x.to_dtype(DType::F64);
        (
            x.mean_all().item(),
            x.var(&(0..x.ndim() as isize).collect::<Vec<_>>()[..], 0)
                .item()
                .sqrt(),
        )
    }

    #[test]
    fn normal_and_uniform_have_the_asked_moments() {
        let g = Generator::new(3);
        let (mean, std) = moments(&normal([200, 500], 0.5, 0.02, &g));
        assert!(
            (mean - 0.5).abs() < 1e-3 && (std - 0.02).abs() < 2e-4,
            "{mean} {std}"
        );
        let (mean, std) = moments(&uniform([200, 500], -1.0, 3.0, &g));
        assert!(
            (mean - 1.0).abs() < 0.02 && (std - 4.0 / 12.0_f64.sqrt()).abs() < 0.01,
            "{mean} {std}"
        );
    }

    #[test]
    fn truncated_normal_stays_inside_and_is_narrower() {
        let x = truncated_normal([100_000], 0.0, 0.02, -0.04, 0.04, &Generator::new(4));
        assert!(x.to_vec::<f32>().iter().all(|v| v.abs() <= 0.04));
        // 0.8796 is the deviation of a standard normal cut at two deviations.
        let (_, std) = moments(&x);
        assert!((std - 0.02 * 0.8796).abs() < 1e-4, "{std}");
    }

    #[test]
    fn the_same_seed_draws_the_same_weights() {
        let draw = |seed| {
            kaiming_normal([4, 5], Fan::In, RELU_GAIN, &Generator::new(seed)).to_vec::<f32>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
