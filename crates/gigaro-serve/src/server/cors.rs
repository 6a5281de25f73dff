//! Pages of other sites that may ask: none, unless they are named.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::CorsLayer;

use super::app::App;
use super::observe::REQUEST_ID;
use super::origin::Origin;

/// How long a browser may remember what it was told.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Tells browsers that pages of these origins may ask. They bring their keys themselves; no cookies are taken.
pub(super) fn let_in(routes: Router<Arc<App>>, origins: &[Origin]) -> Router<Arc<App>> {
    if origins.is_empty() {
        return routes;
    }
    let values = origins
        .iter()
        .map(|origin| HeaderValue::from_str(&origin.to_string()));
    let values: Vec<HeaderValue> = values.filter_map(Result::ok).collect();
    let told = [
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    ];
    let told = told.map(HeaderName::from_static).into_iter();
    let layer = CorsLayer::new()
        .allow_origin(values)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PATCH,
            Method::PUT,
            Method::DELETE,
        ])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, REQUEST_ID])
        .expose_headers(
            told.chain([REQUEST_ID, header::RETRY_AFTER])
                .collect::<Vec<_>>(),
        )
        .max_age(REMEMBERED);
    routes.layer(layer)
}
