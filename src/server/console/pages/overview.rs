//! Overview: what needs a person, and then how the day went.

use askama::Template;
use axum::http::{Method, StatusCode};
use tenure_core::{SessionId, Timestamp, event::Role};

use crate::projections::pulse::{CAUSES, MinuteCounts};

use super::{
    agents::SubjectItem,
    session::{self, SessionItem},
};
use crate::console::{
    chart::DayChart,
    form::segment,
    request::SignedInRequest,
    response::{self, PageFailure, PageFrame, PageResult},
    words::PageTime as _,
};

/// Maximum items shown of each kind.
const SHOWN: usize = 8;
/// Maximum sessions with budgets examined.
const BUDGETS: usize = 24;
/// From this part on a budget is nearly used up.
const NEARLY: f64 = 0.8;
/// In the order of the counts.
const CAUSE_WORDS: [&str; CAUSES] = [
    "ended by an admin, an issuer or the owner",
    "vetoed",
    "ended by its own holder",
    "made room for a newer one",
    "a replaced token came back",
    "all of a subject or device were ended",
    "one of many ended at once",
    "ended by a restore",
    "time ran out",
];

/// How many sessions ended by a cause.
struct CauseRow {
    words: &'static str,
    count: u32,
    /// Of a hundred.
    width: u32,
}

/// A session with a budget.
struct BudgetRow {
    session: SessionItem,
    words: String,
    /// Of a hundred.
    width: u32,
    is_nearly_used: bool,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: PageFrame,
    alarms: Vec<String>,
    vetoes: Vec<SessionItem>,
    more_vetoes: usize,
    suspended: Vec<SubjectItem>,
    budgets: Vec<BudgetRow>,
    live: usize,
    hour: MinuteCounts,
    ended: u32,
    renewals: String,
    charts: [(&'static str, DayChart); 2],
    causes: Vec<CauseRow>,
    may_veto: bool,
    mark: String,
    now: Timestamp,
}

impl OverviewPage {
    fn is_calm(&self) -> bool {
        let nearly_used = self.budgets.iter().any(|budget| budget.is_nearly_used);
        self.alarms.is_empty() && self.vetoes.is_empty() && self.suspended.is_empty() && !nearly_used
    }
}

/// The page. Those who see their own agents only are led to them.
pub(super) async fn show(visit: &SignedInRequest) -> PageResult {
    if !visit.has_role(&[Role::Admin, Role::Auditor]) {
        return Ok(response::redirect("/console/agents"));
    }
    let seen = visit.console().api.overview(&visit.credential).await;
    let seen = seen?;
    let sum =
        |minutes: &[MinuteCounts]| minutes.iter().copied().fold(MinuteCounts::default(), MinuteCounts::and);
    let (hour, day) = (seen.day.last_chunk::<60>().map(|hour| sum(hour)).unwrap_or_default(), sum(&seen.day));
    let soonest: Vec<_> = seen.vetoable.iter().take(SHOWN).map(|(_, id)| *id).collect();
    Ok(response::ok(&OverviewPage {
        frame: PageFrame::of(Some(visit), "Overview", "/console").with(&["live.js"]),
        alarms: alarms(visit).await?,
        more_vetoes: seen.vetoable.len().saturating_sub(SHOWN),
        vetoes: sessions(visit, &soonest).await?,
        suspended: suspended(visit, &seen.suspended).await?,
        budgets: budgets(sessions(visit, &seen.budgets[..seen.budgets.len().min(BUDGETS)]).await?),
        live: seen.live,
        renewals: format!("{:.1}", f64::from(hour.renewed) / 60.0),
        hour,
        ended: day.ended.iter().sum(),
        charts: [
            ("Each minute of the last hour", DayChart::of(&seen.day[seen.day.len() - 60..], 1, visit.now())),
            ("Each quarter of an hour of the last day", DayChart::of(&seen.day, 15, visit.now())),
        ],
        causes: causes(&day),
        may_veto: visit.has_role(&[Role::Admin]),
        mark: visit.shown_mark(),
        now: visit.now(),
    }))
}

/// What `/readyz` says an operator must look into.
pub(super) async fn alarms(visit: &SignedInRequest) -> Result<Vec<String>, PageFailure> {
    match visit.ask(Method::GET, "/readyz", None).await {
        Ok(ready) => Ok(serde_json::from_value(ready["alarms"].clone()).unwrap_or_default()),
        Err(failure) if failure.status == StatusCode::SERVICE_UNAVAILABLE => Ok(vec![failure.detail]),
        Err(failure) => Err(failure),
    }
}

async fn sessions(visit: &SignedInRequest, ids: &[SessionId]) -> Result<Vec<SessionItem>, PageFailure> {
    let mut found = Vec::new();
    for id in ids {
        found.push(session::read(visit, &id.to_string()).await?);
    }
    Ok(found)
}

async fn suspended(
    visit: &SignedInRequest,
    ids: &[tenure_core::SubjectId],
) -> Result<Vec<SubjectItem>, PageFailure> {
    let mut found = Vec::new();
    for id in ids.iter().take(SHOWN) {
        let subject = visit.get(&format!("/v1/subjects/{}", segment(id.as_str()))).await?;
        found.push(SubjectItem::of(visit, subject));
    }
    Ok(found)
}

/// The most used first.
fn budgets(sessions: Vec<SessionItem>) -> Vec<BudgetRow> {
    let budget = |session: SessionItem| {
        let (used, words) = (session.used_part()?, session.budget()?);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 100")]
        let width = (used.clamp(0.0, 1.0) * 100.0).round() as u32;
        Some(BudgetRow { session, words, width, is_nearly_used: used >= NEARLY })
    };
    let mut found: Vec<_> = sessions.into_iter().filter_map(budget).collect();
    found.sort_by_key(|budget| std::cmp::Reverse(budget.width));
    found.truncate(SHOWN);
    found
}

/// The most frequent first.
fn causes(day: &MinuteCounts) -> Vec<CauseRow> {
    let most = day.ended.iter().copied().max().unwrap_or_default().max(1);
    let cause = |(words, count): (&&'static str, &u32)| CauseRow {
        words,
        count: *count,
        width: u32::try_from(u64::from(*count) * 100 / u64::from(most)).unwrap_or(100).max(1),
    };
    let mut found: Vec<_> =
        CAUSE_WORDS.iter().zip(&day.ended).filter(|(_, count)| **count > 0).map(cause).collect();
    found.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    found
}
