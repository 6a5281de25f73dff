//! What can happen to a device in the middle of a computation.
//!
//! Ops return tensors, not `Result`s, and a card can be lost or full in any of them. So a failure unwinds to whoever has said, by
//! [`catch_failure`], that he can go on without it: a training step that tries again with less, a program that ends with a sentence.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::Device;

/// A device that did not do what an op asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceFailure {
    /// Its memory is full.
    #[error(
        "{device}: `{op}` needs {} and {} of {} are in use by tensors, {} by other programs; take a smaller batch or a shorter context, \
         or end what else runs there",
        size(*bytes), size(*held), size(*total), size(total.saturating_sub(*free).saturating_sub(*reserved))
    )]
    OutOfMemory {
        /// The device.
        device: Device,
        /// What asked.
        op: String,
        /// How much it asked for.
        bytes: usize,
        /// What tensors hold.
        held: usize,
        /// What this program has taken, in use or kept.
        reserved: usize,
        /// What nobody has taken.
        free: usize,
        /// What there is.
        total: usize,
    },
    /// Work is being captured for a [`Graph`](crate::cuda::Graph), and this cannot be part of it. Nothing is lost.
    #[error(
        "{device}: a graph cannot repeat {what}; do it before the work that is captured, or after"
    )]
    NotCapturable {
        /// The device.
        device: Device,
        /// What was asked of it.
        what: String,
    },
    /// It answered with an error, and nothing on it can be relied on.
    #[error(
        "{device} failed at {what}: {said}; what was computed there is lost, start again from the last checkpoint"
    )]
    Lost {
        /// The device.
        device: Device,
        /// What was asked of it.
        what: String,
        /// The answer.
        said: String,
    },
}

impl DeviceFailure {
    /// Unwinds to the nearest [`catch_failure`].
    pub fn raise(self) -> ! {
        // Not `panic_any`: its message, written at once, would say less than the sentence that the catcher writes.
        resume_unwind(Box::new(self))
    }
}

fn size(bytes: usize) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1024.0 {
        format!("{mib:.1} MiB")
    } else {
        format!("{:.1} GiB", mib / 1024.0)
    }
}

/// Runs `f`; what it was computing when a device failed is dropped.
///
/// # Errors
/// The failure of a device, as a sentence. Other panics go on.
pub fn catch_failure<R>(f: impl FnOnce() -> R) -> Result<R, DeviceFailure> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| match payload.downcast() {
        Ok(failure) => *failure,
        Err(other) => resume_unwind(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_caught_as_a_sentence_and_a_panic_is_not() {
        let failure = DeviceFailure::OutOfMemory {
            device: Device::Cuda(1),
            op: "matmul".to_owned(),
            bytes: 3 << 30,
            held: 5 << 30,
            reserved: 6 << 30,
            free: 1 << 30,
            total: 8 << 30,
        };
        let raised = failure.clone();
        let caught = catch_failure(|| raised.raise()).map(|()| 0);
        assert_eq!(caught, Err(failure.clone()));
        let sentence = failure.to_string();
        assert!(
            sentence.starts_with("cuda:1: `matmul` needs 3.0 GiB and 5.0 GiB of 8.0 GiB are in use by tensors, 1.0 GiB by other"),
            "{sentence}"
        );
        let bug = std::panic::catch_unwind(|| {
            catch_failure(|| std::panic::resume_unwind(Box::new("a bug"))).map(|()| 0)
        });
        assert_eq!(bug.unwrap_err().downcast_ref(), Some(&"a bug"));
    }
}
