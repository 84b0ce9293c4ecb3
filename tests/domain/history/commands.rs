//! What is asked, as the domain takes it.

use tenure::core::{
    Actor, Generation, SealedText, Seconds, SessionMode, SubjectId, Timestamp,
    budget::{Constraints, SessionUse},
    bulk::SessionSelector,
    command::{
        Command, CreateSession, EndAndSuspend, EndContested, EraseSubject, RecordUsage, RefreshSession,
        RegisterSubject, RenewSession, RequestedTerms, ResumeSubject, RevokeSession, RevokeSessions, Revoker,
        SuspendSubject, SuspensionActor as SuspendedBy,
    },
    commit::ActorKind,
    event::{Role, SubjectProfile},
    keys::{KeyId, KeyUse},
    observed::Observation,
    policy::{OnLimit, OnReuse, Policy},
};

use super::{
    asks::{Ask, Budget, By, NewSession, OwnLimits, Rules, Selection, Suspender},
    model::in_tenths,
    run::Run,
    steps::{SUBJECTS, Which},
};
use crate::scenario::{amount, device, digest, owner, sealed, session};

impl Run {
    pub(super) fn observed(&self, ask: &Ask) -> Observation {
        let (Ask::Renew { session, .. } | Ask::EndContested { session, .. }) = *ask else {
            return Observation::default();
        };
        let is_presented = self.seen.get(&session) == Some(&self.generation(session, Which::Current));
        Observation { is_presented, ..Observation::default() }
    }

    pub(super) fn command(ask: &Ask) -> Command {
        match *ask {
            Ask::Register { owner, limits, as_admin } => Command::RegisterSubject(RegisterSubject {
                profile: profile_of(owner, limits),
                may_change_policy: as_admin,
            }),
            Ask::Create(new) => Command::CreateSession(creation(new)),
            Ask::Renew { session: number, generation, key, jitter } => Command::RenewSession(RenewSession {
                session_id: session(number),
                generation: Generation(generation),
                key_digest: key.map(digest),
                jitter,
            }),
            Ask::Revoke { session: number, by, reject_renewal } => Command::RevokeSession(RevokeSession {
                session_id: session(number),
                by: match by {
                    By::Admin => Revoker::Admin,
                    By::Issuer => Revoker::Issuer,
                    By::Owner(number) => Revoker::Owner(owner(&format!("owner-{number}"))),
                    By::Own(generation) => Revoker::Own(Generation(generation)),
                },
                reject_renewal,
                reason: None,
            }),
            Ask::Use { session: number, generation, operation, tenths } => {
                Command::RecordUsage(RecordUsage {
                    session_id: session(number),
                    generation: generation.map(Generation),
                    wanted: SessionUse {
                        operation: operation_of(operation),
                        amount: tenths.map(|tenths| amount(&in_tenths(tenths))),
                        destination: None,
                    },
                })
            }
            Ask::Sweep => Command::RecordExpiries,
            Ask::Refresh { session: number, generation } => Command::RefreshSession(RefreshSession {
                session_id: session(number),
                generation: Generation(generation),
            }),
            Ask::EndContested { session: number, shown } => Command::EndContested(EndContested {
                session_id: session(number),
                shown: shown.map(Generation),
            }),
            Ask::Suspend { by, until, reason } => Command::SuspendSubject(SuspendSubject {
                by: suspender_of(by),
                until: until.map(Timestamp::from_millis),
                reason: reason.map(reason_of),
            }),
            Ask::Resume { by } => {
                Command::ResumeSubject(ResumeSubject { by: suspender_of(by), reason: None })
            }
            Ask::EndAndSuspend { session: number, by, reason } => Command::EndAndSuspend(EndAndSuspend {
                end: RevokeSession {
                    session_id: session(number),
                    by: match by {
                        Suspender::Admin => Revoker::Admin,
                        Suspender::Issuer => Revoker::Issuer,
                        Suspender::Owner(number) => Revoker::Owner(owner(&format!("owner-{number}"))),
                    },
                    reject_renewal: None,
                    reason: None,
                },
                suspension: SuspendSubject {
                    by: suspender_of(by),
                    until: None,
                    reason: reason.map(reason_of),
                },
            }),
            Ask::Erase => Command::EraseSubject(EraseSubject { reason: sealed("asked") }),
            Ask::RevokeAll { device, except, owner: asking } => Command::RevokeSessions(RevokeSessions {
                device: device.map(digest),
                except: except.map(session),
                owner: asking.map(|number| owner(&format!("owner-{number}"))),
                reason: None,
            }),
        }
    }
}

fn reason_of(number: u8) -> SealedText {
    sealed(&format!("reason {number}"))
}

fn suspender_of(by: Suspender) -> SuspendedBy {
    let (role, owner) = match by {
        Suspender::Admin => (Role::Admin, None),
        Suspender::Issuer => (Role::Issuer, None),
        Suspender::Owner(number) => (Role::Owner, Some(owner(&format!("owner-{number}")))),
    };
    SuspendedBy { role, owner, actor: Actor { kind: ActorKind::Credential, id: Some(format!("{role:?}")) } }
}

/// The subject of this number.
pub(super) fn subject_of(number: usize) -> SubjectId {
    SUBJECTS[number].parse().expect("the names are right")
}

pub(super) fn selector_of(selection: Selection) -> SessionSelector {
    SessionSelector {
        owner_id: selection.owner.map(|number| owner(&format!("owner-{number}"))),
        subject_id: selection.subject.map(subject_of),
        device_digest: selection.device.map(digest),
        issued_before: selection.before.map(Timestamp::from_millis),
        sealed_by: None,
    }
}

/// The uses of keys, in the order of the model's.
pub(super) const KEY_USES: [KeyUse; 2] = [KeyUse::Session, KeyUse::Access];

/// The key of this place among those of its use.
pub(super) fn key_of(place: usize) -> KeyId {
    format!("k4.lid.{place:044}").parse().expect("it has the form of an id")
}

pub(super) fn policy_of(rules: Rules) -> Policy {
    Policy {
        ttl: Seconds(rules.ttl),
        max_renewals: rules.renewals,
        absolute_lifetime: Seconds(rules.lifetime),
        per_subject: rules.sessions,
        per_device: rules.device_sessions,
        on_limit: on_limit(rules.evicts),
        on_device_limit: on_limit(rules.device_evicts),
        auto_register: rules.auto_register,
        on_reuse: on_reuse(rules.reuse_ends),
        reuse_grace: Seconds(rules.grace),
        idle_timeout: rules.idle.map(Seconds),
        sliding_enabled: rules.slides,
        ..Policy::default()
    }
}

const fn on_reuse(ends: bool) -> OnReuse {
    if ends { OnReuse::Revoke } else { OnReuse::Reject }
}

const fn on_limit(evicts: bool) -> OnLimit {
    if evicts { OnLimit::EvictOldest } else { OnLimit::Reject }
}

fn profile_of(owned_by: Option<u8>, limits: OwnLimits) -> SubjectProfile {
    SubjectProfile {
        owner_id: owned_by.map(|number| owner(&format!("owner-{number}"))),
        max_sessions: limits.sessions,
        max_sessions_per_device: limits.device_sessions,
        on_limit: limits.evicts.map(on_limit),
        on_device_limit: limits.device_evicts.map(on_limit),
        ..SubjectProfile::default()
    }
}

fn creation(new: NewSession) -> CreateSession {
    CreateSession {
        session_id: session(new.session),
        terms: RequestedTerms {
            ttl: new.ttl.map(Seconds),
            max_renewals: new.renewals,
            absolute_lifetime: new.lifetime.map(Seconds),
            renewal_reject_window: new.window.map(Seconds),
            idle_timeout: new.idle.map(Seconds),
            mode: if new.sliding { SessionMode::Sliding } else { SessionMode::Fixed },
            on_reuse: new.reuse_ends.map(on_reuse),
            purpose: None,
        },
        device: new.device.map(device),
        scopes: vec![],
        metadata: new.jitter.is_multiple_of(2).then(|| sealed("{}")),
        constraints: new.budget.map(constraints_of).map(Box::new),
        jitter: new.jitter,
    }
}

fn operation_of(number: u8) -> String {
    format!("operation {number}")
}

fn constraints_of(budget: Budget) -> Constraints {
    let tenths = |most: Option<u64>| most.map(|tenths| amount(&in_tenths(tenths)));
    Constraints {
        max_amount_per_tx: tenths(budget.each),
        max_total_amount: tenths(budget.total),
        max_transactions: budget.times,
        allowed_operations: budget.operation.map(|number| vec![operation_of(number)]),
        allowed_destinations: None,
    }
}
