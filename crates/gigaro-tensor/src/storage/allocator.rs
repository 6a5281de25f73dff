//! Main memory for tensors: freed blocks are kept by size and handed out again.
//!
//! Fresh blocks are zeroed, so that every byte a tensor can read was written once. Large ones are asked for in huge pages.

use super::pages::{HUGE, ask_for_huge};
use super::size_cache::{ALIGN, AllocatorStats, SizeCache, rounded};
use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

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
        lock().put(Free(self.ptr), self.size);
    }
}

struct Free(NonNull<u8>);
// SAFETY: a free block has no owner but the cache.
unsafe impl Send for Free {}

static CACHE: Mutex<SizeCache<Free>> = Mutex::new(SizeCache::new());

fn lock() -> std::sync::MutexGuard<'static, SizeCache<Free>> {
    CACHE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn system_layout(size: usize) -> Layout {
    let align = if size >= HUGE { HUGE } else { ALIGN };
    Layout::from_size_align(size, align).expect("rounded sizes are far below isize::MAX")
}

/// A block of at least `bytes`, from the cache or the system.
pub(super) fn allocate(bytes: usize) -> Block {
    let size = rounded(bytes);
    let mut cache = lock();
    if let Some((Free(ptr), size)) = cache.take(size) {
        return Block { ptr, size };
    }
    let ptr = from_system(size);
    cache.add(size);
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

/// Gives every cached block of main memory back to the system.
pub fn empty_cache() {
    for (Free(ptr), size) in lock().drain() {
        // SAFETY: the block came from `from_system` with this very layout and has no owner.
        unsafe { std::alloc::dealloc(ptr.as_ptr(), system_layout(size)) };
    }
}

/// The counters of main memory, for reports and tests.
#[must_use]
pub fn allocator_stats() -> AllocatorStats {
    lock().stats
}
