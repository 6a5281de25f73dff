//! A function over many items on all threads, with the results in the order of the items.

use gigaro_tensor::cpu::threads::parallel_for;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Items worked on between two looks at the shared list of states.
const GROUP: usize = 16;

/// `f` of every item. A thread works with a state that `init` made (a cache, a buffer) and that must not change results.
pub(crate) fn map_with<T: Sync, S: Send, R: Send + Sync>(
    items: &[T],
    init: impl Fn() -> S + Sync,
    f: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    let results: Vec<OnceLock<R>> = items.iter().map(|_| OnceLock::new()).collect();
    let states: Mutex<Vec<S>> = Mutex::new(Vec::new());
    let lock = || states.lock().unwrap_or_else(PoisonError::into_inner);
    // Few items are long ones (pieces of a text), many are short.
    let group = if items.len() <= 4 * GROUP { 1 } else { GROUP };
    parallel_for(items.len().div_ceil(group), |i| {
        let waiting = lock().pop();
        let mut state = waiting.unwrap_or_else(&init);
        for at in i * group..items.len().min((i + 1) * group) {
            let _ = results[at].set(f(&mut state, &items[at]));
        }
        lock().push(state);
    });
    results
        .into_iter()
        .map(|cell| cell.into_inner().expect("every item was worked on"))
        .collect()
}
