//! Work that is captured once and then done again with one call, instead of a call for every kernel.
//!
//! A graph repeats what was asked of the card with the arguments that it had. What changes from one time to the next must lie in memory of the card that
//! somebody writes to before: batches, learning rates, places of random numbers. Memory that the work takes belongs to the graph, so that nobody else's data
//! lies there when it is done again.
//!
//! ```no_run
//! use gigaro_tensor::{DType, Tensor, cuda};
//! let device = cuda::open(0)?;
//! let x = Tensor::zeros([1024], DType::F32, device);
//! let work = || (&x * 2.0).exp();
//! let _ = work(); // compiles the kernels
//! let (graph, y) = cuda::Graph::capture(device, None, None, work)?;
//! x.copy_(&Tensor::full([1024], 0.5, DType::F32, gigaro_tensor::Device::Cpu));
//! assert!(graph.replay());
//! assert_eq!(y.to_vec::<f32>()[0], 1.0_f32.exp());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::driver::{Address, Captured};
use super::{Block, Gpu, gpu};
use crate::device::{DeviceFailure, catch_failure};
use crate::storage::Storage;
use crate::storage::size_cache::SizeCache;
use crate::{Device, Generator};

/// Captured work of a card; what it has computed is in the tensors that the work returned, until it is done again.
pub struct Graph {
    gpu: &'static Gpu,
    work: Box<dyn Captured>,
    uses: Uses,
    random: Option<Random>,
    /// What the work writes to; dropped after the work.
    pool: Arc<Pool>,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").finish_non_exhaustive()
    }
}

/// Data of tensors that are not the work's own, by where they are known: they must stay where they were. They are not kept for it.
type Uses = HashMap<usize, (Weak<Storage>, Address)>;

/// Where the work's random numbers come from.
struct Random {
    generator: Generator,
    /// The generator's seed and position when the work was captured.
    captured: [u64; 2],
    /// Numbers that the work takes, as the generator counts them.
    drawn: u64,
    /// Where the position at which it begins is read.
    position: Block,
}

/// What the calling thread captures.
struct Capture {
    gpu: &'static Gpu,
    pool: Arc<Pool>,
    /// Seed, position and where the position is read.
    random: Option<([u64; 2], Address)>,
    uses: Uses,
}

thread_local! {
    static CAPTURE: RefCell<Option<Capture>> = const { RefCell::new(None) };
}

static ALLOWED: AtomicBool = AtomicBool::new(true);

/// Whether work may be captured; so it is unless told otherwise. Without graphs every kernel is asked for, which shows the one at fault where one goes wrong.
pub fn allow_graphs(allowed: bool) {
    ALLOWED.store(allowed, Ordering::Relaxed);
}

impl Graph {
    /// Captures `work` without doing it. Random numbers may come from `generator` only, and take another turn whenever the work is done.
    ///
    /// Do the work once before, so that its kernels are compiled. Whoever replays it keeps the tensors that it reads and writes. With `beside`, memory is
    /// shared with another graph: what either leaves lasts until the other is replayed.
    ///
    /// # Errors
    /// If the work needs what a graph cannot repeat (reading a result, copying from main memory), or if the card is full or lost.
    ///
    /// # Panics
    /// If `device` is no card that is open, or this thread captures something already.
    #[track_caller]
    pub fn capture<R>(
        device: Device,
        generator: Option<&Generator>,
        beside: Option<&Self>,
        work: impl FnOnce() -> R,
    ) -> Result<(Self, R), DeviceFailure> {
        let Device::Cuda(index) = device else {
            panic!("Graph::capture: {device} does work at once");
        };
        assert!(
            CAPTURE.with_borrow(Option::is_none),
            "Graph::capture: this thread captures work already"
        );
        let gpu = gpu(index);
        if !ALLOWED.load(Ordering::Relaxed) {
            let what = "anything, since graphs are switched off".to_owned();
            return Err(DeviceFailure::NotCapturable { device, what });
        }
        catch_failure(|| capture(gpu, generator, beside, work))
    }

    /// Whether all data that the work reads or writes is still there, and where it was when the work was captured.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let stays = |(storage, at): &(Weak<Storage>, Address)| {
            storage.upgrade().is_some_and(|storage| {
                let buffer = storage.read();
                buffer.device() == self.gpu.device() && buffer.address() == *at
            })
        };
        self.uses.values().all(stays)
    }

    /// Does the work, after all that was asked of the card before. Unless it [is current](Self::is_current), nothing is
    /// done and the answer is `false`: the work must be captured anew.
    ///
    /// # Panics
    /// If the generator has another seed than when the work was captured.
    #[must_use]
    #[track_caller]
    pub fn replay(&self) -> bool {
        if !self.is_current() {
            return false;
        }
        if let Some(random) = &self.random {
            let [seed, position] = random.generator.state();
            assert!(
                seed == random.captured[0],
                "Graph::replay: the generator was seeded anew; capture the work again"
            );
            self.gpu
                .upload(random.position.address(), &position.to_ne_bytes());
            random.generator.set_state([seed, position + random.drawn]);
        }
        // SAFETY: the blocks that it reads and writes are the pool's, or those of storages that are there and have not moved.
        unsafe { self.gpu.launch_captured(&*self.work) };
        true
    }
}

fn capture<R>(
    gpu: &'static Gpu,
    generator: Option<&Generator>,
    beside: Option<&Graph>,
    work: impl FnOnce() -> R,
) -> (Graph, R) {
    let random = generator.map(|generator| Random {
        generator: generator.clone(),
        captured: generator.state(),
        drawn: 0,
        position: gpu.allocate("random", size_of::<u64>()),
    });
    let fresh = || {
        Arc::new(Pool {
            gpu,
            cache: Mutex::new(SizeCache::new()),
        })
    };
    let pool = beside.map_or_else(fresh, |graph| Arc::clone(&graph.pool));
    let turn = gpu.begin_capture();
    let place = random.as_ref().map(|r| (r.captured, r.position.address()));
    let ending = Ending(gpu);
    CAPTURE.set(Some(Capture {
        gpu,
        pool: Arc::clone(&pool),
        random: place,
        uses: Uses::new(),
    }));
    let result = catch_failure(work);
    let uses = CAPTURE
        .take()
        .map_or_else(Uses::new, |capture| capture.uses);
    std::mem::forget(ending);
    let random = random.map(|random| {
        let [_, end] = random.generator.state();
        // Nothing has been drawn yet.
        random.generator.set_state(random.captured);
        let drawn = end - random.captured[1];
        Random { drawn, ..random }
    });
    let work = gpu.end_capture();
    drop(turn);
    let result = result.unwrap_or_else(|failure| failure.raise());
    let graph = Graph {
        gpu,
        work,
        uses,
        random,
        pool,
    };
    (graph, result)
}

/// Ends a capture whose work panics.
struct Ending(&'static Gpu);

impl Drop for Ending {
    fn drop(&mut self) {
        CAPTURE.set(None);
        // What was captured is of no use, and a failure now would hide the panic.
        let _ = catch_failure(|| drop(self.0.end_capture()));
    }
}

/// Whether this thread captures work of the card.
pub(super) fn captures(gpu: &Gpu) -> bool {
    CAPTURE.with_borrow(|c| c.as_ref().is_some_and(|c| std::ptr::eq(c.gpu, gpu)))
}

/// Where memory comes from while this thread captures work of the card.
pub(super) fn pool(gpu: &Gpu) -> Option<Arc<Pool>> {
    CAPTURE.with_borrow(|c| {
        let capture = c.as_ref().filter(|c| std::ptr::eq(c.gpu, gpu));
        capture.map(|c| Arc::clone(&c.pool))
    })
}

/// Notes that the work that this thread captures uses data that lies there.
pub(crate) fn uses(storage: &Arc<Storage>, at: Address) {
    CAPTURE.with_borrow_mut(|c| {
        let Some(capture) = c else { return };
        let own = |pool: &Arc<Pool>| Arc::ptr_eq(pool, &capture.pool);
        if !storage.read().pool().is_some_and(own) {
            // As long as there is such a handle no other storage gets this number.
            let noted = || (Arc::downgrade(storage), at);
            let number = Arc::as_ptr(storage).addr();
            capture.uses.entry(number).or_insert_with(noted);
        }
    });
}

/// How a kernel finds position `first` of the random numbers under `seed`: the address of a position (0 for none) and how many come after it.
pub(crate) fn random_position(gpu: &Gpu, seed: u64, first: u64) -> (Address, u64) {
    CAPTURE.with_borrow(|c| {
        let Some(capture) = c.as_ref().filter(|c| std::ptr::eq(c.gpu, gpu)) else {
            return (0, first);
        };
        match capture.random {
            Some(([of, start], place)) if of == seed && start <= first => (place, first - start),
            _ => DeviceFailure::NotCapturable {
                device: gpu.device(),
                what: "random numbers of another generator".to_owned(),
            }
            .raise(),
        }
    })
}

/// Memory of a graph: blocks that its work has given back are for its own work alone, until the graph and what it returned are gone.
pub(crate) struct Pool {
    gpu: &'static Gpu,
    cache: Mutex<SizeCache<Address>>,
}

impl Pool {
    fn cache(&self) -> MutexGuard<'_, SizeCache<Address>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self, size: usize) -> Option<(Address, usize)> {
        self.cache().take(size)
    }

    /// Counts a block of the card's that is the graph's from now on.
    pub(super) fn add(&self, size: usize) {
        self.cache().add(size);
    }

    pub(super) fn put(&self, at: Address, size: usize) {
        self.cache().put(at, size);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for (at, size) in self.cache().drain() {
            self.gpu.cache().put(at, size);
        }
    }
}
