//! Where events of a service go: lines on stderr, for people or for programs.
//!
//! The libraries only say what happens (`tracing`); that nothing of users stands in it is their business, and tested there.

use anyhow::Result;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::failure::Usage;

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// For people
    Text,
    /// An object on each line, for programs
    Json,
    /// None at all
    Off,
}

/// Writes events from now on, once for the whole command. `levels` is a level, or levels by part: `info,gigaro_serve=debug`.
///
/// # Errors
/// If `levels` names no level.
pub(crate) fn start(form: Form, levels: &str) -> Result<()> {
    let filter: Targets = levels.parse().map_err(|error| {
        Usage(format!(
            "--log-level {levels}: {error}; give off, error, warn, info, debug or trace, or parts as in info,gigaro_serve=debug"
        ))
    })?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let layer = match form {
        Form::Off => return Ok(()),
        Form::Text => lines.with_filter(filter).boxed(),
        Form::Json => {
            let json = lines.json().flatten_event(true);
            let json = json.with_current_span(false).with_span_list(false);
            json.with_filter(filter).boxed()
        }
    };
    // Whoever was here before writes the same lines.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    Ok(())
}
