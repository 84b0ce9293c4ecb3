//! From where on ended sessions leave memory: what the files of the log can be asked for, and for how long they stay.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{NodeOptions, startup_replay::StartupState};
use crate::authority::MemoryRetention;
use crate::projections::{Projections, history};
use tenure_core::{Position, eviction::EvictionHorizon};
use tenure_log::{EventLog, SegmentedLog};

/// How sessions leave the memory of a node with these files.
pub(super) fn retention(
    options: &NodeOptions,
    files: &dyn SegmentedLog,
    projections: &Arc<Projections>,
    folded: &mut StartupState,
) -> MemoryRetention {
    let indexed = Arc::new(Mutex::new(EvictionHorizon::default()));
    tell(&indexed, files, files.indexed().end());
    let projections = Arc::clone(projections);
    let leaving = Arc::new(move |sessions: &[_]| projections.mark_ended(sessions));
    MemoryRetention { memory: options.retention, indexed, leaving, left: std::mem::take(&mut folded.left) }
}

/// The files of the log can be asked for everything up to this position.
pub(super) fn tell(indexed: &Mutex<EvictionHorizon>, log: &dyn EventLog, position: Position) {
    if position <= indexed.lock().position {
        return;
    }
    match history::commit_at(log, position) {
        Ok(Some(stored)) => *indexed.lock() = EvictionHorizon { position, moment: stored.commit.recorded_at },
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "ended sessions stay in memory for now"),
    }
}
