//! What tells a browser to keep to the pages that are served here.

use axum::http::{HeaderValue, header};
use axum::response::Response;

/// Puts the protecting headers on an answer; `policy` is its Content-Security-Policy.
pub(crate) fn protect(response: &mut Response, policy: &'static str) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
