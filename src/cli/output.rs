//! The one place that prints: data to stdout, talk to stderr.
//!
//! On stdout is what a program may read, in the form that `-o` names. Everything else (hints, questions,
//! errors) goes to stderr, without any key or token.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{Cell, Color, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState, ProgressStyle};
use serde_json::Value;

use super::{
    ambient,
    complaint::{failure_document, failure_in_words},
    digits,
    failure::Failure,
    flags::Typed,
    secret::redacted,
    words,
};
use tenure_core::{Seconds, Timestamp};

/// The form of the data on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// One JSON document, as the HTTP API gives it.
    Json,
    /// One JSON object per line; a list is written item by item.
    Jsonl,
}

/// A field of a reply, and how people read it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    head: &'static str,
    field: &'static str,
    reading: Reading,
}

/// How a value is to be read.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// As it is.
    Plain,
    /// A state, in colour on a terminal.
    State,
    /// A moment.
    Moment,
    /// A moment until which something lasts.
    End,
    /// When a session ended, or the nearer of its ends; told by several fields.
    SessionEnd,
    /// A length of time in seconds.
    Span,
}

impl Column {
    const fn new(head: &'static str, field: &'static str, reading: Reading) -> Self {
        Self { head, field, reading }
    }
    /// Shown as it is. `field` may be a path such as `actor.id`.
    pub(crate) const fn plain(head: &'static str, field: &'static str) -> Self {
        Self::new(head, field, Reading::Plain)
    }
    /// A state such as `ACTIVE`.
    pub(crate) const fn state(head: &'static str, field: &'static str) -> Self {
        Self::new(head, field, Reading::State)
    }
    /// A moment, with how long ago or how far ahead it is.
    pub(crate) const fn moment(head: &'static str, field: &'static str) -> Self {
        Self::new(head, field, Reading::Moment)
    }
    /// The end of something, with what is left.
    pub(crate) const fn end(head: &'static str, field: &'static str) -> Self {
        Self::new(head, field, Reading::End)
    }
    /// When a session ended, or the nearer of its ends.
    pub(crate) const fn session_end(head: &'static str) -> Self {
        Self::new(head, "ends", Reading::SessionEnd)
    }
    /// Seconds, with the same in words.
    pub(crate) const fn span(field: &'static str) -> Self {
        Self::new("", field, Reading::Span)
    }

    fn value<'a>(&self, record: &'a Value) -> &'a Value {
        let found = self.field.split('.').try_fold(record, |value, name| value.get(name));
        found.unwrap_or(&Value::Null)
    }

    fn says_something(&self, record: &Value) -> bool {
        match self.reading {
            Reading::SessionEnd => session_end(record, Timestamp::ZERO).is_some(),
            Reading::Plain | Reading::State | Reading::Moment | Reading::End | Reading::Span => {
                !self.value(record).is_null()
            }
        }
    }

    fn text(&self, value: &Value, now: Timestamp) -> String {
        match self.reading {
            Reading::Plain | Reading::State | Reading::SessionEnd => plain(value),
            Reading::Moment => moment(value, |at| words::when(at, now)),
            Reading::End => moment(value, |at| words::left(at, now)),
            Reading::Span => match value.as_u64() {
                Some(seconds) => format!("{seconds} s ({})", words::duration(seconds)),
                None => plain(value),
            },
        }
    }

    fn cell(&self, record: &Value, now: Timestamp) -> Cell {
        let text = match self.reading {
            Reading::SessionEnd => session_end(record, now).unwrap_or_else(|| "-".to_owned()),
            // What it was to last is of no interest any more.
            Reading::End if record["status"] == "REVOKED" => plain(self.value(record)),
            Reading::Plain | Reading::State | Reading::Moment | Reading::End | Reading::Span => {
                self.text(self.value(record), now)
            }
        };
        let color = matches!(self.reading, Reading::State).then(|| color_of(&text)).flatten();
        let cell = Cell::new(text);
        if let Some(color) = color { cell.fg(color) } else { cell }
    }
}

/// `… (ended 4m ago)`, or `… (17m left)` to the end of its period or its idle end, whichever is nearer.
fn session_end(session: &Value, now: Timestamp) -> Option<String> {
    let moment = |name: &str| Timestamp::parse(session[name].as_str()?);
    let seen = moment("lastSeenAt").or_else(|| moment("renewedAt")).or_else(|| moment("createdAt"));
    let idle_timeout = session["idleTimeout"].as_u64().and_then(|span| u32::try_from(span).ok());
    let idle_end = seen.zip(idle_timeout).map(|(seen, span)| seen.plus(Seconds(span)));
    let ends = [moment("expiresAt"), moment("absoluteExpiresAt"), idle_end];
    let nearer = ends.into_iter().flatten().min();
    match session["status"].as_str()? {
        "REVOKED" => moment("revokedAt").map(|at| format!("{at} (ended {})", words::when(at, now))),
        "EXPIRED" => nearer.map(|at| format!("{at} (ended {})", words::when(at, now))),
        _ => nearer.map(|at| format!("{at} ({})", words::left(at, now))),
    }
}

fn color_of(state: &str) -> Option<Color> {
    match state {
        "ACTIVE" | "ok" | "yes" => Some(Color::Green),
        "EXPIRED" | "warn" => Some(Color::Yellow),
        "REVOKED" | "fail" | "no" => Some(Color::Red),
        _ => None,
    }
}

/// A value without quotes; what could move the cursor of a terminal is written out.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => harmless(text),
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            items.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        Value::Array(_) | Value::Object(_) => harmless(&digits::compact(value)),
    }
}

/// A text whose characters cannot move the cursor, nor show in another order.
pub(super) fn harmless(text: &str) -> String {
    let one = |c: char| {
        if c.is_control() || turns_text_around(c) { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(one).collect()
}

/// Characters without a look of their own, by which a text shows in another order than it has (UAX #9).
const fn turns_text_around(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A moment, and the same in words.
pub(super) fn moment(value: &Value, in_words: impl Fn(Timestamp) -> String) -> String {
    let text = plain(value);
    match Timestamp::parse(&text) {
        Some(at) => format!("{at} ({})", in_words(at)),
        None => text,
    }
}

/// Prints, in the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: Format,
    colors: bool,
}

impl Output {
    /// In this form; `colors` are shown on a terminal only.
    pub(crate) const fn new(format: Format, colors: bool) -> Self {
        Self { format, colors }
    }

    /// The form of the data.
    pub(crate) const fn format(self) -> Format {
        self.format
    }

    /// One thing: its fields below one another, those of `columns` first. What is null is left out.
    pub(crate) fn record(self, record: &Value, columns: &[Column], now: Timestamp) -> Result<(), Failure> {
        match self.format {
            Format::Table => stdout(&rows(record, columns, now, self.colors)),
            Format::Json => stdout(&digits::pretty(record)),
            Format::Jsonl => stdout(&digits::compact(record)),
        }
    }

    /// As [`Output::record`], of a thing with a secret that is shown this once: in a table on a line of its own.
    pub(crate) fn record_with_secret(
        self,
        record: &Value,
        secret: &str,
        columns: &[Column],
        now: Timestamp,
    ) -> Result<(), Failure> {
        let shown = record[secret].as_str();
        let (Format::Table, Some(shown), Value::Object(fields)) = (self.format, shown, record) else {
            return self.record(record, columns, now);
        };
        let mut fields = fields.clone();
        fields.remove(secret);
        stdout(&rows(&Value::Object(fields), columns, now, self.colors))?;
        stdout(&format!("\n{secret}: {shown}"))?;
        self.talk(&format!("The {secret} is shown only here and only now."));
        Ok(())
    }

    /// Things of which there is at least one: a line each.
    pub(crate) fn list(self, page: &Value, columns: &[Column], now: Timestamp) -> Result<(), Failure> {
        self.list_or(page, columns, now, "There is nothing to show.")
    }

    /// A page of things: a line each; an empty one says of what it is empty. `-o json` shows the page as it came.
    pub(crate) fn list_or(
        self,
        page: &Value,
        columns: &[Column],
        now: Timestamp,
        empty: &str,
    ) -> Result<(), Failure> {
        self.items_or(page, "items", columns, now, empty)
    }

    /// As [`Output::list_or`], of a document whose items are in another field.
    pub(crate) fn items_or(
        self,
        page: &Value,
        field: &str,
        columns: &[Column],
        now: Timestamp,
        empty: &str,
    ) -> Result<(), Failure> {
        let items = page[field].as_array().map(Vec::as_slice).unwrap_or_default();
        match self.format {
            Format::Json => stdout(&digits::pretty(page)),
            Format::Jsonl => items.iter().try_for_each(|item| stdout(&digits::compact(item))),
            Format::Table if items.is_empty() => {
                self.talk(empty);
                Ok(())
            }
            Format::Table => stdout(&table(items, columns, now, self.colors)),
        }
    }

    /// One thing that is told in words: `lines` for people, the record for programs.
    pub(crate) fn told(self, record: &Value, lines: &[String]) -> Result<(), Failure> {
        match self.format {
            Format::Table => lines.iter().try_for_each(|line| stdout(&harmless(line))),
            Format::Json => stdout(&digits::pretty(record)),
            Format::Jsonl => stdout(&digits::compact(record)),
        }
    }

    /// How far long work is, where somebody is watching: of so many steps, when that is known.
    pub(crate) fn bar(self, total: Option<u64>) -> ProgressBar {
        self.drawn(total, ProgressDrawTarget::stderr())
    }

    /// How many bytes came of something whose length nobody knows, where somebody is watching.
    #[expect(clippy::unused_self, reason = "whoever shows holds the output: nothing else prints")]
    pub(crate) fn bytes(self) -> ProgressBar {
        let style = ProgressStyle::with_template("{spinner} {bytes} · {bytes_per_sec}").expect("it is right");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
        bar.with_finish(ProgressFinish::AndClear)
    }

    #[expect(clippy::unused_self, reason = "whoever shows holds the output: nothing else prints")]
    fn drawn(self, total: Option<u64>, target: ProgressDrawTarget) -> ProgressBar {
        let form = match total {
            Some(_) => "{percent} % · {human_pos} of {human_len} · {rate}",
            None => "{spinner} {human_pos} · {rate}",
        };
        let style = ProgressStyle::with_template(form).expect("the forms above are right");
        let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A form that cannot be written is not shown.
            let _ = out.write_str(&words::rate(state.per_sec()));
        };
        let bar = ProgressBar::with_draw_target(total, target).with_style(style.with_key("rate", rate));
        bar.with_finish(ProgressFinish::AndClear)
    }

    /// Waits for Enter where somebody is watching; false when that is enough.
    #[expect(clippy::unused_self, reason = "whoever asks holds the output: nothing else prints")]
    pub(crate) fn goes_on(self) -> bool {
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return true;
        }
        let mut stderr = io::stderr().lock();
        let mut answer = String::new();
        write!(stderr, "[Enter: next, q: enough] ").and_then(|()| stderr.flush()).is_ok()
            && io::stdin().read_line(&mut answer).is_ok_and(|read| read > 0)
            && !answer.trim().starts_with(['q', 'Q'])
    }

    /// One of many things that come one after the other: a line each.
    pub(crate) fn line(self, item: &Value, in_words: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Table => stdout(&harmless(&in_words())),
            Format::Json | Format::Jsonl => stdout(&digits::compact(item)),
        }
    }

    /// Says something to people.
    #[expect(clippy::unused_self, reason = "whoever talks holds the output: nothing else prints")]
    pub(crate) fn talk(self, text: &str) {
        let lines: Vec<_> = text.split('\n').map(harmless).collect();
        say(&lines.join("\n"));
    }

    /// Says what to do about a failure; only to people, for a program reads the failure itself from stderr.
    pub(crate) fn hint(self, text: &str) {
        match self.format {
            Format::Table => say(text),
            Format::Json | Format::Jsonl => {}
        }
    }

    /// Says how far long work is, where somebody is watching.
    #[expect(clippy::unused_self, reason = "whoever talks holds the output: nothing else prints")]
    pub(crate) fn progress(self, text: &str) {
        if io::stderr().is_terminal() {
            say(text);
        }
    }

    /// Says why the command failed, in the words that were typed; with `-o json` as the problem document.
    pub(crate) fn failure(self, failure: &Failure, typed: &Typed) {
        let told = match self.format {
            Format::Table => failure_in_words(failure, typed),
            Format::Json => digits::pretty(&failure_document(failure)),
            Format::Jsonl => digits::compact(&failure_document(failure)),
        };
        say(&told);
    }

    /// Asks before something that cannot be undone; none without a terminal to ask on.
    #[expect(clippy::unused_self, reason = "whoever talks holds the output: nothing else prints")]
    pub(crate) fn confirm(self, question: &str) -> Option<bool> {
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return None;
        }
        let mut stderr = io::stderr().lock();
        // A question that cannot be shown is not answered with yes.
        let question = redacted(&harmless(question));
        if write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush()).is_err() {
            return Some(false);
        }
        let mut answer = String::new();
        Some(io::stdin().read_line(&mut answer).is_ok_and(|_| matches!(answer.trim(), "y" | "Y" | "yes")))
    }
}

/// Help, a version, or what is wrong with the command line, as clap words it and without secrets.
pub(crate) fn usage(error: &clap::Error) {
    if error.use_stderr() {
        let text = error.render();
        let is_colored = io::stderr().is_terminal() && ambient::wants_colors();
        let text = if is_colored { text.ansi().to_string() } else { text.to_string() };
        say(text.trim_end());
    } else {
        // It goes to stdout in colour where that is wanted; a closed pipe is nobody's problem.
        let _ = error.print();
    }
}

/// Bytes as they are: a completion script.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Failure> {
    io::stdout().lock().write_all(bytes).map_err(Failure::Output)
}

fn stdout(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout().lock(), "{text}").map_err(Failure::Output)
}

/// Says on the way what a command waits for.
pub(super) fn aside(text: &str) {
    say(&harmless(text));
}

/// A stderr that is closed cannot be told about.
fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", redacted(text));
}

fn blank_table(colors: bool) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.style_text_only();
    if !colors {
        table.force_no_tty();
    }
    table
}

/// Two spaces between columns, none around.
fn laid_out(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn table(items: &[Value], columns: &[Column], now: Timestamp, colors: bool) -> String {
    let mut table = blank_table(colors);
    table.set_header(columns.iter().map(|column| column.head));
    for item in items {
        table.add_row(columns.iter().map(|column| column.cell(item, now)));
    }
    laid_out(table)
}

fn rows(record: &Value, columns: &[Column], now: Timestamp, colors: bool) -> String {
    let mut table = blank_table(colors);
    for column in columns.iter().filter(|column| column.says_something(record)) {
        table.add_row([Cell::new(column.field), column.cell(record, now)]);
    }
    let listed = |name: &str| columns.iter().any(|column| column.field.split('.').next() == Some(name));
    for (name, value) in record.as_object().into_iter().flatten() {
        if !value.is_null() && !listed(name) {
            table.add_row([name.clone(), plain(value)]);
        }
    }
    laid_out(table)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[
        Column::plain("SESSION", "sessionId"),
        Column::state("STATUS", "status"),
        Column::end("EXPIRES", "expiresAt"),
    ];

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-21T00:30:00Z").unwrap()
    }

    fn session() -> Value {
        json!({"sessionId": "s1", "status": "ACTIVE", "expiresAt": "2026-11-21T01:35:00.000Z",
               "scopes": ["a", "b"], "device": null, "metadata": {"k": 1}})
    }

    #[test]
    fn a_list_has_a_line_for_each_and_times_in_words() {
        assert_eq!(
            table(&[session()], COLUMNS, now(), false),
            "SESSION  STATUS  EXPIRES\ns1       ACTIVE  2026-11-21T01:35:00.000Z (1h 5m left)"
        );
    }

    #[test]
    fn a_record_shows_every_field_that_says_something() {
        assert_eq!(
            rows(&session(), COLUMNS, now(), false),
            "sessionId  s1\nstatus     ACTIVE\nexpiresAt  2026-11-21T01:35:00.000Z (1h 5m left)\n\
             metadata   {\"k\":1}\nscopes     a, b"
        );
    }

    #[test]
    fn a_path_reaches_into_a_field() {
        let event = json!({"actor": {"id": "k1"}});
        assert_eq!(Column::plain("ACTOR", "actor.id").value(&event), "k1");
        assert_eq!(Column::plain("ACTOR", "actor.name").value(&event), &Value::Null);
    }

    #[test]
    fn a_span_is_told_in_seconds_and_in_words() {
        assert_eq!(Column::span("ttl").text(&json!(86_400), now()), "86400 s (1d)");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(plain(&json!("a\u{1b}[2Jb\nc")), "a\\u{1b}[2Jb\\nc");
    }

    #[test]
    fn a_name_cannot_show_in_another_order_than_it_has() {
        assert_eq!(plain(&json!("user\u{202e}nimda\u{2069}")), "user\\u{202e}nimda\\u{2069}");
        assert_eq!(plain(&json!("مرحبا ö")), "مرحبا ö", "letters show as they are");
    }

    #[test]
    fn a_session_that_has_ended_says_when_and_another_its_nearer_end() {
        let session = |status: &str| {
            json!({"status": status, "expiresAt": "2026-11-21T02:00:00Z", "revokedAt": "2026-11-21T00:26:00Z",
                   "lastSeenAt": "2026-11-21T00:17:00Z", "idleTimeout": 1_800})
        };
        let told = |status: &str| session_end(&session(status), now()).unwrap();
        assert_eq!(told("REVOKED"), "2026-11-21T00:26:00.000Z (ended 4m ago)");
        assert_eq!(told("ACTIVE"), "2026-11-21T00:47:00.000Z (17m left)");
        let idle = Timestamp::parse("2026-11-21T00:50:00Z").unwrap();
        assert_eq!(
            session_end(&session("EXPIRED"), idle).unwrap(),
            "2026-11-21T00:47:00.000Z (ended 3m ago)"
        );
    }
}
