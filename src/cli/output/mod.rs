//! The one place that prints: data to stdout, messages to stderr.
//!
//! On stdout is what a program may read, in the form that `-o` names. Everything else (hints, questions,
//! errors) goes to stderr, without any key or token.

mod columns;
pub(super) mod error_text;
pub(super) mod event_text;
pub(super) mod exact_json;
pub(super) mod humanize;
pub(super) mod subject_names;

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState, ProgressStyle};
use serde_json::Value;

use self::{
    columns::{TableLook, rows, table, terminal_width, wrapped},
    error_text::{failure_document, failure_in_words},
};
use super::{
    arguments::{flags::TypedWords, moments::MomentForm},
    environment,
    failure::CommandError,
    files::secret::redacted,
};
use tenure_core::Timestamp;

pub(crate) use self::columns::{Column, harmless, moment};
pub(in crate::cli) use self::columns::{idle_end, own_end, plain};

/// The form of the data on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputArg {
    /// Columns for people, which fit a terminal of 80.
    #[default]
    Table,
    /// The same with whole ids, moments, and more columns.
    Wide,
    /// One JSON document, as the HTTP API gives it.
    Json,
    /// One JSON object per line; a list is written item by item.
    Jsonl,
}

/// What is written: columns of any width, or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    /// Columns for people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object per line.
    Jsonl,
}

/// A colour of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InkColor(pub(crate) u8);

/// A line whose parts may have a colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PaintedLine(pub(crate) Vec<(Option<InkColor>, String)>);

impl From<String> for PaintedLine {
    fn from(text: String) -> Self {
        Self(vec![(None, text)])
    }
}

/// Prints, in the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    format: OutputFormat,
    look: TableLook,
}

impl Output {
    /// In this form; `colors` are shown on a terminal only.
    pub(crate) fn of(form: OutputArg, colors: bool) -> Self {
        let format = match form {
            OutputArg::Table | OutputArg::Wide => OutputFormat::Table,
            OutputArg::Json => OutputFormat::Json,
            OutputArg::Jsonl => OutputFormat::Jsonl,
        };
        let width = if io::stdout().is_terminal() { terminal_width() } else { None };
        let look = TableLook {
            has_colors: colors,
            is_wide: form == OutputArg::Wide,
            is_headless: false,
            moments: if environment::is_local() { MomentForm::Local } else { MomentForm::InFull },
            width,
        };
        Self { format, look }
    }

    /// The same, without the heads of columns.
    pub(crate) const fn without_heads(mut self) -> Self {
        self.look.is_headless = true;
        self
    }

    /// Whether a person reads what is written to stdout.
    #[expect(clippy::unused_self, reason = "only a holder of the output prints")]
    pub(crate) fn is_for_people(self) -> bool {
        io::stdout().is_terminal()
    }

    fn has_colors(self) -> bool {
        self.look.has_colors && io::stdout().is_terminal()
    }

    /// The form of the data.
    pub(crate) const fn format(self) -> OutputFormat {
        self.format
    }

    /// One thing: its fields below one another, those of `columns` first. What is null is left out.
    pub(crate) fn record(
        self,
        record: &Value,
        columns: &[Column],
        now: Timestamp,
    ) -> Result<(), CommandError> {
        match self.format {
            OutputFormat::Table => stdout(&rows(record, columns, now, self.look)),
            OutputFormat::Json => stdout(&exact_json::pretty(record)),
            OutputFormat::Jsonl => stdout(&exact_json::compact(record)),
        }
    }

    /// As [`Output::record`], of a thing whose secret is shown only this once: in a table on a line of its own.
    pub(crate) fn record_with_secret(
        self,
        record: &Value,
        secret: &str,
        columns: &[Column],
        now: Timestamp,
    ) -> Result<(), CommandError> {
        let shown = record[secret].as_str();
        let (OutputFormat::Table, Some(shown), Value::Object(fields)) = (self.format, shown, record) else {
            return self.record(record, columns, now);
        };
        let mut fields = fields.clone();
        fields.remove(secret);
        stdout(&rows(&Value::Object(fields), columns, now, self.look))?;
        stdout(&format!("\n{secret}: {shown}"))?;
        self.info(&format!("The {secret} is shown only here and only now."));
        Ok(())
    }

    /// Things of which there is at least one: a line each.
    pub(crate) fn list(self, page: &Value, columns: &[Column], now: Timestamp) -> Result<(), CommandError> {
        self.list_or(page, columns, now, "There is nothing to show.")
    }

    /// A page of things: a line each; an empty one says of what it is empty. `-o json` shows the page as it came.
    pub(crate) fn list_or(
        self,
        page: &Value,
        columns: &[Column],
        now: Timestamp,
        empty: &str,
    ) -> Result<(), CommandError> {
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
    ) -> Result<(), CommandError> {
        let items = page[field].as_array().map(Vec::as_slice).unwrap_or_default();
        match self.format {
            OutputFormat::Json => stdout(&exact_json::pretty(page)),
            OutputFormat::Jsonl => items.iter().try_for_each(|item| stdout(&exact_json::compact(item))),
            OutputFormat::Table if items.is_empty() => {
                self.info(empty);
                Ok(())
            }
            OutputFormat::Table => stdout(&table(items, columns, now, self.look)),
        }
    }

    /// Nothing but this field of each item, for a program that asks with it.
    #[expect(clippy::unused_self, reason = "only a holder of the output prints")]
    pub(crate) fn only(self, page: &Value, field: &str) -> Result<(), CommandError> {
        let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().try_for_each(|item| stdout(&plain(&item[field])))
    }

    /// One thing in words: `lines` for people, the record for programs.
    pub(crate) fn narrative(self, record: &Value, lines: &[String]) -> Result<(), CommandError> {
        match self.format {
            OutputFormat::Table => {
                let width = if self.is_for_people() { terminal_width() } else { None };
                lines.iter().try_for_each(|line| stdout(&wrapped(&harmless(line), width)))
            }
            OutputFormat::Json => stdout(&exact_json::pretty(record)),
            OutputFormat::Jsonl => stdout(&exact_json::compact(record)),
        }
    }

    /// A line of a story, on stdout.
    #[expect(clippy::unused_self, reason = "only a holder of the output prints")]
    pub(crate) fn narrative_line(self, line: &str) -> Result<(), CommandError> {
        let lines: Vec<_> = line.split('\n').map(harmless).collect();
        stdout(&lines.join("\n"))
    }

    /// A progress bar for long work, on a terminal; `total` is the number of steps, if known.
    pub(crate) fn bar(self, total: Option<u64>) -> ProgressBar {
        self.drawn(total, ProgressDrawTarget::stderr())
    }

    /// Bytes received of something of unknown length, on a terminal.
    #[expect(clippy::unused_self, reason = "only a holder of the output prints")]
    pub(crate) fn bytes(self) -> ProgressBar {
        let style = ProgressStyle::with_template("{spinner} {bytes} · {bytes_per_sec}").expect("it is right");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
        bar.with_finish(ProgressFinish::AndClear)
    }

    #[expect(clippy::unused_self, reason = "only a holder of the output prints")]
    fn drawn(self, total: Option<u64>, target: ProgressDrawTarget) -> ProgressBar {
        let form = match total {
            Some(_) => "{percent} % · {human_pos} of {human_len} · {rate}",
            None => "{spinner} {human_pos} · {rate}",
        };
        let style = ProgressStyle::with_template(form).expect("the forms above are right");
        let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A form that cannot be written is not shown.
            let _ = out.write_str(&humanize::rate(state.per_sec()));
        };
        let bar = ProgressBar::with_draw_target(total, target).with_style(style.with_key("rate", rate));
        bar.with_finish(ProgressFinish::AndClear)
    }

    /// Whether a question can be asked: a person types, and sees stderr.
    #[expect(clippy::unused_self, reason = "only a holder of the output asks")]
    pub(crate) fn can_ask(self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks for one line; `None` at the end of input.
    #[expect(clippy::unused_self, reason = "only a holder of the output asks")]
    pub(crate) fn ask(self, prompt: &str) -> Option<String> {
        let mut stderr = io::stderr().lock();
        let mut answer = String::new();
        stderr.write_all(prompt.as_bytes()).and_then(|()| stderr.flush()).ok()?;
        io::stdin().read_line(&mut answer).is_ok_and(|read| read > 0).then_some(answer)
    }

    /// One of many things that come one after the other: a line each.
    pub(crate) fn line(
        self,
        item: &Value,
        in_words: impl FnOnce() -> PaintedLine,
    ) -> Result<(), CommandError> {
        match self.format {
            OutputFormat::Table => stdout(&self.painted(in_words())),
            OutputFormat::Json | OutputFormat::Jsonl => stdout(&exact_json::compact(item)),
        }
    }

    /// No text brings colours of its own.
    fn painted(self, PaintedLine(parts): PaintedLine) -> String {
        let has_colors = self.has_colors();
        let one = |(ink, text): (Option<InkColor>, String)| match ink.filter(|_| has_colors) {
            Some(InkColor(code)) => format!("\u{1b}[{code}m{}\u{1b}[0m", harmless(&text)),
            None => harmless(&text),
        };
        parts.into_iter().map(one).collect()
    }

    /// Says something to people.
    #[expect(clippy::unused_self, reason = "only a holder of the output prints")]
    pub(crate) fn info(self, text: &str) {
        let lines: Vec<_> = text.split('\n').map(harmless).collect();
        say(&lines.join("\n"));
    }

    /// Says what to do about a failure; only to people, for a program reads the failure itself from stderr.
    pub(crate) fn hint(self, text: &str) {
        match self.format {
            OutputFormat::Table => say(text),
            OutputFormat::Json | OutputFormat::Jsonl => {}
        }
    }

    /// Shows the progress of long work, on a terminal.
    #[expect(clippy::unused_self, reason = "only a holder of the output prints")]
    pub(crate) fn progress(self, text: &str) {
        if io::stderr().is_terminal() {
            say(text);
        }
    }

    /// Says why the command failed, in the words that were typed; with `-o json` as the problem document.
    pub(crate) fn failure(self, failure: &CommandError, typed: &TypedWords) {
        let told = match self.format {
            OutputFormat::Table => failure_in_words(failure, typed, self.look.moments),
            OutputFormat::Json => exact_json::pretty(&failure_document(failure)),
            OutputFormat::Jsonl => exact_json::compact(&failure_document(failure)),
        };
        say(&told);
    }

    /// Asks before something that cannot be undone; `None` without a terminal to ask on.
    #[expect(clippy::unused_self, reason = "only a holder of the output prints")]
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

/// How a person is asked.
impl Output {
    /// Asks for a word; `None` without a terminal to ask on.
    #[expect(clippy::unused_self, reason = "only a holder of the output asks")]
    pub(crate) fn answer(self, question: &str) -> Option<String> {
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return None;
        }
        let mut stderr = io::stderr().lock();
        let question = redacted(&harmless(question));
        write!(stderr, "{question} ").and_then(|()| stderr.flush()).ok()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).ok()?;
        Some(answer.trim().to_owned())
    }
}

/// Help, a version, or what is wrong with the command line, as clap words it and without secrets.
pub(crate) fn usage(error: &clap::Error) {
    if error.use_stderr() {
        let text = error.render();
        let is_colored = io::stderr().is_terminal() && environment::wants_colors();
        let text = if is_colored { text.ansi().to_string() } else { text.to_string() };
        say(text.trim_end());
    } else {
        // It goes to stdout, in colour if wanted; a closed pipe is not an error.
        let _ = error.print();
    }
}

/// Bytes as they are: a completion script.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), CommandError> {
    io::stdout().lock().write_all(bytes).map_err(CommandError::Output)
}

fn stdout(text: &str) -> Result<(), CommandError> {
    writeln!(io::stdout().lock(), "{text}").map_err(CommandError::Output)
}

/// Says on the way what a command waits for.
pub(super) fn aside(text: &str) {
    say(&harmless(text));
}

/// A closed stderr cannot be reported.
fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", redacted(text));
}
