//! Freed blocks by size, and what is in use: the part of a caching allocator that does not ask where the memory is.
//!
//! A training step asks for the same sizes again and again; taking them from the cache means that
//! after the first step no memory is requested from the system and no page is faulted in. Sizes
//! are rounded up to eight steps per power of two, so that at most an eighth is wasted.

use std::collections::BTreeMap;

/// Cache lines and the widest SIMD register.
pub(crate) const ALIGN: usize = 64;

/// How much memory tensors hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocatorStats {
    /// Bytes in use by live tensors, rounded to block sizes.
    pub allocated_bytes: usize,
    /// The most that was ever in use at once.
    pub peak_bytes: usize,
    /// Bytes taken from the system: in use or cached.
    pub reserved_bytes: usize,
    /// How often the system had to be asked.
    pub system_allocations: u64,
}

/// Blocks that are known by `P`, a pointer or an address.
pub(crate) struct SizeCache<P> {
    free: BTreeMap<usize, Vec<P>>,
    pub(crate) stats: AllocatorStats,
}

impl<P> SizeCache<P> {
    pub(crate) const fn new() -> Self {
        Self {
            free: BTreeMap::new(),
            stats: AllocatorStats {
                allocated_bytes: 0,
                peak_bytes: 0,
                reserved_bytes: 0,
                system_allocations: 0,
            },
        }
    }

    /// A block of at least this rounded size and how large it is, if one is kept.
    pub(crate) fn take(&mut self, size: usize) -> Option<(P, usize)> {
        // A cached block of up to a quarter more serves too, so that slightly different sizes (a last
        // batch, a longer sequence) do not each keep a set of blocks.
        let (&size, blocks) = self
            .free
            .range_mut(size..=size + size / 4)
            .find(|(_, blocks)| !blocks.is_empty())?;
        let block = blocks.pop()?;
        self.in_use(size);
        Some((block, size))
    }

    /// Counts a block that the system has given.
    pub(crate) fn add(&mut self, size: usize) {
        self.stats.reserved_bytes += size;
        self.stats.system_allocations += 1;
        self.in_use(size);
    }

    fn in_use(&mut self, size: usize) {
        self.stats.allocated_bytes += size;
        self.stats.peak_bytes = self.stats.peak_bytes.max(self.stats.allocated_bytes);
    }

    /// Keeps a block that is no longer used.
    pub(crate) fn put(&mut self, block: P, size: usize) {
        self.stats.allocated_bytes -= size;
        self.free.entry(size).or_default().push(block);
    }

    /// All that is kept, to be given back to the system.
    pub(crate) fn drain(&mut self) -> Vec<(P, usize)> {
        let free = std::mem::take(&mut self.free);
        let blocks: Vec<(P, usize)> = free
            .into_iter()
            .flat_map(|(size, blocks)| blocks.into_iter().map(move |block| (block, size)))
            .collect();
        self.stats.reserved_bytes -= blocks.iter().map(|(_, size)| size).sum::<usize>();
        blocks
    }
}

/// Rounds up to eight steps per power of two, at least a cache line.
pub(crate) fn rounded(bytes: usize) -> usize {
    let step = (bytes.max(1).next_power_of_two() / 16).max(ALIGN);
    bytes.max(1).div_ceil(step) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_waste_at_most_an_eighth() {
        for bytes in (1..1 << 20).step_by(997) {
            let size = rounded(bytes);
            assert!(
                size >= bytes && (size - bytes) * 8 <= bytes.max(8 * ALIGN),
                "{bytes} -> {size}"
            );
            assert_eq!(rounded(size), size);
        }
    }
}
