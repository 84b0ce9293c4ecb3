//! From where on ended sessions leave memory: what the files of the log can be asked for, and for how long they stay.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Options;
use crate::authority::Retention;
use crate::projections::{Projections, history};
use tenure_core::{Position, trim::Horizon};
use tenure_log::{EventLog, SledLog};

/// How sessions leave the memory of a node, whose log may be on other machines: then none does.
pub(super) fn retention(
    options: &Options,
    stores: Option<&Arc<SledLog>>,
    projections: &Arc<Projections>,
) -> Retention {
    let indexed = Arc::new(Mutex::new(Horizon::default()));
    if let Some(log) = stores {
        tell(&indexed, &**log, log.indexed().end());
    }
    let projections = Arc::clone(projections);
    let leaving = Arc::new(move |sessions: &[_]| projections.mark_ended(sessions));
    Retention { memory: options.retention, indexed, leaving }
}

/// The files of the log can be asked for everything up to this position.
pub(super) fn tell(indexed: &Mutex<Horizon>, log: &dyn EventLog, position: Position) {
    if position <= indexed.lock().position {
        return;
    }
    match history::commit_at(log, position) {
        Ok(Some(stored)) => *indexed.lock() = Horizon { position, moment: stored.commit.recorded_at },
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "ended sessions stay in memory for now"),
    }
}
