//! What a figure was measured under, and a directory to measure in.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value, json};

use crate::cli::{environment, failure::CommandError};
use tenure_protocol::clock::stopwatch;

/// So often the disk is asked to sync, for the median.
const SYNCS: usize = 50;

/// A directory removed when this is dropped.
#[derive(Debug)]
pub(super) struct ScratchDir(PathBuf);

impl ScratchDir {
    /// A new one in `parent`.
    pub(super) fn new(parent: &Path) -> Result<Self, CommandError> {
        let path = parent.join(format!(".tenure-bench-{}", environment::unique()));
        fs::create_dir_all(&path).map_err(|source| CommandError::File { path: path.clone(), source })?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// How long the disk takes to make 4 KiB durable behind what a file already has, in the median.
    pub(super) fn sync_latency(&self) -> Result<Duration, CommandError> {
        let path = self.0.join("sync-probe");
        let failure = |source| CommandError::File { path: path.clone(), source };
        let mut file = File::create(&path).map_err(failure)?;
        let mut took = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            file.write_all(&[0x5a; 4096]).map_err(failure)?;
            let begun = stopwatch();
            file.sync_data().map_err(failure)?;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        fs::remove_file(&path).map_err(failure)?;
        Ok(took[SYNCS / 2])
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // A drop cannot report a failure; the litter is harmless.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The conditions reported with every figure.
pub(super) fn machine() -> Map<String, Value> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let mut told = Map::new();
    told.insert("version".into(), json!(env!("CARGO_PKG_VERSION")));
    told.insert("cores".into(), json!(cores));
    told.insert("loadAverage".into(), json!(load_average()));
    told
}

/// The load of the last minute; `None` where the system does not say.
pub(super) fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// The resident bytes of this process; `None` if the system does not say.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}
