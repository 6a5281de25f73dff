//! Cutting a length into nearly equal parts.

/// `total` things in `parts` groups whose sizes differ by at most one, the larger first.
#[derive(Clone, Copy, Debug)]
pub(in crate::device::cpu) struct Split {
    size: usize,
    larger: usize,
    parts: usize,
}

impl Split {
    /// As few groups as possible of at most `max` things.
    pub(in crate::device::cpu) fn at_most(total: usize, max: usize) -> Self {
        Self::into_parts(total, total.div_ceil(max).max(1))
    }

    /// Exactly `parts` groups.
    pub(in crate::device::cpu) fn into_parts(total: usize, parts: usize) -> Self {
        Self {
            size: total / parts,
            larger: total % parts,
            parts,
        }
    }

    /// The number of groups.
    pub(in crate::device::cpu) fn parts(self) -> usize {
        self.parts
    }

    /// Where group `i` starts; the total for `i == parts`.
    pub(in crate::device::cpu) fn start(self, i: usize) -> usize {
        i * self.size + i.min(self.larger)
    }

    /// The size of group `i`.
    pub(in crate::device::cpu) fn len(self, i: usize) -> usize {
        self.size + usize::from(i < self.larger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_the_total_evenly() {
        for (total, max) in [(0, 5), (1, 5), (5, 5), (6, 5), (1024, 14), (29, 14)] {
            let split = Split::at_most(total, max);
            assert_eq!(split.start(split.parts()), total);
            for i in 0..split.parts() {
                assert_eq!(split.start(i) + split.len(i), split.start(i + 1));
                assert!(split.len(i) <= max && split.len(0) - split.len(i) <= 1);
            }
        }
    }
}
