//! Who may go where: the scope that an address demands, and the limits of the key.
//!
//! One table says what each address demands, so that a new one under a known beginning is guarded without anybody thinking of it. Requests that
//! work for somebody, those that POST to the API, are counted against the key's limits; what the page asks of the API inside the
//! server goes through here as well.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::app::{Access, App};
use super::auth::{Caller, LOCAL};
use super::held;
use crate::api::ApiError;
use crate::keys::{Clock, Key, NoKey, Over, Scope, Standing};
use crate::record::Record;

/// What addresses that begin so demand; all others are open to whoever reaches the server.
const DEMANDS: [(&str, Scope); 6] = [
    ("/v1/", Scope::Inference),
    ("/tokenize", Scope::Inference),
    ("/detokenize", Scope::Inference),
    ("/api/", Scope::Conversations),
    ("/metrics", Scope::Metrics),
    ("/admin/", Scope::Admin),
];

/// What the address of this pattern demands.
pub(crate) fn demanded(route: &str) -> Option<Scope> {
    let found = DEMANDS.iter().find(|(begin, _)| route.starts_with(begin));
    found.map(|(_, scope)| *scope)
}

pub(crate) async fn gate(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    let scope = matched.and_then(|path| demanded(path.as_str()));
    let (Some(scope), Access::Keys(keys)) = (scope, app.access()) else {
        return next.run(request).await;
    };
    let key = match authenticate(&app, request.headers()).and_then(|key| permitted(key, scope)) {
        Ok(key) => key,
        Err(error) => return error.into_response(),
    };
    request.extensions_mut().insert(Caller {
        name: key.name.clone(),
    });
    if scope != Scope::Inference || request.method() != Method::POST {
        return next.run(request).await;
    }
    let (pass, standing) = keys.ledger().admit(&key, Clock::now());
    let mut response = match pass {
        Ok(pass) => held::until_over(next.run(request).await, pass),
        Err(over) => refusal(&key, over).into_response(),
    };
    tell(response.headers_mut(), &standing);
    response
}

/// The key that a request bears.
pub(super) fn authenticate(app: &App, headers: &HeaderMap) -> Result<Option<Arc<Key>>, ApiError> {
    let Access::Keys(keys) = app.access() else {
        return Ok(None);
    };
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Err(ApiError::unauthorized(
            "this server wants a key: send the header Authorization: Bearer KEY",
        ));
    };
    let secret = value.to_str().ok().and_then(|text| {
        let (scheme, key) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let found = secret
        .ok_or(NoKey::Unknown)
        .and_then(|secret| keys.find(secret, Timestamp::now()));
    let key = found.map_err(|no| {
        ApiError::unauthorized(match no {
            NoKey::Unknown => "the key is none of this server's: send the header Authorization: Bearer KEY with one of them".to_owned(),
            NoKey::Expired(end) => format!("this key has ended on {end:.0}: ask whoever runs this server for another"),
        })
    })?;
    if let Some(record) = Record::current() {
        record.facts().key = Some(key.name.clone());
    }
    Ok(Some(key))
}

fn permitted(key: Option<Arc<Key>>, scope: Scope) -> Result<Arc<Key>, ApiError> {
    // Without keys nobody comes here.
    let key = key.ok_or_else(ApiError::bug)?;
    if key.scopes.contains(&scope) {
        return Ok(key);
    }
    Err(ApiError::forbidden(format!(
        "the key {} does not open this: it lacks the scope {}",
        key.name,
        scope.name()
    ))
    .code("missing_scope"))
}

fn refusal(key: &Key, over: Over) -> ApiError {
    let Over {
        what,
        limit,
        retry_after_s,
        is_quota,
    } = over;
    let sentence = format!(
        "the key {} has used its {limit} {what}; try again in {}",
        key.name,
        span(retry_after_s)
    );
    let code = if is_quota {
        "insufficient_quota"
    } else {
        "rate_limit_exceeded"
    };
    ApiError::too_many(sentence, retry_after_s).code(code)
}

/// Says in the headers that OpenAI's clients read how much is left.
fn tell(headers: &mut HeaderMap, standing: &Standing) {
    for (kind, left) in [("requests", standing.requests), ("tokens", standing.tokens)] {
        let Some(left) = left else { continue };
        for (name, value) in [
            ("limit", left.limit.to_string()),
            ("remaining", left.remaining.to_string()),
            ("reset", span(left.reset_s)),
        ] {
            let name = HeaderName::from_bytes(format!("x-ratelimit-{name}-{kind}").as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
                headers.insert(name, value);
            }
        }
    }
}

/// Seconds as `1h2m3s`, the form of those headers.
fn span(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let mut text = String::new();
    if hours > 0 {
        text += &format!("{hours}h");
    }
    if hours + minutes > 0 {
        text += &format!("{minutes}m");
    }
    text + &format!("{}s", seconds % 60)
}

/// The caller of a request that no table entry stands for: any key will do.
pub(super) fn caller(app: &App, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let key = authenticate(app, headers)?;
    Ok(Caller {
        name: key.map_or_else(|| LOCAL.into(), |key| key.name.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_the_clients_read_them() {
        let spans = [0, 59, 60, 3600, 3723, 86_400].map(span);
        assert_eq!(spans, ["0s", "59s", "1m0s", "1h0m0s", "1h2m3s", "24h0m0s"]);
    }
}
