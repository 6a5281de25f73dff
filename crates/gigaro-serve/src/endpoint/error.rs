//! What can go wrong with somebody else's endpoint, and whether it is worth another attempt.

use std::time::Duration;

use serde_json::Value;

use super::Key;

/// What asking an endpoint returns.
pub type Result<T, E = EndpointError> = std::result::Result<T, E>;

/// Why an endpoint gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The address is none.
    #[error(
        "{address} is no address of a model ({why}): give one such as https://api.openai.com/v1 or http://127.0.0.1:8080/v1"
    )]
    Address {
        /// As it was given, without a password.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The key holds what no request can.
    #[error(
        "the key in {from} holds spaces, line breaks or other signs that no key has: set it again"
    )]
    Key {
        /// Where it was found.
        from: String,
    },
    /// No connection, or one that broke.
    #[error(
        "{url} cannot be reached ({why}): check the address, and that a server runs there and can be reached from here"
    )]
    Unreachable {
        /// What was asked.
        url: String,
        /// What the network said.
        why: String,
    },
    /// The reply did not come in time.
    #[error(
        "{url} did not answer within {seconds} seconds: give it more time, or ask a smaller model"
    )]
    Slow {
        /// What was asked.
        url: String,
        /// How long it had.
        seconds: f64,
    },
    /// An answer that says no.
    #[error("{url} refuses with status {status} ({said}): {advice}")]
    Refused {
        /// What was asked.
        url: String,
        /// HTTP's number for what is wrong.
        status: u16,
        /// The server's words, shortened.
        said: String,
        /// What to do.
        advice: String,
    },
    /// A reply that began and did not end.
    #[error("the reply of {url} broke off ({why}): ask again")]
    Broken {
        /// What was asked.
        url: String,
        /// What the network or the server said.
        why: String,
    },
    /// An answer that is none of OpenAI's API.
    #[error(
        "what answers at {url} does not speak OpenAI's chat completions: {why} ({said}); check the address, which mostly ends with /v1"
    )]
    Foreign {
        /// What was asked.
        url: String,
        /// What is wrong with the reply.
        why: String,
        /// Its beginning.
        said: String,
    },
    /// All attempts failed.
    #[error("tried {tried} times: {last}")]
    GaveUp {
        /// How many attempts there were.
        tried: u32,
        /// What was wrong with the last one.
        last: Box<EndpointError>,
    },
}

/// Whether another attempt may end better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    Never,
    /// It took long already.
    Once,
    /// After the pause that the server asked for, if it did.
    Often(Option<Duration>),
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: EndpointError,
    pub(super) retry: Retry,
    /// The setting that the endpoint does not take, if it named one.
    pub(super) setting: Option<String>,
}

impl Failure {
    pub(super) const fn new(error: EndpointError, retry: Retry) -> Failure {
        Failure {
            error,
            retry,
            setting: None,
        }
    }

    /// Trouble that may pass.
    pub(super) const fn often(error: EndpointError) -> Failure {
        Failure::new(error, Retry::Often(None))
    }

    /// An answer with a status other than success.
    pub(super) fn of_status(
        url: &str,
        status: u16,
        said: String,
        key: &Key,
        pause: Option<Duration>,
    ) -> Failure {
        let from = &key.from;
        let advice = match status {
            300..=399 => "it is elsewhere now: give the address where it is".into(),
            401 | 403 if key.secret.is_some() => format!("check the key in {from}"),
            401 | 403 => format!("it wants a key: set {from}"),
            404 | 405 => {
                "check the address, which mostly ends with /v1, and the model's name".into()
            }
            408 | 429 => "it has too much to do, or your quota is used up: try again later".into(),
            400..=499 => "it does not take such a request: check the model's name".into(),
            _ => "it is in trouble: see its log, or try again later".to_owned(),
        };
        let retry = match status {
            // 529 is how some say that they are overloaded.
            408 | 425 | 429 | 500 | 502 | 503 | 504 | 529 => Retry::Often(pause),
            _ => Retry::Never,
        };
        let error = EndpointError::Refused {
            url: url.to_owned(),
            status,
            said,
            advice,
        };
        Failure::new(error, retry)
    }

    /// The error for the caller, after so many attempts.
    pub(super) fn after(self, tried: u32) -> EndpointError {
        match tried {
            1 => self.error,
            _ => EndpointError::GaveUp {
                tried,
                last: self.error.into(),
            },
        }
    }
}

/// What a server said, fit for one line: its error's message if it has one, else the beginning of it all. Control characters
/// could play tricks on a terminal and are taken out, and so is the key.
pub(super) fn quoted(bytes: &[u8], secret: Option<&str>) -> String {
    const MOST: usize = 300;
    let whole = String::from_utf8_lossy(bytes);
    let parsed: Option<Value> = serde_json::from_slice(bytes).ok();
    let error = parsed.as_ref().map(|v| &v["error"]);
    let message = error.and_then(|e| e["message"].as_str().or(e.as_str()));
    let mut said = message.unwrap_or(&whole).to_owned();
    if let Some(secret) = secret.filter(|s| !s.is_empty()) {
        said = said.replace(secret, "[key]");
    }
    let said: String = said
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    match said.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}..", &said[..at]),
        None if said.is_empty() => "no words".into(),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_one_short_line_without_the_key() {
        let check =
            |bytes: &[u8], expected: &str| assert_eq!(quoted(bytes, Some("sk-9")), expected);
        check(br#"{"error": {"message": "no key sk-9"}}"#, "no key [key]");
        check(br#"{"error": "busy"}"#, "busy");
        check(b"<h1>\n\x1b[31mNo</h1>\xff", "<h1> [31mNo</h1>\u{fffd}");
        check(b" \n", "no words");
        let long = quoted(&[b'x'; 9000], None);
        assert_eq!(long.len(), 302);
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_told() {
        let key = |secret: Option<&str>| Key {
            from: "SOME_KEY".into(),
            secret: secret.map(str::to_owned),
        };
        let of =
            |status, secret| Failure::of_status("http://a", status, "x".into(), &key(secret), None);
        for status in [408, 429, 500, 503, 529] {
            assert_eq!(of(status, None).retry, Retry::Often(None), "{status}");
        }
        for status in [301, 400, 401, 404, 413, 501] {
            assert_eq!(of(status, None).retry, Retry::Never, "{status}");
        }
        let said = |status, secret| of(status, secret).after(1).to_string();
        assert!(said(401, None).ends_with("it wants a key: set SOME_KEY"));
        assert!(said(401, Some("k")).ends_with("check the key in SOME_KEY"));
        let tired = of(503, None).after(5).to_string();
        assert!(
            tired.starts_with("tried 5 times: http://a refuses with status 503"),
            "{tired}"
        );
    }
}
