//! `tenure bench memory`

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{
    CommandError,
    conditions::{ScratchDir, machine, resident_bytes},
    failed,
    fixture::{MemoryAuthority, TTL, sessions},
    report::print_with,
    start,
};
use crate::cli::{
    context::GlobalArgs,
    output::{Column, Output},
};
use tenure_core::Actor;
use tenure_server::authority::{Authority, RequestContext};
use tenure_server::tokens::SessionToken;

/// Sessions made before they are renewed together; only their tokens are kept meanwhile.
const AT_ONCE: usize = 10_000;

const COLUMNS: &[Column] = &[
    Column::plain("SESSIONS", "sessions"),
    Column::plain("PER SUBJECT", "perSubject"),
    Column::plain("RENEWED", "renewed"),
    Column::plain("BYTES PER SESSION", "bytesPerSession"),
    Column::plain("RESIDENT", "residentBytes"),
];

const AFTER_ENDED: &[Column] = &[
    Column::plain("SESSIONS", "sessions"),
    Column::plain("ENDED BEFORE", "ended"),
    Column::plain("EVENTS", "events"),
    Column::plain("IN MEMORY", "sessionsInMemory"),
    Column::plain("START SECONDS", "startSeconds"),
    Column::plain("RESIDENT", "residentBytes"),
];

#[derive(Debug, Args)]
pub(crate) struct MemoryArgs {
    /// How many sessions are live
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=100_000_000))]
    sessions: u32,

    /// How many of them each subject has
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=5))]
    per_subject: u32,

    /// Renew each of them once
    #[arg(long)]
    renewed: bool,

    /// On disk, after this number of others has ended: memory after a start
    #[arg(long, value_name = "N", conflicts_with = "renewed", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    after_ended: Option<u32>,

    /// Says what a start on this directory takes, for the process that made it
    #[arg(long, hide = true)]
    of: Option<PathBuf>,

    /// Where to put the temporary directory of the keys
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

impl MemoryArgs {
    pub(super) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        if let Some(data) = &self.of {
            return started(data, global.output());
        }
        let scratch = ScratchDir::new(&self.dir)?;
        if let Some(ended) = self.after_ended {
            let item = after_ended(&scratch, ended.into(), self.sessions.into(), self.per_subject.into())?;
            return print_with(global.output(), &machine(), &[item], AFTER_ENDED);
        }
        let runtime = Runtime::new().map_err(failed)?;
        let memory = MemoryAuthority::new(&scratch, 0)?;
        let resident = || resident_bytes().ok_or_else(|| failed("the system does not say what is resident"));
        // What is needed once and for all is there already when it counts.
        self.make(&runtime, &memory, 50_000)?;
        let before = resident()?;
        self.make(&runtime, &memory, self.sessions as usize)?;
        let after = resident()?;
        let mut conditions = machine();
        conditions
            .insert("counted".into(), json!("resident memory: state, indexes, timeline; no log, no tokens"));
        let item: Value = json!({
            "sessions": self.sessions,
            "perSubject": self.per_subject,
            "renewed": self.renewed,
            "bytesPerSession": (after.saturating_sub(before)) / u64::from(self.sessions),
            "residentBytes": after,
        });
        print_with(global.output(), &conditions, &[item], COLUMNS)
    }

    fn make(&self, runtime: &Runtime, memory: &MemoryAuthority, count: usize) -> Result<(), CommandError> {
        let each = self.per_subject as usize;
        if !self.renewed {
            return sessions(runtime.handle(), &memory.authority, count, each, |_, _| ()).map(drop);
        }
        let mut left = count;
        while left > 0 {
            let some = left.min(AT_ONCE);
            let tokens = sessions(runtime.handle(), &memory.authority, some, each, |_, token| token)?;
            memory.clock.advance(u64::from(TTL / 2)).map_err(failed)?;
            tokens.iter().try_for_each(|token| runtime.block_on(renew(&memory.authority, token)))?;
            left -= some;
        }
        Ok(())
    }
}

/// Events at least behind the end of those that ended, for segments and a checkpoint behind it.
const LIVED: u64 = 400_000;

/// What a start finds behind sessions that ended, once they are in segments: in a process that has done nothing else.
fn after_ended(
    scratch: &ScratchDir,
    ended: u64,
    sessions: u64,
    per_subject: u64,
) -> Result<Value, CommandError> {
    let data = scratch.path().join("data");
    start::open(&data)?.0.stop();
    let events = start::fill_after(ended, &data, sessions, per_subject, 2 * ended + LIVED)?;
    let node = start::open(&data)?.0;
    start::settle(&node)?;
    node.stop();
    let mut item = start_apart(&data)?;
    for (name, value) in [("sessions", sessions), ("ended", ended), ("events", events)] {
        item[name] = value.into();
    }
    Ok(item)
}

/// What a start on a directory takes, in a process that has done nothing else.
pub(super) fn start_apart(data: &Path) -> Result<Value, CommandError> {
    let program = std::env::current_exe().map_err(failed)?;
    let started =
        Command::new(program).args(["bench", "memory", "--of"]).arg(data).output().map_err(failed)?;
    serde_json::from_slice(&started.stdout)
        .map_err(|_| failed(String::from_utf8_lossy(&started.stderr).trim()))
}

/// Starts on a directory, and says what that took.
fn started(data: &Path, output: Output) -> Result<(), CommandError> {
    let (node, figures) = start::open(data)?;
    let (sessions, _) = node.authority.live().session_counts();
    let told = json!({
        "sessionsInMemory": sessions,
        "startSeconds": figures.seconds(),
        "cpuSeconds": figures.cpu_seconds(),
        "residentBytes": resident_bytes(),
    });
    node.stop();
    output.narrative_line(&told.to_string())
}

/// With a key, as a holder does who may have to repeat it.
async fn renew(authority: &Authority, token: &SessionToken) -> Result<(), CommandError> {
    let holder = authority.holder(token.expose()).ok_or_else(|| failed("the token is not known"))?;
    let granted = authority.renew(RequestContext::of(Actor::AUTHORITY), &holder, Some("once")).await;
    granted.map(drop).map_err(|failure| failed(format!("not renewed: {failure:?}")))
}
