//! `tenure bench replay`

use std::{ops::ControlFlow, path::PathBuf};

use clap::Args;

use super::{
    conditions::machine,
    failed,
    report::{RoundSeries, print},
    synthetic::{commit, created, registered, renewed, subject},
};
use crate::cli::{context::GlobalArgs, failure::CommandError};
use tenure_audit::{
    HeadKey, SignedHead,
    export::{EndLine, ExportWriter},
    replay::{HistoryReplay as Folding, ReplayEnd},
    transparency::compact_range::CompactRange,
    verify::{TrustAnchors, verify},
};
use tenure_core::{
    Commit, CommitId, Event, Policy, Position, StreamId, SystemEvent, Timestamp, event::PolicyChanged,
};
use tenure_log::encode;
use tenure_protocol::clock::{stopwatch, worked};
use tenure_protocol::entropy::OsEntropy;

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// How many events the history has
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    events: u64,

    /// How many sessions they are about; all else are renewals
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    sessions: u64,

    /// How many rounds; the median one counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Keep the measured export in this file
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
}

impl ReplayArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let key = HeadKey::draw(&OsEntropy);
        let bytes = self.history(&key).map_err(failed)?;
        if let Some(path) = &self.keep {
            std::fs::write(path, &bytes)
                .map_err(|source| CommandError::File { path: path.clone(), source })?;
        }
        let mut verified = RoundSeries::new("verify an export", 1);
        let mut folded = RoundSeries::new("verify and fold the state", 1);
        for _ in 0..self.rounds {
            self.round(&bytes, &key, &mut verified, &mut |_| ControlFlow::Continue(()))?;
            let mut folding = Folding::new(ReplayEnd::End);
            self.round(&bytes, &key, &mut folded, &mut |stored| {
                folding.add(&stored).unwrap_or(ControlFlow::Break(()))
            })?;
        }
        let mut conditions = machine();
        conditions.insert("events".into(), self.events.into());
        conditions.insert("exportBytes".into(), bytes.len().into());
        print(global.output(), &conditions, &[verified.item(None), folded.item(Some(&verified))])
    }

    fn round(
        &self,
        bytes: &[u8],
        key: &HeadKey,
        series: &mut RoundSeries,
        each: &mut dyn FnMut(tenure_log::StoredCommit) -> ControlFlow<()>,
    ) -> Result<(), CommandError> {
        let (begun, work) = (stopwatch(), worked());
        let trust = TrustAnchors { key: Some(key.verifier()), known: &[] };
        let verdict = verify(bytes, trust, &mut |stored, _| each(stored)).map_err(failed)?;
        let (took, work) = (begun.elapsed(), worked().saturating_sub(work));
        match verdict {
            Some(verdict) if verdict.to == self.events => {
                series.add_whole(usize::try_from(self.events).unwrap_or(usize::MAX), took, work);
                Ok(())
            }
            Some(_) | None => Err(failed("the history was not read to its end")),
        }
    }

    /// An export in memory: sessions, and then their renewals, one after another.
    fn history(&self, key: &HeadKey) -> std::io::Result<Vec<u8>> {
        let mut writer = ExportWriter::begin(Vec::new(), Some(key.verifier().to_string()))?;
        let mut range = CompactRange::starting(0);
        let sessions = self.sessions.min((self.events - 1) / 2);
        let mut last = vec![Position::ZERO; usize::try_from(sessions).unwrap_or(usize::MAX)];
        let mut next = 0;
        while range.end() < self.events {
            let commit = match next {
                0 => first(),
                n if n <= sessions && range.end() + 2 <= self.events => created_with_its_subject(n - 1),
                n => renewed_after(&last, (n - 1) % sessions, (n - 1) / sessions),
            };
            let encoded = encode(&commit).map_err(std::io::Error::other)?;
            writer.known_commit(Position(range.end() + 1), encoded.record_hashes(), encoded.bytes())?;
            encoded.record_hashes().iter().for_each(|hash| range.append(hash));
            if let (StreamId::Subject(_), n) = (&commit.stream, next) {
                last[usize::try_from((n - 1) % sessions).unwrap_or(0)] = Position(range.end());
            }
            next += 1;
        }
        let root = range.root().expect("it begins with the first event");
        let head = SignedHead::sign(range.end(), root, key).note().to_owned();
        writer.end(&EndLine { to: range.end(), after: vec![], head })
    }
}

const BEGIN: i64 = 1_795_000_000_000;
const NO_ID: CommitId = CommitId::from_bytes([0; 16]);
fn first() -> Commit {
    let event = Event::System(SystemEvent::PolicyChanged(PolicyChanged { policy: Policy::default() }));
    commit(NO_ID, StreamId::System, Position::ZERO, at(0), vec![event])
}

/// Round by round, an hour apart.
fn at(round: u64) -> Timestamp {
    Timestamp::from_millis(BEGIN + i64::try_from(round * 3_600_000).unwrap_or(i64::MAX))
}

fn created_with_its_subject(n: u64) -> Commit {
    let events = vec![registered(), created(n, at(0))];
    commit(NO_ID, StreamId::Subject(subject(n)), Position::ZERO, at(0), events)
}

fn renewed_after(last: &[Position], n: u64, round: u64) -> Commit {
    let expected = last[usize::try_from(n).unwrap_or(0)];
    let event = renewed(n, round, at(round));
    commit(NO_ID, StreamId::Subject(subject(n)), expected, at(round), vec![event])
}
