//! The log on its way into the state.

use std::{collections::HashMap, path::Path, sync::Arc};

use super::{
    NodeOptions, StartError,
    snapshot::{self, StateSnapshot},
};
use crate::authority::{IdempotencyTable, LeftBefore, NAMED};
use crate::checkpoint::{
    Checkpoint, CheckpointError, CheckpointFolder, CheckpointState, EndedBefore, ListingCheckpoint,
    TrustedCheckpoints,
};
use crate::projections::{Projections, pulse::DayPulse, revocations::RetainedCounts};
use tenure_audit::MerkleIndex;
use tenure_core::{Event, Position, Seconds, StreamId, SubjectEvent, SubjectId, state::AuthorityState};
use tenure_log::{
    EventLog, IndexedHistory, OpenError, SealedHistory, SegmentEnd, SegmentEvents, SledLog, StartupFold,
    StoredCommit, VerifyScope,
    jetstream::{self, ClusterMember, MemberStep},
};

/// What a start makes of the log.
pub(super) struct StartupState {
    pub(super) state: AuthorityState,
    pub(super) idempotency: IdempotencyTable,
    pub(super) projections: Projections,
    pub(super) nodes: Arc<MerkleIndex>,
    /// The subjects that were erased, and the last event that says so.
    pub(super) erased: HashMap<SubjectId, Position>,
    /// What is known of sessions that were not read.
    pub(super) left: LeftBefore,
    /// The checkpoints that there are.
    pub(super) known: Arc<TrustedCheckpoints>,
    /// Events folded that the snapshot did not have.
    pub(super) since_snapshot: u64,
}

impl StartupState {
    fn note_erasures(&mut self, stored: &StoredCommit) {
        let StreamId::Subject(subject) = &stored.commit.stream else { return };
        for (position, event) in stored.positions().zip(&stored.commit.events) {
            if let Event::Subject(SubjectEvent::SubjectErased(_)) = event {
                self.erased.insert(subject.clone(), position);
            }
        }
    }
}

/// What a start reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartupReads {
    /// How much of the log.
    pub(super) verify: VerifyScope,
    /// For how long ended sessions stay in memory.
    pub(super) memory: Seconds,
    /// Whether a snapshot may stand for the state. It lacks what had left memory, so where segments may be set aside it
    /// only says how long the log was.
    pub(super) by_snapshot: bool,
}

/// What a start does without, because it contradicts the log.
#[derive(Clone, Default)]
struct StartupDoubts {
    /// Checkpoints, each with why.
    checkpoints: Vec<(String, String)>,
    snapshot: bool,
    /// What the log is to be asked by.
    indexes: bool,
}

/// The part of the history for which the log's indexes are asked: projections and tree begin at its end. Until then
/// only the last day is gathered for them.
struct IndexedBase {
    indexed: IndexedHistory,
    pulse: DayPulse,
    /// Subjects whose sessions may be listed otherwise than the checkpoint lists them, and by which event.
    changed: HashMap<SubjectId, Position>,
}

impl IndexedBase {
    fn new(indexed: &IndexedHistory, pulse: DayPulse) -> Self {
        Self { indexed: indexed.clone(), pulse, changed: HashMap::new() }
    }

    /// Notes what the next commit may change of sessions that had ended before the state began at this position.
    fn note_changes(&mut self, stored: &StoredCommit, before: &AuthorityState, began: Position) {
        let StreamId::Subject(id) = &stored.commit.stream else { return };
        let Some(subject) = before.subjects.get(id) else { return };
        for (position, event) in stored.positions().zip(&stored.commit.events) {
            let Event::Subject(event) = event else { continue };
            let is_change = if let SubjectEvent::SubjectRegistered(event) = event {
                subject.profile().map(|profile| &profile.owner_id) != Some(&event.profile.owner_id)
            } else if let SubjectEvent::SessionRevoked(event) = event {
                subject.session(event.session_id).is_none_or(|session| session.created() <= began)
            } else {
                false
            };
            if is_change {
                self.changed.insert(id.clone(), position);
            }
        }
    }

    fn add(&mut self, stored: &StoredCommit) {
        for event in stored.commit.events.iter().filter(|event| DayPulse::is_one(event)) {
            self.pulse.add(&stored.commit.stream, stored.commit.recorded_at, event);
        }
    }
}

/// The log on its way into the state: behind the newest checkpoint, or from the first event on. Up to the snapshot only
/// what the snapshot lacks is folded.
struct StartupReplay<'d> {
    data: &'d Path,
    reads: StartupReads,
    doubts: &'d StartupDoubts,
    folded: StartupState,
    /// The checkpoint that it went on from.
    begun: Option<Arc<Checkpoint>>,
    snapshot: Option<StateSnapshot>,
    /// Whether the snapshot is a witness of the log's end only.
    passes_snapshot: bool,
    /// What projections and tree will stand on, until they do.
    foundation: Option<IndexedBase>,
    /// What does not fit the log, and why.
    contradicted: Option<StartContradiction>,
}

/// What a start did not go on with.
enum StartContradiction {
    Checkpoint(String),
    Snapshot,
    Index(String),
}

impl<'d> StartupReplay<'d> {
    fn new(
        data: &'d Path,
        reads: StartupReads,
        doubts: &'d StartupDoubts,
        idempotency: IdempotencyTable,
    ) -> Self {
        let (projections, nodes) = (Projections::default(), Arc::default());
        let folded = StartupState {
            state: AuthorityState::default(),
            idempotency,
            projections,
            nodes,
            erased: HashMap::new(),
            left: LeftBefore::default(),
            known: Arc::default(),
            since_snapshot: 0,
        };
        Self {
            data,
            reads,
            doubts,
            folded,
            begun: None,
            snapshot: None,
            passes_snapshot: false,
            foundation: None,
            contradicted: None,
        }
    }

    /// From the first event on, with the snapshot if there is one.
    fn begin_at_the_first_event(&mut self) {
        self.snapshot = if self.doubts.snapshot { None } else { snapshot::load(self.data) };
    }

    /// Which checkpoints there are. Each distrusted one is named.
    fn look(&self, ends: &[SegmentEnd]) {
        let known = &self.folded.known;
        let found = CheckpointFolder::of(self.data).find(ends, &mut |name, why| known.distrust(name, &why));
        for found in found {
            known.add(Arc::new(found));
        }
        for (name, why) in &self.doubts.checkpoints {
            known.distrust(name, why);
        }
    }

    /// The newest one at which the start may go on, with what it holds.
    fn newest(&self, sealed: &SealedHistory<'_>) -> Option<(Arc<Checkpoint>, CheckpointState, LeftBefore)> {
        if self.reads.verify == VerifyScope::All {
            return None;
        }
        // A distrusted one is forgotten.
        while let Some(found) = self.folded.known.at_or_before(sealed.indexed().end()) {
            let read = found.read_for(self.reads.memory);
            match read.and_then(|read| Ok((left_before(&found, &read)?, read))) {
                Ok((left, read)) => return Some((found, read, left)),
                Err(error) => self.folded.known.distrust(found.name(), &error.about(found.name())),
            }
        }
        None
    }

    /// Has everything as the newest checkpoint says, if there is one; behind how many segments that is.
    fn begin_on(&mut self, indexed: &IndexedHistory, sealed: &SealedHistory<'_>) -> Result<usize, OpenError> {
        self.passes_snapshot = true;
        let Some((checkpoint, read, left)) = self.newest(sealed) else {
            self.foundation = Some(IndexedBase::new(indexed, DayPulse::default()));
            return Ok(0);
        };
        let CheckpointState { state, erased, pulse, .. } = read;
        let end = checkpoint.end();
        (self.folded.state, self.folded.erased, self.folded.left) = (state, erased, left);
        self.foundation = Some(IndexedBase::new(indexed, pulse));
        let table = &mut self.folded.idempotency;
        let since = table.since(end.recorded_at);
        let count = sealed.idempotent_since(end.position, since, &mut |commit| table.add(&commit))?;
        tracing::info!(position = %end.position, "the start goes on from a checkpoint");
        self.folded.known.begun_on(checkpoint.name());
        self.begun = Some(Arc::clone(&checkpoint));
        let position = Some(end.position);
        self.stand_if_due().map_err(|why| OpenError::Damaged {
            path: self.data.to_owned(),
            position,
            why,
        })?;
        Ok(count)
    }

    /// At the end of what the indexes cover, projections and tree begin on the state that it led to.
    fn stand_if_due(&mut self) -> Result<(), String> {
        let is_due = |foundation: &mut IndexedBase| foundation.indexed.end() == self.folded.state.position;
        let Some(IndexedBase { indexed, pulse, changed }) = self.foundation.take_if(is_due) else {
            return Ok(());
        };
        let projections =
            Projections::from_checkpoint(&self.folded.state, pulse, &indexed, RetainedCounts::default());
        match projections.and_then(|projections| Ok((projections, MerkleIndex::from_index(&indexed)?))) {
            Ok((projections, nodes)) => {
                if let Some(begun) = &self.begun {
                    let (checkpoint, known) = (Arc::clone(begun), Arc::clone(&self.folded.known));
                    let listing = Arc::new(ListingCheckpoint { checkpoint, known }) as _;
                    let begun = projections.begin_listing(&listing);
                    if let Err(error) = begun.and_then(|_| projections.note_changes(&listing, changed)) {
                        let why = error.to_string();
                        self.contradicted = Some(StartContradiction::Checkpoint(why.clone()));
                        return Err(why);
                    }
                }
                (self.folded.projections, self.folded.nodes) = (projections, Arc::new(nodes));
                Ok(())
            }
            Err(error) => {
                self.contradicted = Some(StartContradiction::Index(error.to_string()));
                Err(error.to_string())
            }
        }
    }

    /// Takes the next commit; with the leaves of its records, where they are known.
    fn take(&mut self, stored: &StoredCommit, leaves: Option<&[[u8; 32]]>) -> Result<(), String> {
        self.folded.idempotency.fold(stored);
        self.folded.note_erasures(stored);
        if let (Some(foundation), Some(begun)) = (&mut self.foundation, &self.begun) {
            foundation.note_changes(stored, &self.folded.state, begun.end().position);
        }
        self.fold_state(stored)?;
        if let Some(foundation) = &mut self.foundation {
            foundation.add(stored);
            return self.stand_if_due();
        }
        match leaves {
            Some(leaves) => self.folded.nodes.fold_leaves(leaves),
            None => self.folded.nodes.fold(stored),
        }
        let state = self.snapshot.as_ref().map_or(&self.folded.state, |snapshot| &snapshot.state);
        self.folded.projections.fold(stored, state);
        Ok(())
    }

    fn fold_state(&mut self, stored: &StoredCommit) -> Result<(), String> {
        match &self.snapshot {
            None => {
                self.folded.since_snapshot += stored.commit.events.len() as u64;
                self.folded
                    .state
                    .apply(&stored.commit)
                    .map_err(|illegal| self.contradict(illegal.to_string()))
            }
            Some(snapshot) if stored.last() < snapshot.state.position => Ok(()),
            Some(snapshot) if stands_on(snapshot, stored) => {
                self.folded.state = self.snapshot.take().expect("it was looked at").state;
                Ok(())
            }
            Some(_) => {
                self.contradicted = Some(StartContradiction::Snapshot);
                Err("the snapshot is of another history".into())
            }
        }
    }

    /// Behind a checkpoint, what cannot follow may be the checkpoint's fault: it is looked at without it.
    fn contradict(&mut self, illegal: String) -> String {
        if self.begun.is_some() {
            self.contradicted = Some(StartContradiction::Checkpoint(illegal.clone()));
        }
        illegal
    }

    /// What it leads to, if the log is as long as the snapshot says: one is only ever written of what is durable, so
    /// what the log lacks was cut off.
    fn end(self, head: Position) -> Result<StartupState, StartError> {
        let witness = match &self.snapshot {
            Some(snapshot) => Some(snapshot.state.position),
            None if self.passes_snapshot => snapshot::position(self.data).filter(|stands| *stands > head),
            None => None,
        };
        let Some(snapshot) = witness else { return Ok(self.folded) };
        let path = snapshot::path(self.data).display().to_string();
        Err(StartError::BehindSnapshot { path, snapshot, head })
    }

    /// What the next attempt does without; `None` if nothing was contradicted.
    fn doubted(self) -> Option<StartupDoubts> {
        let contradicted = self.contradicted?;
        let mut doubts = self.doubts.clone();
        match contradicted {
            StartContradiction::Snapshot => {
                tracing::warn!("the snapshot does not belong to this log; the log is folded whole");
                doubts.snapshot = true;
            }
            StartContradiction::Index(why) => {
                tracing::warn!(%why, "the history is read from its first event on, and all of it kept in memory");
                doubts.indexes = true;
            }
            StartContradiction::Checkpoint(why) => {
                let checkpoint = self.begun?.name().to_owned();
                tracing::warn!(%checkpoint, %why, "what follows does not follow from this checkpoint; it is not used");
                doubts.checkpoints.push((checkpoint, why));
            }
        }
        Some(doubts)
    }
}

impl StartupFold for StartupReplay<'_> {
    fn begin(&mut self, sealed: &SealedHistory<'_>) -> Result<usize, OpenError> {
        self.look(&sealed.ends());
        let indexed = sealed.indexed();
        if indexed.end() > Position::ZERO && !self.doubts.indexes {
            return self.begin_on(indexed, sealed);
        }
        // Where there are segments, a snapshot may lack sessions that left memory.
        self.passes_snapshot = !sealed.ends().is_empty() || !self.reads.by_snapshot;
        if !self.passes_snapshot {
            self.begin_at_the_first_event();
        }
        Ok(0)
    }

    fn add(&mut self, stored: StoredCommit, leaves: &[[u8; 32]]) -> Result<(), String> {
        self.take(&stored, Some(leaves))
    }
}

/// What is known of sessions that stand apart in a checkpoint and were not read.
fn left_before(found: &Checkpoint, read: &CheckpointState) -> Result<LeftBefore, CheckpointError> {
    if read.left.count == 0 {
        return Ok(LeftBefore::default());
    }
    let EndedBefore { subjects, with_text, longest_ttl, count } = read.left.clone();
    // One more than are named, to see whether that is all.
    let by_bulk = found.latest_by_bulk(NAMED + 1)?;
    let position = found.end().position;
    Ok(LeftBefore { position, subjects, with_text, by_bulk, longest_ttl, count })
}

fn stands_on(snapshot: &StateSnapshot, stored: &StoredCommit) -> bool {
    stored.last() == snapshot.state.position && stored.record_hashes.last() == Some(&snapshot.record)
}

/// Opens the log, cut as it records, or as the setting says where it records nothing.
pub(super) fn open_log(
    data: &Path,
    cut: SegmentEvents,
    reads: StartupReads,
    table: &dyn Fn() -> IdempotencyTable,
) -> Result<(SledLog, StartupState), StartError> {
    let (log, folded) = open_cut_by(data, cut, reads, table)?;
    let Some(recorded) = folded.state.system.segment_events else { return Ok((log, folded)) };
    match cut {
        SegmentEvents::By(asked) if asked != recorded => {
            Err(OpenError::CutOtherwise { asked, recorded }.into())
        }
        SegmentEvents::AsRecorded if log.segment_events() != recorded => {
            drop(log);
            open_cut_by(data, SegmentEvents::By(recorded), reads, table)
        }
        SegmentEvents::By(_) | SegmentEvents::AsRecorded | SegmentEvents::Uncut => Ok((log, folded)),
    }
}

fn open_cut_by(
    data: &Path,
    cut: SegmentEvents,
    reads: StartupReads,
    table: &dyn Fn() -> IdempotencyTable,
) -> Result<(SledLog, StartupState), StartError> {
    let mut doubts = StartupDoubts::default();
    loop {
        let mut folding = StartupReplay::new(data, reads, &doubts, table());
        match tenure_log::open_for(data, cut, &mut folding) {
            Ok(log) => {
                let folded = folding.end(log.head().position)?;
                return Ok((log, folded));
            }
            Err(error) => doubts = folding.doubted().ok_or(error)?,
        }
    }
}

/// What a start on a log of several machines came to.
pub(super) type ReplayResult<R> = (ClusterMember, StartupState, R);
/// Says after each look whether it is enough.
pub(super) type ReadyCheck<'r, R> =
    dyn FnMut(&ClusterMember, MemberStep, &StartupState) -> Result<Option<R>, StartError> + 'r;

/// The same of a log on several machines: it comes back when `is_ready` has seen enough.
///
/// What is in segments, the broker has too: where it is damaged, or of another history, it is set aside, and all of the
/// history comes from the broker.
pub(super) fn join_log<R>(
    options: &NodeOptions,
    following: &jetstream::JetStreamOptions,
    told: &jetstream::StatusListener,
    table: &dyn Fn() -> IdempotencyTable,
    is_ready: &mut ReadyCheck<'_, R>,
) -> Result<ReplayResult<R>, StartError> {
    let data = &options.data;
    let scope = StartupReads { verify: options.verify, memory: options.retention, by_snapshot: false };
    let mut doubts = StartupDoubts::default();
    loop {
        let mut folding = StartupReplay::new(data, scope, &doubts, table());
        let error = match follow_until(data, following, told, &mut folding, is_ready) {
            Ok((member, ready)) => {
                let folded = folding.end(member.log().head().position)?;
                return Ok((member, folded, ready));
            }
            Err(error) => error,
        };
        match (folding.doubted(), error) {
            (Some(more), _) => doubts = more,
            (None, StartError::Log(error)) if jetstream::is_of_segments(data, &error) => {
                if !jetstream::set_segments_aside(data)? {
                    return Err(error.into());
                }
                let aside = jetstream::segments_aside(data);
                tracing::error!(
                    %error,
                    aside = %aside.display(),
                    "what this node has of the history is not used: it is set aside, and all of it is read from the broker"
                );
                doubts = StartupDoubts::default();
            }
            (None, error) => return Err(error),
        }
    }
}

fn follow_until<R>(
    data: &Path,
    options: &jetstream::JetStreamOptions,
    told: &jetstream::StatusListener,
    folding: &mut StartupReplay<'_>,
    is_ready: &mut ReadyCheck<'_, R>,
) -> Result<(ClusterMember, R), StartError> {
    let mut member = jetstream::join_for(data, options, Arc::clone(told), folding)?;
    loop {
        let step = match member.log().leadership() {
            None => member
                .step(&mut |commits| commits.iter().try_for_each(|stored| folding.take(stored, None)))?,
            // It has taken the lead, and lacks what else it needs.
            Some(leadership) if leadership.lost().is_none() => MemberStep::Leads,
            Some(_) => {
                member.follow(false);
                MemberStep::Follows
            }
        };
        if let Some(ready) = is_ready(&member, step, &folding.folded)? {
            return Ok((member, ready));
        }
    }
}

#[cfg(test)]
mod tests;
