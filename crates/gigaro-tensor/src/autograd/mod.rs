//! Reverse-mode automatic differentiation on a graph that is recorded as the program runs.
//!
//! Every op whose inputs want gradients leaves a `Node`: the name of the op, where its inputs
//! came from, and a closure that turns the gradient of the output into gradients of the inputs.
//! Node ids grow with time, so visiting nodes by falling id is a topological order, the same in
//! every run. Backward closures are written with ordinary tensor ops, so recording them gives
//! second derivatives (`create_graph`); fused kernels differentiate their composite instead.
//!
//! - `node.rs`: what is recorded. `engine.rs`: the backward pass. `mode.rs`: [`no_grad`],
//!   [`autocast`]. `function.rs`: ops from outside the crate.
//!   `fused.rs`: second derivatives of fused kernels. `checkpoint.rs`: trading time for
//!   memory, with `captured.rs`, which finds what a piece uses.

mod captured;
mod checkpoint;
mod engine;
mod function;
mod fused;
mod mode;
mod node;

pub use checkpoint::checkpoint;
pub use engine::grad;
pub use function::{Function, apply};
pub use mode::{autocast, autocast_dtype, enable_grad, is_grad_enabled, no_grad};

pub(crate) use engine::{Targets, backward};
pub(crate) use fused::{record_fused, vjp};
pub(crate) use node::{BackwardArgs, BackwardFn, Leaf, Origin, Saved, record};
