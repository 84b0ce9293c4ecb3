//! What an answer reflects: the present, a position that it must have reached, or a moment of the past.

use std::{sync::Arc, time::Duration};

use crate::gate::CancelCheck;
use crate::projections::history::{self, AsOfMoment};
use tenure_core::{EpochPosition, Position, Timestamp, event::Role};

use super::{access::Caller, fields::RequestFields};
use crate::http::{
    api::ApiContext,
    only_leader::ask_the_leader,
    reply::problem::{Problem, ProblemCode},
};

/// How long a read waits for its `minPosition`, in real time, by the contract.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A `minPosition` further beyond the tail is a mistake, not a wait.
const FAR_BEYOND: u64 = 1_000_000;

/// When a request wants to be answered from.
pub(crate) struct AsOfQuery {
    min_position: Option<EpochPosition>,
    as_of: Option<Timestamp>,
    as_of_position: Option<EpochPosition>,
}

/// What the answer will reflect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadPoint {
    pub(crate) moment: AsOfMoment,
    /// Whether it is to be folded from the log rather than read from the live state.
    pub(crate) is_past: bool,
}

impl AsOfQuery {
    /// The parameters that say it.
    pub(crate) fn of(query: &mut RequestFields) -> Self {
        let asked = Self {
            min_position: query.position("minPosition"),
            as_of: query.moment("asOf"),
            as_of_position: query.position("asOfPosition"),
        };
        if asked.as_of.is_some() && asked.as_of_position.is_some() {
            query.fault("asOfPosition", "must not be given together with asOf");
        }
        asked
    }

    /// This moment of the past, or the present when it is neither.
    pub(in crate::http) const fn at(as_of: Option<Timestamp>, as_of_position: Option<EpochPosition>) -> Self {
        Self { min_position: None, as_of, as_of_position }
    }

    /// The parameters of a request for the present only.
    pub(crate) fn of_present(query: &mut RequestFields) -> Self {
        let min_position = query.position("minPosition");
        Self { min_position, as_of: None, as_of_position: None }
    }

    /// The position that the answer must reflect.
    pub(crate) fn least(&self) -> Option<u64> {
        Some(self.min_position.as_ref()?.position.0)
    }

    /// Whether it is about the past.
    pub(crate) fn is_past(&self) -> bool {
        self.as_of.is_some() || self.as_of_position.is_some()
    }

    /// The past of lists that are not about one subject is for admins and auditors.
    pub(crate) fn check_list(&self, caller: &Caller, of_one_subject: bool) -> Result<(), Problem> {
        let may = of_one_subject || matches!(caller.role(), Some(Role::Admin | Role::Auditor));
        if self.is_past() && !may {
            return Err(Problem::from(ProblemCode::Forbidden)
                .saying("only an admin or auditor may list the past without subjectId"));
        }
        Ok(())
    }

    /// Waits until the position is reached, and finds the moment.
    pub(crate) async fn resolve(&self, api: &Arc<ApiContext>, caller: &Caller) -> Result<ReadPoint, Problem> {
        self.wait(api).await?;
        let tail = api.authority.live().position();
        let now = api.authority.now();
        match (self.as_of, self.as_of_position) {
            (None, None) => Ok(ReadPoint { moment: AsOfMoment { position: tail, at: now }, is_past: false }),
            (Some(at), _) if at > now => Err(Problem::invalid("asOf", "must not be in the future")),
            (Some(at), _) => {
                if api.may_lack(at) {
                    ask_the_leader();
                }
                // A search through the log, which a caller may ask for as often as it likes.
                let authority = Arc::clone(&api.authority);
                let search = move |_: &CancelCheck<'_>| history::position_at(authority.log(), at);
                let position = api.costly.part(caller, search).await??;
                Ok(ReadPoint { moment: AsOfMoment { position, at }, is_past: true })
            }
            (None, Some(given)) if given.position > tail => {
                // It may merely not be here yet.
                ask_the_leader();
                Err(Problem::invalid("asOfPosition", format!("must be at most {tail}, the last position")))
            }
            (None, Some(given)) => {
                api.check_epoch(given)?;
                let position = given.position;
                let authority = Arc::clone(&api.authority);
                let find = move |_: &CancelCheck<'_>| history::commit_at(authority.log(), position);
                let commit = match position {
                    Position::ZERO => None,
                    _ => api.costly.part(caller, find).await??,
                };
                let at = commit.map_or(Timestamp::ZERO, |stored| stored.commit.recorded_at);
                Ok(ReadPoint { moment: AsOfMoment { position, at }, is_past: true })
            }
        }
    }

    async fn wait(&self, api: &ApiContext) -> Result<(), Problem> {
        let Some(given) = self.min_position else { return Ok(()) };
        api.check_epoch(given)?;
        let wanted = given.position.0;
        let mut positions = api.authority.live().positions();
        let tail = positions.borrow().0;
        if wanted > tail.saturating_add(FAR_BEYOND) {
            return Err(Problem::invalid("minPosition", format!("is far beyond the last position, {tail}")));
        }
        let reached = tokio::time::timeout(TIMEOUT, positions.wait_for(|position| position.0 >= wanted));
        match reached.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ProblemCode::PositionNotReached.into()),
        }
    }
}
