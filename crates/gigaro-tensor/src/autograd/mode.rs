//! Thread-local switches: whether ops are recorded, and in which dtype products compute.

use std::cell::Cell;

use crate::DType;

thread_local! {
    static GRAD: Cell<bool> = const { Cell::new(true) };
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
    with(&GRAD, false, f)
}

/// Runs `f` with recording on, also inside [`no_grad`].
pub fn enable_grad<R>(f: impl FnOnce() -> R) -> R {
    with(&GRAD, true, f)
}

/// Runs `f` with recording on or off.
pub(crate) fn with_grad<R>(enabled: bool, f: impl FnOnce() -> R) -> R {
    with(&GRAD, enabled, f)
}

/// Whether ops are being recorded on this thread.
#[must_use]
pub fn is_grad_enabled() -> bool {
    GRAD.get()
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
