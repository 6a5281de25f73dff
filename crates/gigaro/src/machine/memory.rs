//! The most memory this process has held.
//!
//! How much there is and how much is free is in `gigaro_train::resources`.

use std::fs;

/// The most memory this process has held at once, in bytes; `None` where the system does not tell.
pub(crate) fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    kib_field(&status, "VmHWM:")
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
    fn this_process_holds_some_memory() {
        assert!(peak_rss_bytes().expect("Linux tells") > 100_000);
    }
}
