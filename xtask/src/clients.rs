//! `cargo xtask clients`, `soak` and `kills`: programs that are not this project's, and crowds, against a served model.
//!
//! The programs are in `tests/clients`; here they are given what they need: the built binary, and for `clients` an environment of Python
//! packages whose versions are pinned. `soak` and `kills` need Python alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program;

/// Where the programs are.
const PROGRAMS: &str = "tests/clients";
/// Where their packages and what they leave go.
const FOLDER: &str = "target/clients";

/// The variable that says which binary is tried; where it is not set, it is built.
const BINARY: &str = "GIGARO";

/// What `clients` can run, and the file that does.
const SUITES: [(&str, &str); 6] = [
    ("openai", "test_openai.py"),
    ("structured", "test_structured.py"),
    ("lm-eval", "test_lm_eval.py"),
    ("openapi", "test_openapi.py"),
    ("page", "test_page.py"),
    ("full-disk", "test_full_disk.py"),
];

/// Runs the suites of these names, or all.
pub(crate) fn run(root: &Path, names: &[&str]) -> Result<(), String> {
    let chosen = suites(names)?;
    let python = environment(root)?;
    build(root)?;
    let mut failed = Vec::new();
    for (name, file) in chosen {
        println!("== {name}");
        let mut program = Command::new(&python);
        program.arg(file);
        if call(root, program).is_err() {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let (all, first) = (failed.join(", "), failed[0]);
    Err(format!(
        "cargo xtask clients failed: {all}. One suite alone: `cargo xtask clients {first}`."
    ))
}

/// Runs a program that needs Python alone, with the words behind its name.
pub(crate) fn stand_alone(root: &Path, file: &str, words: &[&str]) -> Result<(), String> {
    build(root)?;
    let mut program = Command::new("python3");
    program.arg(file).args(words);
    call(root, program)
}

fn suites(names: &[&str]) -> Result<Vec<(&'static str, &'static str)>, String> {
    if names.is_empty() {
        return Ok(SUITES.to_vec());
    }
    let find = |name: &&str| {
        let found = SUITES.iter().find(|(known, _)| known == name);
        found.copied().ok_or_else(|| {
            let known = SUITES.map(|(known, _)| known).join(", ");
            format!("`{name}` is no suite of clients; there are: {known}.")
        })
    };
    names.iter().map(find).collect()
}

/// The Python of an environment that holds the packages in `requirements.txt`.
fn environment(root: &Path) -> Result<PathBuf, String> {
    let list = root.join(PROGRAMS).join("requirements.txt");
    let wanted = fs::read_to_string(&list)
        .map_err(|e| format!("{} cannot be read: {e}.", list.display()))?;
    // All packages are listed, so none has to be looked for.
    program::environment(&root.join(FOLDER).join("venv"), &wanted, |install| {
        install.arg("-r").arg(&list);
    })
}

/// Builds the binary, unless the environment names one.
fn build(root: &Path) -> Result<(), String> {
    if std::env::var_os(BINARY).is_some() {
        return Ok(());
    }
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--quiet", "--package", "gigaro"]);
    build.current_dir(root);
    call(root, build)
}

/// Runs a program in the folder of the programs, where it finds the binary by its environment.
fn call(root: &Path, mut program: Command) -> Result<(), String> {
    if program.get_current_dir().is_none() {
        program.current_dir(root.join(PROGRAMS));
    }
    if std::env::var_os(BINARY).is_none() {
        program.env(BINARY, root.join("target/release/gigaro"));
    }
    program
        .env("GIGARO_SCRATCH", root.join(FOLDER).join("scratch"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    program::call(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_that_is_not_there_is_refused_with_those_that_are() {
        assert_eq!(suites(&[]).map(|all| all.len()), Ok(SUITES.len()));
        assert_eq!(suites(&["page"]), Ok(vec![SUITES[4]]));
        let sentence = suites(&["pages"]).err().unwrap();
        assert!(
            sentence.contains("openai, structured, lm-eval"),
            "{sentence}"
        );
    }
}
