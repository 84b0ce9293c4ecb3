//! Agents: every subject that the reader may see, and what is open about each.

use askama::Template;
use axum::http::Method;
use tenure_core::{SubjectId, Timestamp, event::Role};
use tenure_protocol::wire::SubjectView;

use super::session::SessionItem;
use crate::console::{
    as_of::AsOf,
    ask::shown,
    form::segment,
    request::SignedInRequest,
    response::{self, PageFailure, PageFrame, PageResult},
    search::{SearchResult, SessionSearch},
    words::{PageTime, clipped},
};
use crate::http::{CardSession, SubjectCard};
use crate::projections::history::AsOfMoment;

/// Maximum sessions shown in a subject's row.
const SESSIONS_SHOWN: usize = 3;

/// What the cards of a page weigh at most, in bytes: with the scripts and the style sheet the page stays below 100 KB. The
/// cards that do not fit are on the next page.
const WEIGHT: usize = 74_000;

/// A subject as the API shows it, with what a page needs beside it.
#[derive(Clone, Debug)]
pub(in crate::console) struct SubjectItem {
    pub(in crate::console) view: SubjectView,
    /// Who suspended it, in words; empty unless it is suspended.
    pub(in crate::console) suspended_by: String,
}

impl SubjectItem {
    pub(in crate::console) fn of(visit: &SignedInRequest, view: SubjectView) -> Self {
        let suspended_by = view.suspension.as_ref().map(|suspension| visit.actor_words(&suspension.by));
        Self { view, suspended_by: suspended_by.unwrap_or_default() }
    }

    pub(in crate::console) fn title(&self) -> &str {
        self.view.name.as_deref().unwrap_or(self.view.subject_id.as_str())
    }

    pub(in crate::console) fn kind_or_unknown(&self) -> &str {
        self.view.kind.as_deref().unwrap_or("subject")
    }
}

/// Whether it stands for those who sign in with a key.
pub(in crate::console) fn is_sign_in(subject: &SubjectId) -> bool {
    subject.as_str().starts_with("console:")
}

/// A row of the page.
pub(in crate::console) struct AgentRow {
    pub(in crate::console) subject: SubjectItem,
    /// Those whose renewals can be vetoed first, then the newest.
    pub(in crate::console) sessions: Vec<SessionItem>,
    more: usize,
    last_renewal: Option<Timestamp>,
    next_renewal: Option<Timestamp>,
}

/// A row as it stands on the page.
#[derive(Template)]
#[template(path = "agent_card.html")]
struct AgentCard<'r> {
    row: &'r AgentRow,
    /// Where there are those of several owners.
    has_owner: bool,
    may_veto: bool,
    now: Timestamp,
}

impl AgentCard<'_> {
    /// The beginning of a text that people chose; the page of the subject or session has all of it.
    fn clip(text: &str) -> String {
        clipped(text, 80)
    }
}

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    frame: PageFrame,
    /// Each is a whole piece of markup.
    cards: Vec<String>,
    /// Subjects of this page that were not there at the moment that it is about.
    absent: usize,
    search: SessionSearch,
    is_of_all: bool,
    may_veto: bool,
    mark: String,
    next: Option<String>,
    then: AsOf,
}

/// The page.
pub(in crate::console) async fn list(visit: &SignedInRequest) -> PageResult {
    let then = AsOf::of(visit, &["q", "owner", "device", "status", "cursor"]).await?;
    if then.is_past() && !visit.has_role(&[Role::Admin, Role::Auditor]) {
        // It says who may.
        visit.ask(Method::GET, &format!("/v1/subjects{}", then.query(&[])), None).await?;
    }
    let search = SessionSearch::of(visit);
    let (subjects, next, is_ordered) = match search.find(visit).await? {
        SearchResult::Subjects { subjects, next, is_ordered } => (subjects, next, is_ordered),
        SearchResult::Session(id) => {
            return Ok(response::redirect(&format!("/console/sessions/{}", segment(&id.to_string()))));
        }
    };
    let subjects = subjects.into_iter().map(|subject| subject.subject_id);
    let subjects = subjects.filter(|id| !is_sign_in(id)).collect();
    let (rows, absent) = rows(visit, subjects, then.moment(), SESSIONS_SHOWN).await?;
    let may_veto = !then.is_past() && visit.has_role(&[Role::Admin, Role::Owner]);
    let weight = if is_ordered { WEIGHT } else { usize::MAX };
    let is_of_all = visit.has_role(&[Role::Admin, Role::Auditor, Role::Issuer]);
    let FittingCards { mut cards, last } =
        fitting_cards(&rows, weight, (is_of_all, may_veto), then.at, visit.now())?;
    let next = last.map(|last| SessionSearch::behind(last.as_str())).or(next);
    // What needs a person comes first, and of that what can wait least.
    cards.sort_by_key(|(until, _)| (until.is_none(), *until));
    Ok(response::ok(&AgentsPage {
        frame: PageFrame::of(Some(visit), "Agents", "/console/agents").with(&["live.js", "as_of.js"]),
        absent,
        cards: cards.into_iter().map(|(_, card)| card).collect(),
        is_of_all,
        may_veto,
        mark: visit.shown_mark(),
        next: next.map(|cursor| search.address(&cursor)),
        search,
        then,
    }))
}

/// The rows of these subjects, each with up to `most` of its active sessions, and how many of them did not exist at
/// that moment.
pub(in crate::console) async fn rows(
    visit: &SignedInRequest,
    subjects: Vec<SubjectId>,
    then: Option<AsOfMoment>,
    most: usize,
) -> Result<(Vec<AgentRow>, usize), PageFailure> {
    let cards = visit.console().api.subject_cards(&visit.credential, subjects, then, most).await?;
    let count = cards.len();
    let rows = cards.into_iter().flatten().map(|card| row(visit, card)).collect::<Result<Vec<_>, _>>()?;
    let absent = count - rows.len();
    Ok((rows, absent))
}

/// The cards that fit on a page.
struct FittingCards {
    /// Each with until when a renewal can be vetoed, if one can.
    cards: Vec<(Option<Timestamp>, String)>,
    /// The last subject on the page, if there are more.
    last: Option<SubjectId>,
}

fn fitting_cards(
    rows: &[AgentRow],
    most: usize,
    (is_of_all, may_veto): (bool, bool),
    then: Timestamp,
    now: Timestamp,
) -> Result<FittingCards, PageFailure> {
    let (mut cards, mut weight) = (Vec::new(), 0);
    for (number, row) in rows.iter().enumerate() {
        let card = AgentCard { row, has_owner: is_of_all, may_veto, now: then }.render();
        let card = card.map_err(|error| PageFailure::of_ours(&error.to_string()))?;
        weight += card.len();
        if weight > most && number > 0 {
            return Ok(FittingCards { cards, last: Some(rows[number - 1].subject.view.subject_id.clone()) });
        }
        let vetoable = row.sessions.iter().filter(|session| session.is_vetoable(now));
        cards.push((vetoable.filter_map(|session| session.veto_until).min(), card));
    }
    Ok(FittingCards { cards, last: None })
}

fn row(visit: &SignedInRequest, card: SubjectCard) -> Result<AgentRow, PageFailure> {
    let subject = SubjectItem::of(visit, shown(card.subject)?);
    let session = |found: CardSession| {
        let session: SessionItem = shown(found.session)?;
        Ok(SessionItem { veto_until: found.veto_until, ..session })
    };
    let sessions = card.sessions.into_iter().map(session).collect::<Result<Vec<_>, PageFailure>>()?;
    Ok(AgentRow {
        more: subject.view.active_sessions.saturating_sub(sessions.len()),
        subject,
        sessions,
        last_renewal: card.last_renewal,
        next_renewal: card.next_renewal,
    })
}
