//! Begin a session: its terms, the limits on active ones, and who must make room.

use std::ops::RangeInclusive;

use crate::{
    Digest16, Policy, SessionId, SessionMode, SubjectEvent, Timestamp,
    active::{ActiveAt, ActiveView},
    command::{CreateSession, RequestedTerms},
    event::{
        EndTrigger, SessionCreated, SessionRevoked, SessionTerms, SessionsRevoked, SubjectProfile,
        SubjectRegistered,
    },
    observed::Observation,
    policy::{IDLE_TIMEOUT, OnLimit, REJECT_WINDOW, SHORTEST_TTL},
    refusal::{FieldError, Refusal},
    subject::{SessionLimit, Subject},
};

use super::GrantPeriod;

/// Maximum evictions recorded one by one. More become a single event, so that a commit stays small no matter how far
/// a limit was lowered.
const EVICTED_ONE_BY_ONE: usize = 256;

/// Maximum active sessions named in a refusal.
const NAMED_IN_REFUSAL: usize = 50;

pub(super) fn create(
    policy: &Policy,
    subject: &Subject,
    command: &CreateSession,
    observed: &Observation,
    at: Timestamp,
) -> Result<Vec<SubjectEvent>, Refusal> {
    let terms = check_terms(policy, command.terms)?;
    let mut events = Vec::new();
    if !subject.is_registered() {
        if !policy.auto_register {
            return Err(Refusal::SubjectNotFound);
        }
        events
            .push(SubjectEvent::SubjectRegistered(SubjectRegistered { profile: SubjectProfile::default() }));
    }
    if let Some(suspension) = subject.suspension_at(at) {
        return Err(suspension.refuses_create());
    }
    let looked_for = ActiveAt(subject, at);
    let active: &dyn ActiveView = match &observed.active {
        Some(known) => known,
        None => &looked_for,
    };
    let device = command.device.as_ref().map(|device| device.digest);
    make_room(policy, subject, active, device, &mut events)?;
    let absolute = at.plus(terms.absolute_lifetime);
    let period = GrantPeriod::starting(at, terms, absolute, terms.max_renewals, command.jitter);
    events.push(SubjectEvent::SessionCreated(SessionCreated {
        session_id: command.session_id,
        terms,
        expires_at: period.expires_at,
        renew_at: period.renew_at,
        device: command.device.clone(),
        scopes: command.scopes.clone(),
        metadata: command.metadata.clone(),
        constraints: command.constraints.clone(),
    }));
    Ok(events)
}

/// The terms granted to a session that asks for these.
///
/// # Errors
/// Every field out of its range.
pub fn check_terms(policy: &Policy, asked: RequestedTerms) -> Result<SessionTerms, Refusal> {
    granted(policy, asked).map_err(Refusal::Invalid)
}

/// The device's limit is checked first; what it evicts no longer counts against the subject's.
fn make_room(
    policy: &Policy,
    subject: &Subject,
    active: &dyn ActiveView,
    device: Option<Digest16>,
    events: &mut Vec<SubjectEvent>,
) -> Result<(), Refusal> {
    let mut evicted = Vec::new();
    if device.is_some() {
        evicted = leaving(active, device, &[], subject.device_limit(policy))?;
        record_evictions(&evicted, device, events);
    }
    record_evictions(&leaving(active, None, &evicted, subject.limit(policy))?, None, events);
    Ok(())
}

/// The oldest sessions that must end so that one more is within the limit, without those that leave already. Mostly
/// there is room, and they need only be counted.
fn leaving(
    active: &dyn ActiveView,
    device: Option<Digest16>,
    already: &[SessionId],
    limit: SessionLimit,
) -> Result<Vec<SessionId>, Refusal> {
    let active_count = active.count(device) - already.len();
    let surplus = (active_count + 1).saturating_sub(limit.most as usize);
    if surplus == 0 {
        return Ok(Vec::new());
    }
    match limit.on_limit {
        OnLimit::Reject => Err(Refusal::SessionLimitExceeded {
            of_device: device.is_some(),
            active_count,
            active: active
                .oldest(device, already, NAMED_IN_REFUSAL)
                .iter()
                .map(|session| (session.id, session.created_at))
                .collect(),
            caused_by: active.latest(device, already),
        }),
        OnLimit::EvictOldest => {
            Ok(active.oldest(device, already, surplus).iter().map(|session| session.id).collect())
        }
    }
}

fn record_evictions(leaving: &[SessionId], device: Option<Digest16>, events: &mut Vec<SubjectEvent>) {
    if leaving.len() <= EVICTED_ONE_BY_ONE {
        events.extend(leaving.iter().map(|id| evicted(*id)));
    } else {
        let count = u32::try_from(leaving.len()).expect("a subject has at most 10 000 active sessions");
        events.push(SubjectEvent::SessionsRevoked(SessionsRevoked {
            device_digest: device,
            except_session_id: None,
            oldest: Some(count),
            matched: count,
            trigger: EndTrigger::Evicted,
            reason: None,
        }));
    }
}

const fn evicted(session_id: SessionId) -> SubjectEvent {
    SubjectEvent::SessionRevoked(SessionRevoked { session_id, trigger: EndTrigger::Evicted, reason: None })
}

/// The granted terms: what was asked, within the ranges of the contract and the caps of the policy.
fn granted(policy: &Policy, asked: RequestedTerms) -> Result<SessionTerms, Vec<FieldError>> {
    let faults = policy.faults_of(asked, |_| true);
    if faults.is_empty() { Ok(terms(policy, asked)) } else { Err(faults) }
}

/// What was asked, completed by the policy.
fn terms(policy: &Policy, asked: RequestedTerms) -> SessionTerms {
    let usual = match asked.mode {
        SessionMode::Fixed => policy.max_renewals,
        SessionMode::Sliding => 0,
    };
    SessionTerms {
        ttl: asked.ttl.unwrap_or(policy.ttl),
        max_renewals: asked.max_renewals.unwrap_or(usual),
        absolute_lifetime: asked.absolute_lifetime.unwrap_or(policy.absolute_lifetime),
        renewal_reject_window: asked.renewal_reject_window.unwrap_or(policy.renewal_reject_window),
        idle_timeout: asked.idle_timeout.or(policy.usual_idle_timeout(asked.mode)),
        mode: asked.mode,
        on_reuse: Some(asked.on_reuse.unwrap_or(policy.on_reuse)),
        purpose: asked.purpose,
    }
}

impl Policy {
    /// What is wrong with the requested terms. Of a field that could not be read (`is_read` says which could)
    /// nothing is said, nor how another one stands to it.
    pub fn faults_of(&self, asked: RequestedTerms, is_read: impl Fn(&str) -> bool) -> Vec<FieldError> {
        let terms = terms(self, asked);
        let mut faults = Vec::new();
        let mut check = |field: &str, value: u32, range: RangeInclusive<u32>| {
            if !range.contains(&value) {
                let message = format!("must be from {} to {}", range.start(), range.end());
                faults.push(FieldError::new(field, message));
            }
        };
        check("ttl", terms.ttl.0, SHORTEST_TTL..=self.ttl_max.0);
        if asked.mode == SessionMode::Fixed && is_read("mode") {
            check("maxRenewals", terms.max_renewals, 0..=self.max_renewals_max);
        }
        check("renewalRejectWindow", terms.renewal_reject_window.0, REJECT_WINDOW);
        if let Some(idle) = terms.idle_timeout {
            check("idleTimeout", idle.0, IDLE_TIMEOUT);
        }
        if asked.mode == SessionMode::Sliding && terms.max_renewals > 0 {
            let message = "must be 0: a sliding session is refreshed by use, and never renewed";
            faults.push(FieldError::new("maxRenewals", message));
        }
        let lifetime = self.fault_of_lifetime(asked, terms, is_read("ttl") && is_read("absoluteLifetime"));
        // A ttl beyond its own range needs no further fault.
        faults.extend(lifetime.filter(|fault| faults.iter().all(|known| known.field != fault.field)));
        faults
    }

    /// A session may only ask for less than the global lifetime, and for at least one period of its own.
    fn fault_of_lifetime(
        &self,
        asked: RequestedTerms,
        terms: SessionTerms,
        compares: bool,
    ) -> Option<FieldError> {
        let (absolute, most) = (terms.absolute_lifetime, self.absolute_lifetime);
        if absolute > most {
            let message = format!("must be at most {}, the authority's own limit", most.0);
            return Some(FieldError::new("absoluteLifetime", message));
        }
        if !compares || absolute >= terms.ttl {
            return None;
        }
        Some(match asked.absolute_lifetime {
            Some(_) => {
                FieldError::new("absoluteLifetime", format!("must be at least the ttl, {}", terms.ttl.0))
            }
            None => FieldError::new("ttl", format!("must be at most the absolute lifetime, {}", most.0)),
        })
    }
}
