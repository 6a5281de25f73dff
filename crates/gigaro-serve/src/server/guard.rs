//! Keeps other web sites out of a server without keys.
//!
//! A site that a browser on this machine has open can send requests here. It cannot forge `Host` or `Origin`: on the loopback
//! address a request must name this machine itself (which stops a foreign name that was pointed at it), and whatever comes from a web
//! page must come from one of this very address, from the public address that a proxy before the server has, or from a site that is let in by
//! name. Other programs send no `Origin` and are let through. Where keys are demanded, the key is the guard, and a foreign site has none.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::app::{Access, App, Front};
use super::origin::Origin;
use crate::api::ApiError;

/// Lets a request through or answers 403.
pub(super) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match check(app.access(), app.front(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// The same as a function of the headers.
pub(super) fn check(access: &Access, front: &Front, headers: &HeaderMap) -> Result<(), ApiError> {
    if matches!(access, Access::Keys(_)) {
        return Ok(());
    }
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str());
    let host = match text(header::HOST) {
        Some(Ok(host)) => host,
        _ => {
            return Err(ApiError::bad_request(
                "the request names no host it is meant for",
            ));
        }
    };
    if matches!(access, Access::LoopbackOnly) && !is_loopback(host) {
        return Err(ApiError::forbidden(format!(
            "this server answers under this machine's own address only, and not as {host}"
        )));
    }
    let Some(origin) = text(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.ok().and_then(|text| text.parse::<Origin>().ok());
    let is_own = |origin: &Origin| {
        // A proxy that has TLS may name this server as it was named, or by the address that the proxy knows it under.
        let own = [
            origin.is_host(host),
            front.public_url.as_ref() == Some(origin),
        ];
        own.contains(&true) || front.cors_origins.contains(origin)
    };
    if origin.as_ref().is_some_and(is_own) {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "this server takes no requests from other web sites; behind a proxy, start it with --public-url and the address of the page",
    ))
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn allowed(access: &Access, pairs: &[(HeaderName, &'static str)]) -> bool {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        check(access, &Front::default(), &headers.collect()).is_ok()
    }

    #[test]
    fn the_page_behind_a_proxy_and_sites_by_name_are_let_in() {
        let origin = |text: &str| text.parse().expect("an origin");
        let front = Front {
            public_url: Some(origin("https://chat.example")),
            cors_origins: vec![origin("https://app.example")],
            ..Front::default()
        };
        // As nginx passes requests on unless it is told otherwise: with the address that it knows.
        let from = |site: &'static str| {
            let headers = [
                (header::HOST, HeaderValue::from_static("10.0.0.5:8000")),
                (header::ORIGIN, HeaderValue::from_static(site)),
            ];
            check(&Access::Anyone, &front, &headers.into_iter().collect()).is_ok()
        };
        assert!(from("https://chat.example") && from("https://app.example"));
        for foreign in [
            "http://chat.example",
            "https://evil.example",
            "https://chat.example.evil.example",
            "null",
        ] {
            assert!(!from(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_foreign_name_or_page_is_refused_and_programs_are_not() {
        let (host, origin) = (header::HOST, header::ORIGIN);
        let local = Access::LoopbackOnly;
        for own in [
            "127.0.0.1:8000",
            "localhost",
            "LOCALHOST:1",
            "[::1]:80",
            "127.9.9.9",
        ] {
            assert!(allowed(&local, &[(host.clone(), own)]), "{own}");
        }
        for foreign in [
            "evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "@",
            "",
        ] {
            assert!(!allowed(&local, &[(host.clone(), foreign)]), "{foreign}");
        }
        let page = |from| [(host.clone(), "localhost:80"), (origin.clone(), from)];
        assert!(allowed(&local, &page("http://localhost:80")));
        assert!(allowed(&local, &page("https://localhost:80")));
        assert!(allowed(&local, &page("http://localhost")));
        assert!(!allowed(&local, &page("http://localhost:81")));
        assert!(!allowed(&local, &page("null")));
        assert!(!allowed(&local, &[]));
        let open = [(host, "a.example"), (origin, "http://b.example")];
        assert!(!allowed(&Access::Anyone, &open));
        assert!(allowed(&Access::Anyone, &open[..1]));
    }
}
