//! What goes into a checkpoint is split: into what a start reads, and sessions that ended long ago.

use std::{collections::BTreeMap, io, path::Path};

use super::{
    CheckpointError,
    ended::{self, EndedOfSubject, KeptSubject},
    fold::{ApartSessions, io_at},
    format::{EndedSummary, SectionKind},
    reader::Checkpoint,
    rows::{EndedRow, rows_in, rows_of},
    writer::CheckpointWriter,
};
use tenure_core::{
    SubjectId, eviction::EvictionHorizon, session::Session, state::AuthorityState, subject::Subject,
};

/// A state on its way to disk.
pub(super) struct EndedSplit<'c> {
    /// Behind which sessions stand apart.
    horizon: EvictionHorizon,
    before: Option<&'c Checkpoint>,
    apart: ApartSessions,
    /// Those that stand apart from now on; of the subjects whose own were in the state, all of them.
    new: BTreeMap<SubjectId, Vec<Session>>,
    rows: Vec<EndedRow>,
    past: EndedSummary,
}

impl<'c> EndedSplit<'c> {
    pub(super) fn new(
        horizon: EvictionHorizon,
        before: Option<&'c Checkpoint>,
        apart: ApartSessions,
    ) -> Result<Self, CheckpointError> {
        let mut past = before.map_or(Ok(EndedSummary::default()), Checkpoint::past)?;
        // They are counted again.
        past.count -= apart.began.len() as u64;
        Ok(Self { horizon, before, apart, new: BTreeMap::new(), rows: Vec::new(), past })
    }

    /// Writes a subject that was folded.
    pub(super) fn write_folded(
        &mut self,
        writer: &mut CheckpointWriter,
        state: &mut AuthorityState,
        id: &SubjectId,
    ) -> io::Result<()> {
        let Some(subject) = state.subjects.remove(id) else { return Ok(()) };
        let ended = self.apart.counts.get(id).copied().unwrap_or_default();
        self.write_kept(writer, subject, ended)
    }

    /// Writes a subject of which some sessions stand apart already.
    pub(super) fn write_kept(
        &mut self,
        writer: &mut CheckpointWriter,
        mut subject: Subject,
        mut ended: EndedOfSubject,
    ) -> io::Result<()> {
        let left = tenure_core::eviction::evict_from_subject(&mut subject, self.horizon);
        ended.add(&left);
        if !left.is_empty() {
            self.add(&subject, left);
        }
        let kept = KeptSubject { subject, ended };
        let encoded = minicbor::to_vec(&kept).map_err(io::Error::other)?;
        writer.of_subject(SectionKind::Subjects, &kept.subject.id, &encoded)
    }

    fn add(&mut self, subject: &Subject, left: Vec<Session>) {
        let owner = subject.profile().and_then(|profile| profile.owner_id.as_ref());
        for session in &left {
            self.rows.extend(rows_of(session, owner));
            self.past.longest_ttl = self.past.longest_ttl.max(session.terms.ttl);
        }
        self.past.count += left.len() as u64;
        self.new.insert(subject.id.clone(), left);
    }

    /// Writes what stands apart, once all subjects are written.
    pub(super) fn write(
        mut self,
        path: &Path,
        writer: &mut CheckpointWriter,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), CheckpointError> {
        self.write_ended(path, writer, go_on)?;
        self.write_rows(path, writer, go_on)?;
        writer.value(SectionKind::Past, &self.past).map_err(|source| io_at(path, source))
    }

    /// Those of the checkpoint before go from file to file, but for the subjects that have others now.
    fn write_ended(
        &mut self,
        path: &Path,
        writer: &mut CheckpointWriter,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), CheckpointError> {
        const KIND: SectionKind = SectionKind::Ended;
        let at = |source| io_at(path, source);
        let mut new = std::mem::take(&mut self.new).into_iter().peekable();
        for (before, section) in
            self.before.iter().flat_map(|it| it.sections(KIND).iter().map(move |s| (it, s)))
        {
            if !go_on() {
                return Err(CheckpointError::Stopped);
            }
            let bytes = before.section(section)?;
            let unreadable = |error| before.unreadable(section, &error);
            for (id, place) in ended::places(&bytes).map_err(unreadable)? {
                while let Some((new, sessions)) = new.next_if(|(new, _)| *new < id) {
                    writer.of_subject(KIND, &new, &ended::bytes_of(&new, &sessions)).map_err(at)?;
                }
                let added = new.next_if(|(new, _)| *new == id).map(|(_, sessions)| sessions);
                let is_replaced = self.apart.joined.contains(&id);
                let encoded = match added {
                    Some(sessions) if is_replaced => ended::bytes_of(&id, &sessions),
                    Some(mut sessions) => {
                        sessions.append(&mut ended::sessions_of(&bytes[place]).map_err(unreadable)?);
                        sessions.sort_unstable_by_key(|session| session.id);
                        ended::bytes_of(&id, &sessions)
                    }
                    None if is_replaced => continue,
                    None => bytes[place].to_vec(),
                };
                writer.of_subject(KIND, &id, &encoded).map_err(at)?;
            }
        }
        for (id, sessions) in new {
            writer.of_subject(KIND, &id, &ended::bytes_of(&id, &sessions)).map_err(at)?;
        }
        writer.end_filling(KIND).map_err(at)
    }

    /// The new ones among those before.
    fn write_rows(
        &mut self,
        path: &Path,
        writer: &mut CheckpointWriter,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(), CheckpointError> {
        let at = |source| io_at(path, source);
        self.rows.sort_unstable();
        let mut new = self.rows.iter().peekable();
        for (before, section) in
            self.before.iter().flat_map(|it| it.sections(SectionKind::Rows).iter().map(move |s| (it, s)))
        {
            if !go_on() {
                return Err(CheckpointError::Stopped);
            }
            let bytes = before.rows_of(section)?;
            for known in rows_in(&bytes).filter(|row| !self.apart.began.contains(&row.created())) {
                while let Some(new) = new.next_if(|new| **new < known) {
                    writer.row(new).map_err(at)?;
                }
                writer.row(&known).map_err(at)?;
            }
        }
        new.try_for_each(|row| writer.row(row)).map_err(at)?;
        writer.end_filling(SectionKind::Rows).map_err(at)
    }
}
