//! The bytes behind tensors.
//!
//! A [`Buffer`] is an aligned block from the caching allocator; a [`Storage`] is what tensors
//! share: a buffer that kernels read without locks, and that in-place ops replace or change when
//! nobody reads it. Views, clones and saved tensors all point to one storage.

mod allocator;
pub(crate) mod pages;

pub use allocator::{AllocatorStats, allocator_stats, empty_cache};

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::Pod;

/// An aligned block of initialised bytes, returned to the allocator's cache when dropped.
pub(crate) struct Buffer {
    block: allocator::Block,
    bytes: usize,
}

impl Buffer {
    /// `len` elements of `T` with whatever values the recycled block holds: for kernels that write
    /// every element.
    pub(crate) fn scratch<T: Pod>(len: usize) -> Self {
        let bytes = len * size_of::<T>();
        Self {
            block: allocator::allocate(bytes),
            bytes,
        }
    }

    /// `len` zeros.
    pub(crate) fn zeros<T: Pod>(len: usize) -> Self {
        let mut buffer = Self::scratch::<T>(len);
        buffer.as_mut::<u8>().fill(0);
        buffer
    }

    /// A copy of `values`.
    pub(crate) fn copy_of<T: Pod>(values: &[T]) -> Self {
        let mut buffer = Self::scratch::<T>(values.len());
        buffer.as_mut::<T>().copy_from_slice(values);
        buffer
    }

    /// The elements.
    pub(crate) fn as_slice<T: Pod>(&self) -> &[T] {
        // SAFETY: the block is aligned for any number, at least `bytes` long, initialised when it
        // was first allocated, and every bit pattern is a valid `T` (Pod).
        unsafe {
            std::slice::from_raw_parts(self.block.as_ptr().cast(), self.bytes / size_of::<T>())
        }
    }

    /// The elements, to be written.
    pub(crate) fn as_mut<T: Pod>(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`, and the buffer is borrowed mutably.
        unsafe {
            std::slice::from_raw_parts_mut(self.block.as_ptr().cast(), self.bytes / size_of::<T>())
        }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self::copy_of(self.as_slice::<u8>())
    }
}

/// What tensors share: a buffer and the count of in-place changes to it.
///
/// Readers clone the inner `Arc` and read without holding the lock; a writer changes the buffer in
/// place when it is the only holder and copies it first when somebody still reads. So no kernel
/// can see a half-written buffer, and no order of reads and writes can deadlock.
pub(crate) struct Storage {
    buffer: Mutex<Arc<Buffer>>,
    version: AtomicU64,
}

impl Storage {
    pub(crate) fn new(buffer: Buffer) -> Arc<Self> {
        Arc::new(Self {
            buffer: Mutex::new(Arc::new(buffer)),
            version: AtomicU64::new(0),
        })
    }

    /// A snapshot to read from.
    pub(crate) fn read(&self) -> Arc<Buffer> {
        Arc::clone(&self.buffer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the buffer in place (copying it first if somebody reads it) and counts the change.
    pub(crate) fn write<R>(&self, f: impl FnOnce(&mut Buffer) -> R) -> R {
        let mut guard = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        self.version.fetch_add(1, Ordering::Relaxed);
        f(Arc::make_mut(&mut guard))
    }

    /// How many times the buffer was changed in place.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }
}

/// A typed snapshot of a storage from some offset on; derefs to the slice.
pub(crate) struct Data<T: Pod> {
    buffer: Arc<Buffer>,
    range: std::ops::Range<usize>,
    of: std::marker::PhantomData<T>,
}

impl<T: Pod> Data<T> {
    pub(crate) fn new(buffer: Arc<Buffer>, range: std::ops::Range<usize>) -> Self {
        Self {
            buffer,
            range,
            of: std::marker::PhantomData,
        }
    }
}

impl<T: Pod> std::ops::Deref for Data<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.buffer.as_slice::<T>()[self.range.clone()]
    }
}
