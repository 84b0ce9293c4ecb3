//! Every segment of a directory, each judged apart from the others.

use std::{fs, io, path::Path};

use super::{
    Segment, SegmentError,
    index::{self, SegmentIndex},
};
use crate::{LogError, StoredCommit, tree};
use tenure_core::Position;

/// What one segment is found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedSegment {
    /// Its file.
    pub name: String,
    /// The positions of its first and its last event, where its header can be read.
    pub range: Option<(Position, Position)>,
    /// What is wrong with it; `None` if it reads as it was written.
    pub fault: Option<String>,
    /// What is wrong with its index; none of a sound one, and where there is none yet.
    pub index_fault: Option<String>,
}

/// Reads every segment of this data directory whole, with the checks that a start makes of it. Changes nothing.
///
/// # Errors
/// The directory cannot be listed.
pub fn check_segments(data_dir: &Path) -> io::Result<Vec<CheckedSegment>> {
    let dir = data_dir.join("segments");
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir)? {
        names.extend(entry?.file_name().into_string().ok().filter(|name| name.ends_with(".segment")));
    }
    names.sort_unstable();
    Ok(names.into_iter().map(|name| checked(&dir, name)).collect())
}

/// The same of one segment, by its file in a directory of segments.
pub fn check_segment(dir: &Path, name: &str) -> CheckedSegment {
    checked(dir, name.to_owned())
}

fn checked(dir: &Path, name: String) -> CheckedSegment {
    match Segment::open(dir.join(&name)) {
        Ok(segment) => {
            let range = Some((segment.header.first(), segment.header.last()));
            let fault = segment.read_whole(&mut |_| true).err();
            let fault = fault.map(|trouble| in_words(trouble, &segment));
            CheckedSegment { name, range, fault, index_fault: index_fault(&segment) }
        }
        Err(error) => CheckedSegment { name, range: None, fault: Some(error.to_string()), index_fault: None },
    }
}

fn index_fault(segment: &Segment) -> Option<String> {
    let path = index::path_of(&segment.path);
    let read = match SegmentIndex::open(path.clone(), &segment.header) {
        Ok(index) => index.read_whole(&mut |_| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => return Some(error.to_string()),
    };
    match read {
        Ok(_) => None,
        Err(SegmentError::Wanting(why)) => Some(why),
        Err(SegmentError::Damaged { why, .. }) => Some(why.replace(&format!("{}: ", path.display()), "")),
    }
}

/// What is wrong with a segment, without the path of its file.
pub(crate) fn in_words(trouble: SegmentError, segment: &Segment) -> String {
    let path = format!("{}: ", segment.path.display());
    LogError::from(trouble).to_string().replace(&path, "")
}

impl Segment {
    /// Reads all of it; whether it came to the end.
    ///
    /// # Errors
    /// The positions that are not as they were written.
    pub(crate) fn read_whole(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Result<bool, SegmentError> {
        self.read_each(&mut |_, _| (), go_on)
    }

    /// The same, and hands over every commit, with the hashes of the leaves of its records.
    ///
    /// # Errors
    /// As `read_whole`.
    pub(crate) fn read_each(
        &self,
        take: &mut dyn FnMut(&StoredCommit, &[[u8; 32]]),
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, SegmentError> {
        let blocks = self.blocks()?;
        let mut tail = self.header.base.clone();
        for number in 0..blocks.len() {
            let bytes = blocks.read(number)?;
            for (first, _, bytes) in blocks.commits(number, &bytes)? {
                let stored = StoredCommit::decode(first, bytes).map_err(|_| self.untrue())?;
                let leaves = tree::leaves(&stored.record_hashes);
                let followed = tail.follow_leaves(stored.commit.recorded_at, &leaves);
                followed.map_err(|_| self.untrue())?;
                take(&stored, &leaves);
            }
            blocks.forget(number);
            if !go_on(bytes.len() as u64) {
                return Ok(false);
            }
        }
        if tail == self.header.end { Ok(true) } else { Err(self.untrue()) }
    }
}
