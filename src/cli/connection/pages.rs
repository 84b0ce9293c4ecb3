//! Lists: one page, or all of them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use serde_json::{Value, json};

use super::client::ApiRequest;
use crate::cli::{
    context::CommandContext,
    failure::CommandError,
    output::{Column, OutputFormat},
};

/// The longest page that the server gives.
const LONGEST: u16 = 200;
/// The page that the server gives when it is not told.
const USUAL: u16 = 50;

/// How much of a list to show.
#[derive(Debug, Args)]
pub(crate) struct PagingArgs {
    /// Items per page, 1 to 200 [default: 50; 200 with --all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: Option<u16>,

    /// Show every page
    #[arg(long)]
    all: bool,

    /// Print ids only, one per line
    #[arg(short, long)]
    quiet: bool,

    /// Omit the column headers
    #[arg(long)]
    no_headers: bool,
}

impl PagingArgs {
    /// Whether every page is wanted.
    pub(crate) const fn is_all(&self) -> bool {
        self.all
    }

    /// How many items a page has.
    pub(crate) fn page(&self) -> usize {
        self.limit.unwrap_or(USUAL).into()
    }
}

/// The same of a list that goes on with a cursor.
#[derive(Debug, Args)]
pub(crate) struct CursorArgs {
    /// Continue after an earlier page: its nextCursor
    #[arg(long)]
    cursor: Option<String>,

    #[command(flatten)]
    paging: PagingArgs,
}

impl CursorArgs {
    /// Shows the list that is asked for so, one page or all.
    pub(crate) fn show(
        self,
        cli: &CommandContext,
        request: ApiRequest,
        columns: &[Column],
        of: &str,
    ) -> Result<(), CommandError> {
        show(cli, request.query("cursor", self.cursor), &self.paging, by_cursor, columns, of)
    }
}

/// The query parameter that leads to the page after this one; `None` after the last.
type NextQuery = fn(&Value) -> Option<(&'static str, String)>;

/// Of a list with a `cursor`.
pub(crate) fn by_cursor(page: &Value) -> Option<(&'static str, String)> {
    Some(("cursor", page["nextCursor"].as_str()?.to_owned()))
}

/// Of events: those after the last one seen. `nextCursor` says whether there are any.
pub(crate) fn by_position(page: &Value) -> Option<(&'static str, String)> {
    if page["nextCursor"].is_null() {
        return None;
    }
    let last = page["items"].as_array()?.last()?["position"].as_u64()?;
    Some(("after", epoch_in(page["nextCursor"].as_str()?, last)))
}

/// A position as this history names it now: where it has begun another epoch, its cursors say which.
fn epoch_in(cursor: &str, position: u64) -> String {
    let told = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|told| String::from_utf8(told).ok());
    let epoch = told.and_then(|told| told.split(':').nth_back(1)?.parse::<u32>().ok());
    epoch.map_or_else(|| position.to_string(), |epoch| format!("{epoch}:{position}"))
}

/// The same of a position that no page said, and what the head is; `None` if this key may not ask for it.
pub(crate) fn head(cli: &CommandContext) -> Result<Option<KnownHead>, CommandError> {
    match cli.client.send(&ApiRequest::get(&["v1", "audit", "head"])) {
        Ok(reply) => Ok(reply.body["size"]
            .as_u64()
            .map(|size| KnownHead { size, epoch: reply.body["epoch"].as_u64() })),
        Err(CommandError::Problem(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Where the history ends, and in which epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownHead {
    pub size: u64,
    epoch: Option<u64>,
}

impl KnownHead {
    /// A position as this history names it now.
    pub(crate) fn named(self, position: u64) -> String {
        match self.epoch {
            Some(epoch) if epoch > 1 => format!("{epoch}:{position}"),
            Some(_) | None => position.to_string(),
        }
    }
}

/// Shows the page that `request` asks for, or all from it on; an empty one says that there are no such things: `of`.
pub(crate) fn show(
    cli: &CommandContext,
    request: ApiRequest,
    paging: &PagingArgs,
    next: NextQuery,
    columns: &[Column],
    of: &str,
) -> Result<(), CommandError> {
    show_with(cli, request, paging, next, columns, &|| of.to_owned(), &|_| ())
}

/// The same, with additional fields for people; programs get each item as it came. `of` is asked for if the list is
/// empty.
pub(crate) fn show_with(
    cli: &CommandContext,
    request: ApiRequest,
    paging: &PagingArgs,
    next: NextQuery,
    columns: &[Column],
    of: &dyn Fn() -> String,
    dress: &dyn Fn(&mut Value),
) -> Result<(), CommandError> {
    let limit = paging.limit.or(paging.all.then_some(LONGEST));
    let request = request.query("limit", limit);
    let list = |mut page: Value| {
        if cli.output.format() == OutputFormat::Table {
            page["items"].as_array_mut().into_iter().flatten().for_each(dress);
        }
        let is_empty = page["items"].as_array().is_some_and(Vec::is_empty);
        let of = if is_empty && cli.output.format() == OutputFormat::Table { of() } else { String::new() };
        list(cli, &page, paging, columns, &of)
    };
    if !paging.all {
        let page = page(cli, &request)?;
        let following = next(&page);
        list(page)?;
        if let Some((name, value)) = following {
            cli.output.info(&format!("There is more: --all, or --{name} {value}"));
        }
        return Ok(());
    }
    match cli.output.format() {
        OutputFormat::Jsonl if !paging.quiet => {
            each(cli, request, next, |page| cli.output.list(&page, columns, cli.now()))
        }
        OutputFormat::Table | OutputFormat::Json | OutputFormat::Jsonl => list(whole(cli, request, next)?),
    }
}

/// Shows things in the form that was asked for.
pub(crate) fn list(
    cli: &CommandContext,
    page: &Value,
    paging: &PagingArgs,
    columns: &[Column],
    of: &str,
) -> Result<(), CommandError> {
    let output = if paging.no_headers { cli.output.without_heads() } else { cli.output };
    match columns.first() {
        Some(id) if paging.quiet => output.only(page, id.field()),
        Some(_) | None => output.list_or(page, columns, cli.time_of(page), &format!("No {of}.")),
    }
}

/// The last things of a list.
pub(crate) fn last(
    cli: &CommandContext,
    request: ApiRequest,
    next: NextQuery,
    count: usize,
) -> Result<Value, CommandError> {
    let mut kept = std::collections::VecDeque::new();
    each(cli, request, next, |mut page| {
        for item in page["items"].as_array_mut().into_iter().flatten() {
            kept.push_back(item.take());
        }
        kept.drain(..kept.len().saturating_sub(count));
        Ok(())
    })?;
    Ok(json!({ "items": Vec::from(kept), "nextCursor": null }))
}

/// All pages as one.
pub(crate) fn whole(
    cli: &CommandContext,
    request: ApiRequest,
    next: NextQuery,
) -> Result<Value, CommandError> {
    let mut together = Value::Null;
    each(cli, request, next, |page| {
        together = joined(together.take(), page);
        Ok(())
    })?;
    Ok(together)
}

/// The second page's items after the first's; of all else the first page speaks.
fn joined(first: Value, mut second: Value) -> Value {
    let mut together = first;
    if together.is_null() {
        return second;
    }
    if let (Some(items), Some(more)) = (together["items"].as_array_mut(), second["items"].as_array_mut()) {
        items.append(more);
    }
    together["nextCursor"] = second["nextCursor"].take();
    together
}

fn each(
    cli: &CommandContext,
    mut request: ApiRequest,
    next: NextQuery,
    mut take: impl FnMut(Value) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    loop {
        let page = page(cli, &request)?;
        let following = next(&page);
        take(page)?;
        match following {
            Some((name, value)) => request = request.without("since").query(name, Some(value)),
            None => return Ok(()),
        }
    }
}

fn page(cli: &CommandContext, request: &ApiRequest) -> Result<Value, CommandError> {
    let page = cli.client.send(request)?.body;
    if page["items"].is_array() { Ok(page) } else { Err(cli.client.strange(200, "the reply is no list")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_joined_in_order() {
        let first = json!({"items": [1, 2], "nextCursor": "c", "asOfPosition": 7});
        let second = json!({"items": [3], "nextCursor": null, "asOfPosition": 8});
        let both = joined(joined(Value::Null, first), second);
        assert_eq!(both, json!({"items": [1, 2, 3], "nextCursor": null, "asOfPosition": 7}));
    }

    #[test]
    fn the_last_page_has_no_next() {
        assert_eq!(by_cursor(&json!({"items": [], "nextCursor": null})), None);
        assert_eq!(by_cursor(&json!({"items": [1], "nextCursor": "c"})), Some(("cursor", "c".to_owned())));
        assert_eq!(by_position(&json!({"items": [{"position": 3}], "nextCursor": null})), None);
        assert_eq!(by_position(&json!({"items": [], "nextCursor": "x"})), None);
        let page = json!({"items": [{"position": 3}], "nextCursor": "x"});
        assert_eq!(by_position(&page), Some(("after", "3".to_owned())));
    }
}
