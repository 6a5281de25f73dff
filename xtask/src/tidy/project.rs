//! Rules about the project as a whole: the registry of ops, the changelog, recipes, and pages that stay true.
//!
//! Rules about single files are in [`super::text`].

use std::collections::BTreeSet;

use super::Repository;

const OPS: &str = "crates/gigaro-tensor/src/ops/";

/// The folder below ops/ whose ops the registry lists by file.
const COMPOSITES: &str = "composite";

/// The README's command that runs every test.
const TEST_COMMAND: &str = "cargo test --workspace --release";

/// Folders below ops/ that are named nowhere in the registry.
pub(super) fn registry(repository: &Repository) -> Vec<String> {
    let registry = repository
        .files
        .iter()
        .find(|f| f.path == format!("{OPS}registry.rs"));
    let folders: BTreeSet<&str> = repository
        .rust()
        .filter_map(|f| f.path.strip_prefix(OPS)?.split_once('/'))
        .map(|(folder, _)| folder)
        .filter(|folder| *folder != COMPOSITES)
        .collect();
    let Some(registry) = registry else {
        return folders
            .into_iter()
            .take(1)
            .map(|_| format!("{OPS}registry.rs: missing"))
            .collect();
    };
    let named = |folder: &str| {
        let forms = [
            format!("\"{folder}/"),
            format!("\"{folder}\""),
            format!("\"ops/{folder}/"),
        ];
        forms.iter().any(|quoted| registry.text.contains(quoted))
    };
    let absent = folders.into_iter().filter(|folder| !named(folder));
    absent
        .map(|folder| format!("{OPS}{folder}: no line of registry.rs names a file in it"))
        .collect()
}

/// A changelog without the section that changes go to.
pub(super) fn changelog(repository: &Repository) -> Vec<String> {
    let ready = repository
        .text("CHANGELOG.md")
        .contains("\n## [Unreleased]");
    if ready {
        Vec::new()
    } else {
        vec!["CHANGELOG.md: no section `## [Unreleased]`".into()]
    }
}

/// Recipes that neither the README nor a page under docs/ mentions.
pub(super) fn recipes(repository: &Repository) -> Vec<String> {
    let is_page =
        |path: &str| path.ends_with(".md") && (path.starts_with("docs/") || !path.contains('/'));
    let pages: Vec<&str> = repository
        .files
        .iter()
        .filter(|f| is_page(&f.path))
        .map(|f| f.text.as_str())
        .collect();
    let recipes = repository
        .files
        .iter()
        .filter(|f| f.path.starts_with("recipes/") && f.path.ends_with(".toml"));
    let silent = recipes.filter(|f| !pages.iter().any(|page| page.contains(f.path.as_str())));
    silent
        .map(|f| format!("{}: mentioned in no page", f.path))
        .collect()
}

/// Links and paths in Markdown pages that lead nowhere.
pub(super) fn references(repository: &Repository) -> Vec<String> {
    let mut found = Vec::new();
    for file in repository.files.iter().filter(|f| f.path.ends_with(".md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (at, target) in links(&file.text) {
            if !repository.root.join(folder).join(target).exists() {
                found.push(format!(
                    "{}:{}: the link to {target} leads nowhere",
                    file.path,
                    file.line_at(at)
                ));
            }
        }
        for (at, path) in quoted_paths(&file.text) {
            if !repository.root.join(path).exists() {
                found.push(format!(
                    "{}:{}: {path} does not exist",
                    file.path,
                    file.line_at(at)
                ));
            }
        }
    }
    found
}

/// Relative targets of `[text](target)`, without the anchor.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let target = |(at, mark): (usize, &str)| {
        let rest = &text[at + mark.len()..];
        let target = rest[..rest.find(')')?].split('#').next()?;
        (!target.is_empty() && !target.contains(':')).then_some((at, target))
    };
    text.match_indices("](").filter_map(target)
}

/// Paths in backticks that start with one of the repository's folders and hold no pattern.
fn quoted_paths(text: &str) -> impl Iterator<Item = (usize, &str)> {
    const FOLDERS: [&str; 6] = [
        "crates/",
        "docs/",
        "recipes/",
        "xtask/",
        "examples/",
        ".ci/",
    ];
    let path = |(at, _): (usize, &str)| {
        let rest = &text[at + 1..];
        let path = rest[..rest.find('`')?].trim_end_matches('/');
        let plain = path
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        (plain && FOLDERS.iter().any(|f| path.starts_with(f))).then_some((at, path))
    };
    text.match_indices('`').filter_map(path)
}

/// The README's test command must be the one that .ci/run calls, and so must the checks.
pub(super) fn commands(repository: &Repository) -> Vec<String> {
    let (readme, ci) = (repository.text("README.md"), repository.text(".ci/run"));
    let mut found = Vec::new();
    if !readme.contains(TEST_COMMAND) {
        found.push(format!("README.md: does not name `{TEST_COMMAND}`"));
    }
    for command in [TEST_COMMAND, "cargo xtask check"] {
        if !ci.contains(command) {
            found.push(format!(".ci/run: does not call `{command}`"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, repository};
    use super::*;

    #[test]
    fn an_op_outside_the_registry_is_named() {
        let op = ("crates/gigaro-tensor/src/ops/gather/mod.rs", "");
        let list = |text| ("crates/gigaro-tensor/src/ops/registry.rs", text);
        assert_eq!(registry(&repository(&[op, list("// gather\n")])).len(), 1);
        assert!(
            registry(&repository(&[
                op,
                list("op!(\"gather\" \"gather/mod.rs\")\n")
            ]))
            .is_empty()
        );
        assert_eq!(registry(&repository(&[op])).len(), 1);
    }

    #[test]
    fn pages_must_exist_where_links_say_so() {
        check(
            references,
            "docs/a.md",
            "[x](no-such-page.md)\n",
            "[x](https://example.org) [y](../deny.toml#z)\n",
        );
        check(
            references,
            "docs/a.md",
            "`crates/no-such-crate/src`\n",
            "`crates/gigaro-tensor/src` `crates/*/x`\n",
        );
    }

    #[test]
    fn a_recipe_needs_a_page_and_a_changelog_its_open_section() {
        let recipe = ("recipes/small.toml", "");
        assert_eq!(recipes(&repository(&[recipe])).len(), 1);
        assert!(
            recipes(&repository(&[
                recipe,
                ("docs/a.md", "see recipes/small.toml")
            ]))
            .is_empty()
        );
        check(
            changelog,
            "CHANGELOG.md",
            "# Changelog\n",
            "# Changelog\n\n## [Unreleased]\n",
        );
    }
}
