//! Dim arguments: negative ones count from the end, as in PyTorch.

/// Turns a possibly negative dim into an index below `ndim`.
///
/// # Panics
/// If the dim is out of range.
#[must_use]
#[track_caller]
pub fn resolve_dim(op: &str, dim: isize, ndim: usize) -> usize {
    let resolved = if dim < 0 { dim + ndim as isize } else { dim };
    assert!(
        resolved >= 0 && (resolved as usize) < ndim,
        "{op}: dim {dim} is out of range for a tensor of {ndim} dims"
    );
    resolved as usize
}

/// One dim or several, in any of the forms a caller would write: `-1`, `[0, 2]`, `&dims[..]`.
pub trait Dims {
    /// The dims, sorted, each below `ndim`.
    ///
    /// # Panics
    /// If one is out of range or given twice.
    #[track_caller]
    fn resolve(&self, op: &str, ndim: usize) -> Vec<usize>;
}

impl Dims for isize {
    #[track_caller]
    fn resolve(&self, op: &str, ndim: usize) -> Vec<usize> {
        vec![resolve_dim(op, *self, ndim)]
    }
}

impl Dims for &[isize] {
    #[track_caller]
    fn resolve(&self, op: &str, ndim: usize) -> Vec<usize> {
        let mut dims: Vec<_> = self.iter().map(|&d| resolve_dim(op, d, ndim)).collect();
        dims.sort_unstable();
        let n = dims.len();
        dims.dedup();
        assert!(dims.len() == n, "{op}: a dim appears twice in {self:?}");
        dims
    }
}

impl<const N: usize> Dims for [isize; N] {
    #[track_caller]
    fn resolve(&self, op: &str, ndim: usize) -> Vec<usize> {
        (&self[..]).resolve(op, ndim)
    }
}

impl<const N: usize> Dims for &[isize; N] {
    #[track_caller]
    fn resolve(&self, op: &str, ndim: usize) -> Vec<usize> {
        (&self[..]).resolve(op, ndim)
    }
}
