//! A card that is open: its memory, its errors, and how kernels are started on it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use bytemuck::Zeroable;

use super::driver::{Address, Captured, Driver, DriverError, Grid, Kernel, Product, Result, Value};
use super::graph::{self, Pool};
use crate::device::DeviceFailure;
use crate::shape::Rows;
use crate::storage::size_cache::{AllocatorStats, SizeCache, rounded};
use crate::{Device, Error};

/// A card, open until the program ends.
pub(crate) struct Gpu {
    index: usize,
    driver: Box<dyn Driver>,
    cache: Mutex<SizeCache<Address>>,
    /// Where kernels leave an index that is out of range.
    fault: Address,
    /// Whether kernels that check indices have run since it was last read.
    fault_possible: AtomicBool,
    /// Held by the thread that captures work; others wait, lest theirs be written down with it.
    capture: RwLock<()>,
}

/// The cards that are open. Never closed: tensors may live as long as the program.
static OPEN: RwLock<Vec<&'static Gpu>> = RwLock::new(Vec::new());

/// Opens a card, or finds it open.
///
/// # Errors
/// If it cannot be used: a sentence that says why.
pub fn open(index: usize) -> std::result::Result<Device, Error> {
    open_with(index, || super::nvidia::open(index))
}

/// Opens a card through this driver, unless it is open.
pub(crate) fn open_with(
    index: usize,
    driver: impl FnOnce() -> std::result::Result<Box<dyn Driver>, String>,
) -> std::result::Result<Device, Error> {
    let mut all = OPEN.write().unwrap_or_else(PoisonError::into_inner);
    if !all.iter().any(|gpu| gpu.index == index) {
        let unusable = |reason: String| Error::Device {
            device: Device::Cuda(index),
            reason,
        };
        let driver = driver().map_err(unusable)?;
        let gpu = Gpu::new(index, driver).map_err(|e| unusable(e.to_string()))?;
        all.push(Box::leak(Box::new(gpu)));
    }
    Ok(Device::Cuda(index))
}

/// The card of this number.
///
/// # Panics
/// If it was never opened.
#[track_caller]
pub(crate) fn gpu(index: usize) -> &'static Gpu {
    let all = OPEN.read().unwrap_or_else(PoisonError::into_inner);
    match all.iter().find(|gpu| gpu.index == index) {
        Some(gpu) => gpu,
        None => panic!(
            "{} is not open; call cuda::open({index}) first",
            Device::Cuda(index)
        ),
    }
}

/// The counters of a card's memory; `None` if it is not open.
#[must_use]
pub fn memory_stats(index: usize) -> Option<AllocatorStats> {
    let all = OPEN.read().unwrap_or_else(PoisonError::into_inner);
    let gpu = all.iter().find(|gpu| gpu.index == index)?;
    Some(gpu.cache().stats)
}

/// What people call a card that is open.
///
/// # Panics
/// If it is not.
#[must_use]
pub fn name(index: usize) -> String {
    gpu(index).driver.name()
}

/// Gives the memory of a card that no tensor uses back to the system.
pub fn empty_cache(index: usize) {
    gpu(index).empty_cache();
}

/// Waits until all that was asked of a card has happened.
pub fn synchronize(index: usize) {
    let gpu = gpu(index);
    gpu.done("synchronize", gpu.ask(|driver| driver.synchronize()));
}

static TF32: AtomicBool = AtomicBool::new(true);

/// Whether products of f32 may round their operands to tf32 (10 bits of fraction), which cards multiply many times as fast; so it is
/// unless told otherwise. Sums stay f32.
pub fn allow_tf32(allowed: bool) {
    TF32.store(allowed, Ordering::Relaxed);
}

static ANY_ORDER: AtomicBool = AtomicBool::new(false);

/// Whether products may add their sums up in whatever order is fastest: then two runs need not have the same bits. They may not unless told
/// otherwise.
pub fn allow_any_order(allowed: bool) {
    ANY_ORDER.store(allowed, Ordering::Relaxed);
}

pub(crate) fn any_order_allowed() -> bool {
    ANY_ORDER.load(Ordering::Relaxed)
}

pub(crate) fn tf32_allowed() -> bool {
    TF32.load(Ordering::Relaxed)
}

/// What an index was for, as kernels name it.
const CHECKED_OPS: [&str; 6] = [
    "gather",
    "index_select",
    "scatter",
    "scatter_add",
    "index_add",
    "linear_cross_entropy",
];

/// `Fault` of `kernel.cuh`.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Fault {
    raised: u32,
    op: u32,
    index: i64,
    limit: i64,
}

impl Gpu {
    fn new(index: usize, driver: Box<dyn Driver>) -> Result<Self> {
        let fault = driver.allocate(size_of::<Fault>())?;
        driver.clear(fault, size_of::<Fault>())?;
        Ok(Self {
            index,
            driver,
            cache: Mutex::new(SizeCache::new()),
            fault,
            fault_possible: AtomicBool::new(false),
            capture: RwLock::new(()),
        })
    }

    pub(crate) fn device(&self) -> Device {
        Device::Cuda(self.index)
    }

    /// Asks the driver for work, when no other thread captures any.
    fn ask<R>(&self, f: impl FnOnce(&dyn Driver) -> R) -> R {
        let _turn = (!graph::captures(self))
            .then(|| self.capture.read().unwrap_or_else(PoisonError::into_inner));
        f(&*self.driver)
    }

    /// Makes other threads wait, and has what this one asks written down.
    pub(super) fn begin_capture(&self) -> RwLockWriteGuard<'_, ()> {
        let turn = self.capture.write().unwrap_or_else(PoisonError::into_inner);
        self.done("begin to capture", self.driver.begin_capture());
        turn
    }

    /// What was written down.
    pub(super) fn end_capture(&self) -> Box<dyn Captured> {
        match self.driver.end_capture() {
            Err(DriverError::OutOfMemory { bytes }) => self.out_of_memory("graph", bytes),
            ended => self.done("capture", ended),
        }
    }

    /// Does what was written down.
    ///
    /// # Safety
    /// Every block that it reads or writes is still allocated.
    pub(super) unsafe fn launch_captured(&self, work: &dyn Captured) {
        // Its kernels may check indices.
        self.fault_possible.store(true, Ordering::Relaxed);
        // SAFETY: the caller's.
        let launched = self.ask(|_| unsafe { work.launch() });
        self.done("replay", launched);
    }

    pub(super) fn cache(&self) -> MutexGuard<'_, SizeCache<Address>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, or an end of the computation.
    fn done<R>(&self, what: &str, result: Result<R>) -> R {
        result.unwrap_or_else(|error| {
            let device = self.device();
            let (what, said) = match error {
                DriverError::NotCapturable { .. } => {
                    let what = format!("`{what}`");
                    DeviceFailure::NotCapturable { device, what }.raise()
                }
                DriverError::OutOfMemory { .. } => (what.to_owned(), error.to_string()),
                DriverError::Failed { what: step, said } => (format!("{what} ({step})"), said),
            };
            DeviceFailure::Lost { device, what, said }.raise()
        })
    }

    /// A block for what `op` computes; one that belongs to the graph while this thread captures work.
    pub(crate) fn allocate(&'static self, op: &str, bytes: usize) -> Block {
        let pool = graph::pool(self);
        let size = rounded(bytes);
        let (at, size) = match pool.as_ref().and_then(|pool| pool.take(size)) {
            Some(found) => found,
            None => {
                let found = self.find(op, size);
                if let Some(pool) = &pool {
                    pool.add(found.1);
                }
                found
            }
        };
        Block {
            gpu: self,
            at,
            size,
            pool,
        }
    }

    /// A block that was given back, or else a new one, and its size.
    fn find(&self, op: &str, size: usize) -> (Address, usize) {
        if let Some(kept) = self.cache().take(size) {
            return kept;
        }
        let mut found = self.driver.allocate(size);
        if matches!(found, Err(DriverError::OutOfMemory { .. })) {
            self.empty_cache();
            found = self.driver.allocate(size);
        }
        match found {
            Ok(at) => {
                self.cache().add(size);
                (at, size)
            }
            Err(DriverError::OutOfMemory { .. }) => self.out_of_memory(op, size),
            Err(error) => self.done(op, Err(error)),
        }
    }

    fn out_of_memory(&self, op: &str, bytes: usize) -> ! {
        let stats = self.cache().stats;
        let (free, total) = self.done(op, self.driver.memory());
        DeviceFailure::OutOfMemory {
            device: self.device(),
            op: op.to_owned(),
            bytes,
            held: stats.allocated_bytes,
            reserved: stats.reserved_bytes,
            free,
            total,
        }
        .raise()
    }

    /// Gives kept memory back, when no other thread captures work: what is freed meanwhile is not free.
    fn empty_cache(&self) {
        self.ask(|driver| {
            let kept = self.cache().drain();
            kept.into_iter().for_each(|(at, _)| driver.free(at));
        });
    }

    /// Copies to the card; `from` may be changed at once.
    pub(crate) fn upload(&self, to: Address, from: &[u8]) {
        self.done("upload", self.ask(|driver| driver.upload(to, from)));
    }

    /// Copies from the card, when all that was asked before has happened.
    ///
    /// # Panics
    /// If a kernel before has met an index that is out of range.
    #[track_caller]
    pub(crate) fn download(&self, to: &mut [u8], from: Address) {
        self.done("download", self.ask(|driver| driver.download(to, from)));
        if self.fault_possible.swap(false, Ordering::Relaxed) {
            self.check_indices();
        }
    }

    #[track_caller]
    fn check_indices(&self) {
        let mut fault = Fault::zeroed();
        let read =
            self.ask(|driver| driver.download(bytemuck::bytes_of_mut(&mut fault), self.fault));
        self.done("download", read);
        if fault.raised == 0 {
            return;
        }
        // Whoever catches the panic must not find it again.
        self.clear(self.fault, size_of::<Fault>());
        let op = CHECKED_OPS
            .get(fault.op as usize)
            .copied()
            .unwrap_or("an op");
        panic!(
            "{op}: index {} is out of range for {} entries (found when results were read from {})",
            fault.index,
            fault.limit,
            self.device()
        );
    }

    /// The number under which a kernel reports a wrong index of `op`, and where; the next download looks there.
    pub(crate) fn index_check(&self, op: &str) -> (u32, Address) {
        self.fault_possible.store(true, Ordering::Relaxed);
        let number = CHECKED_OPS.iter().position(|&o| o == op);
        let number = number.expect("the op is in the table");
        (number as u32, self.fault)
    }

    /// Copies on the card.
    pub(crate) fn copy(&self, to: Address, from: Address, bytes: usize) {
        self.done("copy", self.ask(|driver| driver.copy(to, from, bytes)));
    }

    /// Zeros.
    pub(crate) fn clear(&self, at: Address, bytes: usize) {
        self.done("clear", self.ask(|driver| driver.clear(at, bytes)));
    }

    /// Starts a kernel; does nothing for a grid without blocks.
    ///
    /// # Safety
    /// The arguments are those of the kernel, and addresses among them are of blocks as large as it reads and writes.
    pub(crate) unsafe fn launch(
        &self,
        op: &str,
        kernel: Kernel<'_>,
        grid: Grid,
        arguments: &[&dyn Argument],
    ) {
        if grid.blocks.contains(&0) {
            return;
        }
        let values: Vec<Value> = arguments.iter().map(|a| a.value()).collect();
        // SAFETY: the caller's.
        let started = self.ask(|driver| unsafe { driver.launch(kernel, grid, &values) });
        self.done(op, started);
    }

    /// The product by the vendor's library; `false` if there is none for it.
    ///
    /// # Safety
    /// The addresses are of blocks as large as the product reads and writes.
    pub(crate) unsafe fn product(&self, op: &str, product: &Product) -> bool {
        // SAFETY: the caller's.
        let result = self.ask(|driver| unsafe { driver.product(product) });
        self.done(op, result)
    }
}

/// Memory of a card, returned to its cache when dropped.
///
/// Kernels that still use it were asked for before whatever gets it next, and a card does things in order.
pub(crate) struct Block {
    gpu: &'static Gpu,
    at: Address,
    size: usize,
    /// Whose it is, if not the card's cache's.
    pool: Option<Arc<Pool>>,
}

impl Block {
    pub(crate) fn gpu(&self) -> &'static Gpu {
        self.gpu
    }

    pub(crate) fn address(&self) -> Address {
        self.at
    }

    /// The graph whose it is.
    pub(crate) fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        match &self.pool {
            Some(pool) => pool.put(self.at, self.size),
            None => self.gpu.cache().put(self.at, self.size),
        }
    }
}

/// What a kernel takes by value.
pub(crate) trait Argument {
    /// Where the value is.
    fn value(&self) -> Value {
        Value {
            at: std::ptr::from_ref(self).cast(),
            bytes: size_of_val(self),
        }
    }
}
impl Argument for Address {}
impl Argument for i64 {}
impl Argument for u32 {}
impl Argument for i32 {}
impl Argument for f64 {}
impl Argument for f32 {}
impl<const N: usize> Argument for Walk<N> {}

/// Dims that a walk can have after those that step alike are merged.
const MAX_DIMS: usize = 8;

/// `Walk` of `kernel.cuh`: how kernels step through views of one shape.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk<const N: usize> {
    dims: i32,
    extents: [u32; MAX_DIMS],
    strides: [[i64; MAX_DIMS]; N],
}

impl<const N: usize> Walk<N> {
    /// The walk that loops on the processor would take.
    ///
    /// # Panics
    /// If more than eight dims remain: copy the operand first.
    #[track_caller]
    pub(crate) fn new(rows: &Rows<N>) -> Self {
        let mut walk = Self {
            dims: 0,
            extents: [1; MAX_DIMS],
            strides: [[0; MAX_DIMS]; N],
        };
        for (extent, strides) in rows.dims() {
            let d = walk.dims as usize;
            assert!(
                d < MAX_DIMS,
                "more than {MAX_DIMS} dims that cannot be merged; make the operand contiguous"
            );
            walk.extents[d] = u32::try_from(extent)
                .expect("a dim of a tensor on a card has fewer than 2^32 elements");
            for k in 0..N {
                walk.strides[k][d] = strides[k] as i64;
            }
            walk.dims += 1;
        }
        walk
    }
}
