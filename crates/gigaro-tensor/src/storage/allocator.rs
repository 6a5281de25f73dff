//! A caching allocator: freed blocks are kept by size and handed out again.
//!
//! A training step asks for the same sizes again and again; taking them from the cache means that
//! after the first step no memory is requested from the system and no page is faulted in. Sizes
//! are rounded up to eight steps per power of two, so that at most an eighth is wasted. Fresh
//! blocks are zeroed, so that every byte a tensor can read was written once. Large ones are asked for in huge pages.

use super::pages::{HUGE, ask_for_huge};
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

/// Cache lines and the widest SIMD register.
const ALIGN: usize = 64;

/// A block of memory of a rounded size.
pub(super) struct Block {
    ptr: NonNull<u8>,
    size: usize,
}

// SAFETY: a block is plain memory; access is governed by the `Buffer` that owns it.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut cache = lock();
        cache.stats.allocated_bytes -= self.size;
        cache
            .free
            .entry(self.size)
            .or_default()
            .push(Free(self.ptr));
    }
}

struct Free(NonNull<u8>);
// SAFETY: a free block has no owner but the cache.
unsafe impl Send for Free {}

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

struct Cache {
    free: BTreeMap<usize, Vec<Free>>,
    stats: AllocatorStats,
}

static CACHE: Mutex<Cache> = Mutex::new(Cache {
    free: BTreeMap::new(),
    stats: AllocatorStats {
        allocated_bytes: 0,
        peak_bytes: 0,
        reserved_bytes: 0,
        system_allocations: 0,
    },
});

fn lock() -> std::sync::MutexGuard<'static, Cache> {
    CACHE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rounds up to eight steps per power of two, at least a cache line.
fn rounded(bytes: usize) -> usize {
    let step = (bytes.max(1).next_power_of_two() / 16).max(ALIGN);
    bytes.max(1).div_ceil(step) * step
}

fn system_layout(size: usize) -> Layout {
    let align = if size >= HUGE { HUGE } else { ALIGN };
    Layout::from_size_align(size, align).expect("rounded sizes are far below isize::MAX")
}

/// A block of at least `bytes`, from the cache or the system.
pub(super) fn allocate(bytes: usize) -> Block {
    let size = rounded(bytes);
    let mut cache = lock();
    // A cached block of up to a quarter more serves too, so that slightly different sizes (a last
    // batch, a longer sequence) do not each keep a set of blocks.
    let fit = cache
        .free
        .range(size..=size + size / 4)
        .find(|(_, v)| !v.is_empty())
        .map(|(&s, _)| s);
    let (ptr, size) = match fit.and_then(|s| cache.free.get_mut(&s)?.pop().map(|Free(p)| (p, s))) {
        Some(found) => found,
        None => {
            cache.stats.reserved_bytes += size;
            cache.stats.system_allocations += 1;
            (from_system(size), size)
        }
    };
    cache.stats.allocated_bytes += size;
    cache.stats.peak_bytes = cache.stats.peak_bytes.max(cache.stats.allocated_bytes);
    Block { ptr, size }
}

fn from_system(size: usize) -> NonNull<u8> {
    let layout = system_layout(size);
    // Not `alloc_zeroed`, which writes to aligned blocks before the system was asked for huge pages.
    // SAFETY: the layout has a size above zero.
    let raw = unsafe { std::alloc::alloc(layout) };
    let Some(ptr) = NonNull::new(raw) else {
        std::alloc::handle_alloc_error(layout)
    };
    ask_for_huge(raw, size);
    // SAFETY: the block is that large.
    unsafe { raw.write_bytes(0, size) };
    ptr
}

/// Gives every cached block back to the system.
pub fn empty_cache() {
    let mut cache = lock();
    for (size, blocks) in std::mem::take(&mut cache.free) {
        cache.stats.reserved_bytes -= size * blocks.len();
        for Free(ptr) in blocks {
            // SAFETY: the block came from `from_system` with this very layout and has no owner.
            unsafe { std::alloc::dealloc(ptr.as_ptr(), system_layout(size)) };
        }
    }
}

/// The allocator's counters, for reports and tests.
#[must_use]
pub fn allocator_stats() -> AllocatorStats {
    lock().stats
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
