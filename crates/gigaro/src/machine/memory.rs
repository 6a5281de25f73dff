//! How much memory there is, how much is free, and the most this process has held.
//!
//! Linux tells it under `/proc` and in control groups (containers); elsewhere only the peak is known, through `getrusage`.

use std::fs;

/// Memory in bytes; `None` where the system does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// What the machine, or the container if that is less, has.
    pub(crate) total_bytes: Option<u64>,
    /// What can be taken without swapping.
    pub(crate) available_bytes: Option<u64>,
}

impl Memory {
    /// Asks the system.
    pub(crate) fn read() -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let (limit, used) = control_group();
        let total = kib_field(&meminfo, "MemTotal:");
        let available = kib_field(&meminfo, "MemAvailable:");
        let room = limit.map(|limit| limit.saturating_sub(used.unwrap_or(0)));
        Self {
            total_bytes: smaller(total, limit),
            available_bytes: smaller(available, room),
        }
    }
}

/// The most memory this process has held at once, in bytes.
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    kib_field(&status, "VmHWM:")
}

/// Limit and use of the control group (version 2, then 1) this process runs in, in bytes.
fn control_group() -> (Option<u64>, Option<u64>) {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let v2 = number("/sys/fs/cgroup/memory.max");
    if v2.is_some() {
        return (v2, number("/sys/fs/cgroup/memory.current"));
    }
    let v1 = "/sys/fs/cgroup/memory/memory";
    (
        number(&format!("{v1}.limit_in_bytes")),
        number(&format!("{v1}.usage_in_bytes")),
    )
}

fn smaller(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The value of `NAME:   123 kB` in bytes.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_in_kibibytes_become_bytes() {
        let text = "VmPeak:\t   10 kB\nVmHWM:\t    3 kB\n";
        assert_eq!(kib_field(text, "VmHWM:"), Some(3072));
        assert_eq!(kib_field(text, "VmRSS:"), None);
        assert_eq!(kib_field("VmHWM: many", "VmHWM:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_holds_some_of_the_memory_there_is() {
        let peak = peak_rss_bytes().expect("Linux tells");
        let memory = Memory::read();
        assert!(peak > 100_000 && peak < memory.total_bytes.expect("Linux tells"));
        assert!(memory.available_bytes <= memory.total_bytes);
    }
}
