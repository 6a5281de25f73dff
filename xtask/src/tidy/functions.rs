//! The length of functions: 70 lines, and a committed list of the longer ones that may only become shorter.
//!
//! `xtask/long_functions.txt` holds `path function lines`. A function that is not in the list and over the limit, or
//! longer than its line says, is a complaint; so is a line that is no longer true, which `cargo xtask ratchet` lowers.

use std::collections::BTreeMap;
use std::path::Path;

use super::Repository;
use crate::source;

const MAX_FUNCTION_LINES: usize = 70;
const LIST: &str = "xtask/long_functions.txt";

/// Lines of the longest function of each name in each file, where over the limit.
fn over_limit(files: &[source::File]) -> BTreeMap<(String, String), usize> {
    let mut found = BTreeMap::new();
    for file in files.iter().filter(|f| f.is_rust()) {
        for (name, range) in file.functions() {
            let lines = 1 + file.line_at(range.end - 1) - file.line_at(range.start);
            if lines > MAX_FUNCTION_LINES {
                let longest = found.entry((file.path.clone(), name)).or_insert(0);
                *longest = lines.max(*longest);
            }
        }
    }
    found
}

/// The committed list; a line that cannot be read counts as zero lines and so is complained about.
fn listed(text: &str) -> BTreeMap<(String, String), usize> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let entry = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        let key = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        (key, words.next().and_then(|n| n.parse().ok()).unwrap_or(0))
    };
    lines.map(entry).collect()
}

fn read_list(root: &Path) -> String {
    std::fs::read_to_string(root.join(LIST)).unwrap_or_default()
}

/// Functions longer than allowed, and lines of the list that are out of date.
pub(super) fn too_long(repository: &Repository) -> Vec<String> {
    compare(
        &over_limit(&repository.files),
        &listed(&read_list(&repository.root)),
    )
}

fn compare(
    now: &BTreeMap<(String, String), usize>,
    list: &BTreeMap<(String, String), usize>,
) -> Vec<String> {
    let mut found = Vec::new();
    for ((path, name), lines) in now {
        let allowed = list
            .get(&(path.clone(), name.clone()))
            .copied()
            .unwrap_or(MAX_FUNCTION_LINES);
        if *lines > allowed {
            found.push(format!(
                "{path}: fn {name} has {lines} lines, at most {allowed}: divide it"
            ));
        }
    }
    for ((path, name), allowed) in list {
        let lines = now.get(&(path.clone(), name.clone())).copied().unwrap_or(0);
        if lines < *allowed || *allowed == 0 {
            found.push(format!(
                "{LIST}: {path} {name} says {allowed} lines, now {lines}: run `cargo xtask ratchet`"
            ));
        }
    }
    found
}

/// Rewrites the list with what is shorter now; entries never grow and none is added.
pub(crate) fn tighten(root: &Path) -> Result<String, String> {
    let text = read_list(root);
    let (now, list) = (over_limit(&source::read_tree(root)?), listed(&text));
    let mut out: String = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let mut kept = 0;
    for ((path, name), allowed) in &list {
        if let Some(lines) = now.get(&(path.clone(), name.clone())) {
            out.push_str(&format!("{path} {name} {}\n", lines.min(allowed)));
            kept += 1;
        }
    }
    std::fs::write(root.join(LIST), out).map_err(|e| format!("{LIST} cannot be written: {e}."))?;
    Ok(format!("{LIST}: {} of {} lines left.", kept, list.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(lines: usize) -> BTreeMap<(String, String), usize> {
        BTreeMap::from([(("a.rs".to_owned(), "f".to_owned()), lines)])
    }

    #[test]
    fn the_ratchet_turns_one_way_only() {
        let none = BTreeMap::new();
        assert_eq!(compare(&entry(80), &none).len(), 1, "new and long");
        assert_eq!(compare(&entry(80), &entry(80)).len(), 0, "listed");
        assert_eq!(compare(&entry(81), &entry(80)).len(), 1, "grown");
        assert_eq!(
            compare(&entry(75), &entry(80)).len(),
            1,
            "shorter than listed"
        );
        assert_eq!(compare(&none, &entry(80)).len(), 1, "gone");
    }

    #[test]
    fn a_page_is_seventy_lines() {
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "x;\n".repeat(lines - 2));
        let files = |lines| [source::File::new("a.rs", function(lines))];
        assert!(over_limit(&files(70)).is_empty());
        assert_eq!(over_limit(&files(71)).len(), 1);
    }
}
