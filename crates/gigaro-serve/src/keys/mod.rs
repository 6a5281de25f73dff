//! Keys: who is let in, to what, and how much of it.
//!
//! A file of keys (`file.rs`) holds hashes and no key. SHA-256 is the right hash here: what makes passwords need a slow one is that they
//! can be guessed, and a key of 256 random bits cannot, however fast guesses are. What a key may use in a minute and a day is in `limits.rs`, and
//! what it has used in `ledger.rs`, which outlives restarts in `usage.rs`.
//!
//! A running server looks at its file every second: a key that is made, rotated or revoked counts from then on. Nothing here knows HTTP;
//! who is refused in which words is in `crate::server`.

mod file;
mod ledger;
mod limits;
pub mod moment;
mod usage;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub use file::{Change, Entry, Former, KeyFile, KeyFileError};
pub(crate) use ledger::{Clock, Ledger, Over, Standing};
pub use limits::KeyLimits;
pub use usage::{UsageError, Used, default_usage, used_today};

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The API: replies, tokens, models.
    Inference,
    /// The chat page's conversations.
    Conversations,
    /// Counters.
    Metrics,
    /// What concerns the server and all its users.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 4] = [
        Scope::Inference,
        Scope::Conversations,
        Scope::Metrics,
        Scope::Admin,
    ];

    /// The word in a file and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scope::Inference => "inference",
            Scope::Conversations => "conversations",
            Scope::Metrics => "metrics",
            Scope::Admin => "admin",
        }
    }

    /// The scope of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

type Hash = [u8; 32];

/// A key as the server knows it.
#[derive(Clone, Debug)]
pub struct Key {
    /// What it is called in counters, logs and as an owner of conversations.
    pub name: Arc<str>,
    /// What it opens.
    pub scopes: Vec<Scope>,
    /// How much it may use.
    pub limits: KeyLimits,
    /// From when on it is none.
    pub expires: Option<Timestamp>,
    /// The hash of the key itself, and those of former ones with the moment at which they end.
    hashes: Vec<(Hash, Option<Timestamp>)>,
}

/// Why a key lets nobody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// It is none of this server's.
    Unknown,
    /// It was one until then.
    Expired(Timestamp),
}

/// The keys of a server. A clone is the same keys.
#[derive(Clone, Debug)]
pub struct Keys(Arc<Ring>);

#[derive(Debug)]
struct Ring {
    path: PathBuf,
    known: RwLock<Arc<[Arc<Key>]>>,
    /// What was read last, to tell whether there is something new.
    bytes: Mutex<Vec<u8>>,
    ledger: Arc<Ledger>,
}

impl Keys {
    /// Reads a file of keys: what `gigaro keys` writes, or the short form with a key on each line, `KEY` or `NAME:SHA256`.
    ///
    /// # Errors
    /// If the file cannot be read, makes no sense, or holds no key.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        Self::from_bytes(file::read(path)?, path)
    }

    /// The same from what is in the file.
    pub(crate) fn from_bytes(bytes: Vec<u8>, path: &Path) -> Result<Self, KeyFileError> {
        let known = file::parse(&bytes, path)?;
        Ok(Self(Arc::new(Ring {
            path: path.to_owned(),
            known: RwLock::new(known.into()),
            bytes: Mutex::new(bytes),
            ledger: Arc::default(),
        })))
    }

    /// Keeps what keys have used today where it outlives a restart: in a file, or in the PostgreSQL database of that address, which several
    /// servers may share.
    ///
    /// # Errors
    /// If that place cannot be used.
    pub fn keep_usage(&self, place: &Path) -> Result<(), UsageError> {
        self.0.ledger.keep(usage::UsageStore::open(place)?)
    }

    /// Looks whether the file has changed, and takes what it says now; whether it has. If it cannot be used any more, the keys stay as they
    /// were.
    ///
    /// # Errors
    /// If the file has changed and cannot be used.
    pub fn refresh(&self) -> Result<bool, KeyFileError> {
        let Ring {
            path, known, bytes, ..
        } = &*self.0;
        let now = file::read(path)?;
        let mut before = bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if *before == now {
            return Ok(false);
        }
        // Complained of once, and not again until it is changed again.
        before.clone_from(&now);
        drop(before);
        let keys = file::parse(&now, path)?;
        *known.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
        Ok(true)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Arc<[Arc<Key>]> {
        let known = self.0.known.read();
        known.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many there are; never 0.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a file without keys is refused"
    )]
    pub fn len(&self) -> usize {
        self.all().len()
    }

    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.0.ledger
    }

    /// The key that this is, if it is one at that moment.
    pub(crate) fn find(&self, secret: &str, now: Timestamp) -> Result<Arc<Key>, NoKey> {
        let hash = sha256(secret);
        let mut found = Err(NoKey::Unknown);
        // All of them, whatever was found, and each in a time that does not tell how much of it was right.
        for key in self.all().iter() {
            for (known, until) in &key.hashes {
                if !bool::from(known.ct_eq(&hash)) {
                    continue;
                }
                let ends = [key.expires, *until].into_iter().flatten().min();
                found = match ends {
                    Some(end) if end <= now => Err(NoKey::Expired(end)),
                    _ => Ok(key.clone()),
                };
            }
        }
        found
    }
}

fn sha256(secret: &str) -> Hash {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> (tempfile::TempDir, Keys) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys");
        std::fs::write(&path, text).expect("written");
        let keys = Keys::read(&path).expect("keys");
        (folder, keys)
    }

    fn name(keys: &Keys, secret: &str) -> Result<String, NoKey> {
        let found = keys.find(secret, Timestamp::now());
        found.map(|key| key.name.to_string())
    }

    #[test]
    fn a_key_is_known_by_its_hash_or_by_itself() {
        let text = "# ours\nsecret-of-mine\n\nann:5E884898DA28047151D0E56F8DC6292773603D0D6AABBDD62A11EF721D1542D8\n";
        let (_folder, keys) = keys(text);
        assert_eq!(keys.len(), 2);
        // The hash is that of a well-known bad password.
        assert_eq!(name(&keys, "password").as_deref(), Ok("ann"));
        let named = name(&keys, "secret-of-mine").expect("a key");
        assert!(named.starts_with("key-") && named.len() == 12, "{named}");
        for wrong in ["", "Password", "password ", "ann", "secret-of-min"] {
            assert_eq!(name(&keys, wrong), Err(NoKey::Unknown), "{wrong:?}");
        }
    }

    #[test]
    fn a_changed_file_counts_at_once_and_a_broken_one_changes_nothing() {
        let (folder, keys) = keys("secret-of-mine\n");
        let path = folder.path().join("keys");
        assert!(!keys.refresh().expect("as before"));
        std::fs::write(&path, "another-secret\n").expect("written");
        assert!(keys.refresh().expect("read"));
        assert_eq!(name(&keys, "secret-of-mine"), Err(NoKey::Unknown));
        std::fs::write(&path, "short\n").expect("written");
        let said = keys.refresh().expect_err("refused").to_string();
        assert!(said.contains("line 1"), "{said}");
        assert!(name(&keys, "another-secret").is_ok());
        // It is not said again every second.
        assert!(!keys.refresh().expect("said already"));
        std::fs::remove_file(&path).expect("removed");
        assert!(keys.refresh().is_err());
        assert!(name(&keys, "another-secret").is_ok());
    }

    #[test]
    fn made_rotated_and_revoked_keys_are_what_they_say() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys.toml");
        let entry = Entry::new("ann", vec![Scope::Inference]);
        let first = KeyFile::change(&path, Change::Create(entry.clone())).expect("made");
        let first = first.expect("a secret");
        let again = KeyFile::change(&path, Change::Create(entry)).expect_err("twice");
        assert!(again.to_string().contains("\"ann\""), "{again}");
        let keys = Keys::read(&path).expect("keys");
        assert_eq!(name(&keys, &first).as_deref(), Ok("ann"));

        let until: Timestamp = "2099-01-01T00:00:00Z".parse().expect("a moment");
        let rotate = |until| Change::Rotate {
            name: "ann".to_owned(),
            until,
        };
        let second = KeyFile::change(&path, rotate(until)).expect("rotated");
        let second = second.expect("a secret");
        assert!(keys.refresh().expect("read"));
        assert_ne!(first, second);
        assert_eq!(name(&keys, &first).as_deref(), Ok("ann"));
        assert_eq!(name(&keys, &second).as_deref(), Ok("ann"));
        assert_eq!(
            keys.find(&first, until),
            Err(NoKey::Expired(until)).map(|()| keys.all()[0].clone())
        );
        assert!(keys.find(&second, until).is_ok());
        // Nothing of either stands in the file.
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(
            !text.contains(&first[8..]) && !text.contains(&second[8..]),
            "{text}"
        );

        let other = Entry::new("bob", vec![Scope::Metrics]);
        KeyFile::change(&path, Change::Create(other)).expect("made");
        KeyFile::change(&path, Change::Revoke("ann".to_owned())).expect("revoked");
        assert!(keys.refresh().expect("read"));
        assert_eq!(name(&keys, &second), Err(NoKey::Unknown));
        let gone = KeyFile::change(&path, rotate(until)).expect_err("gone");
        assert!(gone.to_string().contains("bob"), "{gone}");
    }

    impl PartialEq for Key {
        fn eq(&self, other: &Key) -> bool {
            self.name == other.name
        }
    }
}
