//! Keys: who is asking, and whether he may.
//!
//! Only hashes are held, and they are compared in a time that does not tell how much of a guess was right. A handler that takes a
//! [`Caller`] cannot be reached without a key where keys are demanded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::app::{Access, App};
use crate::api::ApiError;

/// Whose requests are those of a server without keys.
pub const LOCAL: &str = "local";

type Hash = [u8; 32];

/// The keys that are let in.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Name and hash of each.
    known: Arc<[(Arc<str>, Hash)]>,
}

/// Why a file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("cannot read the keys in {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line is none of the two forms.
    #[error(
        "line {line} of {path} is neither a key (at least {MIN_KEY_LEN} visible characters without a colon) nor NAME:SHA256 with 64 hexadecimal digits"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// Two keys of one name would share what is kept apart by name.
    #[error(
        "line {line} of {path} names {name:?}, which a line before does too; give each key a name of its own"
    )]
    Twice {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// It holds no key.
    #[error("{path} holds no key, so nobody could be let in; put one on a line")]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A shorter key could be guessed.
const MIN_KEY_LEN: usize = 8;

impl Keys {
    /// Reads a file with a key on each line: `KEY`, or `NAME:SHA256` with the key's hash in hexadecimal, so that the key itself
    /// stands nowhere. Empty lines and those that begin with `#` are left out. A key without a name is called after its hash.
    ///
    /// # Errors
    /// If the file cannot be read, a line is neither form, a name comes twice, or there is no key.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let text = std::fs::read_to_string(path).map_err(|source| KeyFileError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    /// The same from the text of the file.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, KeyFileError> {
        let path = || path.to_owned();
        let mut known: Vec<(Arc<str>, Hash)> = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let (line, number) = (line.trim(), i + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, hash)) = parse_line(line) else {
                return Err(KeyFileError::Line {
                    path: path(),
                    line: number,
                });
            };
            if known.iter().any(|(other, _)| **other == *name) {
                return Err(KeyFileError::Twice {
                    path: path(),
                    line: number,
                    name,
                });
            }
            known.push((name.into(), hash));
        }
        if known.is_empty() {
            return Err(KeyFileError::Empty { path: path() });
        }
        Ok(Self {
            known: known.into(),
        })
    }

    /// How many there are; never 0.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a file without keys is refused"
    )]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// The name of a key, if it is one.
    fn name(&self, key: &str) -> Option<Arc<str>> {
        let hash = sha256(key);
        let mut found = None;
        // All of them, whatever was found.
        for (name, known) in self.known.iter() {
            if bool::from(known.ct_eq(&hash)) {
                found = Some(name.clone());
            }
        }
        found
    }
}

fn parse_line(line: &str) -> Option<(String, Hash)> {
    if let Some((name, digits)) = line.split_once(':') {
        let name = name.trim();
        let hash = parse_hash(digits.trim())?;
        return (!name.is_empty()).then(|| (name.to_owned(), hash));
    }
    let is_key = line.len() >= MIN_KEY_LEN && line.chars().all(|c| c.is_ascii_graphic());
    is_key.then(|| {
        let hash = sha256(line);
        let digits: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        (format!("key-{digits}"), hash)
    })
}

fn parse_hash(digits: &str) -> Option<Hash> {
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(hash)
}

fn sha256(key: &str) -> Hash {
    Sha256::digest(key.as_bytes()).into()
}

/// Who is asking: the name of the key, or [`LOCAL`] where none is demanded. Conversations, turns in the queue and reuse of the cache
/// are kept apart by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name, never the key.
    pub name: Arc<str>,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        Self::of(app.access(), &parts.headers)
    }
}

impl Caller {
    /// Who sends these headers.
    ///
    /// # Errors
    /// 401 if a key is demanded and there is none, or a wrong one.
    pub(super) fn of(access: &Access, headers: &HeaderMap) -> Result<Self, ApiError> {
        let Access::Keys(keys) = access else {
            return Ok(Self { name: LOCAL.into() });
        };
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Err(ApiError::unauthorized(
                "this server wants a key: send the header Authorization: Bearer KEY",
            ));
        };
        let key = value.to_str().ok().and_then(|text| {
            let (scheme, key) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
        });
        let name = key.and_then(|key| keys.name(key));
        name.map(|name| Self { name }).ok_or_else(|| {
            ApiError::unauthorized(
                "the key is none of this server's: send the header Authorization: Bearer KEY with one of them",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Keys, String> {
        Keys::parse(text, Path::new("keys.txt")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_key_is_known_by_its_hash_or_by_itself() {
        let text = "# ours\nsecret-of-mine\n\nann:5E884898DA28047151D0E56F8DC6292773603D0D6AABBDD62A11EF721D1542D8\n";
        let keys = parse(text).expect("two keys");
        assert_eq!(keys.len(), 2);
        // The hash is that of a well-known bad password.
        assert_eq!(keys.name("password").as_deref(), Some("ann"));
        let named = keys.name("secret-of-mine").expect("a key");
        assert!(named.starts_with("key-") && named.len() == 12, "{named}");
        for wrong in ["", "Password", "password ", "ann", "secret-of-min"] {
            assert_eq!(keys.name(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_file_that_would_let_in_nobody_or_the_wrong_one_is_refused_by_line() {
        let refused = |text: &str| parse(text).expect_err("refused");
        assert!(refused("\n# none\n").contains("holds no key"));
        assert!(refused("longenough\nshort\n").starts_with("line 2 of keys.txt"));
        assert!(refused("ann:abcd").starts_with("line 1"));
        assert!(refused("has a space in it").starts_with("line 1"));
        let hash = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
        let twice = refused(&format!("ann:{hash}\nann:{hash}"));
        assert!(twice.contains("names \"ann\""), "{twice}");
        assert!(refused(&format!(":{hash}")).starts_with("line 1"));
    }
}
