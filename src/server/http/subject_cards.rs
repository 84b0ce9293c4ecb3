//! Subjects, each with the first of its active sessions: what a page of the console shows of many agents at once. One
//! question for each of them would cost as many requests as the page has agents, and as many folds of the past twice.

use std::{cmp::Reverse, sync::Arc};

use serde::Serialize;
use serde_json::Value;
use tokio::task::yield_now;

use crate::gate::CancelCheck;
use crate::projections::history::{AsOfMoment, HistoryError, subject_at_while};
use tenure_core::{
    SubjectId, Timestamp, event::Role, session::Session, subject::Subject, system::Credential,
};

use super::{
    ApiContext, RefusedReply,
    reply::problem::Problem,
    request::access::{Caller, check_role},
    sessions::view::session_view,
    subjects::view,
};

/// Who may list subjects and sessions.
const LISTERS: &[Role] = &[Role::Admin, Role::Auditor, Role::Owner, Role::Issuer];
/// Subjects looked at before checks on the same thread have their turn.
const STRIDE: usize = 8;

/// A subject with some of its active sessions.
pub(crate) struct SubjectCard {
    /// As the API shows it.
    pub(crate) subject: Value,
    /// Those whose latest renewals can be vetoed first, then the newest.
    pub(crate) sessions: Vec<CardSession>,
    /// Of all its active sessions.
    pub(crate) last_renewal: Option<Timestamp>,
    /// Of all its active sessions.
    pub(crate) next_renewal: Option<Timestamp>,
}

/// One of them.
pub(crate) struct CardSession {
    /// As the API shows it.
    pub(crate) session: Value,
    /// Until when a veto of its latest renewal is expected. The past has no windows in which anything could be done.
    pub(crate) veto_until: Option<Timestamp>,
}

impl ApiContext {
    /// These subjects, now or as of a moment, each with up to `most` of its active sessions; `None` for one that did not
    /// exist then, or does not for this key.
    pub(crate) async fn subject_cards(
        self: &Arc<Self>,
        key: &Arc<Credential>,
        subjects: Vec<SubjectId>,
        then: Option<AsOfMoment>,
        most: usize,
    ) -> Result<Vec<Option<SubjectCard>>, RefusedReply> {
        let caller = Caller::Key(Arc::clone(key));
        check_role(&caller, LISTERS)?;
        let cards = match then {
            None => self.cards_now(&caller, &subjects, most).await,
            Some(moment) => self.cards_then(&caller, subjects, moment, most).await,
        };
        Ok(cards?)
    }

    async fn cards_now(
        &self,
        caller: &Caller,
        subjects: &[SubjectId],
        most: usize,
    ) -> Result<Vec<Option<SubjectCard>>, Problem> {
        let moment = AsOfMoment { position: self.authority.live().position(), at: self.authority.now() };
        let mut cards = Vec::with_capacity(subjects.len());
        for stride in subjects.chunks(STRIDE) {
            yield_now().await;
            for id in stride {
                cards.push(match self.visible(caller, id) {
                    Some(subject) => card(self, &subject, moment, most, true)?,
                    None => None,
                });
            }
        }
        Ok(cards)
    }

    async fn cards_then(
        self: &Arc<Self>,
        caller: &Caller,
        subjects: Vec<SubjectId>,
        moment: AsOfMoment,
        most: usize,
    ) -> Result<Vec<Option<SubjectCard>>, Problem> {
        // The caller's rights are today's.
        let subjects: Vec<_> = subjects.into_iter().map(|id| self.visible(caller, &id).map(|_| id)).collect();
        let api = Arc::clone(self);
        let work = move |wanted: &CancelCheck<'_>| -> Result<Vec<Option<SubjectCard>>, Problem> {
            let card_of = |id: Option<SubjectId>| {
                let Some(id) = id else { return Ok(None) };
                let is_wanted = || wanted.is_wanted();
                let (log, projections) = (api.authority.log(), &api.projections);
                let subject = subject_at_while(&is_wanted, log, projections, &id, moment.position);
                card(
                    &api,
                    &subject.map_err(|failure: HistoryError| Problem::from(failure))?,
                    moment,
                    most,
                    false,
                )
            };
            subjects.into_iter().map(card_of).collect()
        };
        self.costly.part(caller, work).await?
    }

    fn visible(&self, caller: &Caller, id: &SubjectId) -> Option<Arc<Subject>> {
        self.authority.live().subject(id).filter(|subject| caller.may_see(subject))
    }
}

/// `None` of a subject that was not registered.
fn card(
    api: &ApiContext,
    subject: &Subject,
    moment: AsOfMoment,
    most: usize,
    is_now: bool,
) -> Result<Option<SubjectCard>, Problem> {
    let Some(shown) = view(api, subject, moment) else { return Ok(None) };
    let mut active: Vec<_> = subject.sessions.iter().filter(|session| session.is_live(moment.at)).collect();
    let veto_until = |session: &Session| session.veto_window_end().filter(|_| is_now);
    let is_open = |session: &Session| veto_until(session).is_some_and(|end| moment.at <= end);
    let last_renewal = active.iter().filter_map(|session| session.renewed_at()).max();
    let next_renewal = active.iter().filter_map(|session| session.next_renewal(moment.at)).min();
    active.sort_unstable_by_key(|session| (!is_open(session), Reverse(session.created())));
    let session = |session: &Session| -> Result<CardSession, Problem> {
        let shown = session_view(api, subject, session, moment)?;
        Ok(CardSession { session: tree(&shown), veto_until: veto_until(session) })
    };
    let sessions = active.into_iter().take(most).map(session).collect::<Result<_, _>>()?;
    Ok(Some(SubjectCard { subject: tree(&shown), sessions, last_renewal, next_renewal }))
}

fn tree(shown: &impl Serialize) -> Value {
    serde_json::to_value(shown).expect("our own documents are always JSON")
}
