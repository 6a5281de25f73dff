//! `cargo xtask cuda`: every kernel for graphics cards is compiled for every kind of card, with no card at hand.
//!
//! NVRTC comes from its Python package, into a folder of this project's; what compiles with it is the test beside the engine's compiler, which
//! prints a table of what each kernel uses and fails if one does not compile or spills registers.

use std::path::Path;
use std::process::Command;

use crate::program::{call, environment};

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
    let folder = root.join(FOLDER);
    let packages = folder.join("packages");
    environment(&folder.join("venv"), PACKAGE, |install| {
        install
            .args(["--upgrade", PACKAGE, "--target"])
            .arg(&packages);
    })?;
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
