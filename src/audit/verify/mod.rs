//! Reads an export and believes nothing in it: with the authority's key alone it distinguishes a true history from
//! one that was edited, cut, put together or forked, and names the place.
//!
//! Nothing of the store is used here. What is checked of each commit, in this order: its line is spelled as we
//! spell it; it stands at the next position; its bytes are one commit in its one spelling; the hashes of its
//! records are those beside it; it continues the last position of its stream; recorded time does not go back.
//! At each head, and where a head is known from elsewhere: the root is that of all records so far.
//!
//! A forger of a record and the hash beside it breaks the next head. Which of the records since the head before is
//! the forged one, the file cannot say, and so all of them are named.

mod epochs;
mod lines;

use std::{
    cmp::Ordering,
    fmt,
    io::{self, BufRead},
    ops::ControlFlow,
};

use hashbrown::HashMap;
use serde::{Serialize, Serializer};

pub use self::epochs::{EpochFork, verify_through_epochs};
use self::{epochs::FormerKey, lines::ExportLines};
use super::export::{BeginLine, CommitLine, EndLine, ExportLine, from_hex};
use crate::transparency::{
    compact_range::CompactRange,
    key::{VerifierKey, VerifierKeyError},
    signed_head::SignedHead,
};
use tenure_core::{Position, Timestamp};
use tenure_log::{RootHash, StoredCommit, StreamKey};

/// What is trusted before the export is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct TrustAnchors<'t> {
    /// The authority's key, from a trusted source. Without one, the key that the export itself names is used: that finds
    /// damage, and no forger who signed with a key of their own.
    pub key: Option<&'t VerifierKey>,
    /// Heads known from elsewhere, ascending: the history must be the one that they were signed of, and
    /// no shorter. Only they show that a true, older history was put in the place of a newer one, or a fork.
    pub known: &'t [SignedHead],
}

/// Where something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportLocation {
    /// The first line.
    Header,
    /// This position.
    Position(Position),
    /// One or more of these positions; nothing in the file shows which.
    Positions(Position, Position),
    /// The signed head of a history of this length, and none of its records.
    Head(Position),
    /// The end, behind this position.
    End(Position),
}

impl ExportLocation {
    /// The first wrong position; `None` if the fault is not about positions.
    pub const fn first_bad(self) -> Option<Position> {
        match self {
            Self::Position(first) | Self::Positions(first, _) => Some(first),
            Self::End(last) => Some(Position(last.0 + 1)),
            Self::Header | Self::Head(_) => None,
        }
    }
}

impl fmt::Display for ExportLocation {
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

impl Serialize for ExportLocation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Where a fault was found: behind the last head that held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnprovedRange {
    /// The last position that a head vouches for.
    pub behind: Position,
    /// The last position that was read.
    pub last: Position,
}

/// Why an export is not believed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not what the authority signed.
    #[error("{place}: {why}")]
    Untrue {
        /// Where.
        place: ExportLocation,
        /// What is wrong there.
        why: String,
        /// What no head vouches for.
        since: UnprovedRange,
    },
    /// It ends before its end: it was cut, or is still being written.
    #[error("position {} is missing: the file ends without its last line", last.next())]
    Cut {
        /// The last existing position.
        last: Position,
        /// What no head vouches for.
        since: UnprovedRange,
    },
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl VerifyError {
    /// The positions that may be wrong, first and last: the named ones, or all since the last head that held. `None`
    /// if the records are not what is wrong.
    pub fn bad_positions(&self) -> Option<(Position, Position)> {
        match self {
            Self::Untrue { place: ExportLocation::Head(_), since, .. } => {
                (since.behind < since.last).then(|| (since.behind.next(), since.last))
            }
            Self::Untrue { place: ExportLocation::Positions(first, last), .. } => Some((*first, *last)),
            Self::Untrue { place, .. } => place.first_bad().map(|position| (position, position)),
            Self::Cut { last, .. } => Some((last.next(), last.next())),
            Self::Unreadable(_) => None,
        }
    }

    /// The last position that a head vouches for; `None` if nothing could be read.
    pub const fn vouched_to(&self) -> Option<Position> {
        match self {
            Self::Untrue { since, .. } | Self::Cut { since, .. } => Some(since.behind),
            Self::Unreadable(_) => None,
        }
    }

    fn found(self, since: UnprovedRange) -> Self {
        match self {
            Self::Untrue { place, why, .. } => Self::Untrue { place, why, since },
            Self::Cut { last, .. } => Self::Cut { last, since },
            Self::Unreadable(error) => Self::Unreadable(error),
        }
    }
}

/// What was checked, all of it true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifiedExport {
    /// The first position.
    pub from: u64,
    /// The last position.
    pub to: u64,
    /// The size of the head that vouches for it.
    pub size: u64,
    /// The root that the head names.
    pub root_hash: RootHash,
    /// Number of commits.
    pub commits: u64,
    /// Number of heads.
    pub heads: u64,
    /// When the last commit was decided.
    pub recorded_at: Timestamp,
    /// The last head, as it was signed.
    pub signed_head: String,
    /// The key by which the heads were checked.
    pub verifier_key: String,
    /// The heads before the last one, ascending.
    #[serde(skip)]
    pub earlier: Vec<SignedHead>,
}

/// Takes a commit that was checked, with its bytes as they are stored, and says whether it wants more.
pub type CommitVisitor<'t> = dyn FnMut(StoredCommit, &[u8]) -> ControlFlow<()> + 't;

/// Reads an export, hands each commit to `take` once it is checked, and returns the verdict; `None` if `take` has
/// seen enough.
///
/// What `take` receives is proved only by the verdict: until then, no head has vouched for it.
///
/// # Errors
/// The first [`VerifyError`].
pub fn verify(
    input: impl BufRead,
    trust: TrustAnchors<'_>,
    take: &mut CommitVisitor<'_>,
) -> Result<Option<VerifiedExport>, VerifyError> {
    let mut lines = ExportLines::of(input);
    let begin = match lines.next()? {
        Some(line) => BeginLine::read(line).map_err(at_header)?,
        None => return Err(at_header("is missing: the file is empty".into())),
    };
    let mut check = ExportVerifier::new(&begin, trust)?;
    let read = check.read(&mut lines, take);
    read.map_err(|fault| fault.found(check.unproved()))
}

/// A log read commit by commit and checked, as an export is, against the known heads.
pub struct LogCheck<'t>(ExportVerifier<'t>);

impl<'t> LogCheck<'t> {
    /// Of a log from its first event on.
    pub fn new(known: &'t [SignedHead]) -> Self {
        let chain = CommitChain::behind(CompactRange::starting(0));
        // One of the empty history says nothing.
        let known = &known[known.iter().take_while(|head| head.size == 0).count()..];
        let (proved, earlier) = (Position::ZERO, vec![]);
        Self(ExportVerifier { key: None, known, proved, former: None, chain, from: 1, commits: 0, earlier })
    }

    /// The same for a reader with the key of an earlier epoch, and heads that it signed: see [`LogCheck::fork`].
    pub fn by_former(known: &'t [SignedHead], former: &'t VerifierKey) -> Self {
        let mut check = Self::new(known);
        check.0.former = Some(FormerKey::of(former));
        check
    }

    /// Where the epoch of the former key ended; `None` if that point was not reached.
    pub fn fork(&self) -> Option<EpochFork> {
        self.0.former.as_ref().and_then(FormerKey::fork)
    }

    /// Adds the next commit.
    ///
    /// # Errors
    /// A commit that does not follow, or a known head that it contradicts.
    pub fn add(&mut self, stored: &StoredCommit) -> Result<(), VerifyError> {
        self.0.meet_fork(stored);
        self.0.follow(stored).map_err(|fault| fault.found(self.0.unproved()))
    }

    /// The last position that a known head vouches for.
    pub const fn vouched_to(&self) -> Position {
        self.0.proved
    }

    /// Where it stands, and the root over all so far.
    pub fn head(&self) -> (u64, RootHash) {
        let range = &self.0.chain.range;
        (range.end(), range.root().expect("it begins with the first event"))
    }

    /// How many commits there were, and when the last one was decided.
    pub const fn commits(&self) -> (u64, Timestamp) {
        (self.0.commits, self.0.chain.recorded_at)
    }

    /// At the end: no head may be known of what is not there.
    ///
    /// # Errors
    /// A known head of a longer history.
    pub fn end(&self) -> Result<(), VerifyError> {
        let last = self.0.chain.last();
        match self.0.known.last() {
            Some(known) => {
                let why = format!("is missing, and all up to {}: a head of that size is known", known.size);
                Err(untrue(ExportLocation::Position(last.next()), why).found(self.0.unproved()))
            }
            None => Ok(()),
        }
    }
}

fn other_key() -> VerifyError {
    at_header("`verifierKey` is another key than the one that is trusted".into())
}

fn at_header(why: String) -> VerifyError {
    untrue(ExportLocation::Header, why)
}

fn untrue(place: ExportLocation, why: impl Into<String>) -> VerifyError {
    VerifyError::Untrue { place, why: why.into(), since: UnprovedRange::default() }
}

/// A check on its way.
struct ExportVerifier<'t> {
    key: Option<VerifierKey>,
    /// Those of the known heads that have not been met yet.
    known: &'t [SignedHead],
    chain: CommitChain,
    from: u64,
    /// The last position that a head vouches for.
    proved: Position,
    /// The trusted key, if it is one of an earlier epoch.
    former: Option<FormerKey<'t>>,
    commits: u64,
    earlier: Vec<SignedHead>,
}

impl<'t> ExportVerifier<'t> {
    fn new(begin: &BeginLine, trust: TrustAnchors<'t>) -> Result<Self, VerifyError> {
        let key = trusted_key(begin, trust.key)?;
        let before = begin.from.checked_sub(1).ok_or_else(|| at_header("positions begin at 1".into()))?;
        let range = subtrees(&begin.before).and_then(|hashes| CompactRange::of(0, before, &hashes));
        let range = range
            .ok_or_else(|| at_header(format!("`before` does not hold the hashes of {before} events")))?;
        let chain = CommitChain::behind(range);
        let proved = chain.last();
        let is_before = |head: &SignedHead| head.size < proved.0;
        let known = &trust.known[trust.known.iter().take_while(|head| is_before(head)).count()..];
        let (from, former) = (begin.from, None);
        let mut check = Self { key, known, proved, former, chain, from, commits: 0, earlier: vec![] };
        check.meet_known()?;
        Ok(check)
    }

    /// All lines behind the first.
    fn read<R: BufRead>(
        &mut self,
        lines: &mut ExportLines<R>,
        take: &mut CommitVisitor<'_>,
    ) -> Result<Option<VerifiedExport>, VerifyError> {
        let mut bytes = Vec::new();
        loop {
            let last = self.chain.last();
            let Some(line) = lines.next()? else {
                return Err(VerifyError::Cut { last, since: UnprovedRange::default() });
            };
            match ExportLine::read(line) {
                Some(ExportLine::Commit(line)) => {
                    let commit = self.commit(&line, &mut bytes)?;
                    if take(commit, &bytes).is_break() {
                        return Ok(None);
                    }
                }
                Some(ExportLine::Head(line)) => self.head(&line.head)?,
                Some(ExportLine::End(end)) => {
                    let verdict = self.end(end)?;
                    return match lines.next()? {
                        None => Ok(Some(verdict)),
                        Some(_) => Err(untrue(ExportLocation::End(last), "lines follow the last one")),
                    };
                }
                None => {
                    let why = "the line is not as an export has it";
                    return Err(untrue(ExportLocation::Position(last.next()), why));
                }
            }
        }
    }

    /// What no head vouches for so far.
    const fn unproved(&self) -> UnprovedRange {
        UnprovedRange { behind: self.proved, last: self.chain.last() }
    }

    /// A commit of a log.
    fn follow(&mut self, stored: &StoredCommit) -> Result<(), VerifyError> {
        let next = self.chain.last().next();
        if stored.first != next {
            return Err(untrue(ExportLocation::Position(next), misplaced(next, stored.first)));
        }
        self.chain.follow(stored).map_err(|why| untrue(ExportLocation::Position(next), why))?;
        self.commits += 1;
        self.meet_known()
    }

    fn commit(&mut self, line: &CommitLine<'_>, bytes: &mut Vec<u8>) -> Result<StoredCommit, VerifyError> {
        let next = self.chain.last().next();
        let at_next = |why: String| untrue(ExportLocation::Position(next), why);
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
        self.meet_fork(&stored);
        self.chain.follow(&stored).map_err(at_next)?;
        self.commits += 1;
        self.meet_known()?;
        Ok(stored)
    }

    /// Notes where the epoch of a former key ends.
    fn meet_fork(&mut self, stored: &StoredCommit) {
        if self.former.as_mut().is_some_and(|former| former.look(stored, &self.chain.range)) {
            // What else that key has signed is of the history that was lost.
            self.known = &[];
        }
    }

    /// The history must be the one that the known heads were signed of.
    fn meet_known(&mut self) -> Result<(), VerifyError> {
        while let Some((head, later)) = self.known.split_first() {
            let last = self.chain.last();
            if head.size > last.0 {
                break;
            }
            self.known = later;
            if head.size < last.0 {
                let why = format!("a head is known that was signed inside of this commit, at {}", head.size);
                return Err(untrue(ExportLocation::Position(Position(head.size)), why));
            }
            self.compare(head, self.chain.range.root(), "a head that is known")?;
        }
        Ok(())
    }

    fn opened(&self, note: &str) -> Result<SignedHead, VerifyError> {
        let last = self.chain.last();
        let unproved = match self.proved.next().cmp(&last) {
            Ordering::Less => format!("; no head vouches for positions {} to {last}", self.proved.next()),
            Ordering::Equal => format!("; no head vouches for position {last}"),
            Ordering::Greater => String::new(),
        };
        let at_head = |why: String| untrue(ExportLocation::Head(last), format!("{why}{unproved}"));
        let key = self.key.as_ref().ok_or_else(|| at_head("there is no key to check it with".into()))?;
        SignedHead::open(note, key).map_err(|error| at_head(error.to_string()))
    }

    /// A head in between: the root of all so far.
    fn head(&mut self, note: &str) -> Result<(), VerifyError> {
        let head = self.opened(note)?;
        self.expect_size(&head)?;
        self.compare(&head, self.chain.range.root(), SIGNED)?;
        self.earlier.push(head);
        Ok(())
    }

    /// A head stands behind the last record that it covers.
    fn expect_size(&self, head: &SignedHead) -> Result<(), VerifyError> {
        let last = self.chain.last();
        match head.size.cmp(&last.0) {
            Ordering::Equal => Ok(()),
            Ordering::Greater => {
                let why = format!("is missing: a head of size {} stands here", head.size);
                Err(untrue(ExportLocation::Position(last.next()), why))
            }
            Ordering::Less => {
                let why = format!(
                    "they are more than were signed: a head of size {} stands behind them",
                    head.size
                );
                Err(untrue(ExportLocation::Positions(self.proved.next(), last), why))
            }
        }
    }

    fn end(&mut self, end: EndLine) -> Result<VerifiedExport, VerifyError> {
        let last = self.chain.last();
        if end.to != last.0 {
            let why = format!("the last line says that the export ends at position {}", end.to);
            return Err(untrue(ExportLocation::End(last), why));
        }
        let claim = self.opened(&end.head)?;
        if claim.size < last.0 {
            self.expect_size(&claim)?;
        }
        let mut whole = self.chain.range.clone();
        let behind = subtrees(&end.after).filter(|hashes| whole.join_hashes(claim.size, hashes));
        if behind.is_none() {
            let why = format!("`after` does not hold the hashes of the events up to {}", claim.size);
            return Err(untrue(ExportLocation::End(last), why));
        }
        self.compare(&claim, whole.root(), SIGNED)?;
        self.expect_all_known(&claim)?;
        Ok(VerifiedExport {
            from: self.from,
            to: last.0,
            size: claim.size,
            root_hash: claim.root,
            verifier_key: self.key.as_ref().map(ToString::to_string).unwrap_or_default(),
            commits: self.commits,
            heads: self.earlier.len() as u64 + 1,
            recorded_at: self.chain.recorded_at,
            signed_head: end.head,
            earlier: std::mem::take(&mut self.earlier),
        })
    }

    fn compare(&mut self, head: &SignedHead, root: Option<RootHash>, what: &str) -> Result<(), VerifyError> {
        let last = self.chain.last();
        if root == Some(head.root) {
            self.proved = last;
            return Ok(());
        }
        let first = self.proved.next();
        let place = match first.cmp(&last) {
            Ordering::Less => ExportLocation::Positions(first, last),
            Ordering::Equal => ExportLocation::Position(first),
            Ordering::Greater => ExportLocation::Head(last),
        };
        let is_part = first.0 == self.from && self.from > 1;
        let whose = if is_part { "these records, or `before` in the first line," } else { "the records" };
        let why = format!("{whose} are not what was signed: {what} of size {} names another root", head.size);
        Err(untrue(place, why))
    }

    /// A history that ends before a known head was cut, or is an old copy.
    fn expect_all_known(&self, end: &SignedHead) -> Result<(), VerifyError> {
        let Some(known) = self.known.last().filter(|known| known.size > end.size) else { return Ok(()) };
        let why = format!("is missing, and all up to {}: a head of that size is known", known.size);
        Err(untrue(ExportLocation::Position(end.position().next()), why))
    }
}

const SIGNED: &str = "the head";

/// The key to check with. An export whose heads a key has signed names it: one that names none was changed.
fn trusted_key(begin: &BeginLine, given: Option<&VerifierKey>) -> Result<Option<VerifierKey>, VerifyError> {
    let Some(stated) = &begin.verifier_key else {
        return match given {
            Some(_) => Err(at_header("`verifierKey` is null: this export is not signed".into())),
            None => Ok(None),
        };
    };
    let stated: VerifierKey =
        stated.parse().map_err(|error: VerifierKeyError| at_header(format!("`verifierKey`: {error}")))?;
    match given {
        Some(given) if *given != stated => Err(other_key()),
        Some(_) | None => Ok(Some(stated)),
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
struct CommitChain {
    range: CompactRange,
    /// Where this part of the history begins; of what is before, the streams are not known.
    before: Position,
    recorded_at: Timestamp,
    streams: HashMap<StreamKey, Position>,
}

impl CommitChain {
    fn behind(range: CompactRange) -> Self {
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
