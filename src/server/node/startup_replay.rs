//! The log on its way into the state.

use std::{collections::HashMap, path::Path, sync::Arc};

use super::{
    StartError,
    snapshot::{self, Snapshot},
};
use crate::authority::IdempotencyTable;
use crate::projections::Projections;
use tenure_audit::Nodes;
use tenure_core::{Event, Position, Stream, SubjectEvent, SubjectId, state::State};
use tenure_log::{
    EventLog, OpenError, SegmentEvents, SledLog, StoredCommit,
    jetstream::{self, Member, Step},
};

/// What a start makes of the log.
pub(super) struct StartupState {
    pub(super) state: State,
    pub(super) idempotency: IdempotencyTable,
    pub(super) projections: Projections,
    pub(super) nodes: Arc<Nodes>,
    /// The subjects that were erased, and the last event that says so.
    pub(super) erased: HashMap<SubjectId, Position>,
    /// So many events were folded that the snapshot did not have.
    pub(super) since_snapshot: u64,
}

impl StartupState {
    fn note_erasures(&mut self, stored: &StoredCommit) {
        let Stream::Subject(subject) = &stored.commit.stream else { return };
        for (position, event) in stored.positions().zip(&stored.commit.events) {
            if let Event::Subject(SubjectEvent::SubjectErased(_)) = event {
                self.erased.insert(subject.clone(), position);
            }
        }
    }
}

/// The log on its way into the state: up to the snapshot only what the snapshot lacks is folded.
struct StartupReplay {
    folded: StartupState,
    snapshot: Option<Snapshot>,
    is_contradicted: bool,
}

impl StartupReplay {
    fn new(idempotency: IdempotencyTable, snapshot: Option<Snapshot>) -> Self {
        let (projections, nodes) = (Projections::default(), Arc::default());
        let folded = StartupState {
            state: State::default(),
            idempotency,
            projections,
            nodes,
            erased: HashMap::new(),
            since_snapshot: 0,
        };
        Self { folded, snapshot, is_contradicted: false }
    }

    fn add(&mut self, stored: &StoredCommit) -> Result<(), String> {
        self.folded.nodes.fold(stored);
        self.folded.idempotency.fold(stored);
        self.folded.note_erasures(stored);
        self.fold_state(stored)?;
        let state = self.snapshot.as_ref().map_or(&self.folded.state, |snapshot| &snapshot.state);
        self.folded.projections.fold(stored, state);
        Ok(())
    }

    fn fold_state(&mut self, stored: &StoredCommit) -> Result<(), String> {
        match &self.snapshot {
            None => {
                self.folded.since_snapshot += stored.commit.events.len() as u64;
                self.folded.state.apply(&stored.commit).map_err(|illegal| illegal.to_string())
            }
            Some(snapshot) if stored.last() < snapshot.state.position => Ok(()),
            Some(snapshot) if stands_on(snapshot, stored) => {
                self.folded.state = self.snapshot.take().expect("it was looked at").state;
                Ok(())
            }
            Some(_) => {
                self.is_contradicted = true;
                Err("the snapshot is of another history".into())
            }
        }
    }
}

fn stands_on(snapshot: &Snapshot, stored: &StoredCommit) -> bool {
    stored.last() == snapshot.state.position && stored.record_hashes.last() == Some(&snapshot.record)
}

/// Opens the log, cut as it records, or as the setting says where it records nothing.
pub(super) fn open_log(
    data: &Path,
    cut: SegmentEvents,
    table: &dyn Fn() -> IdempotencyTable,
) -> Result<(SledLog, StartupState), StartError> {
    let (log, folded) = open_cut_by(data, cut, table)?;
    let Some(recorded) = folded.state.system.segment_events else { return Ok((log, folded)) };
    match cut {
        SegmentEvents::By(asked) if asked != recorded => {
            Err(OpenError::CutOtherwise { asked, recorded }.into())
        }
        SegmentEvents::AsRecorded if log.segment_events() != recorded => {
            drop(log);
            open_cut_by(data, SegmentEvents::By(recorded), table)
        }
        SegmentEvents::By(_) | SegmentEvents::AsRecorded | SegmentEvents::Uncut => Ok((log, folded)),
    }
}

fn open_cut_by(
    data: &Path,
    cut: SegmentEvents,
    table: &dyn Fn() -> IdempotencyTable,
) -> Result<(SledLog, StartupState), StartError> {
    let mut folding = StartupReplay::new(table(), snapshot::load(data));
    match tenure_log::open_cut(data, cut, &mut |stored| folding.add(&stored)) {
        Ok(log) if folding.snapshot.is_none() => return Ok((log, folding.folded)),
        // A snapshot is only ever written of what is durable, so what the log lacks was cut off.
        Ok(log) => {
            let snapshot = folding.snapshot.map_or(Position::ZERO, |snapshot| snapshot.state.position);
            let path = snapshot::path(data).display().to_string();
            return Err(StartError::BehindSnapshot { path, snapshot, head: log.head().position });
        }
        Err(_) if folding.is_contradicted => {}
        Err(error) => return Err(error.into()),
    }
    tracing::warn!("the snapshot does not belong to this log; the log is folded whole");
    let mut folding = StartupReplay::new(table(), None);
    let log = tenure_log::open_cut(data, cut, &mut |stored| folding.add(&stored))?;
    Ok((log, folding.folded))
}

/// What a start on a log of several machines came to.
pub(super) type Joined<R> = (Member, StartupState, R);
/// Says after each look whether that is enough.
pub(super) type IsReady<'r, R> =
    dyn FnMut(&Member, Step, &StartupState) -> Result<Option<R>, StartError> + 'r;

/// The same of a log on several machines: it comes back when `is_ready` has seen enough.
pub(super) fn join_log<R>(
    data: &Path,
    options: &jetstream::Options,
    told: &jetstream::Told,
    table: &dyn Fn() -> IdempotencyTable,
    is_ready: &mut IsReady<'_, R>,
) -> Result<Joined<R>, StartError> {
    let mut snapshot = snapshot::load(data);
    loop {
        let mut folding = StartupReplay::new(table(), snapshot.take());
        match follow_until(data, options, told, &mut folding, is_ready) {
            Ok((member, ready)) => match folding.snapshot {
                None => return Ok((member, folding.folded, ready)),
                Some(snapshot) => {
                    let head = member.log().head().position;
                    let path = snapshot::path(data).display().to_string();
                    return Err(StartError::BehindSnapshot { path, snapshot: snapshot.state.position, head });
                }
            },
            Err(_) if folding.is_contradicted => {
                tracing::warn!("the snapshot does not belong to this log; the log is folded whole");
            }
            Err(error) => return Err(error),
        }
    }
}

fn follow_until<R>(
    data: &Path,
    options: &jetstream::Options,
    told: &jetstream::Told,
    folding: &mut StartupReplay,
    is_ready: &mut IsReady<'_, R>,
) -> Result<(Member, R), StartError> {
    let mut member = jetstream::join(data, options, Arc::clone(told), &mut |stored| folding.add(&stored))?;
    loop {
        let step = member.step(&mut |commits| commits.iter().try_for_each(|stored| folding.add(stored)))?;
        if let Some(ready) = is_ready(&member, step, &folding.folded)? {
            return Ok((member, ready));
        }
    }
}
