//! Rules about the source tree that no compiler knows: who may depend on whom, who may print, how long a page is.
//!
//! A rule is a line in [`RULES`] and a function from the repository to complaints, in the file of its subject. The
//! tests at the end run each rule over this very repository, so `cargo test` finds what `cargo xtask check` finds.

pub(crate) mod crates;
pub(crate) mod functions;
mod project;
mod text;

use std::path::{Path, PathBuf};

use crate::metadata::{self, Package};
use crate::source::{self, File};

/// Everything a rule can look at.
pub(crate) struct Repository {
    pub(crate) root: PathBuf,
    pub(crate) files: Vec<File>,
    pub(crate) packages: Vec<Package>,
}

impl Repository {
    /// Reads all text files below `root` and asks cargo for the crates.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let (files, packages) = (source::read_tree(root)?, metadata::packages(root)?);
        Ok(Repository {
            root: root.to_path_buf(),
            files,
            packages,
        })
    }

    /// The text of one file, empty if it is not there.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.files
            .iter()
            .find(|f| f.path == path)
            .map_or("", |f| &f.text)
    }

    /// All Rust files.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.is_rust())
    }
}

/// One rule: what it demands, why, and the function that finds where it is broken.
struct Rule {
    name: &'static str,
    reason: &'static str,
    find: fn(&Repository) -> Vec<String>,
}

const RULES: [Rule; 17] = [
    Rule {
        name: "dependency direction",
        reason: "crates depend on each other exactly as the table in ARCHITECTURE.md says",
        find: crates::direction,
    },
    Rule {
        name: "http",
        reason: "only gigaro-serve knows HTTP",
        find: crates::http,
    },
    Rule {
        name: "cuda",
        reason: "only device/cuda and ops/*/cuda.rs touch CUDA crates",
        find: crates::cuda,
    },
    Rule {
        name: "printing",
        reason: "only the binary prints; libraries return values",
        find: crates::printing,
    },
    Rule {
        name: "description",
        reason: "each crate says in one line what it is",
        find: crates::description,
    },
    Rule {
        name: "file length",
        reason: "a file of more than 700 lines is two files",
        find: text::file_length,
    },
    Rule {
        name: "function length",
        reason: "a function fits on a page (70 lines)",
        find: functions::too_long,
    },
    Rule {
        name: "file names",
        reason: "a file is named after what is in it",
        find: text::file_names,
    },
    Rule {
        name: "module docs",
        reason: "a module opens with what it is (`//!`)",
        find: text::module_docs,
    },
    Rule {
        name: "leftovers",
        reason: "what is unfinished is an issue, not a remark in the code",
        find: text::leftovers,
    },
    Rule {
        name: "absolute paths",
        reason: "nobody else's machine has that folder",
        find: text::absolute_paths,
    },
    Rule {
        name: "white space",
        reason: "no trailing spaces, tabs or missing last newline",
        find: text::white_space,
    },
    Rule {
        name: "registry",
        reason: "an op outside the registry is tested by nobody",
        find: project::registry,
    },
    Rule {
        name: "changelog",
        reason: "users learn from CHANGELOG.md what changed",
        find: project::changelog,
    },
    Rule {
        name: "recipes",
        reason: "a recipe that no page mentions is found by nobody",
        find: project::recipes,
    },
    Rule {
        name: "references",
        reason: "pages point at files that exist",
        find: project::references,
    },
    Rule {
        name: "commands",
        reason: "CI runs what README promises",
        find: project::commands,
    },
];

/// Every complaint of every rule about the repository at `root`.
pub(crate) fn findings(root: &Path) -> Result<Vec<String>, String> {
    let repository = Repository::read(root)?;
    let complaints = |rule: &Rule| {
        let found = (rule.find)(&repository);
        found
            .into_iter()
            .map(|line| format!("{line}  [{}: {}]", rule.name, rule.reason))
            .collect::<Vec<_>>()
    };
    Ok(RULES.iter().flat_map(complaints).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository that consists of the given files, without crates.
    pub(crate) fn repository(files: &[(&str, &str)]) -> Repository {
        let files = files
            .iter()
            .map(|(path, text)| File::new(*path, *text))
            .collect();
        Repository {
            root: crate::repository_root(),
            files,
            packages: Vec::new(),
        }
    }

    /// The reach of a rule: it must complain about the one file and be silent about the other.
    #[track_caller]
    pub(crate) fn check(find: fn(&Repository) -> Vec<String>, path: &str, bad: &str, good: &str) {
        assert_eq!(
            find(&repository(&[(path, bad)])).len(),
            1,
            "no complaint about {path}: {bad:?}"
        );
        let found = find(&repository(&[(path, good)]));
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn this_repository_keeps_every_rule() {
        let found = findings(&crate::repository_root()).unwrap();
        assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    }
}
