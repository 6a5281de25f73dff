//! Graphics cards through CUDA: found when the program runs, never needed to build it.
//!
//! [`driver`] is what a card must be able to do; `nvidia/` does it through the vendor's libraries, and `emulated/`, in tests, through
//! threads of the processor, from the very text of the kernels. Above it, `gpu.rs` owns a card, its memory and its errors, and ops launch kernels
//! from `ops/<op>/cuda.rs`.

pub(crate) mod driver;

/// Kernels that are compiled together: the text of one `.cu` file, to which `kernel.cuh` is prepended.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Module {
    /// Its file without the ending.
    pub(crate) name: &'static str,
    /// Its text.
    pub(crate) source: &'static str,
}
