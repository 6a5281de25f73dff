//! Graphics cards through CUDA: found when the program runs, never needed to build it.
//!
//! `driver.rs` is what a card must be able to do; `nvidia/` does it through the vendor's libraries, and `emulated/`, in tests, through
//! threads of the processor, from the very text of the kernels. Above it, `gpu.rs` owns a card, its memory and its errors, and ops launch kernels
//! from `ops/<op>/cuda.rs`.

pub(crate) mod driver;
#[cfg(feature = "testing")]
mod emulated;
mod gpu;
pub(crate) mod graph;
pub(crate) mod launches;
mod nvidia;

pub(crate) use gpu::{Argument, Block, Gpu, Walk, any_order_allowed, gpu, tf32_allowed};
pub use gpu::{allow_any_order, allow_tf32, empty_cache, memory_stats, name, open, synchronize};
pub use graph::{Graph, allow_graphs};
pub use nvidia::{CardFacts, LibraryFacts, Survey, survey};

#[cfg(feature = "testing")]
pub use emulated::{open_emulated, open_emulated_of, open_emulated_with_library, open_for_tests};

/// Kernels that are compiled together: the text of one `.cu` file, to which `kernel.cuh` is prepended.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Module {
    /// Its file without the ending.
    pub(crate) name: &'static str,
    /// Its text.
    pub(crate) source: &'static str,
}

impl Module {
    /// What is compiled.
    pub(crate) fn text(&self) -> String {
        const SHARED: &str = include_str!("kernel.cuh");
        format!("{SHARED}\n#line 1 \"{}.cu\"\n{}", self.name, self.source)
    }
}

/// The module of a `.cu` file beside the caller's.
macro_rules! module {
    ($name:literal) => {
        $crate::device::cuda::Module {
            name: $name,
            source: include_str!(concat!($name, ".cu")),
        }
    };
}
pub(crate) use module;

/// Pointers to the arguments of a kernel.
macro_rules! arguments {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &dyn $crate::device::cuda::Argument),*]
    };
}
pub(crate) use arguments;
