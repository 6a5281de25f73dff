//! Running other programs, and environments of Python packages for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Waits for a program.
pub(crate) fn call(mut program: Command) -> Result<(), String> {
    let name = program.get_program().to_string_lossy().into_owned();
    match program.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{name}` ended with {status}.")),
        Err(e) => Err(format!("`{name}` could not be started: {e}.")),
    }
}

/// The Python of an environment in `folder` in which pip has installed what `packages` asks for, without what that depends on; nothing is done if `wanted`,
/// which says what that is, was installed before.
pub(crate) fn environment(
    folder: &Path,
    wanted: &str,
    packages: impl FnOnce(&mut Command),
) -> Result<PathBuf, String> {
    let (python, stamp) = (folder.join("bin/python"), folder.join("installed.txt"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    println!("== packages");
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(folder);
    call(make).map_err(|e| {
        format!("{e} Python 3.10 or later is needed with its module venv: `apt-get install python3 python3-venv`.")
    })?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet"]);
    install.args(["--disable-pip-version-check", "--no-deps"]);
    packages(&mut install);
    call(install).map_err(|e| {
        format!("{e} The packages come from PyPI: is there a network? Without one, leave this command out.")
    })?;
    fs::write(&stamp, wanted)
        .map_err(|e| format!("{} cannot be written: {e}.", stamp.display()))?;
    Ok(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_installed_is_not_installed_again() {
        let folder = std::env::temp_dir().join(format!("gigaro-xtask-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("installed.txt"), "this").unwrap();
        let never = |_: &mut Command| panic!("it is there");
        assert_eq!(
            environment(&folder, "this", never),
            Ok(folder.join("bin/python"))
        );
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_is_named() {
        assert_eq!(call(Command::new("true")), Ok(()));
        let failed = call(Command::new("false")).unwrap_err();
        assert!(failed.starts_with("`false` ended with"), "{failed}");
        let missing = call(Command::new("no-such-program-here")).unwrap_err();
        assert!(missing.contains("could not be started"), "{missing}");
    }
}
