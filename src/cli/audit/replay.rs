//! `tenure audit replay`

mod compare;

use std::ops::ControlFlow;

use clap::Args;
use serde_json::{Value, json};

use super::{known::Known, now, source::Source, step, stopped::damaged};
use crate::cli::{
    context::Global,
    failure::Failure,
    moments::{Moment, moment},
    output::{Column, Format, Output},
};
use tenure_audit::replay::{self, Until, sessions};
use tenure_core::{Position, evolve::IllegalEvent, session::Status, state::State};
use tenure_log::StoredCommit;

/// Arguments of `tenure audit replay`.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Up to this moment, and judged at it; such as 03:12 or 2026-11-22T03:12:00Z
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "position")]
    at: Option<Moment>,

    /// Up to this position, and judged at its moment
    #[arg(long, value_name = "N")]
    position: Option<u64>,

    /// Tell of each event what it changed; on a terminal one after another
    #[arg(long, conflicts_with = "compare")]
    step: bool,

    /// Compare with the live state: what the server lists now, or what the stopped one wrote last
    #[arg(long, conflicts_with_all = ["at", "position", "file"])]
    compare: bool,

    /// Only sessions of this status
    #[arg(long, value_parser = ["active", "expired", "revoked", "all"], default_value = "active")]
    status: String,

    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    known: Known,
}

const OUTCOME: &[Column] = &[
    Column::plain("", "asOfPosition"),
    Column::moment("", "asOfTime"),
    Column::plain("", "subjects"),
    Column::plain("", "credentials"),
    Column::plain("", "active"),
    Column::plain("", "expired"),
    Column::plain("", "revoked"),
    Column::plain("", "stateDigest"),
];

const SESSIONS: &[Column] = &[
    Column::id("SESSION", "sessionId"),
    Column::plain("SUBJECT", "subjectId"),
    Column::state("STATUS", "status"),
    Column::end("EXPIRES", "expiresAt"),
    Column::plain("RENEWED", "renewalCount"),
    Column::plain("OF", "maxRenewals"),
    Column::plain("OWNER", "ownerId"),
];

impl Replay {
    pub(crate) fn run(&self, global: &Global) -> Result<(), Failure> {
        let trusted = self.known.read()?;
        if self.compare {
            return compare::run(&self.source, global, &trusted);
        }
        let output = global.output();
        let replay = replay::Replay::new(self.until(global)?);
        let mut folding = Folding { replay, illegal: None, failed: None };
        let ending = self.source.read(global, &trusted, &mut |stored| {
            if self.step { folding.step(&stored, output) } else { folding.add(&stored) }
        })?;
        if let Some(failure) = folding.failed {
            return Err(failure);
        }
        if !self.step {
            self.show(output, &folding.replay)?;
        }
        if let Some(illegal) = folding.illegal {
            return Err(damaged(illegal.to_string()));
        }
        ending.tell(output);
        Ok(())
    }

    /// A live server is judged at its own now, and not at its last event, which may be hours old.
    fn until(&self, global: &Global) -> Result<Until, Failure> {
        Ok(match (self.at, self.position) {
            (Some(at), _) => Until::Time(self.source.past(global, at)?),
            (None, Some(position)) => Until::Position(Position(position)),
            (None, None) if self.source.is_server() && !self.step => {
                now::of_server(global)?.map_or(Until::End, Until::Time)
            }
            (None, None) => Until::End,
        })
    }

    fn show(&self, output: Output, replay: &replay::Replay) -> Result<(), Failure> {
        let at = replay.moment();
        let mut document = json!(replay.outcome());
        let items = sessions(replay.state(), self.wanted(), at);
        document["items"] = json!(items);
        if output.format() == Format::Table {
            let Value::Object(mut outcome) = document.clone() else {
                unreachable!("an outcome is an object")
            };
            outcome.remove("items");
            output.record(&outcome.into(), OUTCOME, at)?;
        }
        output.list_or(&document, SESSIONS, at, &self.empty(&document))
    }

    /// Of what a list without sessions is empty.
    fn empty(&self, outcome: &Value) -> String {
        let count = |name: &str| outcome[name].as_u64().unwrap_or_default();
        let all = count("active") + count("expired") + count("revoked");
        let status = if self.status == "all" { String::new() } else { format!("{} ", self.status) };
        let others = if all == 0 { String::new() } else { format!(" ({all} others: --status all)") };
        format!(
            "No {status}sessions at {}, position {}{others}.",
            text(&outcome["asOfTime"]),
            outcome["asOfPosition"]
        )
    }

    fn wanted(&self) -> Option<Status> {
        match self.status.as_str() {
            "active" => Some(Status::Active),
            "expired" => Some(Status::Expired),
            "revoked" => Some(Status::Revoked),
            // clap lets no other word through.
            _ => None,
        }
    }
}

/// A replay that stops at the first event that cannot follow.
struct Folding {
    replay: replay::Replay,
    illegal: Option<IllegalEvent>,
    failed: Option<Failure>,
}

impl Folding {
    fn add(&mut self, stored: &StoredCommit) -> ControlFlow<()> {
        self.replay.add(stored).unwrap_or_else(|illegal| {
            self.illegal = Some(illegal);
            ControlFlow::Break(())
        })
    }

    /// Tells of each event of the commit what it changed.
    fn step(&mut self, stored: &StoredCommit, output: Output) -> ControlFlow<()> {
        let stream = &stored.commit.stream;
        let mut told: Vec<(replay::Step<'_>, State)> = Vec::new();
        let added = self.replay.add_telling(stored, &mut |before, step| {
            told.push((
                replay::Step { stored, index: step.index, position: step.position },
                step::part(before, stream),
            ));
        });
        let last = step::part(self.replay.state(), stream);
        let behind = told.iter().skip(1).map(|(_, before)| before).chain([&last]);
        for ((step, before), behind) in told.iter().zip(behind) {
            let document = step::told(*step, before, behind);
            if let Err(failure) = tell(output, &document) {
                self.failed = Some(failure);
                return ControlFlow::Break(());
            }
            if !output.goes_on() {
                return ControlFlow::Break(());
            }
        }
        added.unwrap_or_else(|illegal| {
            self.illegal = Some(illegal);
            ControlFlow::Break(())
        })
    }
}

fn tell(output: Output, document: &Value) -> Result<(), Failure> {
    let about = ["sessionId", "subjectId"].into_iter().find(|name| !document[*name].is_null());
    let about = about.map_or_else(String::new, |name| format!(" {}", text(&document[name])));
    let mut lines = vec![format!(
        "{}  {}  {}{about}",
        document["position"],
        text(&document["recordedAt"]),
        text(&document["kind"])
    )];
    for change in document["changes"].as_array().into_iter().flatten() {
        let id = change["id"].as_str().unwrap_or_default();
        lines.push(format!(
            "    {} {id} {}: {} -> {}",
            text(&change["what"]),
            text(&change["field"]),
            change["before"],
            change["after"]
        ));
    }
    output.told(document, &lines)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
