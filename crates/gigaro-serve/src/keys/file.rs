//! The file of keys: what `gigaro keys` writes, and the short form with a key on each line.
//!
//! TOML, so that it can be read, reviewed and mounted as a secret. It is written whole, beside its place, and then put there in one step; a lock
//! keeps two commands that change it at once apart.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::moment::form as moment;
use super::{Hash, Key, KeyLimits, Scope, sha256};

/// A shorter key could be guessed.
const MIN_KEY_LEN: usize = 8;
/// Longer names make no readable counters.
const MAX_NAME_LEN: usize = 64;
/// What keys begin with, so that one that leaked is recognised by people and by programs that look for such.
const PREFIX: &str = "gigaro-";
/// What stands at the head of the file.
const HEADING: &str = "# Keys of gigaro serve: hashes, no keys. Changed with gigaro keys; a running server takes what stands here within a second or two.\n\n";

/// Why a file of keys cannot be used or changed.
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
    /// It cannot be written.
    #[error("cannot write the keys to {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A line of the short form is none of its two.
    #[error(
        "line {line} of {path} is neither a key (at least {MIN_KEY_LEN} visible characters without a colon) nor NAME:SHA256 with 64 hexadecimal digits"
    )]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// It is no TOML of the form that is wanted.
    #[error("{path} is no file of keys: {problem}; make one with gigaro keys create")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// Two keys of one name would share what is kept apart by name.
    #[error(
        "{place} names {name:?}, which is there before; give each key a name of its own, or a new secret with gigaro keys rotate"
    )]
    Twice {
        /// The line or the file.
        place: String,
        /// The name.
        name: String,
    },
    /// A name that would not be readable in counters and logs.
    #[error(
        "{name:?} is no name for a key: take up to {MAX_NAME_LEN} letters, digits, dots, dashes and underscores"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// There is no key of that name.
    #[error("there is no key {name:?} in {path}; it has: {known}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// It holds no key.
    #[error(
        "{path} holds no key, so nobody could be let in; make one with gigaro keys create NAME --file {path}"
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file in the short form, which has no place for scopes and limits.
    #[error(
        "{path} has a key on each line, a form that gigaro keys does not change; begin a new file"
    )]
    Short {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("the operating system gives no random numbers to make a key of: {0}")]
    Random(getrandom::Error),
}

/// A key as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is called.
    pub name: String,
    /// Its hash, in hexadecimal.
    #[serde(default)]
    pub sha256: String,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// When it was made.
    #[serde(with = "moment", default)]
    pub created: Option<Timestamp>,
    /// From when on it is none.
    #[serde(with = "moment", default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Requests in a minute, and so on.
    #[serde(default, skip_serializing_if = "is_unlimited")]
    pub limits: KeyLimits,
    /// Secrets that it had before and that still count for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Former>,
}

/// A secret that a key had before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Former {
    /// Its hash, in hexadecimal.
    pub sha256: String,
    /// From when on it does not count any more.
    #[serde(with = "moment")]
    pub until: Option<Timestamp>,
}

impl Entry {
    /// A key to be made, without an end and without limits.
    #[must_use]
    pub fn new(name: &str, scopes: Vec<Scope>) -> Self {
        Self {
            name: name.to_owned(),
            sha256: String::new(),
            scopes,
            created: Some(Timestamp::now()),
            expires: None,
            limits: KeyLimits::default(),
            former: Vec::new(),
        }
    }
}

/// What is to be done to a file of keys.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new key.
    Create(Entry),
    /// A new secret for a key; the present one counts until then.
    Rotate {
        /// Whose.
        name: String,
        /// How long the present one counts.
        until: Timestamp,
    },
    /// A key is none any more.
    Revoke(String),
}

/// All keys of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// In the order in which they were made.
    #[serde(default, rename = "key")]
    pub keys: Vec<Entry>,
}

impl KeyFile {
    /// Reads a file that `gigaro keys` has written.
    ///
    /// # Errors
    /// If it cannot be read or is something else.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let bytes = read(path)?;
        let text = text(&bytes, path)?;
        if !is_toml(text) {
            return Err(KeyFileError::Short { path: path.into() });
        }
        Self::parse(text, path)
    }

    /// Changes the file at `path`, which the first key makes; gives the secret of a new or rotated key, which stands nowhere else.
    ///
    /// # Errors
    /// If the file cannot be read or written, or has or lacks the name.
    pub fn change(path: &Path, change: Change) -> Result<Option<String>, KeyFileError> {
        let write = |source| KeyFileError::Write {
            path: path.into(),
            source,
        };
        let lock = File::create(beside(path, "lock")).map_err(write)?;
        lock.lock().map_err(write)?;
        let mut file = match path.exists() {
            true => Self::load(path)?,
            false => Self::default(),
        };
        let secret = file.apply(path, change)?;
        file.save(path).map_err(write)?;
        Ok(secret)
    }

    fn apply(&mut self, path: &Path, change: Change) -> Result<Option<String>, KeyFileError> {
        match change {
            Change::Create(mut entry) => {
                check_name(&entry.name)?;
                if self.keys.iter().any(|key| key.name == entry.name) {
                    return Err(KeyFileError::Twice {
                        place: path.display().to_string(),
                        name: entry.name,
                    });
                }
                let secret = secret()?;
                entry.sha256 = hex(&sha256(&secret));
                self.keys.push(entry);
                Ok(Some(secret))
            }
            Change::Rotate { name, until } => {
                let key = self.of(&name, path)?;
                let secret = secret()?;
                let before = std::mem::replace(&mut key.sha256, hex(&sha256(&secret)));
                let now = Timestamp::now();
                key.former
                    .retain(|former| former.until.is_some_and(|end| end > now));
                key.former.push(Former {
                    sha256: before,
                    until: Some(until),
                });
                Ok(Some(secret))
            }
            Change::Revoke(name) => {
                self.of(&name, path)?;
                self.keys.retain(|key| key.name != name);
                Ok(None)
            }
        }
    }

    fn of(&mut self, name: &str, path: &Path) -> Result<&mut Entry, KeyFileError> {
        let names: Vec<&str> = self.keys.iter().map(|key| key.name.as_str()).collect();
        let unknown = KeyFileError::Unknown {
            path: path.into(),
            name: name.to_owned(),
            known: names.join(", "),
        };
        self.keys
            .iter_mut()
            .find(|key| key.name == name)
            .ok_or(unknown)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, KeyFileError> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            // Without the line itself, which the error would show as well: it may hold a key that somebody has put there.
            let line = error.span().and_then(|span| text.get(..span.start));
            let line = line.map_or(1, |before| before.matches('\n').count() + 1);
            KeyFileError::Form {
                path: path.into(),
                problem: format!("line {line}: {}", error.message()),
            }
        })
    }

    /// Writes it whole or not at all; only its owner may read it, since names and limits are nobody else's business.
    fn save(&self, path: &Path) -> std::io::Result<()> {
        let text = toml::to_string(self).map_err(std::io::Error::other)?;
        let new = beside(path, "new");
        let mut options = File::options();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&new)?;
        file.write_all(HEADING.as_bytes())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(new, path)
    }

    fn into_keys(self, path: &Path) -> Result<Vec<Arc<Key>>, KeyFileError> {
        let mut keys: Vec<Arc<Key>> = Vec::new();
        for entry in self.keys {
            check_name(&entry.name)?;
            if keys.iter().any(|key| *key.name == *entry.name) {
                return Err(KeyFileError::Twice {
                    place: path.display().to_string(),
                    name: entry.name,
                });
            }
            let hash = |digits: &str| {
                parse_hash(digits).ok_or_else(|| KeyFileError::Form {
                    path: path.into(),
                    problem: format!(
                        "a sha256 of the key {:?} is not 64 hexadecimal digits",
                        entry.name
                    ),
                })
            };
            let mut hashes = vec![(hash(&entry.sha256)?, None)];
            for former in &entry.former {
                hashes.push((hash(&former.sha256)?, former.until));
            }
            keys.push(Arc::new(Key {
                name: entry.name.as_str().into(),
                scopes: entry.scopes,
                limits: entry.limits,
                expires: entry.expires,
                hashes,
            }));
        }
        Ok(keys)
    }
}

/// The bytes of the file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    std::fs::read(path).map_err(|source| KeyFileError::Read {
        path: path.to_owned(),
        source,
    })
}

/// The keys in either form; at least one.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Arc<Key>>, KeyFileError> {
    let text = text(bytes, path)?;
    let keys = match is_toml(text) {
        true => KeyFile::parse(text, path)?.into_keys(path)?,
        false => short(text, path)?,
    };
    if keys.is_empty() {
        return Err(KeyFileError::Empty { path: path.into() });
    }
    Ok(keys)
}

fn text<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a str, KeyFileError> {
    std::str::from_utf8(bytes).map_err(|_| KeyFileError::Form {
        path: path.into(),
        problem: "it is no text in UTF-8".to_owned(),
    })
}

/// The lines that say something.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text
        .lines()
        .enumerate()
        .map(|(i, line)| (i + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn is_toml(text: &str) -> bool {
    lines(text)
        .next()
        .is_some_and(|(_, line)| line.starts_with('[') || line.starts_with("key"))
}

/// The short form: such a key opens all but what concerns the server and all its users.
fn short(text: &str, path: &Path) -> Result<Vec<Arc<Key>>, KeyFileError> {
    let mut keys: Vec<Arc<Key>> = Vec::new();
    for (number, line) in lines(text) {
        let (name, hash) = parse_line(line).ok_or_else(|| KeyFileError::Line {
            path: path.into(),
            line: number,
        })?;
        if keys.iter().any(|key| *key.name == *name) {
            return Err(KeyFileError::Twice {
                place: format!("line {number} of {}", path.display()),
                name,
            });
        }
        keys.push(Arc::new(Key {
            name: name.into(),
            scopes: vec![Scope::Inference, Scope::Conversations, Scope::Metrics],
            limits: KeyLimits::default(),
            expires: None,
            hashes: vec![(hash, None)],
        }));
    }
    Ok(keys)
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
        (format!("key-{}", hex(&hash[..4])), hash)
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 256 bits that nobody can guess.
fn secret() -> Result<String, KeyFileError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(KeyFileError::Random)?;
    Ok(format!("{PREFIX}{}", hex(&bytes)))
}

fn check_name(name: &str) -> Result<(), KeyFileError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if (1..=MAX_NAME_LEN).contains(&name.len()) && name.chars().all(is_fine) {
        return Ok(());
    }
    Err(KeyFileError::Name { name: name.into() })
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn is_unlimited(limits: &KeyLimits) -> bool {
    *limits == KeyLimits::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let parsed = parse(text.as_bytes(), Path::new("keys.txt"));
        parsed.expect_err("refused").to_string()
    }

    #[test]
    fn a_file_that_would_let_in_nobody_or_the_wrong_one_is_refused_by_line() {
        assert!(refused("\n# none\n").contains("holds no key"));
        assert!(refused("longenough\nshort\n").starts_with("line 2 of keys.txt"));
        assert!(refused("ann:abcd").starts_with("line 1"));
        assert!(refused("has a space in it").starts_with("line 1"));
        let hash = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
        let twice = refused(&format!("ann:{hash}\nann:{hash}"));
        assert!(twice.contains("names \"ann\""), "{twice}");
        assert!(refused(&format!(":{hash}")).starts_with("line 1"));
    }

    #[test]
    fn what_makes_no_sense_in_the_long_form_is_named() {
        let hash = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
        let key = |more: &str| {
            format!(
                "[[key]]\nname = \"ann\"\nsha256 = \"{hash}\"\nscopes = [\"inference\"]\n{more}"
            )
        };
        let parsed = parse(
            key("[key.limits]\ntokens_per_day = 5\n").as_bytes(),
            Path::new("k"),
        );
        let limit = parsed.expect("a key")[0].limits.tokens_per_day;
        assert_eq!(limit.map(u64::from), Some(5));
        for (more, word) in [
            ("expires = \"tomorrow\"\n", "line 5: invalid value"),
            ("frobnicate = 1\n", "frobnicate"),
            ("[key.limits]\ntokens_per_day = 0\n", "nonzero"),
            (
                "[[key]]\nname = \"bob\"\nscopes = [\"everything\"]\n",
                "everything",
            ),
            ("[[key]]\nname = \"bob\"\nscopes = []\n", "64 hexadecimal"),
        ] {
            let said = refused(&key(more));
            assert!(said.contains(word), "{word}: {said}");
        }
        let pasted = refused(&key("gigaro-0123456789abcdef\n"));
        assert!(
            pasted.contains("line 5") && !pasted.contains("0123"),
            "{pasted}"
        );
        let twice = refused(&format!("{}{}", key(""), key("")));
        assert!(twice.contains("names \"ann\""), "{twice}");
        assert!(refused(&key("").replace("\"ann\"", "\"a b\"")).contains("no name"));
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.toml");
        let mut entry = Entry::new("ann", Scope::ALL.to_vec());
        entry.expires = Some("2031-01-02T00:00:00Z".parse().expect("a moment"));
        entry.limits.requests_per_minute = std::num::NonZeroU64::new(60);
        KeyFile::change(&path, Change::Create(entry.clone())).expect("made");
        let read = KeyFile::load(&path).expect("read").keys.remove(0);
        assert_eq!((read.expires, read.limits), (entry.expires, entry.limits));
        assert_eq!(read.scopes, entry.scopes);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path)
                .expect("there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}
