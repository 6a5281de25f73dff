//! Where the elements of a view lie in its storage.

use super::Shape;

/// Shape, strides and offset of a view, in elements. Strides are never negative; an expanded dim
/// has stride 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Shape,
    strides: Vec<usize>,
    offset: usize,
}

impl Layout {
    /// Row-major, without gaps, from the start of the storage.
    #[must_use]
    pub fn contiguous(shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        let mut strides = vec![1; shape.len()];
        for i in (1..shape.len()).rev() {
            strides[i - 1] = strides[i] * shape[i].max(1);
        }
        Self {
            shape,
            strides,
            offset: 0,
        }
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Distance between neighbours along each dim.
    #[must_use]
    pub fn strides(&self) -> &[usize] {
        &self.strides
    }

    /// Where the first element lies.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// How many elements.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.shape.numel()
    }

    /// How many elements of storage the view spans from its first to its last, 0 if empty.
    #[must_use]
    pub fn span(&self) -> usize {
        if self.numel() == 0 {
            return 0;
        }
        1 + self
            .shape
            .iter()
            .zip(&self.strides)
            .map(|(&n, &s)| (n - 1) * s)
            .sum::<usize>()
    }

    /// Whether the elements lie in row-major order without gaps.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&n, &s) in self.shape.iter().zip(&self.strides).rev() {
            if n != 1 && s != expected {
                return self.numel() == 0;
            }
            expected *= n;
        }
        true
    }

    /// Reorders the dims: dim `i` of the result is dim `dims[i]` of this layout.
    #[must_use]
    pub fn permute(&self, dims: &[usize]) -> Self {
        Self {
            shape: dims
                .iter()
                .map(|&d| self.shape[d])
                .collect::<Vec<_>>()
                .into(),
            strides: dims.iter().map(|&d| self.strides[d]).collect(),
            offset: self.offset,
        }
    }

    /// Keeps `len` elements of `dim`, from `start`.
    #[must_use]
    pub fn narrow(&self, dim: usize, start: usize, len: usize) -> Self {
        let mut dims = self.shape.dims().to_vec();
        dims[dim] = len;
        // An empty view must not point past the end of its storage.
        let step = if len == 0 {
            0
        } else {
            start * self.strides[dim]
        };
        Self {
            shape: dims.into(),
            strides: self.strides.clone(),
            offset: self.offset + step,
        }
    }

    /// Keeps every `step`-th element of `dim`.
    #[must_use]
    pub fn step(&self, dim: usize, step: usize) -> Self {
        let mut dims = self.shape.dims().to_vec();
        dims[dim] = dims[dim].div_ceil(step);
        let mut strides = self.strides.clone();
        strides[dim] *= step;
        Self {
            shape: dims.into(),
            strides,
            offset: self.offset,
        }
    }

    /// Inserts a dim of extent 1 before `dim`.
    #[must_use]
    pub fn unsqueeze(&self, dim: usize) -> Self {
        let mut dims = self.shape.dims().to_vec();
        let mut strides = self.strides.clone();
        let stride = if dim < dims.len() {
            dims[dim] * strides[dim]
        } else {
            1
        };
        dims.insert(dim, 1);
        strides.insert(dim, stride);
        Self {
            shape: dims.into(),
            strides,
            offset: self.offset,
        }
    }

    /// Removes `dim`, whose extent no longer counts (1, or fixed by a narrow before).
    #[must_use]
    pub fn remove(&self, dim: usize) -> Self {
        let mut dims = self.shape.dims().to_vec();
        let mut strides = self.strides.clone();
        dims.remove(dim);
        strides.remove(dim);
        Self {
            shape: dims.into(),
            strides,
            offset: self.offset,
        }
    }

    /// Repeats dims of extent 1 (and missing leading dims) without copying; `None` if the shapes
    /// do not broadcast.
    #[must_use]
    pub fn expand(&self, shape: &Shape) -> Option<Self> {
        let missing = shape.len().checked_sub(self.shape.len())?;
        let mut strides = vec![0; shape.len()];
        for (i, (&n, &s)) in self.shape.iter().zip(&self.strides).enumerate() {
            match (n, shape[missing + i]) {
                (a, b) if a == b => strides[missing + i] = s,
                (1, _) => {}
                _ => return None,
            }
        }
        Some(Self {
            shape: shape.clone(),
            strides,
            offset: self.offset,
        })
    }

    /// The same elements under another shape of equal size, or `None` where the strides do not
    /// allow it without a copy.
    #[must_use]
    pub fn reshape(&self, shape: &Shape) -> Option<Self> {
        if self.is_contiguous() {
            return Some(Self {
                offset: self.offset,
                ..Self::contiguous(shape.clone())
            });
        }
        // Walk both shapes from the left; each group of old dims with the same product as a group
        // of new dims must be contiguous within itself.
        let old: Vec<(usize, usize)> = self
            .shape
            .iter()
            .zip(&self.strides)
            .filter(|(n, _)| **n != 1)
            .map(|(&n, &s)| (n, s))
            .collect();
        let mut strides = vec![1; shape.len()];
        let (mut i, mut j) = (0, 0);
        while i < old.len() {
            let (mut have, mut want) = (old[i].0, 1);
            let (first, first_new) = (i, j);
            i += 1;
            while want != have || (j < shape.len() && shape[j] == 1) {
                if want < have || (want == have && shape.get(j) == Some(&1)) {
                    want *= *shape.get(j)?;
                    j += 1;
                } else {
                    have *= old.get(i)?.0;
                    i += 1;
                }
            }
            if (first..i - 1).any(|k| old[k].1 != old[k + 1].1 * old[k + 1].0) {
                return None;
            }
            let mut stride = old[i - 1].1;
            for k in (first_new..j).rev() {
                strides[k] = stride;
                stride *= shape[k];
            }
        }
        Some(Self {
            shape: shape.clone(),
            strides,
            offset: self.offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshape_of_a_view_keeps_strides_where_it_can() {
        let x = Layout::contiguous([2, 3, 4]);
        let heads = x.permute(&[1, 0, 2]);
        assert_eq!(
            heads.reshape(&[3, 2, 2, 2].into()).unwrap().strides(),
            [4, 12, 2, 1]
        );
        assert_eq!(heads.reshape(&[6, 4].into()), None);
        assert_eq!(
            x.narrow(2, 1, 2).reshape(&[6, 2].into()).unwrap().strides(),
            [4, 1]
        );
        assert_eq!(
            x.narrow(2, 1, 2)
                .reshape(&[2, 1, 3, 2, 1].into())
                .unwrap()
                .strides()[2..4],
            [4, 1]
        );
        assert_eq!(x.narrow(2, 1, 2).reshape(&[12].into()), None);
    }

    #[test]
    fn contiguity_ignores_dims_of_extent_one() {
        let x = Layout::contiguous([2, 1, 3]);
        assert!(x.permute(&[1, 0, 2]).is_contiguous());
        assert!(!x.permute(&[2, 1, 0]).is_contiguous());
        assert!(!x.expand(&[2, 4, 3].into()).unwrap().is_contiguous());
    }

    #[test]
    fn span_covers_the_last_element() {
        let x = Layout::contiguous([4, 5]).narrow(1, 2, 2);
        assert_eq!((x.offset(), x.span()), (2, 17));
        assert_eq!(Layout::contiguous([0, 5]).span(), 0);
    }
}
