//! Keeps other web sites out, and tells the browser to run nothing but the page's own files.
//!
//! A site that the same browser has open can send requests to this machine. It cannot forge `Host` or `Origin`: a request must name
//! this very address (which also stops a foreign name that was pointed at the loopback address), and a change must come from a page of
//! this very address, as JSON, which no plain form can send.

use super::routes::Refusal;
use crate::browser;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::SocketAddr;

/// Nothing from elsewhere, nothing inline, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Refuses what does not come from the page itself, and puts the protecting headers on every answer.
pub(super) async fn guard(
    State(address): State<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match check(address, request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    browser::protect(&mut response, POLICY);
    response
}

fn check(
    address: SocketAddr,
    method: &Method,
    headers: &HeaderMap,
) -> std::result::Result<(), Refusal> {
    let refuse = |status, sentence: &str| Err(Refusal::new(status, sentence));
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let mut own = vec![address.to_string(), format!("localhost:{}", address.port())];
    if address.port() == 80 {
        // The usual port is not named.
        own.extend([address.ip().to_string(), "localhost".to_owned()]);
    }
    let Some(host) = text(header::HOST).filter(|host| own.iter().any(|own| own == host)) else {
        return refuse(
            StatusCode::FORBIDDEN,
            "This page answers only under its own address on this machine.",
        );
    };
    if method == Method::GET || method == Method::HEAD {
        return Ok(());
    }
    if text(header::ORIGIN) != Some(format!("http://{host}").as_str()) {
        return refuse(
            StatusCode::FORBIDDEN,
            "Labels are taken from this page only, not from another site or program.",
        );
    }
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    if kind.split(';').next().unwrap_or_default().trim() != "application/json" {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send JSON, with the content type application/json.",
        );
    }
    Ok(())
}
