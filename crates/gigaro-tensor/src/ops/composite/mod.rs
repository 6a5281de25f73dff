//! Ops written in terms of primitives: one function each, gradients for free.

pub(super) mod loss;
mod masks;
mod statistics;
