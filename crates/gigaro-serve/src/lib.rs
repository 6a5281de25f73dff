//! Services over HTTP, and those of others: the only crate that knows it.
//!
//! A model behind an address: [`server`] listens and lets in, [`api`] understands requests, [`engine`] writes the replies of many of them
//! at once with the parts of `gigaro_models::generate`, [`metrics`] counts. [`keys`] says who may ask how much, and a line of the log what became of it. [`page`] is the chat page, [`conversations`] what is said on it. [`label`] is the page on which people rank answers; [`endpoint`]
//! asks a model that somebody else serves.

mod browser;
mod error;

pub mod api;
pub mod capacity;
pub mod conversations;
mod database;
pub mod endpoint;
pub mod engine;
pub mod health;
pub mod hostile;
pub mod keys;
pub mod label;
pub mod metrics;
#[cfg(feature = "otel")]
pub mod otel;
pub mod page;
mod record;
pub mod server;

pub use error::{Error, Result};
