//! A card that is full in the middle of a step: what was done is forgotten, and done again in smaller parts.

use gigaro_tensor::{DeviceFailure, catch_failure};

/// Runs `attempt` with `size` examples at a time; where a card is too full for that, calls `forget` and tries again, at last with half as many, from now
/// on.
///
/// What `attempt` has changed besides, it must set back itself at its beginning. A failure of another kind, and one of a single example, goes on to
/// whoever catches failures.
pub(crate) fn in_smaller_parts<R>(
    size: &mut usize,
    forget: impl Fn(),
    mut attempt: impl FnMut(usize) -> R,
) -> R {
    let mut forgotten = false;
    loop {
        let failure = match catch_failure(|| attempt(*size)) {
            Ok(done) => return done,
            Err(failure) => failure,
        };
        let full = matches!(failure, DeviceFailure::OutOfMemory { .. });
        if !full || (*size <= 1 && forgotten) {
            failure.raise();
        }
        forget();
        // Once more with as many: what was forgotten may have been what was in the way.
        if forgotten {
            *size = size.div_ceil(2);
        }
        forgotten = true;
    }
}
