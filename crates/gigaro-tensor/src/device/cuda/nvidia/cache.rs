//! Compiled kernels on disk: `gigaro/kernels` in the user's folder of caches, so that a program starts without compiling.
//!
//! A file is named by all that its content depends on and begins with a hash of that content. It is written beside its place and then moved there, so
//! that a kill or a second program leaves no half of one; one that is damaged all the same is as good as none. What cannot be kept is compiled
//! again, and nothing else happens: the folder may be deleted at any time.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

const HASH_BYTES: usize = 32;

/// The folder of compiled kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cache {
    /// `None`: nothing is kept, because the environment names no home.
    folder: Option<PathBuf>,
}

impl Cache {
    /// The user's: below XDG_CACHE_HOME, else below `.cache` at home.
    pub(super) fn of_user() -> Self {
        Self::new(|name| std::env::var_os(name).map(PathBuf::from))
    }

    fn new(variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        // A relative path would be another folder wherever the program is started.
        let absolute = |name| variable(name).filter(|path| path.is_absolute());
        let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
        Self {
            folder: caches.map(|caches| caches.join("gigaro/kernels")),
        }
    }

    /// One in this folder.
    #[cfg(test)]
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self {
            folder: Some(folder.to_path_buf()),
        }
    }

    pub(super) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// What is kept under this name, if it is whole.
    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let bytes = fs::read(self.folder.as_ref()?.join(name)).ok()?;
        let (hash, content) = bytes.split_at_checked(HASH_BYTES)?;
        (Sha256::digest(content).as_slice() == hash).then(|| content.to_vec())
    }

    /// Keeps something; if it cannot, because a disk is full or may not be written, it is as if it were deleted at once.
    pub(super) fn write(&self, name: &str, content: &[u8]) {
        let Some(folder) = &self.folder else { return };
        let beside = folder.join(format!(".{name}.{}", std::process::id()));
        let bytes = [Sha256::digest(content).as_slice(), content].concat();
        let kept = make_private(folder)
            .and_then(|()| fs::write(&beside, bytes))
            .and_then(|()| fs::rename(&beside, folder.join(name)));
        if kept.is_err() {
            // Nothing to be done if this fails too.
            drop(fs::remove_file(&beside));
        }
    }
}

/// The name of a file whose content depends on these parts.
pub(super) fn file_name(module: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no two lists run together to the same bytes.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut name = format!("{module}-");
    for byte in hash.finalize() {
        write!(name, "{byte:02x}").expect("a String takes everything");
    }
    name + ".cubin"
}

/// Makes the folder for its owner alone: what is in it will be run.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_written_and_a_damaged_one_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(&folder.path().join("a/b"));
        assert_eq!(cache.read("x"), None);
        cache.write("x", b"machine code");
        assert_eq!(cache.read("x").as_deref(), Some(&b"machine code"[..]));
        let path = folder.path().join("a/b/x");
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..10], &whole[..whole.len() - 1], b""] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(cache.read("x"), None);
        }
        let mut flipped = whole.clone();
        flipped[40] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert_eq!(cache.read("x"), None);
        cache.write("x", b"machine code");
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!(fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_made_keeps_nothing_and_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = Cache::in_folder(&file.join("kernels"));
        cache.write("x", b"machine code");
        assert_eq!(cache.read("x"), None);
    }

    #[test]
    fn the_folder_follows_the_environment() {
        let folder = |xdg: Option<&str>, home: Option<&str>| {
            let cache = Cache::new(|name| match name {
                "XDG_CACHE_HOME" => xdg.map(PathBuf::from),
                _ => home.map(PathBuf::from),
            });
            cache.folder.map(|path| path.display().to_string())
        };
        let want = |path: &str| Some(path.to_owned());
        assert_eq!(folder(Some("/c"), Some("/h")), want("/c/gigaro/kernels"));
        assert_eq!(folder(None, Some("/h")), want("/h/.cache/gigaro/kernels"));
        assert_eq!(
            folder(Some("relative"), Some("/h")),
            want("/h/.cache/gigaro/kernels")
        );
        assert_eq!(folder(None, None), None);
    }

    #[test]
    fn a_name_changes_with_every_part() {
        let name = file_name("softmax", &["sm_80", "13.0", "text"]);
        assert!(name.starts_with("softmax-") && name.ends_with(".cubin"));
        for other in [
            ["sm_90a", "13.0", "text"],
            ["sm_80", "13.1", "text"],
            ["sm_801", "3.0", "text"],
        ] {
            assert_ne!(file_name("softmax", &other), name);
        }
    }
}
