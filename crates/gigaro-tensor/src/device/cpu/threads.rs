//! A small pool of worker threads for data-parallel loops.
//!
//! [`parallel_for`] is the only primitive: it calls a closure once for every index below `n`, on all
//! threads at once, and returns when the last call has returned. The calling thread takes part. Workers
//! look for new work for some tens of microseconds before they sleep, because decoding one token
//! is a hundred short loops in a row and waking a sleeping thread costs more than most of them.
//!
//! This is not a task scheduler: there are no futures, no work stealing and no priorities. A loop
//! inside a loop, or a loop started while another thread's loop holds the workers, runs on its own
//! thread alone. Results are the same either way, because callers cut their work by the shape of the
//! problem and never by [`num_threads`].
//!
//! The kernels in [`gemm`](super::gemm) show how it is used.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long an idle worker looks for a new loop before it sleeps.
const SPIN: Duration = Duration::from_micros(60);

/// The state of the pool's one job slot in a single word, so that a worker joins a loop, or finds it
/// closed, in one atomic step: the low 16 bits count the workers inside, the next bit says that
/// workers may enter, the rest numbers the loops.
mod gate {
    pub(super) const ACTIVE: u64 = 0xffff;
    pub(super) const OPEN: u64 = 1 << 16;
    pub(super) const EPOCH: u32 = 17;
}

/// One running loop; lives on the stack of the thread that called [`parallel_for`].
struct Job {
    f: *const (dyn Fn(usize) + Sync),
    n: usize,
    next: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Job {
    /// Takes indices until there are none left. The first panic ends the loop for everyone.
    fn work(&self) {
        // SAFETY: the caller of `parallel_for` keeps the closure alive until every worker has left.
        let f = unsafe { &*self.f };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let i = self.next.fetch_add(1, Ordering::Relaxed);
                if i >= self.n {
                    break;
                }
                f(i);
            }
        }));
        if let Err(payload) = outcome {
            self.next.store(self.n, Ordering::Relaxed);
            self.panic
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(payload);
        }
    }
}

struct Worker {
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
}

struct Pool {
    gate: AtomicU64,
    job: UnsafeCell<*const Job>,
    /// Held by the one thread whose loop the workers serve.
    busy: AtomicBool,
    threads: AtomicUsize,
    workers: Mutex<Vec<Arc<Worker>>>,
    /// Copy of `workers` that only the holder of `busy` touches, so that a loop takes no lock.
    roster: UnsafeCell<Vec<Arc<Worker>>>,
}

// SAFETY: `job` is written only by the holder of `busy` while the gate is closed and empty, and read only
// by workers that entered through the open gate; `roster` is touched only by the holder of `busy`.
unsafe impl Sync for Pool {}
// SAFETY: the raw pointer inside is only followed under the protocol above.
unsafe impl Send for Pool {}

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| Pool {
        gate: AtomicU64::new(0),
        job: UnsafeCell::new(std::ptr::null()),
        busy: AtomicBool::new(false),
        threads: AtomicUsize::new(std::thread::available_parallelism().map_or(1, usize::from)),
        workers: Mutex::new(Vec::new()),
        roster: UnsafeCell::new(Vec::new()),
    })
}

/// The number of threads that a loop may use, the caller included.
pub fn num_threads() -> usize {
    pool().threads.load(Ordering::Relaxed)
}

/// Sets the number of threads that later loops use, the caller included. It changes how long
/// things take and never what they compute.
///
/// # Panics
/// If `n` is zero.
#[track_caller]
pub fn set_num_threads(n: usize) {
    assert!(
        n > 0,
        "set_num_threads: the number of threads must be at least 1"
    );
    pool()
        .threads
        .store(n.min(gate::ACTIVE as usize), Ordering::Relaxed);
}

/// Calls `f(i)` once for each `i` in `0..n`, on several threads, and returns when all calls are done.
///
/// Which thread runs which index is unspecified, so `f` must write to disjoint places; see
/// [`parallel_chunks_mut`] for the common case. Indices are claimed in increasing order.
///
/// # Panics
/// With the panic of `f`, if it panics; indices not yet claimed are then skipped.
pub fn parallel_for<F: Fn(usize) + Sync>(n: usize, f: F) {
    let pool = pool();
    let helpers = num_threads().min(n).saturating_sub(1);
    if helpers == 0 || pool.busy.swap(true, Ordering::Acquire) {
        (0..n).for_each(f);
        return;
    }
    let f: &(dyn Fn(usize) + Sync) = &f;
    // SAFETY: only the lifetime changes; `run` returns after the last use of the pointer.
    let f = unsafe {
        std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(f)
    };
    let job = Job {
        f,
        n,
        next: AtomicUsize::new(0),
        panic: Mutex::new(None),
    };
    pool.run(&job, helpers);
    if let Some(payload) = job
        .panic
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
    {
        resume_unwind(payload);
    }
}

/// Cuts `data` into pieces of `chunk_len` elements (the last may be shorter) and calls `f(i, piece)` for
/// each of them, in parallel.
///
/// # Panics
/// If `chunk_len` is zero, or with the panic of `f`.
#[track_caller]
pub fn parallel_chunks_mut<T: Send, F>(data: &mut [T], chunk_len: usize, f: F)
where
    F: Fn(usize, &mut [T]) + Sync,
{
    assert!(
        chunk_len > 0,
        "parallel_chunks_mut: chunk_len must be at least 1"
    );
    let (len, base) = (data.len(), SendPtr::new(data.as_mut_ptr()));
    parallel_for(len.div_ceil(chunk_len), |i| {
        let start = i * chunk_len;
        // SAFETY: pieces of different `i` do not overlap and lie inside `data`, which is borrowed for
        // the whole loop.
        let piece = unsafe { base.slice_mut(start, chunk_len.min(len - start)) };
        f(i, piece);
    });
}

impl Pool {
    /// Runs `job` with up to `helpers` workers. The caller holds `busy`; this releases it.
    fn run(&'static self, job: &Job, helpers: usize) {
        // SAFETY: we hold `busy`.
        let roster = unsafe { &mut *self.roster.get() };
        if roster.len() < helpers {
            self.hire(helpers);
            roster.clone_from(&self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        }
        // SAFETY: the gate is closed and empty, so no worker reads the slot now.
        unsafe { *self.job.get() = job };
        let epoch = (self.gate.load(Ordering::Relaxed) >> gate::EPOCH) + 1;
        self.gate
            .store(epoch << gate::EPOCH | gate::OPEN, Ordering::SeqCst);
        for worker in roster.iter().take(helpers) {
            if worker.asleep.load(Ordering::SeqCst)
                && let Some(thread) = worker.thread.get()
            {
                thread.unpark();
            }
        }
        job.work();
        // From here on no worker can enter, and those inside find no index left.
        self.gate.fetch_and(!gate::OPEN, Ordering::AcqRel);
        let mut spins = 0u32;
        while self.gate.load(Ordering::Acquire) & gate::ACTIVE != 0 {
            spins += 1;
            // A worker that holds the last index may have lost its core to another program.
            if spins.is_multiple_of(4096) {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
        self.busy.store(false, Ordering::Release);
    }

    /// Starts workers until there are `count`. If the system gives no more threads, loops run with
    /// those there are.
    fn hire(&'static self, count: usize) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        while workers.len() < count {
            let index = workers.len();
            let worker = Arc::new(Worker {
                thread: OnceLock::new(),
                asleep: AtomicBool::new(false),
            });
            let own = Arc::clone(&worker);
            let started = std::thread::Builder::new()
                .name(format!("gigaro-{}", index + 1))
                .spawn(move || self.serve(index, &own));
            let Ok(handle) = started else { return };
            // Only this place sets the cell, so it is empty.
            let _ = worker.thread.set(handle.thread().clone());
            workers.push(worker);
        }
    }

    /// A worker's life: enter each loop once, work, leave.
    fn serve(&self, index: usize, worker: &Worker) {
        let mut last = 0;
        loop {
            let epoch = self.wait_for_job(index, last, worker);
            last = epoch;
            if !self.enter(epoch) {
                continue;
            }
            // SAFETY: we entered through the open gate, so the job stays alive until we leave.
            unsafe { &*(*self.job.get()) }.work();
            self.gate.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for an open loop later than `last` and returns its number.
    fn wait_for_job(&self, index: usize, last: u64, worker: &Worker) -> u64 {
        let fresh = |state: u64| {
            let wanted = index + 1 < self.threads.load(Ordering::Relaxed);
            (wanted && state & gate::OPEN != 0 && state >> gate::EPOCH != last)
                .then_some(state >> gate::EPOCH)
        };
        loop {
            let idle_since = Instant::now();
            while idle_since.elapsed() < SPIN {
                for _ in 0..64 {
                    if let Some(epoch) = fresh(self.gate.load(Ordering::Acquire)) {
                        return epoch;
                    }
                    std::hint::spin_loop();
                }
            }
            // Announce the sleep first and look once more: a caller either sees the flag and wakes
            // us, or we see its loop here.
            worker.asleep.store(true, Ordering::SeqCst);
            if fresh(self.gate.load(Ordering::SeqCst)).is_none() {
                std::thread::park();
            }
            worker.asleep.store(false, Ordering::SeqCst);
        }
    }

    /// Counts this worker in, if loop `epoch` is still open.
    fn enter(&self, epoch: u64) -> bool {
        let mut state = self.gate.load(Ordering::Relaxed);
        while state & gate::OPEN != 0 && state >> gate::EPOCH == epoch {
            match self.gate.compare_exchange_weak(
                state,
                state + 1,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }
}

/// A raw pointer that a loop's closure may carry to other threads.
///
/// It carries no proof of anything: each use says why the places it touches are disjoint.
#[derive(Debug)]
pub struct SendPtr<T>(*mut T);

impl<T> Clone for SendPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SendPtr<T> {}

// SAFETY: following the pointer is unsafe and the burden of whoever does.
unsafe impl<T: Send> Send for SendPtr<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SendPtr<T> {}

impl<T> SendPtr<T> {
    /// Wraps a pointer.
    pub fn new(ptr: *mut T) -> Self {
        Self(ptr)
    }

    /// The pointer. A method and not a field, so that closures capture the wrapper as a whole.
    pub fn get(self) -> *mut T {
        self.0
    }

    /// The `len` elements from `start` on.
    ///
    /// # Safety
    /// They lie inside one live allocation and nothing else reads or writes them during `'a`.
    pub unsafe fn slice_mut<'a>(self, start: usize, len: usize) -> &'a mut [T] {
        // SAFETY: passed on to the caller.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_visited_once() {
        for n in [0, 1, 2, 3, 1000] {
            let seen: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
            parallel_for(n, |i| {
                seen[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(seen.iter().all(|s| s.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn loops_in_a_row_all_finish() {
        let sum = AtomicUsize::new(0);
        for _ in 0..20_000 {
            parallel_for(3, |i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
        }
        assert_eq!(sum.into_inner(), 60_000);
    }

    #[test]
    fn nested_and_concurrent_loops_run_to_the_end() {
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        parallel_for(5, |_| {
                            parallel_for(7, |j| {
                                sum.fetch_add(j, Ordering::Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 200 * 5 * 21);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_survives() {
        for at in [0, 17, 99] {
            let caught = catch_unwind(|| parallel_for(100, |i| assert!(i != at, "index {at}")));
            let message = caught.expect_err("the panic is passed on");
            assert_eq!(
                message.downcast_ref::<String>(),
                Some(&format!("index {at}"))
            );
        }
        every_index_is_visited_once();
    }

    #[test]
    fn chunks_cover_the_slice() {
        let mut data = vec![0usize; 103];
        parallel_chunks_mut(&mut data, 10, |i, piece| piece.fill(i + 1));
        assert!(data.iter().enumerate().all(|(i, &x)| x == i / 10 + 1));
        parallel_chunks_mut::<usize, _>(&mut [], 10, |_, _| unreachable!());
    }
}
