//! `tenure events`

use clap::{Args, builder::PossibleValuesParser};
use serde_json::Value;

use crate::cli::{
    arguments::find,
    connection::{
        client::ApiRequest,
        follow::{BeginArgs, follow},
        pages::{self, PagingArgs},
    },
    context::CommandContext,
    failure::CommandError,
    output::{
        Column, OutputFormat,
        event_text::{self, KeyNames},
        harmless,
        subject_names::SubjectNames,
    },
};
use tenure_core::EventKind;

#[derive(Debug, Args)]
#[command(after_help = "\
    On a terminal the newest events come first. Into a pipe, and with --after, --since, --all or --follow, the \
    oldest come first. `-o wide` shows the kinds and whole ids.\n\n\
    Example: tenure events --subject night-bot --last 20")]
pub(crate) struct EventsArgs {
    /// Only these kinds, separated by commas
    #[arg(long, value_name = "KIND", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(kinds()))]
    kinds: Vec<String>,

    /// Only events about this subject
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,

    /// Only events about this session
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,

    #[command(flatten)]
    begin: BeginArgs,

    /// Only the last N events, 1 to 10000
    #[arg(long, value_name = "N", conflicts_with_all = ["after", "follow", "all", "limit"],
        value_parser = clap::value_parser!(u16).range(1..=10_000))]
    last: Option<u16>,

    /// Continue with each event as it happens
    #[arg(short, long, conflicts_with_all = ["limit", "all"])]
    follow: bool,

    #[command(flatten)]
    paging: PagingArgs,
}

const COLUMNS: &[Column] = &[
    Column::plain("POS", "position"),
    Column::moment("WHEN", "recordedAt"),
    Column::plain("KIND", "kind").only_wide(),
    Column::plain("SUBJECT", "subjectId"),
    Column::name("NAME", "subjectName").first_to_go(),
    Column::id("SESSION", "sessionId").first_to_go(),
    Column::plain("WHAT", "what"),
    Column::plain("BY", "by"),
    Column::plain("ACTOR", "actor.id").only_wide(),
];

impl EventsArgs {
    pub(crate) fn run(self, cli: &CommandContext) -> Result<(), CommandError> {
        let kinds = (!self.kinds.is_empty()).then(|| self.kinds.join(","));
        let request = ApiRequest::get(&["v1", "events"])
            .query("kinds", kinds)
            .query("subjectId", find::subject_filter(cli, self.subject.as_ref())?)
            .query("sessionId", find::session_filter(cli, self.session.as_ref())?);
        let request = self.begin.apply(cli, request)?;
        if self.follow {
            let names = names(cli)?;
            return follow(cli, request, |event| in_words(event, &names).into());
        }
        let is_backward = cli.output.is_for_people() && cli.output.format() == OutputFormat::Table;
        if let Some(last) = self.last {
            return self.show_last(cli, request, usize::from(last), is_backward);
        }
        if is_backward && !self.begin.is_said() && !self.paging.is_all() {
            return self.show_last(cli, request, self.paging.page(), true);
        }
        let names = names(cli)?;
        let dress = |event: &mut Value| add_words(event, &names);
        let of = || "such events".to_owned();
        pages::show_with(cli, request, &self.paging, pages::by_position, COLUMNS, &of, &dress)
    }

    fn show_last(
        &self,
        cli: &CommandContext,
        request: ApiRequest,
        count: usize,
        is_backward: bool,
    ) -> Result<(), CommandError> {
        let mut page = self.newest(cli, &request.query("limit", Some(200)), count)?;
        let items = page["items"].as_array_mut();
        let is_full = items.as_ref().is_some_and(|items| items.len() == count);
        if let Some(items) = items {
            if is_backward {
                items.reverse();
            }
            if cli.output.format() == OutputFormat::Table {
                let names = names(cli)?;
                for event in items {
                    add_words(event, &names);
                }
            }
        }
        pages::list(cli, &page, &self.paging, COLUMNS, "such events")?;
        if is_full && self.last.is_none() {
            cli.output.info(&format!("The newest {count}. More: --last N; --all begins with the first"));
        }
        Ok(())
    }

    /// The newest `count` events, oldest first. The record is read forward, so it is read from ever further back until
    /// there are so many: a long record is not read from its beginning.
    fn newest(
        &self,
        cli: &CommandContext,
        request: &ApiRequest,
        count: usize,
    ) -> Result<Value, CommandError> {
        let from = |after: Option<String>| {
            pages::last(cli, request.clone().query("after", after), pages::by_position, count)
        };
        let head = if self.begin.is_said() { None } else { pages::head(cli)? };
        let mut span = count as u64;
        // From near the last one, so that a long record is not read from its beginning.
        while let Some((head, after)) = head.and_then(|head| Some((head, head.size.checked_sub(span)?))) {
            let page = from(Some(head.named(after)))?;
            if page["items"].as_array().is_some_and(|items| items.len() == count) {
                return Ok(page);
            }
            span = span.saturating_mul(STEP_BACK);
        }
        from(None)
    }
}

/// How much further back each look for events begins.
const STEP_BACK: u64 = 16;

/// The names of all kinds. Two versions of one kind have the same.
fn kinds() -> Vec<&'static str> {
    let mut names: Vec<_> = EventKind::ALL.map(EventKind::name).into();
    names.sort_unstable();
    names.dedup();
    names
}

/// Names are for people only: a program reads ids.
fn names(cli: &CommandContext) -> Result<EventNames<'_>, CommandError> {
    if cli.output.format() == OutputFormat::Table { EventNames::read(cli) } else { Ok(EventNames::none(cli)) }
}

/// What people call the keys and subjects of events.
struct EventNames<'c> {
    keys: KeyNames,
    subjects: SubjectNames<'c>,
}

impl<'c> EventNames<'c> {
    fn none(cli: &'c CommandContext) -> Self {
        Self { keys: KeyNames::default(), subjects: SubjectNames::known_to(cli) }
    }

    fn read(cli: &'c CommandContext) -> Result<Self, CommandError> {
        Ok(Self { keys: KeyNames::read(cli)?, ..Self::none(cli) })
    }

    fn subject(&self, event: &Value) -> Option<String> {
        self.subjects.of(event["subjectId"].as_str()?)
    }
}

fn add_words(event: &mut Value, names: &EventNames<'_>) {
    (event["what"], event["by"]) = (event_text::what(event).into(), names.keys.who(event).into());
    event["subjectName"] = names.subject(event).into();
}

/// Position, when, about whom, what and by whom, in one line.
fn in_words(event: &Value, names: &EventNames<'_>) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let name = names.subject(event).map(|name| format!(" ({})", harmless(&name))).unwrap_or_default();
    format!(
        "{:>8}  {}  {}{name}  {}  {}, by {}",
        event["position"],
        text(&event["recordedAt"]),
        text(&event["subjectId"]),
        text(&event["sessionId"]),
        event_text::what(event),
        names.keys.who(event),
    )
}
