//! What a key may use: in a minute, in a day, and at once.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// Bounds of a key; without one there is none. Days are those of UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLimits {
    /// Requests in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<NonZeroU64>,
    /// Tokens in a minute: those of prompts that had to be read, and those of replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<NonZeroU64>,
    /// Requests in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<NonZeroU64>,
    /// Tokens in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<NonZeroU64>,
    /// Requests that are under way at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_requests: Option<NonZeroU64>,
}
