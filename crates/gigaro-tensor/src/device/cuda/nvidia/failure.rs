//! What the driver's numbers mean, as sentences.

use std::ptr::null;

use cudarc::driver::sys::CUresult as E;

use super::super::driver::DriverError;
use super::functions::{Cuda, Status};
use super::libraries::owned;

/// What went wrong while something was done.
pub(super) fn failed(cuda: &Cuda, status: Status, what: String) -> DriverError {
    let said = match advice(status) {
        "" => format!("{} (CUDA error {status})", text(cuda, status)),
        advice => format!("{} (CUDA error {status}); {advice}", text(cuda, status)),
    };
    DriverError::Failed { what, said }
}

/// The driver's own words.
fn text(cuda: &Cuda, status: Status) -> String {
    let mut text = null();
    // SAFETY: it takes any number and writes a pointer to a constant, or null.
    unsafe { (cuda.cuGetErrorString)(status, &mut text) };
    if text.is_null() {
        // SAFETY: as above.
        unsafe { (cuda.cuGetErrorName)(status, &mut text) };
    }
    // SAFETY: such a constant.
    unsafe { owned(text) }.unwrap_or_else(|| "unknown error".to_owned())
}

/// What to do about an error while the card is used; empty where the driver's words are all there is.
fn advice(status: Status) -> &'static str {
    let is = |errors: &[E]| errors.iter().any(|&error| error as Status == status);
    if is(&[E::CUDA_ERROR_OUT_OF_MEMORY]) {
        "the card's memory is full, perhaps by another program: `nvidia-smi` lists them"
    } else if is(&[
        E::CUDA_ERROR_ILLEGAL_ADDRESS,
        E::CUDA_ERROR_LAUNCH_FAILED,
        E::CUDA_ERROR_ILLEGAL_INSTRUCTION,
        E::CUDA_ERROR_MISALIGNED_ADDRESS,
        E::CUDA_ERROR_INVALID_ADDRESS_SPACE,
        E::CUDA_ERROR_INVALID_PC,
        E::CUDA_ERROR_HARDWARE_STACK_ERROR,
        E::CUDA_ERROR_ASSERT,
    ]) {
        "this kernel or one before it went wrong, and nothing on the card can be relied on: start again from the last checkpoint. \
         With CUDA_LAUNCH_BLOCKING=1 set, the kernel that is named is the one at fault"
    } else if is(&[
        E::CUDA_ERROR_ECC_UNCORRECTABLE,
        E::CUDA_ERROR_UNKNOWN,
        E::CUDA_ERROR_LAUNCH_TIMEOUT,
        E::CUDA_ERROR_DEVICE_UNAVAILABLE,
        E::CUDA_ERROR_OPERATING_SYSTEM,
    ]) {
        "the card is lost to this program: start again from the last checkpoint; if it happens again, look into the system's log for `NVRM: Xid`"
    } else {
        ""
    }
}

/// Why the driver does not start, or a card cannot be opened.
pub(super) fn unusable(cuda: &Cuda, status: Status) -> String {
    match start_advice(status) {
        "" => format!(
            "The driver cannot be used: {} (CUDA error {status}). `nvidia-smi` shows whether the system can.",
            text(cuda, status)
        ),
        advice => advice.to_owned(),
    }
}

/// What to do about an error before the card is used.
fn start_advice(status: Status) -> &'static str {
    let is = |error: E| error as Status == status;
    if is(E::CUDA_ERROR_NO_DEVICE) {
        "There is no NVIDIA card, or none that this program may see: look at CUDA_VISIBLE_DEVICES, and at how the container was started."
    } else if is(E::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH) {
        "The driver in the system's kernel is of another version than its library: start the machine again after the update."
    } else if is(E::CUDA_ERROR_SYSTEM_NOT_READY) {
        "The system is not ready for its cards: on machines with NVSwitch, start the service nvidia-fabricmanager."
    } else if is(E::CUDA_ERROR_STUB_LIBRARY) {
        "The library libcuda that was found is the toolkit's stub and no driver: take its folder out of LD_LIBRARY_PATH."
    } else if is(E::CUDA_ERROR_DEVICE_UNAVAILABLE) {
        "Another program has the card to itself: wait for it, or let several in with `nvidia-smi --compute-mode=DEFAULT`."
    } else if is(E::CUDA_ERROR_OUT_OF_MEMORY) {
        "The card has no memory left even to be opened: another program uses it, and `nvidia-smi` lists them."
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_leave_the_card_useless_lead_back_to_the_checkpoint_and_others_do_not() {
        for lost in [
            E::CUDA_ERROR_ILLEGAL_ADDRESS,
            E::CUDA_ERROR_LAUNCH_FAILED,
            E::CUDA_ERROR_ECC_UNCORRECTABLE,
            E::CUDA_ERROR_UNKNOWN,
        ] {
            assert!(
                advice(lost as Status).contains("last checkpoint"),
                "{lost:?}"
            );
        }
        assert!(advice(E::CUDA_ERROR_OUT_OF_MEMORY as Status).contains("nvidia-smi"));
        assert_eq!(advice(E::CUDA_ERROR_INVALID_VALUE as Status), "");
        // A number that no enum of today has.
        assert_eq!(advice(123_456), "");
    }

    #[test]
    fn a_machine_without_cards_and_one_with_a_taken_card_are_told_apart() {
        let none = start_advice(E::CUDA_ERROR_NO_DEVICE as Status);
        assert!(none.contains("CUDA_VISIBLE_DEVICES"), "{none}");
        let taken = start_advice(E::CUDA_ERROR_DEVICE_UNAVAILABLE as Status);
        assert!(taken.contains("Another program"), "{taken}");
    }
}
