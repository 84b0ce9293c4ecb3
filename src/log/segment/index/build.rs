//! An index in the making: what is to be found in a segment, from its commits alone.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use super::{
    BLOCK_LEVEL, key_of_session, key_of_stream,
    layout::{BODY, Layout, Section, check},
};
use crate::{
    StoredCommit,
    segment::header::Header,
    tree::{leaf, parent},
};
use tenure_core::{Event, Position, Stream, SubjectEvent, SystemEvent};

/// A key, and how far behind the first position of the segment.
type Pair = (u64, u32);

/// Takes the commits of a segment, in order.
pub(crate) struct Builder {
    segment: [u8; 32],
    range: (Position, Position),
    streams: Vec<Pair>,
    created: Vec<Pair>,
    named: Vec<Pair>,
    revocations: Vec<u32>,
    bulks: Vec<u32>,
    creations: Vec<u32>,
    erasures: Vec<u32>,
    tree: Growing,
}

/// The tree as it grows, with the nodes that are completed.
struct Growing {
    size: u64,
    peaks: Vec<[u8; 32]>,
    nodes: Vec<[u8; 32]>,
}

impl Builder {
    /// For the index of the segment with this header.
    pub(crate) fn new(header: &Header) -> Self {
        let tree = header.base.tree();
        let tree = Growing { size: tree.size(), peaks: tree.peaks().to_vec(), nodes: Vec::new() };
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

    /// Adds a commit.
    pub(crate) fn add(&mut self, stored: &StoredCommit) {
        let first = self.place(stored.first);
        if let Stream::Subject(_) = &stored.commit.stream {
            self.streams.push((key_of_stream(&stored.commit.stream), first));
        }
        for (position, event) in stored.positions().zip(&stored.commit.events) {
            let place = self.place(position);
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
        for record in &stored.record_hashes {
            self.tree.append(&leaf(record));
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
        let mut entries = [0; Section::ALL.len()];
        for section in Section::ALL {
            entries[section as usize] = self.count(section) as u64;
        }
        let layout = Layout { range: self.range, entries };
        let mut out = Pages { file: BufWriter::new(File::create(path)?), segment: self.segment, number: 0 };
        out.put(&layout.body())?;
        for section in Section::ALL {
            self.put(section, &mut out)?;
        }
        out.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }

    fn count(&self, section: Section) -> usize {
        match section {
            Section::Streams => self.streams.len(),
            Section::Created => self.created.len(),
            Section::Named => self.named.len(),
            Section::Revocations => self.revocations.len(),
            Section::Bulks => self.bulks.len(),
            Section::Creations => self.creations.len(),
            Section::Erasures => self.erasures.len(),
            Section::Nodes => self.tree.nodes.len(),
        }
    }

    fn put(&self, section: Section, out: &mut Pages) -> io::Result<()> {
        let pair = |(key, place): &Pair, body: &mut Vec<u8>| {
            body.extend_from_slice(&key.to_be_bytes());
            body.extend_from_slice(&place.to_be_bytes());
        };
        let place = |place: &u32, body: &mut Vec<u8>| body.extend_from_slice(&place.to_be_bytes());
        match section {
            Section::Streams => out.put_all(section, &self.streams, pair),
            Section::Created => out.put_all(section, &self.created, pair),
            Section::Named => out.put_all(section, &self.named, pair),
            Section::Revocations => out.put_all(section, &self.revocations, place),
            Section::Bulks => out.put_all(section, &self.bulks, place),
            Section::Creations => out.put_all(section, &self.creations, place),
            Section::Erasures => out.put_all(section, &self.erasures, place),
            Section::Nodes => {
                out.put_all(section, &self.tree.nodes, |node, body| body.extend_from_slice(node))
            }
        }
    }
}

impl Growing {
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

struct Pages {
    file: BufWriter<File>,
    segment: [u8; 32],
    number: u64,
}

impl Pages {
    fn put_all<T>(&mut self, section: Section, all: &[T], put: impl Fn(&T, &mut Vec<u8>)) -> io::Result<()> {
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
