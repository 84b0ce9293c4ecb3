//! An index in the making: what is to be found in a segment, from its commits alone.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use super::{
    BLOCK_LEVEL, key_of_session, key_of_subject,
    layout::{BODY, IndexLayout, IndexSection, check},
};
use crate::{
    DecodeError, StoredCommit,
    codec::CommitOutline,
    segment::header::SegmentHeader,
    tail::LogTail,
    tree::{TreeEdge, leaf, parent},
};
use tenure_core::{Event, EventKind, Position, StreamId, SubjectEvent, SystemEvent, Timestamp};

/// A key, and how far behind the first position of the segment.
type IndexEntry = (u64, u32);

/// Takes the commits of a segment, in order.
pub(crate) struct IndexBuilder {
    segment: [u8; 32],
    range: (Position, Position),
    streams: Vec<IndexEntry>,
    created: Vec<IndexEntry>,
    named: Vec<IndexEntry>,
    revocations: Vec<u32>,
    bulks: Vec<u32>,
    creations: Vec<u32>,
    erasures: Vec<u32>,
    tree: GrowingTree,
}

/// The tree as it grows, with the nodes that are completed.
struct GrowingTree {
    size: u64,
    peaks: Vec<[u8; 32]>,
    nodes: Vec<[u8; 32]>,
}

impl IndexBuilder {
    /// For the index of the segment with this header.
    pub(crate) fn new(header: &SegmentHeader) -> Self {
        let tree = header.base.tree();
        let tree = GrowingTree { size: tree.size(), peaks: tree.peaks().to_vec(), nodes: Vec::new() };
        Self {
            segment: header.check(),
            range: (header.first(), header.last()),
            streams: Vec::new(),
            created: Vec::new(),
            named: Vec::new(),
            revocations: Vec::new(),
            bulks: Vec::new(),
            creations: Vec::new(),
            erasures: Vec::new(),
            tree,
        }
    }

    /// Adds a commit, with the hashes of the leaves of its records.
    pub(crate) fn add(&mut self, stored: &StoredCommit, leaves: &[[u8; 32]]) {
        let first = self.place(stored.first);
        if let StreamId::Subject(id) = &stored.commit.stream {
            self.streams.push((key_of_subject(id.as_str()), first));
        }
        for (position, event) in stored.positions().zip(&stored.commit.events) {
            self.add_event(event, first, self.place(position));
        }
        for leaf in leaves {
            self.tree.append(leaf);
        }
    }

    /// Adds a commit that begins here, by its outline.
    ///
    /// # Errors
    /// One of its events cannot be read.
    pub(crate) fn add_outline(
        &mut self,
        first: Position,
        commit: &CommitOutline<'_>,
    ) -> Result<(), DecodeError> {
        let first = self.place(first);
        if let Some(id) = commit.subject {
            self.streams.push((key_of_subject(id), first));
        }
        for (place, event) in (first..).zip(commit.events(is_in_an_index)) {
            if let Some(event) = event? {
                self.add_event(&event, first, place);
            }
        }
        for record in commit.record_hashes() {
            self.tree.append(&leaf(&record));
        }
        Ok(())
    }

    /// The end of the log behind what was added, whose last commit was recorded at this moment.
    pub(crate) fn end(&self, recorded_at: Timestamp) -> LogTail {
        let tree = TreeEdge::from_peaks(self.tree.size, self.tree.peaks.clone());
        LogTail::of(recorded_at, tree.expect("there is a peak for each bit of the size"))
    }

    fn add_event(&mut self, event: &Event, first: u32, place: u32) {
        if event.is_revocation() {
            self.revocations.push(place);
        }
        match event {
            Event::Subject(SubjectEvent::SessionCreated(event)) => {
                self.created.push((key_of_session(event.session_id), place));
                self.creations.push(place);
            }
            Event::Subject(SubjectEvent::SubjectErased(_)) => self.erasures.push(place),
            Event::Subject(_) => {}
            Event::System(event) => self.add_system(event, first, place),
        }
    }

    fn add_system(&mut self, event: &SystemEvent, first: u32, place: u32) {
        if let SystemEvent::SelectionRevoked(_) = event {
            self.bulks.push(place);
        }
        self.named.extend(event.sessions_named().into_iter().map(|id| (key_of_session(id), first)));
    }

    fn place(&self, position: Position) -> u32 {
        u32::try_from(position.0 - self.range.0.0).expect("a segment has less than 2^32 events")
    }

    /// Writes the index to this file, and brings it to disk.
    pub(crate) fn write(mut self, path: &Path) -> io::Result<()> {
        for pairs in [&mut self.streams, &mut self.created, &mut self.named] {
            pairs.sort_unstable();
            pairs.dedup();
        }
        let mut entries = [0; IndexSection::ALL.len()];
        for section in IndexSection::ALL {
            entries[section as usize] = self.count(section) as u64;
        }
        let layout = IndexLayout { range: self.range, entries };
        let mut out =
            PageWriter { file: BufWriter::new(File::create(path)?), segment: self.segment, number: 0 };
        out.put(&layout.body())?;
        for section in IndexSection::ALL {
            self.put(section, &mut out)?;
        }
        out.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    fn count(&self, section: IndexSection) -> usize {
        match section {
            IndexSection::Streams => self.streams.len(),
            IndexSection::Created => self.created.len(),
            IndexSection::Named => self.named.len(),
            IndexSection::Revocations => self.revocations.len(),
            IndexSection::Bulks => self.bulks.len(),
            IndexSection::Creations => self.creations.len(),
            IndexSection::Erasures => self.erasures.len(),
            IndexSection::Nodes => self.tree.nodes.len(),
        }
    }

    fn put(&self, section: IndexSection, out: &mut PageWriter) -> io::Result<()> {
        let pair = |(key, place): &IndexEntry, body: &mut Vec<u8>| {
            body.extend_from_slice(&key.to_be_bytes());
            body.extend_from_slice(&place.to_be_bytes());
        };
        let place = |place: &u32, body: &mut Vec<u8>| body.extend_from_slice(&place.to_be_bytes());
        match section {
            IndexSection::Streams => out.put_all(section, &self.streams, pair),
            IndexSection::Created => out.put_all(section, &self.created, pair),
            IndexSection::Named => out.put_all(section, &self.named, pair),
            IndexSection::Revocations => out.put_all(section, &self.revocations, place),
            IndexSection::Bulks => out.put_all(section, &self.bulks, place),
            IndexSection::Creations => out.put_all(section, &self.creations, place),
            IndexSection::Erasures => out.put_all(section, &self.erasures, place),
            IndexSection::Nodes => {
                out.put_all(section, &self.tree.nodes, |node, body| body.extend_from_slice(node))
            }
        }
    }
}

/// Whether an index says more of such an event than whose it is.
const fn is_in_an_index(kind: EventKind) -> bool {
    match kind {
        EventKind::SubjectRegistered
        | EventKind::SessionRenewed
        | EventKind::RenewalRejected
        | EventKind::SessionExpired
        | EventKind::SessionRefreshed
        | EventKind::UsageRecorded
        | EventKind::SubjectResumed => false,
        EventKind::SessionCreated
        | EventKind::SessionRevoked
        | EventKind::SessionsRevoked
        | EventKind::SubjectErased
        | EventKind::SubjectSuspended
        | EventKind::SelectionRevoked
        | EventKind::TokensPresented
        | EventKind::SessionsSeen
        | EventKind::CredentialIssued
        | EventKind::CredentialRevoked
        | EventKind::CredentialConfirmed
        | EventKind::PolicyChanged
        | EventKind::KeyRotated
        | EventKind::WebhookCreated
        | EventKind::WebhookDeleted
        | EventKind::EpochBegan
        | EventKind::LogSegmented => true,
    }
}

impl GrowingTree {
    fn append(&mut self, leaf: &[u8; 32]) {
        let mut node = *leaf;
        for level in 1..=self.size.trailing_ones() {
            let left = self.peaks.pop().expect("there is one for each bit of the size");
            node = parent(&left, &node);
            if level >= BLOCK_LEVEL {
                self.nodes.push(node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }
}

struct PageWriter {
    file: BufWriter<File>,
    segment: [u8; 32],
    number: u64,
}

impl PageWriter {
    fn put_all<T>(
        &mut self,
        section: IndexSection,
        all: &[T],
        put: impl Fn(&T, &mut Vec<u8>),
    ) -> io::Result<()> {
        for part in all.chunks(section.per_page()) {
            let mut body = Vec::with_capacity(BODY);
            for one in part {
                put(one, &mut body);
            }
            self.put(&body)?;
        }
        Ok(())
    }

    fn put(&mut self, body: &[u8]) -> io::Result<()> {
        let mut body = body.to_vec();
        body.resize(BODY, 0);
        let check = check(&self.segment, self.number, &body);
        self.number += 1;
        self.file.write_all(&body)?;
        self.file.write_all(&check)
    }
}
