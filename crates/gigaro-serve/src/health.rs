//! Asking another process' server whether it is ready, as a container's health check does.

use std::time::Duration;

/// A check that takes longer is a no.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a server is not ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// It answers, and says that it is not.
    #[error("{url} is not ready: {said}")]
    Says {
        /// Where.
        url: String,
        /// Its own words.
        said: String,
    },
    /// It does not answer.
    #[error("{url} does not answer: {problem}; check the address and whether the server runs")]
    Silent {
        /// Where.
        url: String,
        /// What went wrong.
        problem: String,
    },
}

/// Asks the server at `url` for its `/health`.
///
/// # Errors
/// If it is not ready, or does not answer.
pub fn check(url: &str) -> Result<(), NotReady> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .into();
    let silent = |error: ureq::Error| NotReady::Silent {
        url: url.to_owned(),
        problem: error.to_string(),
    };
    let address = format!("{}/health", url.trim_end_matches('/'));
    let mut answer = agent.get(&address).call().map_err(silent)?;
    if answer.status().is_success() {
        return Ok(());
    }
    let said = answer.body_mut().read_to_string().map_err(silent)?;
    Err(NotReady::Says {
        url: url.to_owned(),
        said,
    })
}
