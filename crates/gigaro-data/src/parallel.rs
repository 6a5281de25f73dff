//! A function over many items on all threads, with the results in the order of the items.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

/// `f` of every item. Each thread makes its own state with `init` (a cache, a buffer), which must not change results.
pub(crate) fn map_with<T: Sync, S: Send, R: Send + Sync>(
    items: &[T],
    init: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    let results: Vec<OnceLock<R>> = items.iter().map(|_| OnceLock::new()).collect();
    let states: Mutex<Vec<S>> = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut state = states
            .lock()
            .ok()
            .and_then(|mut states| states.pop())
            .unwrap_or_else(&init);
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { break };
            let _ = results[i].set(f(&mut state, item));
        }
        if let Ok(mut states) = states.lock() {
            states.push(state);
        }
    };
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(items.len());
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    results
        .into_iter()
        .map(|cell| cell.into_inner().expect("every item was worked on"))
        .collect()
}
