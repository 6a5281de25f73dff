//! gigaro-nn.
