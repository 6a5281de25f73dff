//! Rules about single files: their names, length, opening words, white space and leftovers.
//!
//! Rules about functions are in [`super::functions`], those about crates in [`super::crates`].

use super::Repository;
use crate::source::File;

const MAX_FILE_LINES: usize = 700;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "utils", "util", "common", "helpers", "helper", "base", "misc", "stuff",
];

/// Rust files longer than the limit.
pub(super) fn file_length(repository: &Repository) -> Vec<String> {
    let lines = repository.rust().map(|f| (&f.path, f.text.lines().count()));
    let long = lines.filter(|(_, n)| *n > MAX_FILE_LINES);
    long.map(|(path, n)| format!("{path}: {n} lines, at most {MAX_FILE_LINES}"))
        .collect()
}

/// Files and folders whose name says nothing.
pub(super) fn file_names(repository: &Repository) -> Vec<String> {
    let nameless = |file: &&File| {
        let parts = file.path.split('/');
        parts
            .map(|part| part.split('.').next().unwrap_or(part))
            .any(|stem| EMPTY_NAMES.contains(&stem))
    };
    repository
        .files
        .iter()
        .filter(nameless)
        .map(|f| format!("{}: name it after its subject", f.path))
        .collect()
}

/// Rust files that do not open with `//!`.
pub(super) fn module_docs(repository: &Repository) -> Vec<String> {
    let silent = |file: &&File| !file.text.starts_with("//!");
    repository
        .rust()
        .filter(silent)
        .map(|f| format!("{}: the first line does not start with //!", f.path))
        .collect()
}

/// Remarks and macros that stand for work not done.
pub(super) fn leftovers(repository: &Repository) -> Vec<String> {
    // Assembled, so that this file does not complain about itself.
    let marks = [
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("XX", "X:"),
    ];
    let macros = ["todo!", "unimplemented!", "dbg!"];
    let mut found = Vec::new();
    for file in &repository.files {
        let in_text = marks.iter().flat_map(|mark| file.text.match_indices(mark));
        let in_code = macros.iter().flat_map(|name| file.code.match_indices(name));
        found.extend(
            in_text
                .chain(in_code)
                .map(|(at, what)| format!("{}:{}: {what}", file.path, file.line_at(at))),
        );
    }
    found
}

/// Paths of somebody's machine.
pub(super) fn absolute_paths(repository: &Repository) -> Vec<String> {
    let folders = [
        concat!("/ho", "me/"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
    ];
    let mut found = Vec::new();
    for file in &repository.files {
        for (at, folder) in folders.iter().flat_map(|f| file.text.match_indices(f)) {
            let before = file.text[..at].chars().next_back().unwrap_or(' ');
            if !before.is_alphanumeric() && !"._-~/".contains(before) {
                found.push(format!("{}:{}: {folder}…", file.path, file.line_at(at)));
            }
        }
    }
    found
}

/// Trailing blanks, tabs in Rust, carriage returns, and a last line without its newline.
pub(super) fn white_space(repository: &Repository) -> Vec<String> {
    let mut found = Vec::new();
    for file in &repository.files {
        for (number, line) in file.text.split('\n').enumerate().map(|(i, l)| (i + 1, l)) {
            if line.ends_with([' ', '\t', '\r']) {
                found.push(format!(
                    "{}:{number}: blank at the end of the line",
                    file.path
                ));
            } else if file.is_rust() && line.starts_with('\t') {
                found.push(format!("{}:{number}: tab", file.path));
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            found.push(format!("{}: no newline at the end", file.path));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    #[test]
    fn each_rule_about_a_file_reaches_what_it_is_about_and_no_more() {
        check(file_length, "a.rs", &"x\n".repeat(701), &"x\n".repeat(700));
        check(module_docs, "a.rs", "use a;\n", "//! A.\nuse a;\n");
        check(
            leftovers,
            "a.rs",
            "fn f() { todo!() }\n",
            "// \"todo!\" in a comment\nfn f() {}\n",
        );
        check(leftovers, "a.md", concat!("FIX", "ME\n"), "fix me\n");
        check(
            absolute_paths,
            "a.md",
            concat!("in /ho", "me/you\n"),
            concat!("in x/ho", "me/you\n"),
        );
        check(white_space, "a.md", "x \n", "x\n");
        check(white_space, "a.rs", "x", "x\n");
    }

    #[test]
    fn a_file_named_after_nothing_is_found_by_its_stem() {
        let found = file_names(&super::super::tests::repository(&[
            ("a/utils.rs", ""),
            ("a/common/b.rs", ""),
            ("a/based.rs", ""),
        ]));
        assert_eq!(found.len(), 2);
    }
}
