//! What the system counts of this process, from `/proc`.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// What Linux calls `USER_HZ`: the same for programs on every processor that this is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the process uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessUsage {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) open_descriptors: u64,
    pub(crate) max_descriptors: u64,
    /// Unix time.
    pub(crate) start_seconds: f64,
}

/// The fields of `/proc/self/stat` behind the name of the program, counted from its state.
mod field {
    pub(super) const USER_TIME: usize = 11;
    pub(super) const SYSTEM_TIME: usize = 12;
    pub(super) const START: usize = 19;
}

impl ProcessUsage {
    /// The present figures; `None` without `/proc`.
    pub(crate) fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        // The name of the program is in parentheses, and may hold any of them itself.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let ticks = number(field::USER_TIME)? + number(field::SYSTEM_TIME)?;
        Some(Self {
            cpu_seconds: seconds(ticks),
            resident_bytes: kibibytes(&status, "VmRSS:")? * 1024,
            virtual_bytes: kibibytes(&status, "VmSize:")? * 1024,
            // One of them reads the folder.
            open_descriptors: (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1),
            max_descriptors: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            start_seconds: boot_seconds()? + seconds(number(field::START)?),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "no process lives for 2^52 ticks")]
fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_SECOND
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// When the system started, in Unix time.
fn boot_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_figures_are_those_of_a_living_process() {
        let figures = ProcessUsage::now().unwrap();
        assert!(figures.resident_bytes > 1 << 20 && figures.virtual_bytes >= figures.resident_bytes);
        assert!(figures.open_descriptors >= 3 && figures.max_descriptors >= figures.open_descriptors);
        // After 2020.
        assert!(figures.start_seconds > 1.577e9 && figures.cpu_seconds >= 0.0, "{figures:?}");
    }
}
