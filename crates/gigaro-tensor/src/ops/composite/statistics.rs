//! Means, variances and log-sum-exp.

use crate::Tensor;
use crate::shape::Dims;

impl Tensor {
    /// How many elements each output of a reduction over `dims` has seen.
    fn reduced_count(&self, dims: &[usize]) -> usize {
        dims.iter().map(|&d| self.shape()[d]).product()
    }

    /// Mean over one dim or several, which disappear.
    ///
    /// # Panics
    /// If a dim is out of range or the tensor is not floating-point.
    #[must_use]
    #[track_caller]
    pub fn mean(&self, dims: impl Dims) -> Self {
        self.check_float("mean");
        let n = self.reduced_count(&dims.resolve("mean", self.ndim()));
        self.sum(dims) * (1.0 / n as f64)
    }

    /// Mean over one dim or several, which stay with extent 1.
    ///
    /// # Panics
    /// If a dim is out of range or the tensor is not floating-point.
    #[must_use]
    #[track_caller]
    pub fn mean_keepdim(&self, dims: impl Dims) -> Self {
        self.check_float("mean_keepdim");
        let n = self.reduced_count(&dims.resolve("mean_keepdim", self.ndim()));
        self.sum_keepdim(dims) * (1.0 / n as f64)
    }

    /// Mean of all elements: a scalar.
    ///
    /// # Panics
    /// If the tensor is not floating-point.
    #[must_use]
    #[track_caller]
    pub fn mean_all(&self) -> Self {
        self.check_float("mean_all");
        self.sum_all() * (1.0 / self.numel() as f64)
    }

    /// Variance over one dim or several, which disappear: the sum of squared deviations over
    /// `n - correction` (1 for the unbiased estimate, 0 for the population's).
    ///
    /// # Panics
    /// If a dim is out of range or the tensor is not floating-point.
    #[must_use]
    #[track_caller]
    pub fn var(&self, dims: impl Dims, correction: usize) -> Self {
        self.check_float("var");
        let resolved = dims.resolve("var", self.ndim());
        let n = self.reduced_count(&resolved);
        let resolved: Vec<isize> = resolved.iter().map(|&d| d as isize).collect();
        let deviation = self - self.mean_keepdim(&resolved[..]);
        deviation.square().sum(&resolved[..]) * (1.0 / n.saturating_sub(correction) as f64)
    }

    /// `log(sum(exp(x)))` over one dim or several, which disappear, without overflow.
    ///
    /// # Panics
    /// If a dim is out of range or empty, or the tensor is not floating-point.
    #[must_use]
    #[track_caller]
    pub fn logsumexp(&self, dims: impl Dims) -> Self {
        self.check_float("logsumexp");
        let resolved = dims.resolve("logsumexp", self.ndim());
        let resolved: Vec<isize> = resolved.iter().map(|&d| d as isize).collect();
        // The shift cancels in the gradient, so it is cut off. An infinite maximum must not be
        // subtracted from itself.
        let top = self.detach().max_keepdim(&resolved[..]);
        let top = Self::where_(&top.is_finite(), &top, &top.zeros_like());
        let sum = (self - &top).exp().sum_keepdim(&resolved[..]).log() + top;
        let shape: Vec<usize> = (0..self.ndim())
            .filter(|&d| !resolved.contains(&(d as isize)))
            .map(|d| self.shape()[d])
            .collect();
        sum.reshape(shape)
    }

    /// # Panics
    /// If the tensor is not floating-point.
    #[track_caller]
    pub(crate) fn check_float(&self, op: &str) {
        assert!(
            self.dtype().is_float(),
            "{op}: needs a floating-point tensor, got {}; use to_dtype",
            self.dtype()
        );
    }
}
