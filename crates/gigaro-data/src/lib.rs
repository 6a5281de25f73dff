//! gigaro-data.
