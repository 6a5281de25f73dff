//! Where a web page is from: scheme, host and port, as browsers compare them.

use std::fmt;
use std::str::FromStr;

use axum::http::uri::Authority;

/// The origin of a page, such as `https://chat.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: &'static str,
    /// In small letters.
    host: String,
    port: u16,
}

/// A text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no address of pages: give http:// or https://, a name and perhaps a port, as in https://chat.example"
)]
pub struct NoOrigin(String);

impl Origin {
    /// Whether a request that names this host could be meant for it. A port that is not named is the scheme's own.
    #[must_use]
    pub(super) fn is_host(&self, host: &str) -> bool {
        authority(host, self.scheme)
            .is_some_and(|(host, port)| (host, port) == (self.host.clone(), self.port))
    }
}

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let wrong = || NoOrigin(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let scheme = match scheme {
            "http" => "http",
            "https" => "https",
            _ => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority(rest, scheme).ok_or_else(wrong)?;
        Ok(Self { scheme, host, port })
    }
}

impl fmt::Display for Origin {
    /// As browsers write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        if self.port != usual_port(self.scheme) {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

fn usual_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

fn authority(text: &str, scheme: &str) -> Option<(String, u16)> {
    let authority: Authority = text.parse().ok()?;
    if text.contains('@') || authority.host().is_empty() {
        return None;
    }
    let port = match authority.port() {
        // What stands behind the name and is no port is nothing.
        None if authority.as_str().len() > authority.host().len() => return None,
        None => usual_port(scheme),
        Some(port) => port.as_str().parse().ok()?,
    };
    Some((authority.host().to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_browsers_do() {
        let origin = |text: &str| text.parse::<Origin>();
        let chat = origin("https://Chat.example/").expect("an origin");
        assert_eq!(chat.to_string(), "https://chat.example");
        assert_eq!(Ok(chat.clone()), origin("https://chat.example:443"));
        assert_ne!(Ok(chat.clone()), origin("http://chat.example"));
        for host in ["chat.example", "CHAT.example:443"] {
            assert!(chat.is_host(host), "{host}");
        }
        for host in [
            "chat.example:80",
            "evil.example",
            "x@chat.example",
            "",
            "chat.example/",
        ] {
            assert!(!chat.is_host(host), "{host}");
        }
        assert_eq!(
            origin("http://[::1]:81").expect("an origin").to_string(),
            "http://[::1]:81"
        );
        for odd in [
            "null",
            "chat.example",
            "ftp://a",
            "https://",
            "https://a/b",
            "https://u@a",
            "https://a:x",
            "*",
        ] {
            assert!(origin(odd).is_err(), "{odd}");
        }
    }
}
