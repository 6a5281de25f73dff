//! The facade: every crate of gigaro under one name.

pub use gigaro_data as data;
pub use gigaro_models as models;
pub use gigaro_nn as nn;
pub use gigaro_serve as serve;
pub use gigaro_tensor as tensor;
pub use gigaro_train as train;

/// The examples of the README, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
