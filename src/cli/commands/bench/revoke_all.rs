//! `tenure bench revoke-all`

use std::{path::PathBuf, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{
    conditions::{ScratchDir, load_average, machine},
    failed,
    fixture::{DiskAuthority, sessions},
    report::print_with,
};
use crate::cli::{context::GlobalArgs, failure::CommandError, output::Column};
use tenure_core::{Actor, session::TokenFault};
use tenure_protocol::clock::stopwatch;
use tenure_server::authority::{AskedBulk, Authority, InactiveToken, RequestContext, SessionSelection};
use tenure_server::tokens::SessionToken;

#[derive(Debug, Args)]
pub(crate) struct RevokeAll {
    /// How many sessions are live
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    sessions: u32,

    /// How many of them each subject has
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=5))]
    per_subject: u32,

    /// How many rounds, each with sessions of its own; the median one counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// Where to put the temporary data directories: the disk of this directory is measured
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

const COLUMNS: &[Column] = &[
    Column::plain("WORK", "work"),
    Column::plain("MILLIS", "millis"),
    Column::plain("LEAST", "leastMillis"),
    Column::plain("MOST", "mostMillis"),
    Column::plain("LOAD", "loadAverage"),
];

/// Tokens kept, and checked right after the answer.
const JUDGED: usize = 10_000;

/// What one round took.
struct RevocationRound {
    dry: Duration,
    reply: Duration,
    /// Of one token, while the revocation is being settled.
    judged: Duration,
    load: Option<f64>,
}

impl RevokeAll {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let runtime = Runtime::new().map_err(failed)?;
        let mut rounds = Vec::new();
        for round in 1..=self.rounds {
            global.output().progress(&format!("round {round} of {}", self.rounds));
            rounds.push(self.round(&runtime)?);
        }
        let mut conditions = machine();
        conditions.insert("sessions".into(), self.sessions.into());
        conditions.insert("perSubject".into(), self.per_subject.into());
        conditions.insert("rounds".into(), self.rounds.into());
        conditions.insert("where".into(), json!("in process, on disk before the answer"));
        let items = [
            item("count what would end (a dry run)", rounds.iter().map(|round| round.dry), &rounds),
            item("revoke all, to the answer", rounds.iter().map(|round| round.reply), &rounds),
            item("introspect one, right after", rounds.iter().map(|round| round.judged), &rounds),
        ];
        print_with(global.output(), &conditions, &items, COLUMNS)
    }

    fn round(&self, runtime: &Runtime) -> Result<RevocationRound, CommandError> {
        let scratch = ScratchDir::new(&self.dir)?;
        let DiskAuthority { node, .. } = DiskAuthority::open(&scratch)?;
        let authority = &node.authority;
        let count = self.sessions as usize - JUDGED.min(self.sessions as usize / 2);
        let each = self.per_subject as usize;
        sessions(runtime.handle(), authority, count, each, |_, _| ())?;
        let kept =
            sessions(runtime.handle(), authority, self.sessions as usize - count, each, |_, token| token)?;
        let begun = stopwatch();
        let would = authority.matching(&SessionSelection::default()).map_err(failed)?;
        let dry = begun.elapsed();
        let begun = stopwatch();
        let asked = AskedBulk { selection: SessionSelection::default(), reason: "a benchmark".into() };
        let revoked =
            runtime.block_on(authority.revoke_matching(RequestContext::of(Actor::AUTHORITY), asked));
        let reply = begun.elapsed();
        let matched = revoked.map_err(failed)?.matched;
        if matched != would.matched || would.matched != self.sessions {
            return Err(failed(format!("{matched:?} of {} sessions were ended", self.sessions)));
        }
        let judged = judge(authority, &kept)?;
        let load = load_average();
        node.stop();
        Ok(RevocationRound { dry, reply, judged, load })
    }
}

/// Judges all these tokens, whose sessions must be reported as ended; how long each took.
fn judge(authority: &Authority, tokens: &[SessionToken]) -> Result<Duration, CommandError> {
    let begun = stopwatch();
    for token in tokens {
        match authority.introspect(token.expose()) {
            Err(InactiveToken::Fault(TokenFault::Revoked(_), _)) => {}
            other => return Err(failed(format!("an ended session is judged {other:?}"))),
        }
    }
    Ok(begun.elapsed() / u32::try_from(tokens.len()).unwrap_or(u32::MAX).max(1))
}

fn item(work: &str, took: impl Iterator<Item = Duration>, rounds: &[RevocationRound]) -> Value {
    let mut took: Vec<_> = took.map(|took| (took.as_secs_f64() * 1e6).round() / 1e3).collect();
    took.sort_unstable_by(f64::total_cmp);
    let mut loads: Vec<_> = rounds.iter().filter_map(|round| round.load).collect();
    loads.sort_unstable_by(f64::total_cmp);
    json!({
        "work": work,
        "millis": took.get(took.len() / 2),
        "leastMillis": took.first(),
        "mostMillis": took.last(),
        "loadAverage": loads.get(loads.len() / 2),
    })
}
