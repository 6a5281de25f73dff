//! Shapes, strides and the arithmetic of views.
//!
//! A [`Shape`] is the extent of each dim; a [`Layout`] adds where element `[0, 0, ..]` lies in the
//! storage and how far apart neighbours along each dim are, both counted in elements. Every view
//! (transpose, slice, expand) is a new layout over the same storage. Kernels do not walk layouts
//! themselves: see `rows.rs`.

mod dims;
mod layout;
mod rows;

pub use dims::{Dims, resolve_dim};
pub use layout::Layout;
pub(crate) use rows::Rows;

use std::fmt;

/// The extent of each dim of a tensor, outermost first; empty for a scalar.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// The extents.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// How many elements a tensor of this shape has; 1 for a scalar.
    #[must_use]
    pub fn numel(&self) -> usize {
        self.0.iter().product()
    }

    /// The shape that `self` and `other` broadcast to, right-aligned, or `None` when a pair of
    /// extents differs and neither is 1.
    #[must_use]
    pub fn broadcast(&self, other: &Self) -> Option<Self> {
        let n = self.0.len().max(other.0.len());
        let at = |s: &Self, i: usize| (i + s.0.len()).checked_sub(n).map_or(1, |j| s.0[j]);
        (0..n)
            .map(|i| match (at(self, i), at(other, i)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }
}

impl std::ops::Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        write!(f, "({})", parts.join(", "))
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Self {
        Self(dims)
    }
}
impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Self(dims.to_vec())
    }
}
impl From<&Vec<usize>> for Shape {
    fn from(dims: &Vec<usize>) -> Self {
        Self(dims.clone())
    }
}
impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self(dims.to_vec())
    }
}
impl<const N: usize> From<&[usize; N]> for Shape {
    fn from(dims: &[usize; N]) -> Self {
        Self(dims.to_vec())
    }
}
impl From<usize> for Shape {
    fn from(n: usize) -> Self {
        Self(vec![n])
    }
}
impl From<()> for Shape {
    fn from((): ()) -> Self {
        Self(Vec::new())
    }
}
impl From<&Self> for Shape {
    fn from(shape: &Self) -> Self {
        shape.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_aligns_to_the_right() {
        let s = |d: &[usize]| Shape::from(d);
        assert_eq!(s(&[3, 1]).broadcast(&s(&[4])), Some(s(&[3, 4])));
        assert_eq!(s(&[]).broadcast(&s(&[2, 0])), Some(s(&[2, 0])));
        assert_eq!(s(&[1]).broadcast(&s(&[0])), Some(s(&[0])));
        assert_eq!(s(&[2]).broadcast(&s(&[3])), None);
    }
}
