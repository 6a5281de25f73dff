//! The `gigaro` command.

fn main() {}
