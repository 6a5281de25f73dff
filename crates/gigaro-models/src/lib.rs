//! gigaro-models.
