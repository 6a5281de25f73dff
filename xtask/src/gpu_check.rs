//! `cargo xtask gpu-check`: everything that can only be said on a graphics card, in one command with a table at its end.
//!
//! First correctness: the tests that run on an emulated card elsewhere run on the real one (every op against the processor, gradients, a
//! GPT's parity with transformers, training, resuming). Then figures: the benchmarks, with those of PyTorch beside them where a Python
//! with PyTorch and the peers' program are named.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

/// By this variable the tests are told to run on a card.
const VARIABLE: &str = "GIGARO_TEST_DEVICE";

/// Package and test program.
const TESTS: [(&str, &str); 7] = [
    ("gigaro-tensor", "cuda"),
    ("gigaro-tensor", "cuda_graph"),
    ("gigaro-models", "on_a_card"),
    ("gigaro-models", "gpt_against_transformers"),
    ("gigaro-train", "on_a_card"),
    ("gigaro-train", "preferences"),
    ("gigaro-serve", "on_a_card"),
];

/// What runs under compute-sanitizer, which sees every access to memory and every race of threads: all ops.
const SANITIZED: [(&str, &str); 2] = [TESTS[0], TESTS[1]];
/// Its tools.
const TOOLS: [&str; 2] = ["memcheck", "racecheck"];

/// What is measured: the arguments of `gigaro bench`, those of the peers' program, and the figure that counts.
const FIGURES: [(&str, &str, &str); 6] = [
    (
        "gpt --preset gpt2-124m-1024 --dtype bf16",
        "gpt --preset gpt2-124m-1024 --dtype bf16 --mode compile",
        "tokens_per_s",
    ),
    (
        "gpt --preset gpt2-124m-1024 --dtype f32",
        "gpt --preset gpt2-124m-1024 --dtype f32 --mode compile",
        "tokens_per_s",
    ),
    (
        "gpt --preset small --dtype f32",
        "gpt --preset small --dtype f32 --mode compile",
        "tokens_per_s",
    ),
    ("attention --dtype bf16", "", "ms"),
    (
        "decode --preset gpt2-124m --dtype bf16",
        "decode --preset gpt2-124m --dtype bf16",
        "tokens_per_s",
    ),
    (
        "gemm --m 8192 --n 8192 --k 8192 --dtype bf16",
        "gemm --m 8192 --n 8192 --k 8192 --dtype bf16",
        "gflops",
    ),
];

/// Where the other side of the comparison is.
struct Peer {
    python: PathBuf,
    program: PathBuf,
}

/// Runs all of it. `words` may name the other side: `--peer PYTHON PROGRAM`.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), String> {
    let peer = match words {
        [] => None,
        ["--peer", python, program] => Some(Peer {
            python: python.into(),
            program: program.into(),
        }),
        _ => return Err("gpu-check takes nothing, or --peer PYTHON PROGRAM".into()),
    };
    let mut lines =
        vec!["| what | result | PyTorch | ratio | seconds |\n|---|---|---|---|---|".to_owned()];
    let mut failed = Vec::new();
    for (package, test) in TESTS {
        let (passed, seconds) = tested(root, package, test)?;
        let result = if passed { "ok" } else { "FAILED" };
        lines.push(format!(
            "| {package} {test} | {result} | | | {seconds:.0} |"
        ));
        if !passed {
            failed.push(format!("{package} {test}"));
        }
    }
    if failed.is_empty() {
        lines.extend(figures(root, peer.as_ref(), &mut failed));
        lines.extend(sanitized(root, &mut failed)?);
    }
    println!("\n{}", lines.join("\n"));
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("gpu-check failed: {}", failed.join(", ")))
}

/// Whether a test program passes on the card, and how long it took.
fn tested(root: &Path, package: &str, test: &str) -> Result<(bool, f64), String> {
    println!("== {package} {test}");
    ran(root, Command::new("cargo"), package, test)
}

/// Lines for the tests under compute-sanitizer; one that says so if it is not installed.
fn sanitized(root: &Path, failed: &mut Vec<String>) -> Result<Vec<String>, String> {
    const SANITIZER: &str = "compute-sanitizer";
    if Command::new(SANITIZER).arg("--version").output().is_err() {
        println!("skipped: {SANITIZER} is not on the PATH; it comes with CUDA's toolkit");
        return Ok(vec![format!(
            "| {SANITIZER} | skipped: not installed | | | |"
        )]);
    }
    let mut lines = Vec::new();
    for tool in TOOLS {
        for (package, test) in SANITIZED {
            println!("== {SANITIZER} {tool} {package} {test}");
            let mut sanitizer = Command::new(SANITIZER);
            sanitizer.args(["--tool", tool, "--error-exitcode", "9"]);
            sanitizer.args(["--target-processes", "all", "cargo"]);
            let (passed, seconds) = ran(root, sanitizer, package, test)?;
            let result = if passed { "clean" } else { "FAILED" };
            let what = format!("{SANITIZER} {tool} {package} {test}");
            lines.push(format!("| {what} | {result} | | | {seconds:.0} |"));
            if !passed {
                failed.push(what);
            }
        }
    }
    Ok(lines)
}

/// Runs a test program on the card by `cargo`, which may be started by something else; whether it passed, and how long it took.
fn ran(root: &Path, mut cargo: Command, package: &str, test: &str) -> Result<(bool, f64), String> {
    let start = Instant::now();
    let status = cargo
        .args([
            "test",
            "--release",
            "--quiet",
            "-p",
            package,
            "--test",
            test,
        ])
        // A card is one: its tests take turns.
        .args(["--", "--test-threads=1"])
        .env(VARIABLE, "cuda")
        .current_dir(root)
        .status()
        .map_err(|e| format!("cargo could not be started: {e}"))?;
    Ok((status.success(), start.elapsed().as_secs_f64()))
}

/// A line for each figure.
fn figures(root: &Path, peer: Option<&Peer>, failed: &mut Vec<String>) -> Vec<String> {
    let mut lines = Vec::new();
    for (ours, theirs, key) in FIGURES {
        println!("== bench {ours}");
        let start = Instant::now();
        let mut bench = Command::new("cargo");
        bench.args(["run", "--release", "--quiet", "--", "bench"]);
        bench
            .args(ours.split(' '))
            .args(["--device", "cuda", "--json"]);
        let Some(own) = last_object(bench.current_dir(root)) else {
            failed.push(ours.to_owned());
            continue;
        };
        let other = peer.filter(|_| !theirs.is_empty()).and_then(|peer| {
            let mut command = Command::new(&peer.python);
            command.arg(&peer.program).args(theirs.split(' '));
            last_object(command.args(["--device", "cuda"]))
        });
        let number = |object: &Value| object[key].as_f64();
        let (value, against) = (number(&own), other.as_ref().and_then(number));
        let shown = |x: Option<f64>| x.map_or(String::new(), |x| format!("{x:.1}"));
        let ratio = value.zip(against).map(|(a, b)| a / b);
        let seconds = start.elapsed().as_secs_f64();
        lines.push(format!(
            "| {ours} ({}), {key} | {} | {} | {} | {seconds:.0} |",
            own["device"].as_str().unwrap_or("?"),
            shown(value),
            shown(against),
            ratio.map_or(String::new(), |r| format!("{r:.2}")),
        ));
    }
    lines
}

/// The JSON object on the last line that a program prints, if it succeeds.
fn last_object(command: &mut Command) -> Option<Value> {
    let output = command.output().ok()?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.lines().last()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_program_that_succeeds_is_read() {
        let said = |script: &str| last_object(Command::new("sh").args(["-c", script]));
        let object = said("echo first; echo '{\"ms\": 2.5}'").expect("an object");
        assert_eq!(object["ms"].as_f64(), Some(2.5));
        assert_eq!(said("echo '{\"ms\": 2.5}'; exit 1"), None);
        assert_eq!(said("echo words"), None);
    }

    #[test]
    fn every_test_program_that_is_named_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (package, test) in TESTS {
            let file = root.join(format!("crates/{package}/tests/{test}.rs"));
            assert!(file.is_file(), "{}", file.display());
        }
    }
}
