//! Licences, repeated crates and sources of everything the workspace depends on, judged by `deny.toml`.
//!
//! This is not cargo-deny: it reads the three tables that the project uses and answers in a second from
//! `cargo metadata`, where building that tool takes minutes (docs/adr/0009 has the figures). Advisories about
//! vulnerable crates need a database from outside and are not looked at here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::metadata::Package;

/// What `deny.toml` allows.
struct Policy {
    allowed: BTreeSet<String>,
    /// `name@version` of crates that may stand beside another version of themselves.
    skipped: BTreeSet<String>,
    registries: BTreeSet<String>,
}

impl Policy {
    fn read(root: &Path) -> Result<Self, String> {
        let path = root.join("deny.toml");
        let text = std::fs::read_to_string(&path)
            .map_err(|e| format!("{} cannot be read: {e}.", path.display()))?;
        let table: toml::Table = text
            .parse()
            .map_err(|e| format!("deny.toml is not valid TOML: {e}"))?;
        Ok(Policy {
            allowed: strings(&table, "licenses", "allow"),
            skipped: strings(&table, "bans", "skip"),
            registries: strings(&table, "sources", "allow-registry"),
        })
    }
}

/// The strings of a list; an entry may also be a table with the string under `crate`, as cargo-deny writes reasons.
fn strings(table: &toml::Table, section: &str, key: &str) -> BTreeSet<String> {
    let list = table
        .get(section)
        .and_then(|s| s.get(key))
        .and_then(|l| l.as_array());
    let text = |v: &toml::Value| {
        v.as_str()
            .or_else(|| v.get("crate")?.as_str())
            .map(str::to_owned)
    };
    list.into_iter().flatten().filter_map(text).collect()
}

/// Every complaint about the given packages, one sentence each.
pub(crate) fn findings(root: &Path, packages: &[Package]) -> Result<Vec<String>, String> {
    let policy = Policy::read(root)?;
    let mut found = Vec::new();
    for package in packages {
        let Package { name, version, .. } = package;
        match &package.licence {
            None => found.push(format!(
                "{name} {version} states no licence: replace it, or ask its authors."
            )),
            Some(text) if !is_allowed(text, &policy.allowed) => {
                found.push(format!(
                    "{name} {version} is under `{text}`, which deny.toml does not allow."
                ));
            }
            Some(_) => {}
        }
        if let Some(source) = &package.source
            && !source
                .strip_prefix("registry+")
                .is_some_and(|url| policy.registries.contains(url))
        {
            found.push(format!(
                "{name} {version} comes from {source}; only crates.io is allowed."
            ));
        }
    }
    found.extend(repeated(packages, &policy.skipped));
    Ok(found)
}

/// Crates present in several versions without a line in `skip`, and lines in `skip` that nothing needs.
fn repeated(packages: &[Package], skipped: &BTreeSet<String>) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(package);
    }
    let mut found = Vec::new();
    let mut needed = BTreeSet::new();
    for (name, list) in versions.into_iter().filter(|(_, list)| list.len() > 1) {
        let (excused, rest): (Vec<&Package>, Vec<&Package>) = list
            .into_iter()
            .partition(|p| skipped.contains(&format!("{}@{}", p.name, p.version)));
        needed.extend(excused.iter().map(|p| format!("{}@{}", p.name, p.version)));
        if rest.len() > 1 {
            let versions: Vec<&str> = rest.iter().map(|p| p.version.as_str()).collect();
            found.push(format!(
                "{name} is compiled in several versions ({}): update what asks for the older one (cargo tree -i {name}), \
                 or give the reason in deny.toml under skip.",
                versions.join(", ")
            ));
        }
    }
    let idle = skipped.difference(&needed);
    found.extend(idle.map(|line| {
        format!("deny.toml skips {line}, which is no longer repeated: remove that line.")
    }));
    found
}

/// Whether an SPDX expression can be met with the allowed licences alone.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest, allowed) && rest.is_empty()
}

fn any_of(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = all_of(words, allowed);
    while let ["OR", tail @ ..] = *words {
        *words = tail;
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while let ["AND", tail @ ..] = *words {
        *words = tail;
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    match *words {
        ["(", tail @ ..] => {
            *words = tail;
            let met = any_of(words, allowed);
            let closed = words.first() == Some(&")");
            *words = &words[usize::from(closed)..];
            met && closed
        }
        [name, "WITH", exception, tail @ ..] => {
            *words = tail;
            allowed.contains(&format!("{name} WITH {exception}"))
        }
        [name, tail @ ..] => {
            *words = tail;
            allowed.contains(*name)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.into(),
            version: version.into(),
            licence: Some("MIT".into()),
            source: None,
            description: None,
            dependencies: Vec::new(),
            dev_dependencies: Vec::new(),
        }
    }

    #[test]
    fn a_licence_expression_is_met_only_by_allowed_licences() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
            .map(str::to_owned)
            .into();
        let check =
            |text: &str, expected: bool| assert_eq!(is_allowed(text, &allowed), expected, "{text}");
        check("MIT", true);
        check("MIT/Apache-2.0", true);
        check("GPL-3.0 OR MIT", true);
        check("GPL-3.0 AND MIT", false);
        check("(GPL-3.0 OR Apache-2.0) AND MIT", true);
        check("Apache-2.0 WITH LLVM-exception", true);
        check("MIT WITH LLVM-exception", false);
        check("MIT OR GPL-3.0 AND LGPL-2.1", true);
        check("", false);
        check("(MIT", false);
    }

    #[test]
    fn a_repeated_crate_needs_a_reason_and_a_reason_needs_a_repeated_crate() {
        let packages = [
            package("a", "1.0.0"),
            package("a", "2.0.0"),
            package("b", "1.0.0"),
        ];
        assert!(
            repeated(&packages, &BTreeSet::new())[0]
                .starts_with("a is compiled in several versions")
        );
        assert!(repeated(&packages, &["a@1.0.0".to_owned()].into()).is_empty());
        let idle = repeated(&packages[1..], &["a@1.0.0".to_owned()].into());
        assert!(idle[0].contains("no longer repeated"));
    }

    #[test]
    fn this_repository_depends_only_on_what_deny_toml_allows() {
        let root = crate::repository_root();
        let packages = crate::metadata::packages(&root).unwrap();
        let found = findings(&root, &packages).unwrap();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
