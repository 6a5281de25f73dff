//! gigaro-serve.
