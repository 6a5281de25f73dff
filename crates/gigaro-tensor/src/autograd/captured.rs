//! What a piece of a program uses besides its arguments: found by running it, so that a checkpoint
//! knows whose gradients it owes before anything is recorded.

use std::cell::RefCell;

use super::mode::{Recording, recording, with_recording};
use super::node::next_id;
use crate::Tensor;

/// What one run has come across so far.
struct Notes {
    /// Origins from this id on were made during the run.
    since: u64,
    found: Vec<Tensor>,
}

thread_local! {
    static NOTES: RefCell<Option<Notes>> = const { RefCell::new(None) };
}

/// Runs `f` without recording, and also returns the tensors from outside of it that recorded ops
/// would have passed gradients to, each once; none inside [`no_grad`](super::no_grad).
pub(super) fn run_noting(f: impl FnOnce() -> Tensor) -> (Tensor, Vec<Tensor>) {
    /// Puts the notes of the surrounding run back, also when `f` panics.
    struct Restore(Option<Notes>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let outer = self.0.take();
            NOTES.with(|notes| *notes.borrow_mut() = outer);
        }
    }
    if recording() == Recording::Off {
        return (f(), Vec::new());
    }
    let notes = Notes {
        since: next_id(),
        found: Vec::new(),
    };
    let _restore = Restore(NOTES.with(|slot| slot.borrow_mut().replace(notes)));
    let result = with_recording(Recording::Noting, f);
    // A captured tensor may come back as it is, without an op that would have met it.
    note(&[&result]);
    let notes = NOTES.with(|slot| slot.borrow_mut().take());
    (result, notes.map_or_else(Vec::new, |notes| notes.found))
}

/// Notes those of an op's inputs that want gradients and come from outside the run, if there is one.
pub(super) fn note(inputs: &[&Tensor]) {
    NOTES.with(|slot| {
        let mut slot = slot.borrow_mut();
        let Some(notes) = slot.as_mut() else { return };
        for &input in inputs {
            let id = input.origin().id();
            let outside = id.is_some_and(|id| id < notes.since);
            if outside && notes.found.iter().all(|t| t.origin().id() != id) {
                notes.found.push(input.clone());
            }
        }
    });
}
