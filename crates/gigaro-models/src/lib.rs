//! gigaro-models.

pub mod generate;
