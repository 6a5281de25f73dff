//! The bytes behind tensors.
//!
//! A [`Buffer`] is an aligned block from the caching allocator; a [`Storage`] is what tensors
//! share: a buffer that kernels read without locks, and that in-place ops replace or change when
//! nobody reads it. Views, clones and saved tensors all point to one storage.

mod allocator;
pub(crate) mod pages;
pub(crate) mod size_cache;

pub use allocator::{allocator_stats, empty_cache};
pub use size_cache::AllocatorStats;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::Pod;

use crate::Device;
use crate::device::cuda::{self, Gpu, driver::Address};

/// An aligned block of initialised bytes, returned to the allocator's cache when dropped.
pub(crate) struct Buffer {
    block: Block,
    bytes: usize,
}

/// Where the bytes are.
enum Block {
    Main(allocator::Block),
    Cuda(cuda::Block),
}

impl Buffer {
    /// `len` elements of `T` in main memory with whatever values the recycled block holds: for kernels that write
    /// every element.
    pub(crate) fn scratch<T: Pod>(len: usize) -> Self {
        let bytes = len * size_of::<T>();
        Self {
            block: Block::Main(allocator::allocate(bytes)),
            bytes,
        }
    }

    /// `bytes` on a graphics card for what an op writes, with whatever values the recycled block holds.
    pub(crate) fn on(gpu: &'static Gpu, op: &str, bytes: usize) -> Self {
        Self {
            block: Block::Cuda(gpu.allocate(op, bytes)),
            bytes,
        }
    }

    /// Where the bytes are.
    pub(crate) fn device(&self) -> Device {
        match &self.block {
            Block::Main(_) => Device::Cpu,
            Block::Cuda(block) => block.gpu().device(),
        }
    }

    /// How many bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The address on the card.
    ///
    /// # Panics
    /// If the bytes are in main memory: ops ask for the device first.
    pub(crate) fn address(&self) -> Address {
        match &self.block {
            Block::Cuda(block) => block.address(),
            Block::Main(_) => {
                panic!("a kernel of a graphics card was given a tensor in main memory")
            }
        }
    }

    /// The graph whose memory it is, on a card.
    pub(crate) fn pool(&self) -> Option<&Arc<cuda::graph::Pool>> {
        match &self.block {
            Block::Cuda(block) => block.pool(),
            Block::Main(_) => None,
        }
    }

    /// The address in main memory.
    ///
    /// # Panics
    /// If the bytes are on a card: ops ask for the device first.
    fn main(&self) -> *mut u8 {
        match &self.block {
            Block::Main(block) => block.as_ptr(),
            Block::Cuda(block) => panic!(
                "this op has no kernel for {}; move its operands with to_device(Device::Cpu)",
                block.gpu().device()
            ),
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
        unsafe { std::slice::from_raw_parts(self.main().cast(), self.bytes / size_of::<T>()) }
    }

    /// The elements, to be written.
    pub(crate) fn as_mut<T: Pod>(&mut self) -> &mut [T] {
        // SAFETY: as in `as_slice`, and the buffer is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.main().cast(), self.bytes / size_of::<T>()) }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        match &self.block {
            Block::Main(_) => Self::copy_of(self.as_slice::<u8>()),
            Block::Cuda(block) => {
                let copy = Self::on(block.gpu(), "copy", self.bytes);
                block
                    .gpu()
                    .copy(copy.address(), block.address(), self.bytes);
                copy
            }
        }
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

    /// Where the bytes are.
    pub(crate) fn device(&self) -> Device {
        self.read().device()
    }

    /// Puts other bytes in the place of these: the same on another device. No change that a pending gradient would have to notice.
    pub(crate) fn replace(&self, f: impl FnOnce(&Buffer) -> Buffer) {
        let mut guard = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        *guard = Arc::new(f(&guard));
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
