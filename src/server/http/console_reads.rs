//! What the console reads and no route offers: the day at a glance, a moment of the past, the history under other
//! limits. Each is behind the same roles, shares and gates as its neighbours among the routes.

use std::{sync::Arc, time::Duration};

use crate::authority::{Authority, is_console_subject};
use crate::gate::CancelCheck;
use crate::projections::{
    history::{AsOfMoment, HistoryError},
    pulse::{DayPulse, MinuteCounts},
    session_list::SessionList,
};
use tenure_audit::what_if::{PolicyOverrides, WhatIf, WhatIfReport, WrongPolicy};
use tenure_core::{
    EpochPosition, Position, SessionId, SubjectId, Timestamp, event::Role, session::SessionStatus,
    system::Credential,
};

use super::{
    ApiContext, RefusedReply,
    reply::problem::{Problem, ProblemCode},
    request::{
        access::{Caller, check_role},
        as_of::AsOfQuery,
    },
    sessions::listing::mark_bulks,
};

/// Who may read about all sessions at once.
const READERS: &[Role] = &[Role::Admin, Role::Auditor];
/// A longer history is replayed under other limits by the command line, which has the memory of its own machine.
const LONGEST_REPLAY: u64 = 1_000_000;
/// Events replayed at a time.
const PAGE: usize = 500;
/// Maximum subjects of sign-ins counted.
const SIGN_INS: usize = 200;

/// The day at a glance.
pub(crate) struct DayOverview {
    /// Sessions that have not ended, those of the console itself left out.
    pub(crate) live: usize,
    /// The minutes of the last day, the present one last.
    pub(crate) day: Vec<MinuteCounts>,
    /// Sessions whose last renewal their owners can veto now, the soonest end first.
    pub(crate) vetoable: Vec<(Timestamp, SessionId)>,
    /// Live sessions with a recently used budget.
    pub(crate) budgets: Vec<SessionId>,
    /// Subjects that were recently suspended, and still are.
    pub(crate) suspended: Vec<SubjectId>,
}

/// How the scrub of the segments stands.
pub(crate) struct ScrubStatus {
    /// How many there are.
    pub(crate) segments: u64,
    /// How many of them the present round has read.
    pub(crate) read: u64,
    /// How many are damaged.
    pub(crate) damaged: usize,
    /// How long ago the last round ended, or the server was started.
    pub(crate) age: Duration,
}

impl ApiContext {
    /// How the scrub of the segments stands, for those who may read about all sessions.
    pub(crate) fn scrub(&self, key: &Credential) -> Option<ScrubStatus> {
        let storage = self.authority.storage();
        READERS.contains(&key.role).then(|| ScrubStatus {
            segments: storage.figures().segments,
            read: storage.scrubbed_segments(),
            damaged: self.authority.log().damage().len(),
            age: storage.scrub_age(),
        })
    }

    /// The day at a glance, for those who may read about all sessions.
    pub(crate) async fn overview(&self, key: &Arc<Credential>) -> Result<DayOverview, RefusedReply> {
        Ok(self.seen_at_a_glance(&Caller::Key(Arc::clone(key))).await?)
    }

    async fn seen_at_a_glance(&self, caller: &Caller) -> Result<DayOverview, Problem> {
        check_role(caller, READERS)?;
        self.settle_marks(caller).await?;
        let (authority, projections) = (&self.authority, &self.projections);
        let now = authority.now();
        let (day, renewed, used, suspended) = projections
            .pulse(|pulse: &DayPulse| (pulse.day(now), pulse.renewed(), pulse.used(), pulse.suspended()));
        let open = projections.sessions(SessionList::open);
        let is_suspended =
            |id: &SubjectId| authority.live().suspension(id).is_some_and(|it| it.is_in_force(now));
        Ok(DayOverview {
            live: open.saturating_sub(self.sign_ins(now)),
            day,
            vetoable: vetoable(authority, &renewed, now),
            budgets: used.into_iter().filter(|id| has_live_budget(authority, *id, now)).collect(),
            suspended: suspended.into_iter().filter(is_suspended).collect(),
        })
    }

    /// Ends of many at once are marked in the lists only when a caller counts.
    async fn settle_marks(&self, caller: &Caller) -> Result<(), Problem> {
        if self.projections.sessions(|list| list.unmarked_bulk().is_none()) {
            return Ok(());
        }
        let (authority, projections) = (Arc::clone(&self.authority), Arc::clone(&self.projections));
        let work = move |wanted: &CancelCheck<'_>| mark_bulks(&authority, &projections, wanted);
        self.costly.part(caller, work).await
    }

    fn sign_ins(&self, now: Timestamp) -> usize {
        let first = Some("console:");
        let subjects = self.projections.subjects(|list| list.after(None, first, SIGN_INS));
        let of_console = subjects.iter().take_while(|id| is_console_subject(id));
        let subjects = of_console.filter_map(|id| self.authority.live().subject(id));
        subjects.map(|subject| subject.active_count(now)).sum()
    }

    /// The moment a caller asks about: a time, a position, or the present.
    pub(crate) async fn moment(
        self: &Arc<Self>,
        key: &Arc<Credential>,
        at: Option<Timestamp>,
        position: Option<EpochPosition>,
    ) -> Result<AsOfMoment, RefusedReply> {
        let caller = Caller::Key(Arc::clone(key));
        Ok(AsOfQuery::at(at, position).resolve(self, &caller).await?.moment)
    }

    /// The whole history under other limits.
    pub(crate) async fn what_if(
        self: &Arc<Self>,
        key: &Arc<Credential>,
        overrides: PolicyOverrides,
    ) -> Result<Result<WhatIfReport, WrongPolicy>, RefusedReply> {
        Ok(self.replayed(&Caller::Key(Arc::clone(key)), overrides).await?)
    }

    async fn replayed(
        self: &Arc<Self>,
        caller: &Caller,
        overrides: PolicyOverrides,
    ) -> Result<Result<WhatIfReport, WrongPolicy>, Problem> {
        check_role(caller, READERS)?;
        let head = self.authority.live().position();
        if head.0 > LONGEST_REPLAY {
            let why = format!(
                "the history has {head} events, and pages replay {LONGEST_REPLAY} at most; export it and use tenure audit what-if"
            );
            return Err(Problem::from(ProblemCode::Forbidden).saying(why));
        }
        let api = Arc::clone(self);
        let work = move |wanted: &CancelCheck<'_>| replay(&api, overrides, head, wanted);
        self.costly.whole(caller, work).await?.map_err(Problem::from)
    }

    /// Whether a key may ask about the history under other limits, or read the settings.
    pub(crate) fn check_reads_all(key: &Arc<Credential>) -> Result<(), RefusedReply> {
        Ok(check_role(&Caller::Key(Arc::clone(key)), READERS)?)
    }
}

fn replay(
    api: &ApiContext,
    overrides: PolicyOverrides,
    head: Position,
    wanted: &CancelCheck<'_>,
) -> Result<Result<WhatIfReport, WrongPolicy>, HistoryError> {
    let mut what_if = WhatIf::under(overrides);
    let mut after = Position::ZERO;
    while after < head {
        if !wanted.is_wanted() {
            return Err(HistoryError::Unwanted);
        }
        let page = api.authority.log().read(after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.last();
        for stored in &page {
            what_if.add(stored)?;
        }
    }
    Ok(what_if.end())
}

/// The recent renewals that may still be vetoed in time.
fn vetoable(authority: &Authority, renewed: &[SessionId], now: Timestamp) -> Vec<(Timestamp, SessionId)> {
    let open = |id: &SessionId| {
        let session = authority.live().session(*id)?;
        let end = session.veto_window_end().filter(|end| *end >= now)?;
        (session.status(now) == SessionStatus::Active).then_some((end, *id))
    };
    let mut found: Vec<_> = renewed.iter().filter_map(open).collect();
    found.sort_unstable();
    found
}

fn has_live_budget(authority: &Authority, id: SessionId, now: Timestamp) -> bool {
    let session = authority.live().session(id);
    session.is_some_and(|session| {
        session.status(now) == SessionStatus::Active && session.constraints().is_some()
    })
}
