//! `cargo xtask cuda`: every kernel for graphics cards is compiled for every kind of card, with no card at hand.
//!
//! NVRTC comes from its Python package, into a folder of this project's; what compiles with it is the test beside the engine's compiler, which
//! prints a table of what each kernel uses and fails if one does not compile or spills registers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiler, at a version that every driver of CUDA 13 can run the code of.
const PACKAGE: &str = "nvidia-cuda-nvrtc==13.0.88";
/// Where it goes.
const FOLDER: &str = "target/cuda";
/// The variable by which the engine finds it.
const VARIABLE: &str = "GIGARO_CUDA_LIBRARIES";
/// The tests that need it.
const TESTS: &str = "device::cuda::nvidia";

/// Installs NVRTC if it is not there, and compiles all kernels.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let packages = install(root)?;
    let mut test = Command::new("cargo");
    // All libraries of the workspace, as they are built for all other tests, so that nothing is compiled twice.
    test.args([
        "test",
        "--workspace",
        "--release",
        "--quiet",
        "--lib",
        TESTS,
    ]);
    test.args(["--", "--nocapture"]);
    test.env(VARIABLE, packages).current_dir(root);
    call(test)
}

/// The folder with the package, installed unless this very version was before.
fn install(root: &Path) -> Result<PathBuf, String> {
    let folder = root.join(FOLDER);
    let (packages, stamp) = (folder.join("packages"), folder.join("package.txt"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == PACKAGE) {
        return Ok(packages);
    }
    println!("== {PACKAGE}");
    let environment = folder.join("venv");
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&environment);
    call(make).map_err(|e| {
        format!(
            "{e} Python 3 is needed with its module venv: `apt-get install python3 python3-venv`."
        )
    })?;
    let mut install = Command::new(environment.join("bin/python"));
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    install
        .args(["--no-deps", "--upgrade", PACKAGE, "--target"])
        .arg(&packages);
    call(install).map_err(|e| {
        format!("{e} {PACKAGE} comes from PyPI: is there a network? Without one, leave this command out.")
    })?;
    fs::write(&stamp, PACKAGE)
        .map_err(|e| format!("{} cannot be written: {e}.", stamp.display()))?;
    Ok(packages)
}

fn call(mut program: Command) -> Result<(), String> {
    let name = program.get_program().to_string_lossy().into_owned();
    match program.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{name}` ended with {status}.")),
        Err(e) => Err(format!("`{name}` could not be started: {e}.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_of_this_version_is_not_installed_again() {
        let root = std::env::temp_dir().join(format!("gigaro-xtask-cuda-{}", std::process::id()));
        let folder = root.join(FOLDER);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("package.txt"), PACKAGE).unwrap();
        assert_eq!(install(&root), Ok(folder.join("packages")));
        fs::remove_dir_all(&root).unwrap();
    }
}
