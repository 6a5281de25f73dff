//! gigaro-tensor.
