//! Services over HTTP, and those of others: the only crate that knows it.
//!
//! A model behind an address: [`server`] listens and lets in, [`api`] understands requests, [`engine`] writes the replies of many of them
//! at once with the parts of `gigaro_models::generate`, [`metrics`] counts. [`page`] is the chat page, [`conversations`] what is said on it. [`label`] is the page on which people rank answers; [`endpoint`]
//! asks a model that somebody else serves.

mod browser;
mod error;

pub mod api;
pub mod conversations;
pub mod endpoint;
pub mod engine;
pub mod hostile;
pub mod label;
pub mod metrics;
pub mod page;
pub mod server;

pub use error::{Error, Result};
