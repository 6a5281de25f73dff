//! The flag that asks a run to stop.
//!
//! Whoever catches Ctrl-C (the binary) keeps one clone and sets it; the loop keeps another and
//! looks between steps, saves, and returns. Nothing here installs a signal handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A shared request to stop after the step at hand. Cheap to clone; all clones are one flag.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that nobody has set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the run to stop. Returns whether it had been asked before, so that a second Ctrl-C can
    /// leave at once. Safe in a signal handler: one atomic swap.
    pub fn request(&self) -> bool {
        self.0.swap(true, Ordering::SeqCst)
    }

    /// Whether someone asked the run to stop.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_flag_and_the_second_request_is_told_so() {
        let flag = StopFlag::new();
        let seen_by_loop = flag.clone();
        assert!(!seen_by_loop.is_requested());
        assert!(!flag.request());
        assert!(seen_by_loop.is_requested());
        assert!(flag.request());
    }
}
