//! The files of the page, and the headers that tell a browser to run nothing else.

use axum::Router;
use axum::http::header;
use axum::response::Response;
use axum::routing::get;

use crate::browser;

/// Nothing from elsewhere, nothing inline, no frame around it, and no text that becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Where each file is found, what it is, and its text.
pub(super) const FILES: [(&str, &str, &str); 13] = [
    ("/", HTML, include_str!("index.html")),
    ("/page/page.css", CSS, include_str!("page.css")),
    ("/page/main.js", SCRIPT, include_str!("main.js")),
    ("/page/server.js", SCRIPT, include_str!("server.js")),
    ("/page/dom.js", SCRIPT, include_str!("dom.js")),
    ("/page/markdown.js", SCRIPT, include_str!("markdown.js")),
    ("/page/tree.js", SCRIPT, include_str!("tree.js")),
    ("/page/thread.js", SCRIPT, include_str!("thread.js")),
    ("/page/tokens.js", SCRIPT, include_str!("tokens.js")),
    ("/page/attention.js", SCRIPT, include_str!("attention.js")),
    ("/page/feedback.js", SCRIPT, include_str!("feedback.js")),
    ("/page/sidebar.js", SCRIPT, include_str!("sidebar.js")),
    ("/page/settings.js", SCRIPT, include_str!("settings.js")),
];

/// The files, each under its address.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES
        .iter()
        .fold(Router::new(), |router, &(path, kind, text)| {
            router.route(
                path,
                get(move || async move { ([(header::CONTENT_TYPE, kind)], text) }),
            )
        })
}

/// Puts the protecting headers on an answer.
pub(super) async fn protect(mut response: Response) -> Response {
    browser::protect(&mut response, POLICY);
    response
}
