//! How a reply looks to people: which of its fields, in which order, and how each is read. Nothing is printed here.

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::Value;

use super::{exact_json, humanize};
use crate::cli::arguments::moments::MomentForm;
use tenure_core::{Seconds, Timestamp};

/// A field of a reply, and how people read it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    head: &'static str,
    field: &'static str,
    reading: ValueFormat,
    is_wide: bool,
    /// It is left out of a table in which no item has it.
    is_optional: bool,
    /// It is left out of a table that is too wide for the terminal.
    is_dispensable: bool,
}

/// How a value is to be read.
#[derive(Clone, Copy, Debug)]
enum ValueFormat {
    /// As it is.
    Plain,
    /// What people call something; a long one is cut short in a table.
    Name,
    /// An id, of which a table shows a prefix long enough to be unique.
    Id,
    /// A state, in colour on a terminal.
    State,
    /// A moment.
    Moment,
    /// A moment until which something lasts.
    End,
    /// When a session ended, or the nearer of its ends; from several fields.
    SessionEnd,
    /// A length of time in seconds.
    Span,
    /// An attempt to deliver something, or a list of them.
    Attempts,
    /// A number of how many there may be, which is in this field.
    Part(&'static str),
}

impl Column {
    const fn new(head: &'static str, field: &'static str, reading: ValueFormat) -> Self {
        Self { head, field, reading, is_wide: false, is_optional: false, is_dispensable: false }
    }
    /// The same, in wide tables only.
    pub(crate) const fn only_wide(mut self) -> Self {
        self.is_wide = true;
        self
    }
    /// The same, which a table that is too wide for the terminal does without.
    pub(crate) const fn first_to_go(mut self) -> Self {
        self.is_dispensable = true;
        self
    }
    /// How many there are of how many there may be, such as `1 of 30`.
    pub(crate) const fn part(head: &'static str, field: &'static str, most: &'static str) -> Self {
        Self::new(head, field, ValueFormat::Part(most))
    }
    /// What people call something, in tables in which anything has a name.
    pub(crate) const fn name(head: &'static str, field: &'static str) -> Self {
        Self { is_optional: true, ..Self::new(head, field, ValueFormat::Name) }
    }
    /// An id, cut short in a table as far as it stays unique there.
    pub(crate) const fn id(head: &'static str, field: &'static str) -> Self {
        Self::new(head, field, ValueFormat::Id)
    }
    /// Shown as it is. `field` may be a path such as `actor.id`.
    pub(crate) const fn plain(head: &'static str, field: &'static str) -> Self {
        Self::new(head, field, ValueFormat::Plain)
    }
    /// A state such as `ACTIVE`.
    pub(crate) const fn state(head: &'static str, field: &'static str) -> Self {
        Self::new(head, field, ValueFormat::State)
    }
    /// A moment, with how long ago or how far ahead it is.
    pub(crate) const fn moment(head: &'static str, field: &'static str) -> Self {
        Self::new(head, field, ValueFormat::Moment)
    }
    /// The end of something, with what is left.
    pub(crate) const fn end(head: &'static str, field: &'static str) -> Self {
        Self::new(head, field, ValueFormat::End)
    }
    /// When a session ended, or the nearer of its ends.
    pub(crate) const fn session_end(head: &'static str) -> Self {
        Self::new(head, "ends", ValueFormat::SessionEnd)
    }
    /// Attempts to deliver something: how many, and how the last one went.
    pub(crate) const fn attempts(head: &'static str, field: &'static str) -> Self {
        Self::new(head, field, ValueFormat::Attempts)
    }
    /// The field that it shows.
    pub(crate) const fn field(&self) -> &'static str {
        self.field
    }

    /// Seconds, with the same in words.
    pub(crate) const fn span(field: &'static str) -> Self {
        Self::new("", field, ValueFormat::Span)
    }

    fn value<'a>(&self, record: &'a Value) -> &'a Value {
        let found = self.field.split('.').try_fold(record, |value, name| value.get(name));
        found.unwrap_or(&Value::Null)
    }

    fn says_something(&self, record: &Value) -> bool {
        match self.reading {
            ValueFormat::SessionEnd => session_end(record, Timestamp::ZERO).is_some(),
            ValueFormat::Plain
            | ValueFormat::Name
            | ValueFormat::Id
            | ValueFormat::State
            | ValueFormat::Moment
            | ValueFormat::End
            | ValueFormat::Span
            | ValueFormat::Attempts
            | ValueFormat::Part(_) => !self.value(record).is_null(),
        }
    }

    fn text(&self, value: &Value, now: Timestamp, form: MomentForm) -> String {
        match self.reading {
            ValueFormat::Plain
            | ValueFormat::Name
            | ValueFormat::Id
            | ValueFormat::State
            | ValueFormat::Part(_)
            | ValueFormat::SessionEnd => plain(value),
            ValueFormat::Moment => moment(value, form, |at| humanize::when(at, now)),
            ValueFormat::End => moment(value, form, |at| humanize::left(at, now)),
            ValueFormat::Attempts => attempts(value),
            ValueFormat::Span => match value.as_u64() {
                Some(seconds) => format!("{seconds} s ({})", humanize::duration(seconds)),
                None => plain(value),
            },
        }
    }

    fn cell(&self, record: &Value, now: Timestamp, form: MomentForm) -> Cell {
        let text = match self.reading {
            ValueFormat::SessionEnd => session_end(record, now)
                .map_or_else(|| "-".to_owned(), |(at, words)| format!("{} ({words})", form.shown(at))),
            ValueFormat::Part(most) => self.part_of(record, most),
            // What it was to last is of no interest any more.
            ValueFormat::End if record["status"] == "REVOKED" => plain(self.value(record)),
            ValueFormat::Plain
            | ValueFormat::Name
            | ValueFormat::Id
            | ValueFormat::State
            | ValueFormat::Moment
            | ValueFormat::End
            | ValueFormat::Span
            | ValueFormat::Attempts => self.text(self.value(record), now, form),
        };
        self.colored(text)
    }

    /// The same in a table that has to fit: moments in words, ids as unique prefixes.
    fn short_text(&self, record: &Value, now: Timestamp, id_length: usize) -> String {
        let words = |in_words: fn(Timestamp, Timestamp) -> String| {
            let value = plain(self.value(record));
            Timestamp::parse(&value).map_or(value, |at| in_words(at, now))
        };
        match self.reading {
            ValueFormat::Part(most) => self.part_of(record, most),
            ValueFormat::SessionEnd => {
                session_end(record, now).map_or_else(|| "-".to_owned(), |(_, words)| words)
            }
            ValueFormat::Moment => words(humanize::when),
            ValueFormat::End if record["status"] == "REVOKED" => "-".to_owned(),
            ValueFormat::End => words(humanize::left),
            ValueFormat::Id => plain(self.value(record)).chars().take(id_length).collect(),
            ValueFormat::Name => clipped(plain(self.value(record)), LONGEST_NAME),
            ValueFormat::Plain | ValueFormat::State | ValueFormat::Span | ValueFormat::Attempts => {
                self.text(self.value(record), now, MomentForm::InFull)
            }
        }
    }

    /// What may never be, such as the renewals of a sliding session, is none.
    fn part_of(&self, record: &Value, most: &str) -> String {
        let (count, most) = (plain(self.value(record)), &record[most]);
        if most.is_null() {
            count
        } else if *most == 0 {
            "-".to_owned()
        } else {
            format!("{count} of {}", plain(most))
        }
    }

    const fn is_name(&self) -> bool {
        matches!(self.reading, ValueFormat::Name)
    }

    fn colored(&self, text: String) -> Cell {
        let color = matches!(self.reading, ValueFormat::State).then(|| color_of(&text)).flatten();
        let cell = Cell::new(text);
        if let Some(color) = color { cell.fg(color) } else { cell }
    }

    /// The length at which prefixes of these items' ids are unique.
    fn id_length(&self, items: &[Value]) -> usize {
        unique_length(items.iter().filter_map(|item| self.value(item).as_str()).collect())
    }
}

/// The beginning of a long name.
fn clipped(name: String, most: usize) -> String {
    if name.chars().count() <= most {
        return name;
    }
    let begin: String = name.chars().take(most - 1).collect();
    format!("{}\u{2026}", begin.trim_end())
}

/// The length at which prefixes of ids are unique.
pub(super) fn unique_length(mut ids: Vec<&str>) -> usize {
    ids.sort_unstable();
    ids.dedup();
    let shared = |pair: &[&str]| pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
    ids.windows(2).map(|pair| shared(pair) + 1).max().unwrap_or(0).max(SHORTEST_ID)
}

/// How an attempt went, or how many there were and how the last one went.
fn attempts(value: &Value) -> String {
    match value {
        Value::Object(attempt) => {
            let status = attempt.get("httpStatus").and_then(Value::as_u64);
            let outcome = attempt.get("outcome").map_or_else(String::new, plain);
            status.map_or_else(|| outcome.clone(), |status| format!("{outcome} {status}"))
        }
        Value::Array(all) => all
            .last()
            .map_or_else(|| "none".to_owned(), |last| format!("{}, last: {}", all.len(), attempts(last))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => plain(value),
    }
}

/// The text of a line begins before it.
const MARGIN: usize = 40;
/// Fewer characters of an id are not shown.
const SHORTEST_ID: usize = 8;
/// More characters of a name are not shown in a table.
const LONGEST_NAME: usize = 20;
/// Fewer characters of a name say nothing, however narrow the terminal is.
const SHORTEST_NAME: usize = 8;
/// Spaces between two columns.
const GAP: usize = 2;

/// When a session ends, or ended, by not being used; `None` if it does not.
pub(in crate::cli) fn idle_end(session: &Value) -> Option<Timestamp> {
    let moment = |name: &str| Timestamp::parse(session[name].as_str()?);
    let seen = moment("lastSeenAt").or_else(|| moment("renewedAt")).or_else(|| moment("createdAt"));
    let idle_timeout = session["idleTimeout"].as_u64().and_then(|span| u32::try_from(span).ok());
    seen.zip(idle_timeout).map(|(seen, span)| seen.plus(Seconds(span)))
}

/// When it ends, or ended, if nothing happens to it: the end of its period or its idle end, whichever is nearer.
pub(in crate::cli) fn own_end(session: &Value) -> Option<Timestamp> {
    let moment = |name: &str| Timestamp::parse(session[name].as_str()?);
    [moment("expiresAt"), moment("absoluteExpiresAt"), idle_end(session)].into_iter().flatten().min()
}

/// When, and `ended 4m ago`, or `17m left` to its own end.
fn session_end(session: &Value, now: Timestamp) -> Option<(Timestamp, String)> {
    let moment = |name: &str| Timestamp::parse(session[name].as_str()?);
    let nearer = own_end(session);
    match session["status"].as_str()? {
        "REVOKED" => moment("revokedAt").map(|at| (at, format!("ended {}", humanize::when(at, now)))),
        "EXPIRED" => nearer.map(|at| (at, format!("ended {}", humanize::when(at, now)))),
        _ => nearer.map(|at| (at, humanize::left(at, now))),
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
pub(in crate::cli) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => harmless(text),
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            items.iter().map(plain).collect::<Vec<_>>().join(", ")
        }
        Value::Array(_) | Value::Object(_) => harmless(&exact_json::compact(value)),
    }
}

/// A text whose characters cannot move the cursor, nor show in another order.
pub(crate) fn harmless(text: &str) -> String {
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
pub(crate) fn moment(value: &Value, form: MomentForm, in_words: impl Fn(Timestamp) -> String) -> String {
    let text = plain(value);
    match Timestamp::parse(&text) {
        Some(at) => format!("{} ({})", form.shown(at), in_words(at)),
        None => text,
    }
}

/// How a list of things looks.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cli) struct TableLook {
    pub(in crate::cli) has_colors: bool,
    pub(in crate::cli) is_wide: bool,
    pub(in crate::cli) is_headless: bool,
    pub(in crate::cli) moments: MomentForm,
    /// The columns of the terminal that the table is for.
    pub(in crate::cli) width: Option<usize>,
}

/// The terminal's width in columns; `None` without a terminal.
pub(in crate::cli) fn terminal_width() -> Option<usize> {
    Table::new().width().map(usize::from)
}

/// A long line over several, each but the first below the text of it: behind its position and its moment.
pub(in crate::cli) fn wrapped(line: &str, width: Option<usize>) -> String {
    let Some(width) = width.filter(|width| *width > 40 && line.chars().count() > *width) else {
        return line.to_owned();
    };
    let margin = line.char_indices().take(MARGIN).map(|(at, _)| at).last().unwrap_or(0);
    let start = line[..margin].rfind("  ").map_or(0, |at| at + 2);
    let (mut whole, mut column) = (line[..start].to_owned(), start);
    for (index, word) in line[start..].split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && column + 1 + length > width {
            whole.extend(["\n", &" ".repeat(start)]);
            column = start;
        } else if index > 0 {
            whole.push(' ');
            column += 1;
        }
        whole.push_str(word);
        column += length;
    }
    whole
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
        column.set_padding((0, u16::try_from(GAP).unwrap_or_default()));
    }
    table.trim_fmt()
}

/// A column with the texts of its cells.
struct FilledColumn<'a> {
    column: &'a Column,
    texts: Vec<String>,
}

impl<'a> FilledColumn<'a> {
    fn of(column: &'a Column, items: &[Value], now: Timestamp) -> Self {
        let length = column.id_length(items);
        Self { column, texts: items.iter().map(|item| column.short_text(item, now, length)).collect() }
    }

    /// Whether its texts may go over several lines: an id may not, or nobody could copy it.
    fn is_prose(&self) -> bool {
        let is_text =
            matches!(self.column.reading, ValueFormat::Plain | ValueFormat::Name | ValueFormat::Attempts);
        is_text && self.texts.iter().any(|text| text.contains(' '))
    }

    fn width(&self, is_headless: bool) -> usize {
        let head = if is_headless { 0 } else { self.column.head.len() };
        self.texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(head)
    }
}

fn total(columns: &[FilledColumn<'_>], is_headless: bool) -> usize {
    columns.iter().map(|column| column.width(is_headless) + GAP).sum::<usize>().saturating_sub(GAP)
}

/// Makes a table as narrow as the terminal, if it can be: by shorter names, and then by fewer columns.
fn fit(columns: &mut Vec<FilledColumn<'_>>, width: usize, is_headless: bool) {
    for most in (SHORTEST_NAME..LONGEST_NAME).rev() {
        if total(columns, is_headless) <= width {
            return;
        }
        for column in columns.iter_mut().filter(|filled| filled.column.is_name()) {
            column.texts = column.texts.drain(..).map(|name| clipped(name, most)).collect();
        }
    }
    while total(columns, is_headless) > width {
        let Some(index) = columns.iter().rposition(|filled| filled.column.is_dispensable) else { return };
        columns.remove(index);
    }
}

pub(in crate::cli) fn table(items: &[Value], columns: &[Column], now: Timestamp, look: TableLook) -> String {
    let mut table = blank_table(look.has_colors);
    let TableLook { is_wide, is_headless, .. } = look;
    let is_shown = |column: &&Column| {
        (is_wide || !column.is_wide)
            && (!column.is_optional || items.iter().any(|item| column.says_something(item)))
    };
    let shown: Vec<_> = columns.iter().filter(is_shown).collect();
    if is_wide {
        if !is_headless {
            table.set_header(shown.iter().map(|column| column.head));
        }
        for item in items {
            table.add_row(shown.iter().map(|column| column.cell(item, now, look.moments)));
        }
        return laid_out(table);
    }
    let mut filled: Vec<_> = shown.into_iter().map(|column| FilledColumn::of(column, items, now)).collect();
    if let Some(width) = look.width {
        fit(&mut filled, width, is_headless);
    }
    if !is_headless {
        table.set_header(filled.iter().map(|filled| filled.column.head));
    }
    for row in 0..items.len() {
        table.add_row(filled.iter().map(|filled| filled.column.colored(filled.texts[row].clone())));
    }
    if let Some(width) = look.width.filter(|width| total(&filled, is_headless) > *width) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
        for (column, filled) in table.column_iter_mut().zip(&filled) {
            if !filled.is_prose() {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
    laid_out(table)
}

pub(in crate::cli) fn rows(record: &Value, columns: &[Column], now: Timestamp, look: TableLook) -> String {
    let mut table = blank_table(look.has_colors);
    for column in columns.iter().filter(|column| column.says_something(record)) {
        table.add_row([Cell::new(column.field), column.cell(record, now, look.moments)]);
    }
    let listed = |name: &str| columns.iter().any(|column| column.field.split('.').next() == Some(name));
    for (name, value) in record.as_object().into_iter().flatten() {
        if !value.is_null() && !listed(name) {
            table.add_row([name.clone(), unlisted(name, value, look.moments)]);
        }
    }
    laid_out(table)
}

/// A field that no column is for.
fn unlisted(name: &str, value: &Value, form: MomentForm) -> String {
    let moment =
        value.as_str().and_then(Timestamp::parse).filter(|_| name.ends_with("At") || name == "asOfTime");
    moment.map_or_else(|| plain(value), |at| form.shown(at))
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
    fn a_long_line_goes_on_below_its_own_text() {
        let line =
            "     6  2026-11-22T01:00:00.000Z  It began, for subject payments-bot, and was created by a key.";
        assert_eq!(
            wrapped(line, Some(70)),
            "     6  2026-11-22T01:00:00.000Z  It began, for subject payments-bot,\n                                  \
             and was created by a key."
        );
        assert_eq!(wrapped(line, None), line);
        assert_eq!(wrapped("short", Some(80)), "short");
    }

    #[test]
    fn a_list_has_a_line_for_each_and_times_in_words() {
        let shown =
            |is_wide| table(&[session()], COLUMNS, now(), TableLook { is_wide, ..TableLook::default() });
        assert_eq!(shown(false), "SESSION  STATUS  EXPIRES\ns1       ACTIVE  1h 5m left");
        assert_eq!(
            shown(true),
            "SESSION  STATUS  EXPIRES\ns1       ACTIVE  2026-11-21T01:35:00.000Z (1h 5m left)"
        );
    }

    #[test]
    fn as_much_of_an_id_is_shown_as_tells_it_from_the_others() {
        let ids = ["01a22388-a1f9-77a7", "01a22388-a1f0-77a7", "01a22399-0000-7000"];
        let items = ids.map(|id| json!({ "id": id }));
        let columns = [Column::id("ID", "id")];
        let shown = table(&items, &columns, now(), TableLook { is_headless: true, ..TableLook::default() });
        assert_eq!(shown, "01a22388-a1f9\n01a22388-a1f0\n01a22399-0000");
        let alone = table(&items[..1], &columns, now(), TableLook::default());
        assert_eq!(alone, "ID\n01a22388");
    }

    #[test]
    fn a_record_shows_every_field_that_says_something() {
        assert_eq!(
            rows(&session(), COLUMNS, now(), TableLook::default()),
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
        assert_eq!(Column::span("ttl").text(&json!(86_400), now(), MomentForm::InFull), "86400 s (1d)");
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
        let told = |status: &str, now: Timestamp| {
            let (at, words) = session_end(&session(status), now).unwrap();
            format!("{at} ({words})")
        };
        assert_eq!(told("REVOKED", now()), "2026-11-21T00:26:00.000Z (ended 4m ago)");
        assert_eq!(told("ACTIVE", now()), "2026-11-21T00:47:00.000Z (17m left)");
        let idle = Timestamp::parse("2026-11-21T00:50:00Z").unwrap();
        assert_eq!(told("EXPIRED", idle), "2026-11-21T00:47:00.000Z (ended 3m ago)");
    }
}
