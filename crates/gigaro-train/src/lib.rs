//! gigaro-train.
