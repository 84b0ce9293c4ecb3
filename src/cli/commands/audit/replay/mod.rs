//! `tenure audit replay`

mod compare;
mod step_filter;
mod steps;

use std::{collections::BTreeSet, ops::ControlFlow};

use clap::Args;
use serde_json::{Value, json};

use self::{
    step_filter::StepFilter,
    steps::{ShownEvent, StepCommand, StepReader, StepTarget, StepWalk, WalkControl},
};
use super::{
    server_time,
    source::SourceArgs,
    step,
    trust::{TrustArgs, TrustedHeads},
};
use crate::cli::{
    arguments::moments::{TypedMoment, moment},
    context::GlobalArgs,
    failure::CommandError,
    output::{Column, Output, OutputFormat, event_text::KeyNames},
};
use tenure_audit::replay::{self, ReplayEnd, sessions};
use tenure_core::{Position, evolve::IllegalEvent, session::SessionStatus, state::AuthorityState};
use tenure_log::StoredCommit;

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Up to this moment, and judged at it; such as 03:12 or 2026-11-22T03:12:00Z
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "position")]
    at: Option<TypedMoment>,

    /// Up to this position, and judged at its moment
    #[arg(long, value_name = "N")]
    position: Option<u64>,

    /// Show each event and what it changed; on a terminal one at a time, with b, g POSITION, /TEXT and q
    #[arg(long, conflicts_with = "compare")]
    step: bool,

    /// Step from this position on
    #[arg(long, value_name = "N", requires = "step")]
    from: Option<u64>,

    /// Step through events of this subject only, by its id or a unique beginning; by its name only of a running server
    #[arg(long, value_name = "SUBJECT", requires = "step")]
    subject: Option<String>,

    /// Step through events of this session only, by its id or a unique beginning
    #[arg(long, value_name = "SESSION", requires = "step")]
    session: Option<String>,

    /// Compare with the live state: what the server lists now, or what the stopped one wrote last
    #[arg(long, conflicts_with_all = ["at", "position", "file"])]
    compare: bool,

    /// Only sessions of this status
    #[arg(long, value_parser = ["active", "expired", "revoked", "all"], default_value = "active")]
    status: String,

    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    known: TrustArgs,
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

impl ReplayArgs {
    pub(crate) fn run(&self, global: &GlobalArgs) -> Result<(), CommandError> {
        let trusted = self.known.read()?;
        if self.compare {
            return compare::run(&self.source, global, &trusted);
        }
        let output = global.output();
        let until = self.until(global)?;
        if self.step {
            return self.walk(global, &trusted, until);
        }
        let mut folding = CheckedReplay::new(until);
        let ending = self.source.read(global, &trusted, &mut |stored| folding.add(&stored))?;
        folding.check_reached(until)?;
        self.show(output, &folding.replay)?;
        folding.finish()?;
        ending.report(output);
        Ok(())
    }

    /// Shows event after event, and reads the history again where the reader goes far back.
    fn walk(
        &self,
        global: &GlobalArgs,
        trusted: &TrustedHeads,
        until: ReplayEnd,
    ) -> Result<(), CommandError> {
        let output = global.output();
        let filter =
            StepFilter::of(self.subject.as_deref(), self.session.as_deref(), &self.source, global, trusted)?;
        let mut reader = TerminalReader { output, asks: output.can_ask() };
        let names = self.source.key_names(global)?;
        let mut walk = StepWalk::to(StepTarget::From(self.from.unwrap_or(0)));
        loop {
            let mut stepping = StepReplay {
                folding: CheckedReplay::new(until),
                walk: &mut walk,
                reader: &mut reader,
                course: Ok(WalkControl::On),
                filter: &filter,
                names: &names,
            };
            let ending = self.source.read(global, trusted, &mut |stored| stepping.step(&stored))?;
            let (folding, mut course) = (stepping.folding, stepping.course?);
            if course == WalkControl::On {
                folding.check_reached(until)?;
            }
            folding.finish()?;
            if course == WalkControl::On && reader.asks {
                course = walk.end(&mut reader)?;
            }
            match course {
                WalkControl::Again(target) => walk.begin_again(target),
                WalkControl::On | WalkControl::Enough => {
                    if walk.is_empty() {
                        output.info("No such events.");
                    }
                    ending.report(output);
                    return Ok(());
                }
            }
        }
    }

    /// A live server is judged at its own now, and not at its last event, which may be hours old.
    fn until(&self, global: &GlobalArgs) -> Result<ReplayEnd, CommandError> {
        Ok(match (self.at, self.position) {
            (Some(at), _) => ReplayEnd::Time(self.source.past(global, at)?),
            (None, Some(position)) => ReplayEnd::Position(Position(position)),
            (None, None) if self.source.is_server() && !self.step => {
                server_time::of_server(global)?.map_or(ReplayEnd::End, ReplayEnd::Time)
            }
            (None, None) => ReplayEnd::End,
        })
    }

    fn show(&self, output: Output, replay: &replay::HistoryReplay) -> Result<(), CommandError> {
        let at = replay.moment();
        let mut document = json!(replay.outcome());
        let items = sessions(replay.state(), self.wanted(), at);
        document["items"] = json!(items);
        if output.format() == OutputFormat::Table {
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

    fn wanted(&self) -> Option<SessionStatus> {
        match self.status.as_str() {
            "active" => Some(SessionStatus::Active),
            "expired" => Some(SessionStatus::Expired),
            "revoked" => Some(SessionStatus::Revoked),
            // clap lets no other word through.
            _ => None,
        }
    }
}

/// Whether the history goes on to a position.
pub(super) fn check_position(replay: &replay::HistoryReplay, wanted: u64) -> Result<(), CommandError> {
    let end = replay.state().position;
    if end.0 >= wanted {
        return Ok(());
    }
    Err(CommandError::Missing(format!("there is no position {wanted}: the history ends at {end}")))
}

/// A replay that stops at the first event that cannot follow.
struct CheckedReplay {
    replay: replay::HistoryReplay,
    illegal: Option<IllegalEvent>,
}

impl CheckedReplay {
    fn new(until: ReplayEnd) -> Self {
        Self { replay: replay::HistoryReplay::new(until), illegal: None }
    }

    fn add(&mut self, stored: &StoredCommit) -> ControlFlow<()> {
        let added = self.replay.add(stored);
        self.judge(added)
    }

    fn judge(&mut self, added: Result<ControlFlow<()>, IllegalEvent>) -> ControlFlow<()> {
        added.unwrap_or_else(|illegal| {
            self.illegal = Some(illegal);
            ControlFlow::Break(())
        })
    }

    /// A history that goes on to the wanted position; one that ends before it has no state there.
    fn check_reached(&self, until: ReplayEnd) -> Result<(), CommandError> {
        match until {
            ReplayEnd::Position(wanted) if self.illegal.is_none() => check_position(&self.replay, wanted.0),
            ReplayEnd::Position(_) | ReplayEnd::Time(_) | ReplayEnd::End => Ok(()),
        }
    }

    fn finish(self) -> Result<(), CommandError> {
        self.illegal.map_or(Ok(()), |illegal| Err(CommandError::damaged(illegal.to_string())))
    }
}

/// One reading of the history, event after event.
struct StepReplay<'w> {
    folding: CheckedReplay,
    walk: &'w mut StepWalk,
    reader: &'w mut TerminalReader,
    course: Result<WalkControl, CommandError>,
    filter: &'w StepFilter,
    names: &'w KeyNames,
}

impl StepReplay<'_> {
    /// Shows what each event of the commit changed.
    fn step(&mut self, stored: &StoredCommit) -> ControlFlow<()> {
        let stream = &stored.commit.stream;
        let mut told: Vec<(replay::ReplayStep<'_>, AuthorityState)> = Vec::new();
        let added = self.folding.replay.add_with_listener(stored, &mut |before, step| {
            told.push((
                replay::ReplayStep { stored, index: step.index, position: step.position },
                step::part(before, stream),
            ));
        });
        let last = step::part(self.folding.replay.state(), stream);
        let behind = told.iter().skip(1).map(|(_, before)| before).chain([&last]);
        for ((step, before), behind) in told.iter().zip(behind) {
            let document = step::document(*step, before, behind);
            if !self.filter.takes(&document) {
                continue;
            }
            self.course = self.walk.pass(shown(document, self.names), self.reader);
            if !matches!(self.course, Ok(WalkControl::On)) {
                return ControlFlow::Break(());
            }
        }
        self.folding.judge(added)
    }
}

/// A person at a terminal, or a program that reads all of it.
#[derive(Clone, Copy)]
struct TerminalReader {
    output: Output,
    asks: bool,
}

impl StepReader for TerminalReader {
    type Failure = CommandError;

    fn show(&mut self, shown: &ShownEvent) -> Result<(), CommandError> {
        self.output.narrative(&shown.document, &shown.lines)
    }

    fn say(&mut self, text: &str) {
        self.output.info(text);
    }

    fn ask(&mut self) -> StepCommand {
        if !self.asks {
            return StepCommand::Next;
        }
        self.output.ask(StepCommand::PROMPT).map_or(StepCommand::Quit, |line| StepCommand::of(&line))
    }
}

fn shown(document: Value, names: &KeyNames) -> ShownEvent {
    ShownEvent {
        position: document["position"].as_u64().unwrap_or_default(),
        lines: lines(&document, names),
        document,
    }
}

fn lines(document: &Value, names: &KeyNames) -> Vec<String> {
    let about = ["subjectId", "sessionId"].into_iter().filter_map(|name| document[name].as_str());
    let about = about.map(|id| format!("{id}  ")).collect::<Vec<_>>().concat();
    let by = names.who(document);
    let mut lines = vec![format!(
        "{:>6}  {}  {about}{}, by {by}",
        document["position"],
        text(&document["recordedAt"]),
        text(&document["what"])
    )];
    let changes = document["changes"].as_array().into_iter().flatten();
    lines.extend(changes.flat_map(|change| changed(change, document)));
    lines
}

/// One changed thing; a new one is described by its event.
fn changed(change: &Value, event: &Value) -> Vec<String> {
    let (what, field) = (text(&change["what"]), text(&change["field"]));
    let id = change["id"].as_str().filter(|id| event["sessionId"] != **id && event["subjectId"] != **id);
    let id = id.map(|id| format!(" {id}")).unwrap_or_default();
    if field == "new" {
        return vec![format!("        new {what}{id}")];
    }
    let told = |value: &Value| if value.is_null() { "none".to_owned() } else { text(value) };
    let line = |(field, before, after): (String, &Value, &Value)| {
        format!("        {what}{id} {field}: {} -> {}", told(before), told(after))
    };
    parts(field, &change["before"], &change["after"]).into_iter().map(line).collect()
}

/// What of a field has changed: of an object each member, by its path.
fn parts<'a>(field: String, before: &'a Value, after: &'a Value) -> Vec<(String, &'a Value, &'a Value)> {
    let is_object = |value: &Value| value.is_object() || value.is_null();
    if before.is_null() && after.is_null() || !is_object(before) || !is_object(after) {
        return vec![(field, before, after)];
    }
    let members = |value: &'a Value| value.as_object().into_iter().flatten().map(|(name, _)| name);
    let names: BTreeSet<_> = members(before).chain(members(after)).collect();
    let of_each = names.into_iter().filter(|name| before[name.as_str()] != after[name.as_str()]);
    of_each
        .flat_map(|name| parts(format!("{field}.{name}"), &before[name.as_str()], &after[name.as_str()]))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A use of a session was two JSON objects in one line, to be compared by eye.
    #[test]
    fn of_an_object_each_member_that_changed_is_told() {
        let change = json!({"what": "session", "id": "s1", "field": "usage",
            "before": {"totalAmount": "30", "transactions": 1, "lastAt": null},
            "after": {"totalAmount": "80", "transactions": 2, "lastAt": null}});
        assert_eq!(
            changed(&change, &json!({"sessionId": "s1"})),
            ["        session usage.totalAmount: 30 -> 80", "        session usage.transactions: 1 -> 2"]
        );
        let change = json!({"what": "subject", "id": "a", "field": "suspension", "before": null,
            "after": {"until": null, "by": {"kind": "credential"}}});
        assert_eq!(
            changed(&change, &json!({})),
            ["        subject a suspension.by.kind: none -> credential"]
        );
        let change =
            json!({"what": "session", "id": "s1", "field": "scopes", "before": ["a"], "after": ["a", "b"]});
        assert_eq!(changed(&change, &json!({})), ["        session s1 scopes: [\"a\"] -> [\"a\",\"b\"]"]);
    }
}
