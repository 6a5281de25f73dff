//! The engine of gigaro: tensors, kernels and automatic differentiation.
//!
//! - [`Tensor`] and its methods: what a user sees, with PyTorch's names.
//! - [`functional`]: layers and losses as functions. [`optim`]: fused optimiser steps.
//! - [`autograd`]: how gradients come about. [`device`]: where kernels run.
//! - [`io`]: weight files. [`hostile`]: their parser, for fuzzing.
//!
//! Models, training loops and text live in the crates above this one.

pub mod autograd;
pub mod device;
pub mod dtype;
mod error;
pub mod hostile;
pub mod io;
mod ops;
mod paged;
mod random;
pub mod shape;
mod storage;
mod tensor;
#[cfg(feature = "testing")]
pub mod testing;

pub use autograd::{autocast, autocast_dtype, checkpoint, enable_grad, no_grad};
pub use device::{Device, DeviceFailure, catch_failure, cpu, cuda};
pub use dtype::{DType, Element, bf16, f16};
pub use error::Error;
pub use ops::{functional, optim};
pub use paged::{PagedCache, Part};
pub use random::Generator;
pub use shape::{Layout, Shape};
pub use storage::{AllocatorStats, allocator_stats, empty_cache};
pub use tensor::Tensor;
