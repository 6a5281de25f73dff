//! Working memory that kernels borrow and give back: aligned to cache lines, kept per thread, so that
//! after the first few steps no kernel allocates and no page is faulted in.
//!
//! This is not the allocator of tensors; nothing here outlives a kernel.

use crate::storage::pages::ask_for_huge;
use std::cell::RefCell;

/// One cache line. The unit of allocation, so that every buffer starts on a line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// How many buffers a thread keeps.
const KEPT: usize = 32;

thread_local! {
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// A borrowed buffer of 32-bit words. The contents are whatever the last user left.
pub(crate) struct Scratch {
    lines: Vec<Line>,
}

impl Scratch {
    /// A buffer of at least `words` 32-bit words.
    pub(crate) fn take(words: usize) -> Self {
        let count = words.div_ceil(16);
        if count == 0 {
            return Self { lines: Vec::new() };
        }
        let reused = FREE.with_borrow_mut(|free| {
            let fitting = (0..free.len())
                .filter(|&i| free[i].len() >= count)
                .min_by_key(|&i| free[i].len());
            // A full list gives up its smallest buffer for one that fits.
            match fitting {
                Some(i) => Some(free.swap_remove(i)),
                None if free.len() >= KEPT => {
                    let smallest = (0..free.len()).min_by_key(|&i| free[i].len());
                    if let Some(i) = smallest {
                        free.swap_remove(i);
                    }
                    None
                }
                None => None,
            }
        });
        Self {
            lines: reused.unwrap_or_else(|| Self::fresh(count)),
        }
    }

    fn fresh(count: usize) -> Vec<Line> {
        let mut lines = Vec::<Line>::with_capacity(count);
        ask_for_huge(lines.as_mut_ptr().cast(), count * size_of::<Line>());
        lines.resize(count, Line([0; 16]));
        lines
    }

    /// The words, as 32-bit floats.
    pub(crate) fn floats(&mut self) -> &mut [f32] {
        let words = self.lines.len() * 16;
        // SAFETY: a line is sixteen 32-bit words without padding, and every bit pattern is an `f32`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), words) }
    }

    /// The address of the first word.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u32 {
        self.lines.as_mut_ptr().cast()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        if lines.is_empty() {
            return;
        }
        // While a thread ends its list may be gone already.
        let _ = FREE.try_with(|free| {
            if let Ok(mut free) = free.try_borrow_mut()
                && free.len() < KEPT
            {
                free.push(lines);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_is_used_again() {
        let mut first = Scratch::take(100_000);
        let address = first.as_mut_ptr();
        assert_eq!(address as usize % 64, 0);
        first.floats()[99_999] = 1.0;
        drop(first);
        assert_eq!(Scratch::take(90_000).as_mut_ptr(), address);
    }
}
