//! The outermost layer: gives each request a name and a record, which ends in a line of the log.
//!
//! Whoever asks may name a request in `X-Request-Id`, so that a proxy's log and this one can be laid side by side; the answer bears the name
//! in the same header, and refusals in their body.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::held;
use crate::api::random;
use crate::record::{Record, Until};

/// The name of a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
/// Longer names are not taken over.
const MAX_ID_LEN: usize = 128;
/// What is said of an address that is none of this server's: it is what somebody typed.
const NOWHERE: &str = "none";

pub(super) async fn observe(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let id = given_id(headers).unwrap_or_else(|| format!("req-{:016x}{:016x}", random(), random()));
    let parent = headers
        .get(TRACE_PARENT)
        .and_then(|value| value.to_str().ok());
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or(NOWHERE, MatchedPath::as_str);
    let record = Record::new(
        id,
        request.method().as_str(),
        route,
        parent.map(str::to_owned),
    );
    let until = Until(record.clone());
    let mut response = record.of(next.run(request)).await;
    record.facts().status = response.status().as_u16();
    if let Ok(value) = HeaderValue::from_str(&record.id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    held::until_over(response, until)
}

/// The name that came with the request, if it is one that a log can bear.
fn given_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_sane = (1..=MAX_ID_LEN).contains(&id.len()) && id.bytes().all(is_plain);
    is_sane.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_over_only_if_it_cannot_forge_a_line() {
        let given = |text: &str| {
            let value = HeaderValue::from_str(text).expect("a value");
            given_id(&[(REQUEST_ID, value)].into_iter().collect())
        };
        assert_eq!(given("a-1_b.C").as_deref(), Some("a-1_b.C"));
        let long = "x".repeat(MAX_ID_LEN + 1);
        for odd in ["", "a b", "a\"b", "{}", "a;b", &long] {
            assert_eq!(given(odd), None, "{odd:?}");
        }
    }
}
