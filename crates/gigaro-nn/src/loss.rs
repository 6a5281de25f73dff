//! What is minimised. Losses that need a kernel live in gigaro-tensor and are passed on here.

use gigaro_tensor::autograd::{Function, apply};
use gigaro_tensor::{DType, Tensor};

pub use gigaro_tensor::functional::{cross_entropy, linear_cross_entropy, mse_loss, nll_loss};

/// Mean binary cross-entropy of `logits` against `targets` in `[0, 1]`, without overflow for any
/// logit.
///
/// # Shapes
/// `logits` and `targets` of one shape -> scalar
/// # Panics
/// If the shapes differ.
#[must_use]
#[track_caller]
pub fn binary_cross_entropy_with_logits(logits: &Tensor, targets: &Tensor) -> Tensor {
    assert!(
        logits.shape() == targets.shape(),
        "binary_cross_entropy_with_logits: logits of shape {:?}, targets {:?}",
        logits.shape(),
        targets.shape()
    );
    apply(BceWithLogits, &[logits, &targets.to_dtype(logits.dtype())]).mean_all()
}

/// Logarithm of the sigmoid, elementwise, without overflow for any `x`.
///
/// # Shapes
/// `(..)` -> `(..)`
/// # Panics
/// If `x` is not floating-point.
#[must_use]
#[track_caller]
pub fn log_sigmoid(x: &Tensor) -> Tensor {
    -apply(BceWithLogits, &[x, &x.detach().ones_like()])
}

/// Elementwise `log(1 + e^x) - t x` with the gradient `sigmoid(x) - t`; composed of `relu` and
/// `abs` its gradient at exactly 0 would be wrong.
struct BceWithLogits;

impl Function for BceWithLogits {
    fn name(&self) -> &'static str {
        "binary_cross_entropy_with_logits"
    }

    fn forward(&self, inputs: &[Tensor]) -> Tensor {
        let (x, t) = (&inputs[0], &inputs[1]);
        // y = e^-|x| is at most 1; log(1 + y) loses all digits of a small y, its series does not.
        let y = (-x.abs()).exp();
        let threshold = Tensor::full((), 1e-4, y.dtype(), y.device());
        let log1p = Tensor::where_(
            &y.lt(&threshold),
            &(&y * (1.0 - &y * 0.5)),
            &(&y + 1.0).log(),
        );
        x.relu() - x * t + log1p
    }

    fn backward(&self, inputs: &[Tensor], _: &Tensor, grad: &Tensor) -> Vec<Option<Tensor>> {
        let (x, t) = (&inputs[0], &inputs[1]);
        vec![
            Some((x.sigmoid() - t) * grad),
            t.requires_grad().then(|| -x * grad),
        ]
    }
}

/// Share of rows whose largest logit is at the target.
///
/// # Shapes
/// `logits: (N, V)`, `targets: (N)` of integers -> a number in `[0, 1]`
/// # Panics
/// If shapes do not fit.
#[must_use]
#[track_caller]
pub fn accuracy(logits: &Tensor, targets: &Tensor) -> f64 {
    let right = logits.detach().argmax(-1).eq(&targets.to_dtype(DType::I64));
    right.to_dtype(DType::F64).mean_all().item()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_cross_entropy_is_exact_and_finite_at_extremes() {
        let x =
            Tensor::from_slice(&[0.0f64, 2.0, -3.0, 800.0, -800.0, 20.0], [6]).requires_grad_(true);
        let t = Tensor::from_slice(&[1.0f64, 0.0, 0.25, 1.0, 1.0, 1.0], [6]);
        let loss = binary_cross_entropy_with_logits(&x, &t);
        let one = |x: f64, t: f64| x.max(0.0) - x * t + (-x.abs()).exp().ln_1p();
        let want = x
            .to_vec::<f64>()
            .iter()
            .zip(t.to_vec::<f64>())
            .map(|(&x, t)| one(x, t))
            .sum::<f64>()
            / 6.0;
        assert!(
            (loss.item() - want).abs() < 1e-12 * want,
            "{} {want}",
            loss.item()
        );
        loss.backward();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for ((g, x), t) in x
            .grad()
            .unwrap()
            .to_vec::<f64>()
            .iter()
            .zip(x.to_vec::<f64>())
            .zip(t.to_vec::<f64>())
        {
            assert!((g - (sigmoid(x) - t) / 6.0).abs() < 1e-12, "{g} at {x}");
        }
    }

    #[test]
    fn log_sigmoid_is_exact_and_finite_at_extremes() {
        let x = Tensor::from_slice(&[0.0f64, 3.0, -3.0, 700.0, -700.0], [5]).requires_grad_(true);
        let y = log_sigmoid(&x);
        y.sum_all().backward();
        let slopes = x.grad().unwrap().to_vec::<f64>();
        for ((x, y), slope) in x.to_vec::<f64>().iter().zip(y.to_vec::<f64>()).zip(slopes) {
            let want = x.min(0.0) - (-x.abs()).exp().ln_1p();
            assert!((y - want).abs() < 1e-12, "{y} at {x}");
            assert!(
                (slope - 1.0 / (1.0 + x.exp())).abs() < 1e-12,
                "{slope} at {x}"
            );
        }
    }

    #[test]
    fn accuracy_counts_rows() {
        let logits = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 2.0, 3.0, 1.0], [3, 2]);
        let targets = Tensor::from_slice(&[0i64, 1, 1], [3]);
        assert!((accuracy(&logits, &targets) - 2.0 / 3.0).abs() < 1e-12);
    }
}
