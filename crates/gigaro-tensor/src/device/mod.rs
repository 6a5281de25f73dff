//! Where tensors live and kernels run.

pub mod cpu;
pub mod cuda;

mod failure;

pub use failure::{DeviceFailure, catch_failure};

use std::fmt;

/// A device, chosen at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// The processor and its main memory.
    #[default]
    Cpu,
    /// A graphics card, by its number; [`cuda::open`] makes it usable.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}
