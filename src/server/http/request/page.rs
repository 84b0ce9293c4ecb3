//! Lists: a limit, an opaque cursor, a page.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tenure_protocol::wire::Page;

use super::{fields::RequestFields, limits};

const DEFAULT: u64 = 50;

/// The lists that are read in pages. A cursor of one is none of another's.
#[derive(Clone, Copy)]
pub(crate) enum ListName {
    Credentials,
    Deliveries,
    Events,
    Notices,
    Sessions,
    Subjects,
    Webhooks,
}

impl ListName {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Deliveries => "deliveries",
            Self::Events => "events",
            Self::Notices => "notices",
            Self::Sessions => "sessions",
            Self::Subjects => "subjects",
            Self::Webhooks => "webhooks",
        }
    }

    /// The cursor of the page that begins behind this place.
    pub(crate) fn cursor(self, end: impl std::fmt::Display) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}:{end}", self.as_str()))
    }

    /// The place that a cursor of this list names.
    fn place(self, cursor: &str) -> Option<String> {
        let place = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        Some(place.strip_prefix(self.as_str())?.strip_prefix(':')?.to_owned())
    }
}

/// Which page is asked for.
pub(crate) struct PageQuery {
    pub(crate) limit: usize,
    /// Where the page before ended; its meaning is the list's own.
    pub(crate) after: Option<String>,
}

impl PageQuery {
    /// The parameters that say it.
    pub(crate) fn of(query: &mut RequestFields, list: ListName) -> Self {
        let limit = query.whole("limit", limits::PAGE).unwrap_or(DEFAULT);
        let after = query.raw_text("cursor").and_then(|cursor| {
            let after = list.place(&cursor);
            if after.is_none() {
                query.fault("cursor", "must be a nextCursor of this list");
            }
            after
        });
        Self { limit: usize::try_from(limit).expect("it is at most 200"), after }
    }

    /// The place where the page before ended, as this list writes it.
    pub(crate) fn parsed<T: std::str::FromStr>(&self, query: &mut RequestFields) -> Option<T> {
        let parsed = self.after.as_ref()?.parse().ok();
        if parsed.is_none() {
            query.fault("cursor", "must be a nextCursor of this list");
        }
        parsed
    }
}

/// A page of a list that ends at some place; `None` if it is the last.
pub(crate) fn page_of<T>(list: ListName, items: Vec<T>, end: Option<impl std::fmt::Display>) -> Page<T> {
    Page { items, next_cursor: end.map(|end| list.cursor(end)) }
}
