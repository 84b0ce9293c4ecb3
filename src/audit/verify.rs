//! Reads an export and believes nothing of it: with the key of the authority alone it tells a true history from one
//! that was edited, cut, put together or forked, and names the place.
//!
//! Nothing of the store is used here. What is checked of each commit, in this order: its line is spelled as we
//! spell it; it stands at the next position; its bytes are one commit in its one spelling; the hashes of its
//! records are those beside it; it continues the last position of its stream; recorded time does not go back.
//! At each head: the note is signed by the key, and its root is that of all records so far.
//!
//! Who forges a record and the hash beside it breaks the next head. Which of the records since the head before is
//! the forged one, the file cannot say, and so all of them are named.

use std::{
    fmt,
    io::{self, BufRead},
    ops::ControlFlow,
};

use hashbrown::HashMap;
use serde::{Serialize, Serializer};

use super::{
    export::{Begin, CommitLine, End, LONGEST_LINE, Line, from_hex},
    range::Range,
};
use crate::{
    domain::{Position, Timestamp},
    log::{RootHash, StoredCommit, StreamKey},
};

/// What a signed head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// So many records there were.
    pub size: u64,
    /// The root over them.
    pub root: RootHash,
}

/// Checks the signature of a note, and reads it; or says why it is not believed.
pub type Judge<'j> = dyn Fn(&str) -> Result<Claim, String> + 'j;

/// Where something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first line.
    Header,
    /// This position.
    Position(Position),
    /// One of these positions, or more; which, nothing in the file can tell.
    Positions(Position, Position),
    /// The signed head of a history so long, and none of its records.
    Head(Position),
    /// The end, behind this position.
    End(Position),
}

impl Place {
    /// The first position of which nothing is proved any more; none when it is no matter of positions.
    pub const fn first_bad(self) -> Option<Position> {
        match self {
            Self::Position(first) | Self::Positions(first, _) => Some(first),
            Self::End(last) => Some(Position(last.0 + 1)),
            Self::Header | Self::Head(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the first line"),
            Self::Position(position) => write!(f, "position {position}"),
            Self::Positions(first, last) => write!(f, "positions {first} to {last}"),
            Self::Head(size) => write!(f, "the signed head at position {size}"),
            Self::End(last) => write!(f, "the end, behind position {last}"),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why an export is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is not what the authority signed.
    #[error("{place}: {why}")]
    Untrue {
        /// Where.
        place: Place,
        /// What is wrong there.
        why: String,
    },
    /// It ends before its end: it was cut, or is still being written.
    #[error("position {} is missing: the file ends without its last line", last.next())]
    Cut {
        /// The last position that is there.
        last: Position,
    },
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// What was checked, all of it true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The first position.
    pub from: u64,
    /// The last position.
    pub to: u64,
    /// The size of the head that vouches for it.
    pub size: u64,
    /// The root that the head names.
    pub root_hash: RootHash,
    /// So many commits.
    pub commits: u64,
    /// So many heads.
    pub heads: u64,
    /// When the last commit was decided.
    pub recorded_at: Timestamp,
    /// The last head, as it was signed.
    pub signed_head: String,
}

/// Reads an export, hands each commit to `take` once it is checked, and gives the verdict; none when `take` has
/// seen enough.
///
/// What `take` is handed is proved only when the verdict is there: before, no head has vouched for it.
///
/// # Errors
/// The first [`Fault`].
pub fn verify(
    input: impl BufRead,
    judge: &Judge<'_>,
    take: &mut dyn FnMut(&StoredCommit) -> ControlFlow<()>,
) -> Result<Option<Verdict>, Fault> {
    let mut lines = Lines { input, line: Vec::new() };
    let begin = match lines.next()? {
        Some(line) => Begin::read(line).map_err(at_header)?,
        None => return Err(at_header("is missing: the file is empty".into())),
    };
    let mut check = Check::new(&begin, judge)?;
    let mut bytes = Vec::new();
    loop {
        let Some(line) = lines.next()? else { return Err(Fault::Cut { last: check.chain.last() }) };
        match Line::read(line) {
            Some(Line::Commit(line)) => {
                let commit = check.commit(&line, &mut bytes)?;
                if take(&commit).is_break() {
                    return Ok(None);
                }
            }
            Some(Line::Head(line)) => check.head(&line.head)?,
            Some(Line::End(end)) => {
                let verdict = check.end(end)?;
                return match lines.next()? {
                    None => Ok(Some(verdict)),
                    Some(_) => Err(untrue(Place::End(Position(verdict.to)), "lines follow the last one")),
                };
            }
            None => {
                let why = "the line is not as an export has it";
                return Err(untrue(Place::Position(check.chain.last().next()), why));
            }
        }
    }
}

fn at_header(why: String) -> Fault {
    Fault::Untrue { place: Place::Header, why }
}

fn untrue(place: Place, why: impl Into<String>) -> Fault {
    Fault::Untrue { place, why: why.into() }
}

/// The lines of the file, none longer than an export has.
struct Lines<R> {
    input: R,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its end; a line that has no end was cut, and is none.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let limit = LONGEST_LINE as u64;
        io::Read::take(&mut self.input, limit).read_until(b'\n', &mut self.line)?;
        match self.line.pop() {
            Some(b'\n') => Ok(Some(&self.line)),
            Some(last) if self.line.len() + 1 == LONGEST_LINE => {
                // It is no line of ours; what it holds is for whoever reads it to refuse.
                self.line.push(last);
                Ok(Some(&self.line))
            }
            Some(_) | None => Ok(None),
        }
    }
}

/// A check on its way.
struct Check<'j> {
    judge: &'j Judge<'j>,
    chain: Chain,
    from: u64,
    /// The last position that a head vouches for.
    proved: Position,
    commits: u64,
    heads: u64,
}

impl<'j> Check<'j> {
    fn new(begin: &Begin, judge: &'j Judge<'j>) -> Result<Self, Fault> {
        let before = begin.from.checked_sub(1).ok_or_else(|| at_header("positions begin at 1".into()))?;
        let range = subtrees(&begin.before).and_then(|hashes| Range::of(0, before, &hashes));
        let range = range.ok_or_else(|| {
            at_header(format!("`before` does not hold the hashes of {before} events"))
        })?;
        let chain = Chain::behind(range);
        Ok(Self { judge, proved: chain.last(), chain, from: begin.from, commits: 0, heads: 0 })
    }

    fn commit(&mut self, line: &CommitLine<'_>, bytes: &mut Vec<u8>) -> Result<StoredCommit, Fault> {
        let next = self.chain.last().next();
        let at_next = |why: String| untrue(Place::Position(next), why);
        if line.first != next {
            return Err(at_next(misplaced(next, line.first)));
        }
        if !line.decode(bytes) {
            return Err(at_next("its bytes are not written as an export has them".into()));
        }
        let stored = StoredCommit::decode(next, bytes).map_err(|error| at_next(error.to_string()))?;
        if !line.states(&stored.record_hashes) {
            return Err(at_next("its bytes are not those of the record hashes beside them".into()));
        }
        self.chain.follow(&stored).map_err(at_next)?;
        self.commits += 1;
        Ok(stored)
    }

    /// A head in between: the root of all so far.
    fn head(&mut self, note: &str) -> Result<(), Fault> {
        let last = self.chain.last();
        let claim = (self.judge)(note).map_err(|why| untrue(Place::Head(last), why))?;
        if claim.size != last.0 {
            let why = format!("it is of size {}", claim.size);
            return Err(untrue(Place::Head(last), why));
        }
        self.compare(claim, self.chain.range.root())
    }

    fn end(mut self, end: End) -> Result<Verdict, Fault> {
        let last = self.chain.last();
        if end.to != last.0 {
            let why = format!("the last line says that the export ends at position {}", end.to);
            return Err(untrue(Place::End(last), why));
        }
        let claim = (self.judge)(&end.head).map_err(|why| untrue(Place::Head(last), why))?;
        if claim.size < last.0 {
            let why = format!("it is of size {}, and the records go on behind it", claim.size);
            return Err(untrue(Place::Head(last), why));
        }
        let mut whole = self.chain.range.clone();
        let behind = subtrees(&end.after).filter(|hashes| whole.join_hashes(claim.size, hashes));
        if behind.is_none() {
            let why = format!("`after` does not hold the hashes of the events up to {}", claim.size);
            return Err(untrue(Place::End(last), why));
        }
        self.compare(claim, whole.root())?;
        Ok(Verdict {
            from: self.from,
            to: last.0,
            size: claim.size,
            root_hash: claim.root,
            commits: self.commits,
            heads: self.heads,
            recorded_at: self.chain.recorded_at,
            signed_head: end.head,
        })
    }

    fn compare(&mut self, claim: Claim, root: Option<RootHash>) -> Result<(), Fault> {
        let last = self.chain.last();
        if root == Some(claim.root) {
            self.proved = last;
            self.heads += 1;
            return Ok(());
        }
        let first = self.proved.next();
        let place = match first.cmp(&last) {
            std::cmp::Ordering::Less => Place::Positions(first, last),
            std::cmp::Ordering::Equal => Place::Position(first),
            std::cmp::Ordering::Greater => Place::Head(last),
        };
        let what = if self.heads == 0 && self.from > 1 { "these, or `before` in the first line," } else { "they" };
        let why = format!("{what} are not what was signed: the head of size {} names another root", claim.size);
        Err(untrue(place, why))
    }
}

fn misplaced(next: Position, found: Position) -> String {
    if found > next {
        format!("is missing: the next commit begins at {found}")
    } else {
        format!("a commit that says it begins at {found} stands here")
    }
}

fn subtrees(hex: &[String]) -> Option<Vec<[u8; 32]>> {
    hex.iter().map(|text| from_hex(text)).collect()
}

/// What follows from commit to commit: the tree, the streams, recorded time.
struct Chain {
    range: Range,
    /// Where the part of the history that is here begins; of what is before, the streams are not known.
    before: Position,
    recorded_at: Timestamp,
    streams: HashMap<StreamKey, Position>,
}

impl Chain {
    fn behind(range: Range) -> Self {
        let before = Position(range.end());
        Self { range, before, recorded_at: Timestamp::ZERO, streams: HashMap::new() }
    }

    const fn last(&self) -> Position {
        Position(self.range.end())
    }

    fn follow(&mut self, stored: &StoredCommit) -> Result<(), String> {
        let commit = &stored.commit;
        let stream = self.streams.entry(StreamKey::of(&commit.stream)).or_default();
        let (actual, expected) = (*stream, commit.expected);
        if expected != actual && (actual > Position::ZERO || expected > self.before) {
            return Err(format!("its stream ends at {actual}, but the commit continues {expected}"));
        }
        if commit.recorded_at < self.recorded_at {
            let (last, given) = (self.recorded_at, commit.recorded_at);
            return Err(format!("recorded time goes back from {last} to {given}"));
        }
        *stream = stored.last();
        self.recorded_at = commit.recorded_at;
        for hash in &stored.record_hashes {
            self.range.append(hash);
        }
        Ok(())
    }
}
