//! What a fact makes of the state. An event that cannot follow from a state is an alarm: the log is corrupt,
//! or the code that wrote it had another mind than the code that reads it. It is never guessed around.

use super::{
    CredentialId, Digest16, SessionId, SessionMode, SubjectId, Timestamp,
    activity::{SessionActivity, SessionRefreshed},
    budget::Budget,
    commit::EventMeta,
    event::{
        CredentialIssued, EndTrigger, EpochBegan, EventKind, ExpiringSoon, LogSegmented, RejectionCause,
        RejectionCode, RenewalRejected, Role, SessionCreated, SessionExpired, SessionRenewed, SessionRevoked,
        SessionsRevoked, SubjectEvent, SubjectProfile, SubjectRegistered, SubjectResumed, SubjectSuspended,
        SystemEvent, UsageRecorded, WebhookCreated,
    },
    id::{Generation, Position},
    packed::{NO_POSITION, PackedPosition},
    session::{
        GrantedPeriod, KnownDevice, OneTimeFact, OneTimeFlags, Session, SessionDetails, SessionRevocation,
    },
    subject::{ProfileAndSuspension, Subject, SubjectRegistration},
    suspension::SubjectSuspension,
    system::{Credential, SystemState},
    text::SealedText,
    webhook::Webhook,
};

/// An event that cannot follow from the state before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: {kind} cannot follow: {why}", kind = kind.name())]
pub struct IllegalEvent {
    /// Where it stands.
    pub position: Position,
    /// Which kind it is.
    pub kind: EventKind,
    /// What the state says against it.
    pub why: &'static str,
}

/// Makes of a subject what the event says of it. On an error the subject is unchanged.
pub fn evolve(subject: &mut Subject, event: &SubjectEvent, recorded: EventMeta) -> Result<(), IllegalEvent> {
    let version = PackedPosition::of(recorded.position);
    let version = version.ok_or_else(|| illegal(event.kind(), recorded, NO_POSITION))?;
    let outcome = match event {
        SubjectEvent::SessionCreated(_)
        | SubjectEvent::SessionRenewed(_)
        | SubjectEvent::SessionRefreshed(_)
        | SubjectEvent::UsageRecorded(_)
            if subject.suspension_at(recorded.at).is_some() =>
        {
            Err("the subject is suspended")
        }
        SubjectEvent::SubjectRegistered(event) => registered(subject, event, recorded),
        SubjectEvent::SessionCreated(event) => created(subject, event, recorded),
        SubjectEvent::SessionRenewed(event) => renewed(subject, event, recorded),
        SubjectEvent::RenewalRejected(event) => rejected(subject, event),
        SubjectEvent::SessionRevoked(event) => revoked(subject, event, recorded),
        SubjectEvent::SessionsRevoked(event) => many_revoked(subject, event, recorded),
        SubjectEvent::SessionExpired(event) => expired(subject, event, recorded),
        SubjectEvent::SubjectErased(_) => erased(subject),
        SubjectEvent::UsageRecorded(event) => used(subject, event, recorded),
        SubjectEvent::SessionRefreshed(event) => refreshed(subject, event, recorded),
        SubjectEvent::SubjectSuspended(event) => suspended(subject, event, recorded),
        SubjectEvent::SubjectResumed(event) => resumed(subject, event, recorded),
    };
    outcome.map_err(|why| illegal(event.kind(), recorded, why))?;
    subject.version = version;
    Ok(())
}

/// Makes of the authority's own state what the event says of it. On an error the state is unchanged.
///
/// What a system event says of sessions is for the [fold](super::fold).
pub fn evolve_system(
    system: &mut SystemState,
    event: &SystemEvent,
    recorded: EventMeta,
) -> Result<(), IllegalEvent> {
    let outcome = match event {
        SystemEvent::CredentialIssued(event) => issued(system, event, recorded),
        SystemEvent::CredentialRevoked(event) => match system.credentials.get_mut(&event.credential_id) {
            Some(credential) if credential.revoked_at.is_none() => {
                credential.revoked_at = Some(recorded.at);
                credential.changed = recorded.position;
                Ok(())
            }
            Some(_) => Err("the credential was withdrawn before"),
            None => Err("there is no such credential"),
        },
        SystemEvent::PolicyChanged(event) => {
            system.policy = Some(event.policy.clone());
            Ok(())
        }
        SystemEvent::SelectionRevoked(event) if !event.selector.agrees_with(&system.keys) => {
            Err("the key sealed at other positions")
        }
        SystemEvent::TokensPresented(_) | SystemEvent::SelectionRevoked(_) | SystemEvent::SessionsSeen(_) => {
            Ok(())
        }
        SystemEvent::KeyRotated(event) => system.keys.rotate(event, recorded),
        SystemEvent::WebhookCreated(event) => webhook_created(system, event, recorded),
        SystemEvent::WebhookDeleted(event) => match system.webhooks.remove(&event.webhook_id) {
            Some(_) => Ok(()),
            None => Err("there is no such webhook"),
        },
        SystemEvent::EpochBegan(event) => epoch_began(system, event, recorded),
        SystemEvent::CredentialConfirmed(event) => confirmed(system, event.credential_id, recorded),
        SystemEvent::LogSegmented(event) => segmented(system, *event),
    };
    outcome.map_err(|why| illegal(event.kind(), recorded, why))?;
    system.version = recorded.position;
    Ok(())
}

/// Remembers that a token of this generation was presented. A mark that comes after the next renewal says
/// nothing any more; one for a generation that was never issued is illegal, and false.
pub fn mark_presented(subject: &mut Subject, id: SessionId, generation: Generation) -> bool {
    let Some(session) = subject.session(id) else { return false };
    if generation == session.generation() && session.awaits_presentation() {
        let session = subject.session_mut(id).expect("it was found above");
        session.mark_presented();
        return true;
    }
    generation <= session.generation()
}

pub(super) const fn illegal(kind: EventKind, recorded: EventMeta, why: &'static str) -> IllegalEvent {
    IllegalEvent { position: recorded.position, kind, why }
}

fn registered(
    subject: &mut Subject,
    event: &SubjectRegistered,
    recorded: EventMeta,
) -> Result<(), &'static str> {
    let EventMeta { position, at } = recorded;
    let first = subject.registration().map_or((at, position), |known| (known.created_at, known.created));
    let (created_at, created) = first;
    let suspension = subject.suspension().cloned();
    let standing = ProfileAndSuspension { profile: event.profile.clone(), suspension }.into();
    subject.register(SubjectRegistration { standing, created_at, updated_at: at, created })
}

fn created(subject: &mut Subject, event: &SessionCreated, recorded: EventMeta) -> Result<(), &'static str> {
    if !subject.is_registered() {
        return Err("the subject is not registered");
    }
    if event.expires_at <= recorded.at || event.expires_at > recorded.at.plus(event.terms.absolute_lifetime) {
        return Err("its period does not lie within its lifetime");
    }
    let is_renewed = event.terms.max_renewals > 0;
    if event.terms.mode == SessionMode::Sliding && (is_renewed || event.terms.idle_timeout.is_none()) {
        return Err("a sliding session has an idle time and no renewals");
    }
    let Err(place) = subject.place_of(event.session_id) else {
        return Err("the session exists already");
    };
    let period = GrantedPeriod::of(recorded, event.expires_at, event.renew_at)?;
    let session = begun(&subject.id, event, period, recorded);
    // There are many subjects: unused room would add up.
    if subject.sessions.len() == subject.sessions.capacity() {
        subject.sessions.reserve_exact(subject.sessions.len() / 16 + 1);
    }
    subject.sessions.insert(place, session);
    Ok(())
}

/// A session of this subject as the event that created it leaves it, whatever else became of the subject; `None` if no
/// session can begin so.
pub fn session_begun(subject: &SubjectId, event: &SessionCreated, recorded: EventMeta) -> Option<Session> {
    let period = GrantedPeriod::of(recorded, event.expires_at, event.renew_at).ok()?;
    Some(begun(subject, event, period, recorded))
}

fn begun(subject: &SubjectId, event: &SessionCreated, period: GrantedPeriod, recorded: EventMeta) -> Session {
    let details = SessionDetails {
        device: event.device.clone().map(KnownDevice::from),
        scopes: event.scopes.clone().into(),
        metadata: event.metadata.clone(),
        budget: event.constraints.as_deref().cloned().map(|constraints| {
            Box::new(Budget { constraints: Some(constraints.into()), ..Budget::default() })
        }),
        activity: event.terms.idle_timeout.map(|_| Box::new(SessionActivity::beginning(recorded))),
    };
    Session::begun(event.session_id, subject.clone(), event.terms.into(), period, details)
}

fn renewed(subject: &mut Subject, event: &SessionRenewed, recorded: EventMeta) -> Result<(), &'static str> {
    let session = open_session(subject, event.session_id)?;
    if session.has_ended(recorded.at) {
        return Err("the session had expired");
    }
    if event.generation != session.generation().next() {
        return Err("the generation does not move by one");
    }
    if session.renewals_left() == 0 {
        return Err("all renewals are spent");
    }
    if event.expires_at <= recorded.at {
        return Err("its period ends before it begins");
    }
    if event.expires_at > session.absolute_expires_at() {
        return Err("its period goes beyond the absolute end");
    }
    let period = GrantedPeriod::of(recorded, event.expires_at, event.renew_at)?;
    let said = said_soon(session, event.expiring_soon)?;
    let session = subject.session_mut(event.session_id).expect("it was found above");
    session.renew(period, event.key_digest);
    session.said = said;
    session.see(recorded.at, recorded.position);
    Ok(())
}

fn rejected(subject: &mut Subject, event: &RenewalRejected) -> Result<(), &'static str> {
    let session = open_session(subject, event.session_id)?;
    if event.generation != session.generation() {
        return Err("it names another generation than the current one");
    }
    match (event.cause, event.code) {
        (RejectionCause::Owner, _) if session.renewal().is_none() => Err("there was no renewal to veto"),
        (RejectionCause::Owner, Some(_)) => Err("a veto breaks no rule"),
        (RejectionCause::Owner, None) if event.expiring_soon.is_some() => Err("a veto looks at no end"),
        (RejectionCause::Owner, None) if event.contested => Err("a veto contests nothing"),
        (RejectionCause::Owner, None) => Ok(()),
        (RejectionCause::Policy, None) => Err("a rule that refuses has a code"),
        (RejectionCause::Policy, Some(code)) if session.refused.contains(code) && !event.contested => {
            Err("the refusal is recorded already")
        }
        (RejectionCause::Policy, Some(code)) => {
            let said =
                said_contested(session, code, event.contested, said_soon(session, event.expiring_soon)?)?;
            let session = subject.session_mut(event.session_id).expect("it was found above");
            session.refused = session.refused.with(code);
            session.said = said;
            Ok(())
        }
    }
}

/// What was said of a session, with what this event says of its end.
fn said_soon(session: &Session, soon: Option<ExpiringSoon>) -> Result<OneTimeFlags, &'static str> {
    match soon {
        None => Ok(session.said),
        Some(_) if session.said.contains(OneTimeFact::ExpiringSoon) => {
            Err("that its end is near was said before")
        }
        Some(_) => Ok(session.said.with(OneTimeFact::ExpiringSoon)),
    }
}

/// The same, with that the session is contested, if this refusal says so.
fn said_contested(
    session: &Session,
    code: RejectionCode,
    contested: bool,
    said: OneTimeFlags,
) -> Result<OneTimeFlags, &'static str> {
    if !contested {
        Ok(said)
    } else if session.renewal().is_none() || code != RejectionCode::SessionRenewalMismatch {
        Err("only a token that a renewal replaced contests a session")
    } else if session.said.contains(OneTimeFact::Contested) {
        Err("that the session is contested is recorded already")
    } else {
        Ok(said.with(OneTimeFact::Contested))
    }
}

fn expired(subject: &mut Subject, event: &SessionExpired, recorded: EventMeta) -> Result<(), &'static str> {
    let session = open_session(subject, event.session_id)?;
    if session.ends_at() != event.expires_at || session.expiry_cause() != event.cause {
        return Err("it names another end than the session's own");
    }
    if !session.awaits_expiry(recorded.at) {
        return Err("the session has not ended, or that is recorded already");
    }
    let said = session.said.with(OneTimeFact::Expired);
    subject.session_mut(event.session_id).expect("it was found above").said = said;
    Ok(())
}

fn used(subject: &mut Subject, event: &UsageRecorded, recorded: EventMeta) -> Result<(), &'static str> {
    let session = open_session(subject, event.session_id)?;
    if session.has_ended(recorded.at) {
        return Err("the session had expired");
    }
    let (done, so_far) = (event.done(), session.usage());
    let after = event.usage(recorded.at);
    if so_far.after(&done, recorded.at) != after {
        return Err("its sums do not follow from those before");
    }
    if session.constraints().is_some_and(|limits| limits.violated_by(&done, so_far).is_some()) {
        return Err("it violates a constraint of the session");
    }
    let session = subject.session_mut(event.session_id).expect("it was found above");
    session.details_mut().budget.get_or_insert_default().usage = after;
    session.see(recorded.at, recorded.position);
    Ok(())
}

fn refreshed(
    subject: &mut Subject,
    event: &SessionRefreshed,
    recorded: EventMeta,
) -> Result<(), &'static str> {
    let session = open_session(subject, event.session_id)?;
    if session.has_ended(recorded.at) {
        return Err("the session had expired");
    }
    if session.refresh_at().is_none_or(|due| recorded.at < due) {
        return Err("a refresh was not due");
    }
    if event.expires_at != session.refreshed_until(recorded.at) {
        return Err("its period is not the session's own");
    }
    let period = GrantedPeriod::of(recorded, event.expires_at, None)?;
    let session = subject.session_mut(event.session_id).expect("it was found above");
    session.refresh(period, recorded);
    Ok(())
}

fn revoked(subject: &mut Subject, event: &SessionRevoked, recorded: EventMeta) -> Result<(), &'static str> {
    open_session(subject, event.session_id)?;
    end(subject, event.session_id, event.trigger, event.reason.as_ref(), recorded);
    Ok(())
}

fn many_revoked(
    subject: &mut Subject,
    event: &SessionsRevoked,
    recorded: EventMeta,
) -> Result<(), &'static str> {
    if !subject.is_registered() {
        return Err("the subject is not registered");
    }
    // How many its decider saw is information: what ends is what is active here.
    for id in event.matching(subject, recorded.at) {
        end(subject, id, event.trigger, event.reason.as_ref(), recorded);
    }
    Ok(())
}

impl SessionsRevoked {
    /// The sessions of the subject that it ends: those active at that moment that match, oldest first.
    pub fn matching(&self, subject: &Subject, at: Timestamp) -> Vec<SessionId> {
        let device: Option<Digest16> = self.device_digest;
        let most = self.oldest.map_or(usize::MAX, |count| count as usize);
        let ids = subject.active(device, at).into_iter().map(|session| session.id);
        ids.filter(|id| Some(*id) != self.except_session_id).take(most).collect()
    }
}

/// Drops every text. What no rule needs is gone; a device is still known by its digest.
fn erased(subject: &mut Subject) -> Result<(), &'static str> {
    let standing = subject.standing_mut().ok_or("the subject is not registered")?;
    let has_reason = standing.suspension.as_ref().is_some_and(|suspension| suspension.reason.is_some());
    if standing.profile.name.is_some() || has_reason {
        let ProfileAndSuspension { profile, suspension } = (**standing).clone();
        let suspension = suspension.map(|known| SubjectSuspension { reason: None, ..known });
        *standing =
            ProfileAndSuspension { profile: SubjectProfile { name: None, ..profile }, suspension }.into();
    }
    for session in subject.sessions.iter_mut().filter(|session| session.has_text()) {
        session.drop_texts();
    }
    Ok(())
}

fn suspended(
    subject: &mut Subject,
    event: &SubjectSuspended,
    recorded: EventMeta,
) -> Result<(), &'static str> {
    let before = subject.suspension();
    if event.until.is_some_and(|until| until <= recorded.at) {
        return Err("the suspension ends before it begins");
    }
    if !matches!(event.role, Role::Admin | Role::Owner | Role::Issuer) {
        return Err("its role suspends nothing");
    }
    if before.is_some_and(|known| !known.is_in_force(recorded.at)) {
        return Err("the end of the suspension before it is not recorded");
    }
    if before.is_some_and(|known| !known.may_be_lifted_by(event.role) && !known.is_lengthened_by(event.until))
    {
        return Err("its role may only lengthen the suspension");
    }
    let suspension = SubjectSuspension::of(event, before, recorded);
    set_suspension(subject, Some(suspension))
}

fn resumed(subject: &mut Subject, event: &SubjectResumed, recorded: EventMeta) -> Result<(), &'static str> {
    let known = subject.suspension().ok_or("the subject is not suspended")?;
    match event.role {
        None if known.is_in_force(recorded.at) => return Err("the suspension has not ended"),
        Some(role) if !known.may_be_lifted_by(role) => return Err("its role may not lift the suspension"),
        Some(_) if !known.is_in_force(recorded.at) => return Err("the suspension had ended by itself"),
        None | Some(_) => {}
    }
    set_suspension(subject, None)
}

/// Registered as before, and suspended so.
fn set_suspension(subject: &mut Subject, suspension: Option<SubjectSuspension>) -> Result<(), &'static str> {
    let standing = subject.standing_mut().ok_or("the subject is not registered")?;
    *standing = ProfileAndSuspension { profile: standing.profile.clone(), suspension }.into();
    Ok(())
}

fn open_session(subject: &Subject, id: SessionId) -> Result<&Session, &'static str> {
    let session = subject.session(id).ok_or("there is no such session")?;
    if session.revocation().is_some() { Err("the session was ended before") } else { Ok(session) }
}

fn end(
    subject: &mut Subject,
    id: SessionId,
    trigger: EndTrigger,
    reason: Option<&SealedText>,
    recorded: EventMeta,
) {
    let session = subject.session_mut(id).expect("only sessions of this subject are ended");
    let EventMeta { position, at } = recorded;
    session.end(SessionRevocation { at, position, trigger, reason: reason.cloned() });
}

fn issued(
    system: &mut SystemState,
    event: &CredentialIssued,
    recorded: EventMeta,
) -> Result<(), &'static str> {
    if system.credentials.contains_key(&event.credential_id) {
        return Err("the credential exists already");
    }
    let credential = Credential {
        id: event.credential_id,
        role: event.role,
        owner_id: event.owner_id.clone(),
        name: event.name.clone(),
        key_hash: event.key_hash,
        created_at: recorded.at,
        revoked_at: None,
        expires_at: event.expires_in.map(|seconds| recorded.at.plus(seconds)),
        changed: recorded.position,
        held_since: None,
    };
    system.credentials.insert(event.credential_id, credential);
    Ok(())
}

/// What became of an API key after the fork is not known, so none of them opens anything until it is confirmed.
fn epoch_began(
    system: &mut SystemState,
    event: &EpochBegan,
    recorded: EventMeta,
) -> Result<(), &'static str> {
    system.epochs.begin(event, recorded)?;
    if event.credentials_held {
        let in_force = system.credentials.values_mut().filter(|credential| credential.revoked_at.is_none());
        for credential in in_force {
            credential.held_since = Some(recorded.position);
            credential.changed = recorded.position;
        }
    }
    Ok(())
}

fn segmented(system: &mut SystemState, event: LogSegmented) -> Result<(), &'static str> {
    if system.segment_events.is_some() {
        return Err("the size of segments is fixed already");
    }
    system.segment_events = Some(event.segment_events);
    Ok(())
}

fn confirmed(system: &mut SystemState, id: CredentialId, recorded: EventMeta) -> Result<(), &'static str> {
    let credential = system.credentials.get_mut(&id).ok_or("there is no such credential")?;
    if credential.held_since.is_none() {
        return Err("the credential is not held");
    }
    credential.held_since = None;
    credential.changed = recorded.position;
    Ok(())
}

fn webhook_created(
    system: &mut SystemState,
    event: &WebhookCreated,
    recorded: EventMeta,
) -> Result<(), &'static str> {
    if system.webhooks.contains_key(&event.webhook_id) {
        return Err("the webhook exists already");
    }
    let webhook = Webhook { asked: event.clone(), created: recorded.position, created_at: recorded.at };
    system.webhooks.insert(event.webhook_id, webhook);
    Ok(())
}
