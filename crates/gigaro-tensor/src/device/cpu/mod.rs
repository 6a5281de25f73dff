//! The CPU backend: threads, run-time choice of vector instructions, and the kernels that carry
//! almost all of the arithmetic of training and decoding.
//!
//! Kernels here know slices, strides and element types, never tensors, shapes or gradients; the
//! operations in `ops/` translate between the two. Nothing here depends on the number of threads:
//! every kernel cuts its work by the shape of the problem alone and reduces in a fixed order.
//!
//! Read [`threads`] and [`isa`] first, then [`gemm`](mod@gemm).

pub mod attention;
pub mod exp2;
pub mod gemm;
pub mod isa;
pub mod peak;
pub mod quantized;
pub(crate) mod scratch;
pub mod threads;
