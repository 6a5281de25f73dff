//! Rules about crates: who depends on whom, who knows HTTP and CUDA, who prints.
//!
//! The allowed directions are not written here: they are read from the table in ARCHITECTURE.md, so that the page
//! and the code cannot drift apart.

use std::collections::{BTreeMap, BTreeSet};

use super::Repository;
use crate::metadata::Package;
use crate::source::File;

/// Crates that speak HTTP, by the first part of their name.
const HTTP_CRATES: [&str; 12] = [
    "axum",
    "hyper",
    "reqwest",
    "ureq",
    "tower",
    "http",
    "actix",
    "warp",
    "rocket",
    "tiny_http",
    "tungstenite",
    "h2",
];

/// Crates that speak to NVIDIA's libraries.
const CUDA_CRATES: [&str; 4] = ["cudarc", "cust", "rustacuda", "cublas_sys"];

/// The table in ARCHITECTURE.md: lines `crate -> crate, crate` in the block that follows `<!-- dependencies -->`.
fn table(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let block = text
        .split("<!-- dependencies -->")
        .nth(1)
        .and_then(|rest| rest.split("```").nth(1))
        .unwrap_or("");
    let row = |line: &str| {
        let (name, list) = line.split_once("->")?;
        let list = list
            .split(',')
            .map(|w| w.trim().to_owned())
            .filter(|w| !w.is_empty());
        Some((name.trim().to_owned(), list.collect()))
    };
    block.lines().filter_map(row).collect()
}

/// Differences between the table and what Cargo.toml files say.
pub(super) fn direction(repository: &Repository) -> Vec<String> {
    let table = table(repository.text("ARCHITECTURE.md"));
    let ours: Vec<&Package> = repository
        .packages
        .iter()
        .filter(|p| p.is_ours() && p.name != "xtask")
        .collect();
    let names: BTreeSet<&str> = ours.iter().map(|p| p.name.as_str()).collect();
    let mut found = Vec::new();
    for package in &ours {
        let name = &package.name;
        let Some(allowed) = table.get(name) else {
            found.push(format!("{name}: not in the table of ARCHITECTURE.md"));
            continue;
        };
        let own = |list: &[String]| -> BTreeSet<String> {
            list.iter()
                .filter(|d| names.contains(d.as_str()) && *d != name)
                .cloned()
                .collect()
        };
        let (used, in_tests) = (own(&package.dependencies), own(&package.dev_dependencies));
        found.extend(
            used.difference(allowed)
                .map(|d| format!("{name} depends on {d} against the table")),
        );
        found.extend(
            allowed
                .difference(&used)
                .map(|d| format!("{name} does not depend on {d}, as the table says")),
        );
        let reachable = reach(&table, name);
        found.extend(
            in_tests
                .difference(&reachable)
                .map(|d| format!("{name}'s tests depend on {d} against the table")),
        );
    }
    found
}

/// Everything that `start` sees through the table.
fn reach(table: &BTreeMap<String, BTreeSet<String>>, start: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![start.to_owned()];
    while let Some(name) = open.pop() {
        for next in table.get(&name).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    seen
}

/// Crates other than gigaro-serve that name an HTTP crate.
pub(super) fn http(repository: &Repository) -> Vec<String> {
    let others = repository
        .packages
        .iter()
        .filter(|p| p.is_ours() && p.name != "gigaro-serve");
    let speaks = |name: &str| HTTP_CRATES.contains(&name.split('-').next().unwrap_or(name));
    let pairs = others.flat_map(|p| {
        p.dependencies
            .iter()
            .filter(|d| speaks(d))
            .map(move |d| (&p.name, d))
    });
    pairs
        .map(|(name, dependency)| format!("{name} depends on {dependency}"))
        .collect()
}

/// Files other than the CUDA device and the ops' cuda.rs that name a CUDA crate.
pub(super) fn cuda(repository: &Repository) -> Vec<String> {
    let allowed = |path: &str| {
        let inside = path.strip_prefix("crates/gigaro-tensor/src/").unwrap_or("");
        inside.starts_with("device/cuda")
            || (inside.starts_with("ops/") && inside.ends_with("/cuda.rs"))
    };
    let mut found = Vec::new();
    for file in repository
        .rust()
        .filter(|f| !allowed(&f.path) && !f.path.starts_with("xtask/"))
    {
        let names = CUDA_CRATES
            .iter()
            .flat_map(|name| file.code.match_indices(name))
            // A whole word: `Error::custom` is no crate.
            .filter(|(at, name)| {
                let after = file.code[at + name.len()..].chars().next();
                !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
            });
        found.extend(names.map(|(at, name)| format!("{}:{}: {name}", file.path, file.line_at(at))));
    }
    found
}

/// Calls that write to the terminal, outside the binary, xtask, tests and examples.
pub(super) fn printing(repository: &Repository) -> Vec<String> {
    let calls = ["println!", "print!", "stdout()", "stderr()"];
    let speaks =
        |file: &&File| !file.path.starts_with("crates/gigaro/") && !file.path.starts_with("xtask/");
    let test_modules: Vec<String> = repository.rust().flat_map(File::test_modules).collect();
    let declared_test = |file: &File| {
        test_modules
            .iter()
            .any(|m| file.path.starts_with(m.as_str()))
    };
    let is_test = |file: &File| file.is_test() || declared_test(file);
    let mut found = Vec::new();
    for file in repository.rust().filter(|f| speaks(f) && !is_test(f)) {
        let tests = file.test_regions();
        let outside = |at: usize| !tests.iter().any(|region| region.contains(&at));
        let hits: BTreeSet<usize> = calls
            .iter()
            .flat_map(|call| file.code.match_indices(call))
            .map(|(at, _)| at)
            .collect();
        let lines: BTreeSet<usize> = hits
            .into_iter()
            .filter(|&at| outside(at))
            .map(|at| file.line_at(at))
            .collect();
        found.extend(
            lines
                .into_iter()
                .map(|line| format!("{}:{line}: prints", file.path)),
        );
    }
    found
}

/// Crates of ours without a description.
pub(super) fn description(repository: &Repository) -> Vec<String> {
    let ours = repository.packages.iter().filter(|p| p.is_ours());
    let silent = ours.filter(|p| p.description.as_deref().is_none_or(|d| d.trim().is_empty()));
    silent
        .map(|p| format!("{}: no description in Cargo.toml", p.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, repository};
    use super::*;

    fn package(name: &str, dependencies: &[&str]) -> Package {
        Package {
            name: name.into(),
            version: "0.1.0".into(),
            licence: None,
            source: None,
            description: Some("what it is".into()),
            dependencies: dependencies.iter().map(|d| (*d).to_owned()).collect(),
            dev_dependencies: Vec::new(),
        }
    }

    #[test]
    fn the_table_in_the_page_is_what_the_crates_must_do() {
        let page = "<!-- dependencies -->\n```text\na ->\nb -> a\n```\n";
        let mut house = repository(&[("ARCHITECTURE.md", page)]);
        house.packages = vec![package("a", &["serde"]), package("b", &["a", "toml"])];
        assert_eq!(direction(&house), Vec::<String>::new());
        house.packages = vec![package("a", &["b"]), package("b", &["a"])];
        assert_eq!(direction(&house), ["a depends on b against the table"]);
        house.packages = vec![package("a", &[]), package("b", &[])];
        assert_eq!(
            direction(&house),
            ["b does not depend on a, as the table says"]
        );
    }

    #[test]
    fn http_belongs_to_the_server_alone() {
        let mut house = repository(&[]);
        house.packages = vec![
            package("gigaro-serve", &["axum"]),
            package("gigaro-data", &["tower-http"]),
        ];
        assert_eq!(http(&house), ["gigaro-data depends on tower-http"]);
    }

    #[test]
    fn cuda_crates_and_printing_stay_in_their_rooms() {
        check(
            cuda,
            "crates/gigaro-nn/src/linear.rs",
            "use cudarc::driver;\n",
            "// cudarc is elsewhere\n",
        );
        assert!(
            cuda(&repository(&[(
                "crates/gigaro-tensor/src/ops/add/cuda.rs",
                "use cudarc;\n"
            )]))
            .is_empty()
        );
        check(
            printing,
            "crates/gigaro-nn/src/linear.rs",
            "fn f() { println!(\"x\") }\n",
            "#[cfg(test)]\nmod t { fn f() { eprintln!() } }\n",
        );
        let declared = ("crates/gigaro-nn/src/lib.rs", "#[cfg(test)]\nmod data;\n");
        let module = ("crates/gigaro-nn/src/data.rs", "fn f() { eprintln!() }\n");
        assert!(printing(&repository(&[declared, module])).is_empty());
        assert!(
            printing(&repository(&[(
                "crates/gigaro/src/main.rs",
                "fn f() { println!() }\n"
            )]))
            .is_empty()
        );
    }
}
