//! How ops are checked: the same checks for every op, on cases that each op declares once.
//!
//! - Values: every dtype and every instruction set against f64 on the portable path.
//! - Gradients: in f64 along one random direction, against central differences, first and second.
//! - Layouts: transposed, offset, stepped and expanded inputs give what contiguous ones give.
//! - Fused kernels: against the composite they replace, forward and backward.
//! - Threads: one and several give the same bits.
//! - Parsers: [`mutated`] makes hostile files of valid ones.

mod case;
mod checks;
mod every;
mod mutated;

pub use crate::ops::registry::{CPU_ONLY, Gradient, Kind, Op, registry};
pub use case::{Case, Input};
pub use checks::{
    check_composite, check_device, check_dtypes, check_gradient, check_layouts,
    check_second_gradient, check_threads,
};
pub use every::{for_every_case, panic_text};
pub use mutated::mutated;
