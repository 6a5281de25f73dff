//! The machine under the program: processor, caches, and what of its memory was used.
//!
//! Only what the operating system tells (free memory and disk: `gigaro_train::resources`); which kernels run on it and how fast is measured by `commands/doctor.rs`. What a system does
//! not tell is `None` or empty, never guessed.

mod memory;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

pub(crate) use memory::peak_rss_bytes;

/// The processor.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processor {
    /// As its maker calls it.
    pub(crate) model: Option<String>,
    /// Cores without counting hyper-threads twice.
    pub(crate) physical_cores: Option<usize>,
    /// Threads that this process may run at once: fewer in a container or under `taskset`.
    pub(crate) usable_threads: usize,
    /// Smallest first.
    pub(crate) caches: Vec<Cache>,
}

/// One level of cache, as the first core sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cache {
    /// `L1 data`, `L2`, ...
    pub(crate) name: String,
    /// Size in bytes.
    pub(crate) size_bytes: u64,
}

impl fmt::Display for Cache {
    /// `L2 512 KiB`: caches are built in powers of two.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.size_bytes / 1024;
        match kib {
            1024.. if kib.is_multiple_of(1024) => write!(f, "{} {} MiB", self.name, kib / 1024),
            _ => write!(f, "{} {kib} KiB", self.name),
        }
    }
}

impl Processor {
    /// Asks the system.
    pub(crate) fn read() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self {
            model: cpu_model(&cpuinfo),
            physical_cores: physical_cores(&cpuinfo),
            usable_threads: std::thread::available_parallelism().map_or(1, usize::from),
            caches: caches(Path::new("/sys/devices/system/cpu/cpu0/cache")),
        }
    }
}

/// The values of `name : value` lines.
fn cpuinfo_values<'a>(cpuinfo: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    pairs
        .filter(move |(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    cpuinfo_values(cpuinfo, "model name")
        .next()
        .map(str::to_owned)
}

fn physical_cores(cpuinfo: &str) -> Option<usize> {
    let sockets = cpuinfo_values(cpuinfo, "physical id");
    let cores: BTreeSet<_> = sockets.zip(cpuinfo_values(cpuinfo, "core id")).collect();
    (!cores.is_empty()).then_some(cores.len())
}

fn caches(folder: &Path) -> Vec<Cache> {
    let one = |index: usize| {
        let field =
            |name: &str| fs::read_to_string(folder.join(format!("index{index}/{name}"))).ok();
        let kind = field("type")?;
        let level = field("level")?;
        let kind = match kind.trim() {
            "Unified" => String::new(),
            other => format!(" {}", other.to_lowercase()),
        };
        Some(Cache {
            name: format!("L{}{kind}", level.trim()),
            size_bytes: sysfs_size(&field("size")?)?,
        })
    };
    (0..8).map_while(one).collect()
}

/// `512K` or `32M` in bytes.
fn sysfs_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = match text.bytes().last()? {
        b'K' => 1024,
        b'M' => 1024 * 1024,
        _ => return text.parse().ok(),
    };
    Some(text[..text.len() - 1].parse::<u64>().ok()? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_CORES_FOUR_THREADS: &str = "model name\t: A Chip\nphysical id\t: 0\ncore id\t: 0\n\n\
        model name\t: A Chip\nphysical id\t: 0\ncore id\t: 1\n\nphysical id\t: 0\ncore id\t: 0\n\nphysical id\t: 0\ncore id\t: 1\n";

    #[test]
    fn hyper_threads_are_not_counted_as_cores() {
        assert_eq!(cpu_model(TWO_CORES_FOUR_THREADS).as_deref(), Some("A Chip"));
        assert_eq!(physical_cores(TWO_CORES_FOUR_THREADS), Some(2));
        assert_eq!(physical_cores("flags : fpu\n"), None);
    }

    #[test]
    fn sizes_of_caches_are_read_with_their_unit() {
        assert_eq!(sysfs_size("32K\n"), Some(32 * 1024));
        assert_eq!(sysfs_size("32M"), Some(32 << 20));
        assert_eq!(sysfs_size("77"), Some(77));
        assert_eq!(sysfs_size("K"), None);
        assert_eq!(sysfs_size(""), None);
    }
}
