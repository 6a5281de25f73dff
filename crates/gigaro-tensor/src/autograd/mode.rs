//! Thread-local switches: whether ops are recorded, and in which dtype products compute.

use std::cell::Cell;

use crate::DType;

/// What happens to an op whose inputs want gradients.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Recording {
    /// It is recorded.
    On,
    /// It is not.
    Off,
    /// It is not, but a second run will record it: `captured.rs` notes what it uses.
    Noting,
}

thread_local! {
    static RECORDING: Cell<Recording> = const { Cell::new(Recording::On) };
    static AUTOCAST: Cell<Option<DType>> = const { Cell::new(None) };
}

/// Sets a thread-local for the length of a call and restores it also when the call panics.
fn with<T: Copy + 'static, R>(
    cell: &'static std::thread::LocalKey<Cell<T>>,
    value: T,
    f: impl FnOnce() -> R,
) -> R {
    struct Restore<T: Copy + 'static>(&'static std::thread::LocalKey<Cell<T>>, T);
    impl<T: Copy + 'static> Drop for Restore<T> {
        fn drop(&mut self) {
            self.0.set(self.1);
        }
    }
    let _restore = Restore(cell, cell.replace(value));
    f()
}

/// Runs `f` without recording: results want no gradients and inputs are not kept alive.
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    with_recording(Recording::Off, f)
}

/// Runs `f` with recording on, also inside [`no_grad`].
pub fn enable_grad<R>(f: impl FnOnce() -> R) -> R {
    with_recording(Recording::On, f)
}

/// Runs `f` with recording on or off.
pub(super) fn with_grad<R>(enabled: bool, f: impl FnOnce() -> R) -> R {
    let recording = if enabled {
        Recording::On
    } else {
        Recording::Off
    };
    with_recording(recording, f)
}

/// Runs `f` in this state.
pub(super) fn with_recording<R>(recording: Recording, f: impl FnOnce() -> R) -> R {
    with(&RECORDING, recording, f)
}

/// The state of this thread.
pub(super) fn recording() -> Recording {
    RECORDING.get()
}

/// Whether ops are being recorded on this thread.
#[must_use]
pub fn is_grad_enabled() -> bool {
    recording() == Recording::On
}

/// Runs `f` in mixed precision: matrix products, linear layers and attention round their inputs to
/// `dtype` (in practice bf16) and accumulate in f32. Parameters, sums, normalisations and losses
/// stay in f32.
pub fn autocast<R>(dtype: DType, f: impl FnOnce() -> R) -> R {
    with(&AUTOCAST, (dtype != DType::F32).then_some(dtype), f)
}

/// The dtype that products compute in on this thread, or `None` for that of their inputs.
#[must_use]
pub fn autocast_dtype() -> Option<DType> {
    AUTOCAST.get()
}
