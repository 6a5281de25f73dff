//! Huge pages: memory in pieces of 2 MiB instead of 4 KiB, so that walking down the columns of a large matrix does
//! not wait for an address translation at every step.
//!
//! Most Linux systems give them only to who asks. Elsewhere, and where the system has none to give, nothing changes.

/// The size of a huge page; blocks from this size on should be aligned to it.
pub(crate) const HUGE: usize = 2 << 20;

/// Asks for huge pages for the whole ones of `bytes` at `ptr`, before they are touched for the first time.
#[cfg(target_os = "linux")]
pub(crate) fn ask_for_huge(ptr: *mut u8, bytes: usize) {
    use rustix::mm::{Advice, madvise};
    let before = ptr.align_offset(HUGE);
    let whole = bytes.saturating_sub(before) / HUGE * HUGE;
    if whole > 0 {
        // SAFETY: the range is the caller's, and the advice changes nothing that it holds. That a system has no huge
        // pages is no error.
        let _ = unsafe {
            madvise(
                ptr.wrapping_add(before).cast(),
                whole,
                Advice::LinuxHugepage,
            )
        };
    }
}

/// Does nothing: this system decides by itself.
#[cfg(not(target_os = "linux"))]
pub(crate) fn ask_for_huge(_ptr: *mut u8, _bytes: usize) {}
