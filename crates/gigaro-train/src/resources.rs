//! What this machine has to offer: free memory, free disk, and its name in a report.
//!
//! Everything is asked from the system's own files and answered with `None` where the system does
//! not say (then nothing is refused on its account). Limits of containers count, not only those of
//! the machine. How much a run *needs* is in [`plan`](crate::plan).

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::quantity::Bytes;

/// Bytes of memory that a new process may take without swapping, under the machine's and the
/// container's limits; `None` if the system does not tell.
pub fn memory_available() -> Option<u64> {
    let machine = meminfo_bytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable");
    let container = container_available(
        Path::new("/sys/fs/cgroup"),
        &fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
    );
    [machine, container].into_iter().flatten().min()
}

/// Bytes of memory that the machine has in all; `None` if the system does not tell.
pub fn memory_total() -> Option<u64> {
    meminfo_bytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal")
}

/// A line such as `MemAvailable:   24028428 kB`, in bytes.
fn meminfo_bytes(meminfo: &str, key: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// The tightest limit among this process's control groups and their parents, less what is in use.
///
/// `membership` is `/proc/self/cgroup`: lines `0::/path` (version 2) or `4:memory:/path` (version 1).
fn container_available(mount: &Path, membership: &str) -> Option<u64> {
    let groups = membership.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        match controllers {
            "" => Some((
                mount.to_path_buf(),
                path,
                "memory.max",
                "memory.current",
                "inactive_file ",
            )),
            c if c.split(',').any(|name| name == "memory") => Some((
                mount.join("memory"),
                path,
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file ",
            )),
            _ => None,
        }
    });
    groups
        .flat_map(|(root, path, max, current, cache)| {
            let relative = PathBuf::from(path.trim_start_matches('/'));
            let ancestors: Vec<PathBuf> = relative.ancestors().map(|a| root.join(a)).collect();
            ancestors
                .into_iter()
                .filter_map(move |dir| group_available(&dir, max, current, cache))
        })
        .min()
}

/// One group: its limit, less its usage, plus the page cache that would be dropped first.
fn group_available(dir: &Path, max: &str, current: &str, cache: &str) -> Option<u64> {
    let number = |file: &str| {
        fs::read_to_string(dir.join(file))
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    };
    let limit = number(max)?; // version 2 writes `max` for none, which is no number
    let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    let droppable = stat
        .lines()
        .find_map(|line| line.strip_prefix(cache)?.trim().parse::<u64>().ok());
    let used = number(current)?.saturating_sub(droppable.unwrap_or(0));
    Some(limit.saturating_sub(used))
}

/// Bytes that may still be written to the disk under `path`, which need not exist yet; `None` if
/// the system does not tell.
pub fn disk_available(path: &Path) -> Option<u64> {
    // The folder of a new run does not exist: its nearest existing ancestor lies on the same disk.
    let absolute = std::path::absolute(path).ok()?;
    let existing = absolute.ancestors().find(|p| p.exists())?;
    #[cfg(unix)]
    {
        let stat = rustix::fs::statvfs(existing).ok()?;
        stat.f_bavail.checked_mul(stat.f_frsize)
    }
    #[cfg(not(unix))]
    {
        let _ = existing;
        None
    }
}

/// Refuses to start what would not fit onto the disk.
///
/// `what` names it in the sentence: `keeping 2 checkpoints`.
pub fn check_disk(what: &str, need_bytes: u64, path: &Path) -> Result<()> {
    match disk_available(path) {
        Some(free) if free < need_bytes => Err(Error::NotEnoughDisk {
            what: what.into(),
            need: Bytes(need_bytes).to_string(),
            path: path.into(),
            free: Bytes(free).to_string(),
        }),
        _ => Ok(()),
    }
}

/// The machine as a report names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The processor's own name, or its architecture.
    pub cpu: String,
    /// Hardware threads that this process may use.
    pub threads: usize,
    /// Memory in bytes, if known.
    pub memory_bytes: Option<u64>,
    /// `linux`, `macos`, `windows`.
    pub system: String,
}

impl Machine {
    /// The machine that runs this.
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Machine {
            cpu: cpu_name(&cpuinfo).unwrap_or_else(|| std::env::consts::ARCH.into()),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_total(),
            system: std::env::consts::OS.into(),
        }
    }
}

fn cpu_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    let name = line
        .split_once(':')?
        .1
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_its_memory_and_disk() {
        if !cfg!(target_os = "linux") {
            return;
        }
        let (free, total) = (memory_available().unwrap(), memory_total().unwrap());
        assert!(free > 1 << 20 && free <= total, "{free} of {total}");
        assert!(disk_available(Path::new("a/folder/that/is/not/there/yet")).unwrap() > 0);
        assert!(Machine::here().threads >= 1);
    }

    #[test]
    fn meminfo_is_read_in_bytes_and_nonsense_is_unknown() {
        let text = "MemTotal:  100 kB\nMemAvailable:   24028428 kB\n";
        assert_eq!(meminfo_bytes(text, "MemAvailable"), Some(24_028_428 * 1024));
        assert_eq!(meminfo_bytes("MemAvailable: much", "MemAvailable"), None);
        assert_eq!(meminfo_bytes("", "MemAvailable"), None);
    }

    #[test]
    fn the_tightest_container_limit_counts_and_its_cache_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let group = |path: &str, max: &str, current: &str, stat: &str| {
            let dir = dir.path().join(path);
            fs::create_dir_all(&dir).unwrap();
            for (name, text) in [
                ("memory.max", max),
                ("memory.current", current),
                ("memory.stat", stat),
            ] {
                fs::write(dir.join(name), text).unwrap();
            }
        };
        group("box/job", "max\n", "500\n", "");
        group("box", "4000\n", "1500\n", "anon 7\ninactive_file 300\n");
        assert_eq!(container_available(dir.path(), "0::/box/job\n"), Some(2800));
        assert_eq!(container_available(dir.path(), "0::/elsewhere\n"), None);
        assert_eq!(container_available(dir.path(), "nonsense"), None);
    }

    #[test]
    fn too_little_disk_is_told_with_both_figures() {
        let dir = tempfile::tempdir().unwrap();
        check_disk("keeping 2 checkpoints", 1, dir.path()).unwrap();
        if disk_available(dir.path()).is_some() {
            let error = check_disk("keeping 2 checkpoints", u64::MAX, dir.path())
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("keeping 2 checkpoints needs 18446.7 PB")
                    && error.contains("--out"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_processor_is_named_as_it_names_itself() {
        assert_eq!(
            cpu_name("processor: 0\nmodel name\t: Some  CPU @ 2.0GHz\n"),
            Some("Some CPU @ 2.0GHz".into())
        );
        assert_eq!(cpu_name("Hardware: x"), None);
    }
}
