//! Where CUDA's libraries may lie: the system's loader, the toolkit's folders, and pip's nvidia-* wheels.
//!
//! Nothing here is CUDA's own; what is done with the libraries is in [`libraries`](super::libraries).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use libloading::Library;

/// The variable that names folders to look in first, separated as in PATH.
pub(super) const FOLDERS: &str = "GIGARO_CUDA_LIBRARIES";

/// A library that is looked for.
pub(super) struct Wanted {
    /// What people call it.
    pub(super) name: &'static str,
    /// Its file, with the version that its functions are bound to.
    pub(super) file: &'static str,
    /// What to do where it is missing.
    pub(super) remedy: &'static str,
}

/// A library that was opened.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) library: Library,
    pub(super) path: PathBuf,
}

/// Folders to look in. Between the two lists the system's loader is asked, which knows its own folders and those of LD_LIBRARY_PATH.
pub(super) struct Places {
    /// Those that the user named.
    named: Vec<PathBuf>,
    /// The toolkit's and the wheels'.
    others: Vec<PathBuf>,
}

impl Places {
    /// Those of this process.
    pub(super) fn of_process() -> Self {
        Self::new(|name| std::env::var_os(name), Path::new("/"))
    }

    /// Those that an environment and a file system below `root` give.
    pub(super) fn new(variable: impl Fn(&str) -> Option<OsString>, root: &Path) -> Self {
        let paths = |name: &str| -> Vec<PathBuf> {
            let value = variable(name).filter(|value| !value.is_empty());
            value.map_or_else(Vec::new, |value| std::env::split_paths(&value).collect())
        };
        let mut named = Vec::new();
        for folder in paths(FOLDERS) {
            named.extend([folder.clone(), folder.join("lib"), folder.join("lib64")]);
            named.extend(wheels(&folder));
        }
        let mut others = vec![root.join("usr/local/cuda/lib64")];
        others.extend(below(&root.join("usr/local"), "cuda-13", "lib64"));
        // Where containers and WSL put the driver.
        others.push(root.join("usr/local/nvidia/lib64"));
        others.push(root.join("usr/lib/wsl/lib"));
        let mut prefixes: Vec<PathBuf> = ["VIRTUAL_ENV", "CONDA_PREFIX"]
            .iter()
            .flat_map(|name| paths(name))
            .collect();
        // The environment of the python that would be started, active or not.
        let pythons = paths("PATH")
            .into_iter()
            .filter(|bin| bin.join("python3").exists());
        prefixes.extend(pythons.filter_map(|bin| bin.parent().map(Path::to_path_buf)));
        prefixes.extend(paths("HOME").iter().map(|home| home.join(".local")));
        prefixes.extend([root.join("usr/local"), root.join("usr")]);
        for prefix in prefixes {
            others.push(prefix.join("lib"));
            for packages in ["site-packages", "dist-packages"] {
                let folders = below(&prefix.join("lib"), "python3", packages);
                others.extend(folders.iter().flat_map(|folder| wheels(folder)));
            }
        }
        let mut seen = std::collections::HashSet::new();
        others.retain(|folder| folder.is_dir() && seen.insert(folder.clone()));
        named.retain(|folder| folder.is_dir());
        Places { named, others }
    }

    /// Opens a library from the first place that has one that can be opened.
    pub(super) fn open(&self, wanted: &Wanted) -> Result<Found, String> {
        let file = Path::new(wanted.file);
        let in_named = self.named.iter().map(|folder| folder.join(file));
        let by_loader = std::iter::once(file.to_path_buf());
        let in_others = self.others.iter().map(|folder| folder.join(file));
        let mut damaged = None;
        for path in in_named.chain(by_loader).chain(in_others) {
            let by_name = path == file;
            if !by_name && !path.is_file() {
                continue;
            }
            // SAFETY: what runs when it is opened is the vendor's; it is one of the libraries that this program is told to use.
            match unsafe { Library::new(&path) } {
                Ok(library) => {
                    let path = if by_name { loaded_from(file) } else { path };
                    return Ok(Found { library, path });
                }
                // The loader alone knows whether it found none, or one that it could not use.
                Err(_) if by_name => {}
                Err(e) => {
                    damaged.get_or_insert_with(|| format!("{}: {e}", path.display()));
                }
            }
        }
        Err(self.absent(wanted, damaged))
    }

    /// Why a library was not opened, and what to do.
    fn absent(&self, wanted: &Wanted, damaged: Option<String>) -> String {
        let Wanted { name, file, remedy } = wanted;
        if let Some(said) = damaged {
            return format!("{name} was found and cannot be loaded ({said}). {remedy}");
        }
        match self.other_version(file) {
            Some(path) => format!(
                "{name} is there in another version ({}); {file} is needed. {remedy}",
                path.display()
            ),
            None => format!("{name} was not found ({file}). {remedy}"),
        }
    }

    /// A file of the same library with another version behind its name.
    fn other_version(&self, file: &str) -> Option<PathBuf> {
        let stem = file.split_once(".so").map_or(file, |(stem, _)| stem);
        let starts = format!("{stem}.so.");
        let folders = self.named.iter().chain(&self.others);
        folders
            .flat_map(|folder| entries(folder))
            .find(|path| path.file_name().is_some_and(|name| begins(name, &starts)))
    }
}

/// The folders of libraries that pip's wheels make below a folder of packages: `nvidia/cu13/lib`, and one for each library before CUDA 13.
fn wheels(packages: &Path) -> Vec<PathBuf> {
    below(&packages.join("nvidia"), "", "lib")
}

/// `folder/<beginning…>/inner`, the last by name first, so that the newest version is.
fn below(folder: &Path, beginning: &str, inner: &str) -> Vec<PathBuf> {
    let all = entries(folder).into_iter().rev();
    all.filter(|path| path.file_name().is_some_and(|name| begins(name, beginning)))
        .map(|path| path.join(inner))
        .collect()
}

/// What is in a folder, by name; nothing if it cannot be read.
pub(super) fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).into_iter().flatten();
    let mut all: Vec<PathBuf> = read.flatten().map(|entry| entry.path()).collect();
    all.sort();
    all
}

pub(super) fn begins(name: &OsStr, beginning: &str) -> bool {
    name.to_string_lossy().starts_with(beginning)
}

/// Where the loader found a library that was asked for by name: the system lists the files that are mapped into the process. Where it does not, the name.
fn loaded_from(file: &Path) -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    mapped(&maps, &file.to_string_lossy()).unwrap_or_else(|| file.to_path_buf())
}

/// The path of a library in the text of /proc/self/maps. The file behind a link may have more numbers in its name than the link.
fn mapped(maps: &str, file: &str) -> Option<PathBuf> {
    let stem = file.split_once(".so").map_or(file, |(stem, _)| stem);
    let starts = format!("{stem}.so");
    let mut paths = maps
        .lines()
        .filter_map(|line| Some(Path::new(&line[line.find('/')?..])));
    paths
        .find(|path| path.file_name().is_some_and(|name| begins(name, &starts)))
        .map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NVRTC: Wanted = Wanted {
        name: "NVRTC",
        file: "libgigaro-absent.so.13",
        remedy: "Install it.",
    };

    /// A file system of empty folders and files.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "not a library").unwrap();
        }
        root
    }

    fn places(root: &Path, variables: &[(&str, PathBuf)]) -> Places {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone().into_os_string())
        };
        Places::new(find, root)
    }

    #[test]
    fn wheels_are_found_in_the_active_environment_before_the_systems_and_in_a_named_folder_before_all()
     {
        let root = tree(&[
            "usr/lib/python3/dist-packages/nvidia/cu13/lib/a",
            "venv/lib/python3.12/site-packages/nvidia/cu13/lib/a",
            "venv/lib/python3.12/site-packages/nvidia/cublas/lib/a",
            "usr/local/cuda/lib64/a",
            "mine/nvidia/cu13/lib/a",
        ]);
        let root = root.path();
        let variables = [
            ("VIRTUAL_ENV", root.join("venv")),
            (FOLDERS, root.join("mine")),
        ];
        let places = places(root, &variables);
        let packages = root.join("venv/lib/python3.12/site-packages/nvidia");
        assert_eq!(
            places.named,
            [root.join("mine"), root.join("mine/nvidia/cu13/lib")]
        );
        let want = [
            root.join("usr/local/cuda/lib64"),
            root.join("venv/lib"),
            packages.join("cublas/lib"),
            packages.join("cu13/lib"),
            root.join("usr/lib"),
            root.join("usr/lib/python3/dist-packages/nvidia/cu13/lib"),
        ];
        assert_eq!(places.others, want);
    }

    #[test]
    fn the_python_on_the_path_is_asked_although_its_environment_is_not_active() {
        let root = tree(&[
            "env/bin/python3",
            "env/lib/python3.11/site-packages/nvidia/cu13/lib/a",
        ]);
        let places = places(root.path(), &[("PATH", root.path().join("env/bin"))]);
        let wheel = root
            .path()
            .join("env/lib/python3.11/site-packages/nvidia/cu13/lib");
        assert!(places.others.contains(&wheel), "{:?}", places.others);
    }

    #[test]
    fn what_is_missing_damaged_or_of_another_version_is_told_apart() {
        let refused = |files: &[&str]| {
            let root = tree(files);
            let places = places(root.path(), &[(FOLDERS, root.path().join("lib"))]);
            places.open(&NVRTC).unwrap_err()
        };
        let missing = refused(&["lib/libother.so.13"]);
        assert!(
            missing.starts_with("NVRTC was not found (libgigaro-absent.so.13)"),
            "{missing}"
        );
        let other = refused(&["lib/libgigaro-absent.so.12"]);
        assert!(
            other.contains("another version") && other.contains("absent.so.12"),
            "{other}"
        );
        let damaged = refused(&["lib/libgigaro-absent.so.13"]);
        assert!(damaged.contains("cannot be loaded"), "{damaged}");
        assert!(
            [missing, other, damaged]
                .iter()
                .all(|s| s.ends_with("Install it."))
        );
    }

    #[test]
    fn the_loaders_choice_is_read_from_the_map_of_the_process() {
        let maps = "7f00-7f01 r-xp 0 00:00 1   /usr/lib/libcudart.so.13\n\
                    7f02-7f03 r-xp 0 00:00 2   /usr/lib/x/libcuda.so.580.159.03\n\
                    7f04-7f05 rw-p 0 00:00 0\n";
        let want = Path::new("/usr/lib/x/libcuda.so.580.159.03");
        assert_eq!(mapped(maps, "libcuda.so.1").as_deref(), Some(want));
        assert_eq!(mapped(maps, "libnvrtc.so.13"), None);
    }
}
