//! The notices that an event leads to: a pure function of what was recorded and of its subject as it is today.

use std::sync::Arc;

use tenure_core::{
    Actor, Digest16, Event, OwnerId, Position, SealedText, SessionId, StreamId, SubjectEvent, SubjectId,
    SystemEvent, Timestamp,
    event::{self, ExpiringSoon, SessionTerms},
    session::Session,
    subject::Subject,
};
use tenure_log::StoredCommit;

use super::notice::{
    CreatedDetails, ExpiredDetails, ExpiringSoonDetails, Notice, NoticeDetails, NoticeId, NoticeKind,
    NoticeName, PermittedUse, RenewalRejectedDetails, RenewedDetails, RevokedDetails, SelectorDetails,
    SuspensionDetails, remaining,
};

/// What is so today: a subject's owner and name follow it at once, its history included.
pub trait NoticeContext: Send + Sync {
    /// A subject.
    fn subject(&self, id: &SubjectId) -> Option<Arc<Subject>>;

    /// A subject with the sessions that left memory; that may wait for the disk.
    fn subject_in_full(&self, id: &SubjectId) -> Option<Arc<Subject>> {
        self.subject(id)
    }

    /// What was fixed when a session began that left memory, and when that was; that may wait for the disk.
    fn terms_of_left(&self, _session: SessionId) -> Option<(SessionTerms, Timestamp)> {
        None
    }

    /// Opens a text of a stream; `None` if it was erased.
    fn open_text(&self, stream: &StreamId, field: &'static str, text: &SealedText) -> Option<String>;

    /// The name of a device that some session of this owner's subjects belongs to; `None` if it was erased.
    fn device_name(&self, digest: Digest16, owner: Option<&OwnerId>) -> Option<String>;

    /// The name of a key of this owner's own. What other keys are called is not for it to know.
    fn own_key_name(&self, _actor: &Actor, _owner: Option<&OwnerId>) -> Option<String> {
        None
    }

    /// The epoch that a position belongs to.
    fn epoch_of(&self, position: Position) -> u32;

    /// How often texts were erased: what was opened before another time is not to be shown.
    fn erasures(&self) -> u64;

    /// Where an owner can veto the renewals of a session, after a sign-in; `None` without such a page.
    fn reject_url(&self, _session: SessionId) -> Option<String> {
        None
    }

    /// Where the owner can veto the renewal of this notice without a sign-in; `None` without such a page.
    fn veto_url(&self, _notice: &Notice) -> Option<String> {
        None
    }
}

impl Notice {
    /// The notice as its own owner gets it, and no one else: that of a renewal has the link that vetoes it.
    #[must_use]
    pub fn for_its_owner(mut self, present: &dyn NoticeContext) -> Self {
        let url = present.veto_url(&self);
        if let NoticeDetails::Renewed(renewed) = &mut self.details {
            renewed.veto_url = url;
        }
        self
    }
}

/// The notices of a commit, in order. Of one that was just published, `folded` is its subject as the fold left it:
/// its sessions are there even if they have left memory since. Without it they are read back from the log.
pub fn notices_of(
    stored: &StoredCommit,
    folded: Option<&Subject>,
    present: &dyn NoticeContext,
) -> Vec<Notice> {
    let StreamId::Subject(id) = &stored.commit.stream else { return bulk_notices_of(stored, present) };
    let subject = present.subject(id).filter(|known| !is_of_sign_ins(known, folded, present));
    let Some(subject) = subject else { return vec![] };
    let name = subject.profile().and_then(|profile| profile.name.as_ref());
    let name = name.and_then(|name| present.open_text(&stored.commit.stream, "name", name));
    let builder = NoticeBuilder { stored, folded, present, subject, name };
    notifiable_events(stored).flat_map(|(position, event)| builder.of_event(position, event)).collect()
}

/// Whether a subject is the console's own. A person who looks at agents is no agent: a sign-in makes no notice.
fn is_of_sign_ins(subject: &Subject, folded: Option<&Subject>, present: &dyn NoticeContext) -> bool {
    let are_sign_ins = |subject: &Subject| subject.sessions.iter().all(Session::is_of_console);
    let in_memory = [Some(subject), folded].into_iter().flatten().find(|known| !known.sessions.is_empty());
    match in_memory {
        Some(subject) => are_sign_ins(subject),
        // When all have left memory, the log is asked.
        None => present
            .subject_in_full(&subject.id)
            .is_some_and(|subject| !subject.sessions.is_empty() && are_sign_ins(&subject)),
    }
}

/// The system stream has no notices but those of bulk revocations.
fn bulk_notices_of(stored: &StoredCommit, present: &dyn NoticeContext) -> Vec<Notice> {
    let bulk = |(position, event): (Position, &Event)| {
        let Event::System(SystemEvent::SelectionRevoked(event)) = event else { return vec![] };
        bulk_revoked(stored, position, event, present)
    };
    notifiable_events(stored).flat_map(bulk).collect()
}

/// The events that lead to notices: readers that wait for them skip the others by their kind.
fn notifiable_events(stored: &StoredCommit) -> impl Iterator<Item = (Position, &Event)> {
    stored.positions().zip(&stored.commit.events).filter(|(_, event)| event.kind().is_notifiable())
}

/// One notice for each owner concerned, with how many sessions of its subjects were ended; when there are too many
/// owners, one for all.
fn bulk_revoked(
    stored: &StoredCommit,
    position: Position,
    event: &event::SelectionRevoked,
    present: &dyn NoticeContext,
) -> Vec<Notice> {
    let selector = &event.selector;
    let subject = selector.subject_id.as_ref().and_then(|id| present.subject(id));
    let name = subject.as_ref().and_then(|subject| subject.profile()?.name.clone());
    // Like every notice about a subject it is its present owner's.
    let owner_now = subject.as_ref().map(|subject| subject.profile().and_then(|own| own.owner_id.clone()));
    let stream = subject.map(|subject| StreamId::Subject(subject.id.clone()));
    let subject_name = stream.zip(name).and_then(|(stream, name)| present.open_text(&stream, "name", &name));
    let reason = event.reason.as_ref();
    let reason = reason.and_then(|reason| present.open_text(&stored.commit.stream, "reason", reason));
    let epoch = present.epoch_of(position);
    let notice = |number: u32, owner_id: Option<OwnerId>, matched: Option<u32>| Notice {
        notice_id: NoticeName { epoch, id: NoticeId { position, number } },
        kind: NoticeKind::SessionRevoked,
        position,
        occurred_at: stored.commit.recorded_at,
        session_id: None,
        subject_id: selector.subject_id.clone(),
        subject_name: subject_name.clone(),
        details: NoticeDetails::Revoked(RevokedDetails {
            trigger: event.trigger(),
            reason: reason.clone(),
            actor: stored.commit.actor.clone(),
            actor_name: present.own_key_name(&stored.commit.actor, owner_id.as_ref()),
            selector: Some(selector_details(selector, owner_id.as_ref(), present)),
            matched,
        }),
        owner_id,
    };
    match &event.owners {
        Some(owners) => (1..)
            .zip(owners)
            .map(|(number, of)| {
                let owner = owner_now.clone().unwrap_or_else(|| of.owner_id.clone());
                notice(number, owner, Some(of.matched))
            })
            .collect(),
        None => vec![notice(1, None, None)],
    }
}

fn selector_details(
    selector: &event::SessionSelector,
    owner: Option<&OwnerId>,
    present: &dyn NoticeContext,
) -> SelectorDetails {
    SelectorDetails {
        all: selector.is_all(),
        owner_id: selector.owner_id.clone(),
        subject_id: selector.subject_id.clone(),
        device: selector.device_digest.and_then(|digest| present.device_name(digest, owner)),
        except_session_id: None,
        issued_before: selector.issued_before,
        key_id: selector.sealed_by.as_ref().map(|key| key.key_id.clone()),
    }
}

/// Makes the notices of one commit of one subject.
struct NoticeBuilder<'a> {
    stored: &'a StoredCommit,
    folded: Option<&'a Subject>,
    present: &'a dyn NoticeContext,
    subject: Arc<Subject>,
    name: Option<String>,
}

impl NoticeBuilder<'_> {
    fn of_event(&self, position: Position, event: &Event) -> Vec<Notice> {
        let parts = match event {
            Event::Subject(SubjectEvent::SessionCreated(event)) => vec![self.created(event)],
            Event::Subject(SubjectEvent::SessionRenewed(event)) => self.renewed(event),
            Event::Subject(SubjectEvent::RenewalRejected(event)) => self.rejected(event),
            Event::Subject(SubjectEvent::SessionRevoked(event)) => vec![self.revoked(event)],
            Event::Subject(SubjectEvent::SessionsRevoked(event)) => vec![self.many_revoked(event)],
            Event::Subject(SubjectEvent::SessionExpired(event)) => vec![expired(event)],
            Event::Subject(SubjectEvent::SubjectSuspended(event)) => vec![self.suspended(event)],
            Event::Subject(SubjectEvent::SubjectResumed(event)) => vec![self.resumed(event)],
            Event::Subject(
                SubjectEvent::SubjectRegistered(_)
                | SubjectEvent::SessionRefreshed(_)
                | SubjectEvent::SubjectErased(_)
                | SubjectEvent::UsageRecorded(_),
            )
            | Event::System(_) => vec![],
        };
        let epoch = self.present.epoch_of(position);
        let numbered = (1..).zip(parts);
        numbered
            .map(|(number, (kind, details))| Notice {
                notice_id: NoticeName { epoch, id: NoticeId { position, number } },
                kind,
                position,
                occurred_at: self.at(),
                session_id: event.session_id(),
                subject_id: Some(self.subject.id.clone()),
                subject_name: self.name.clone(),
                owner_id: self.owner().cloned(),
                details,
            })
            .collect()
    }

    fn owner(&self) -> Option<&OwnerId> {
        self.subject.profile()?.owner_id.as_ref()
    }

    fn at(&self) -> Timestamp {
        self.stored.commit.recorded_at
    }

    /// As long as it is in memory.
    fn session(&self, id: SessionId) -> Option<&Session> {
        self.folded.and_then(|subject| subject.session(id)).or_else(|| self.subject.session(id))
    }

    /// What was fixed when the session was created is so at every position of its history.
    fn fixed(&self, id: SessionId) -> Option<FixedTerms> {
        match self.session(id) {
            Some(session) => Some(FixedTerms { terms: *session.terms, began: session.created_at() }),
            None => self.present.terms_of_left(id).map(|(terms, began)| FixedTerms { terms, began }),
        }
    }

    fn text(&self, field: &'static str, text: Option<&SealedText>) -> Option<String> {
        self.present.open_text(&self.stored.commit.stream, field, text?)
    }

    fn created(&self, event: &event::SessionCreated) -> NoticePart {
        let created = CreatedDetails {
            expires_at: event.expires_at,
            absolute_expires_at: self.at().plus(event.terms.absolute_lifetime),
            device: self.text("device", event.device.as_ref().map(|device| &device.name)),
        };
        (NoticeKind::SessionCreated, NoticeDetails::Created(created))
    }

    fn renewed(&self, event: &event::SessionRenewed) -> Vec<NoticePart> {
        let Some(fixed) = self.fixed(event.session_id) else { return vec![] };
        let renewal_count = event.generation.renewals();
        let renewed = RenewedDetails {
            renewal_count,
            max_renewals: fixed.terms.max_renewals,
            expires_at: event.expires_at,
            remaining_absolute_life: remaining(fixed.absolute_expires_at().seconds_since(self.at())),
            reject_window_expiry: self.at().plus(fixed.terms.renewal_reject_window),
            reject_url: self.owner().and_then(|_| self.present.reject_url(event.session_id)),
            veto_url: None,
            permitted_use: self.session(event.session_id).and_then(permitted_use).map(Box::new),
        };
        let renewed = (NoticeKind::SessionRenewed, NoticeDetails::Renewed(renewed));
        [Some(renewed), soon(fixed, renewal_count, event.expiring_soon)].into_iter().flatten().collect()
    }

    fn rejected(&self, event: &event::RenewalRejected) -> Vec<NoticePart> {
        let renewal_count = event.generation.renewals();
        let rejected = RenewalRejectedDetails {
            renewal_count,
            rejected_at: self.at(),
            cause: event.cause,
            code: event.code,
            contested: event.contested,
        };
        let rejected = (NoticeKind::SessionRenewalRejected, NoticeDetails::RenewalRejected(rejected));
        let is_soon = event.expiring_soon.is_some();
        let fixed = is_soon.then(|| self.fixed(event.session_id)).flatten();
        let soon = fixed.and_then(|fixed| soon(fixed, renewal_count, event.expiring_soon));
        [Some(rejected), soon].into_iter().flatten().collect()
    }

    fn revoked(&self, event: &event::SessionRevoked) -> NoticePart {
        let revoked = RevokedDetails {
            trigger: event.trigger,
            reason: self.text("reason", event.reason.as_ref()),
            actor: self.stored.commit.actor.clone(),
            actor_name: self.own_key_name(&self.stored.commit.actor),
            selector: None,
            matched: None,
        };
        (NoticeKind::SessionRevoked, NoticeDetails::Revoked(revoked))
    }

    fn many_revoked(&self, event: &event::SessionsRevoked) -> NoticePart {
        let revoked = RevokedDetails {
            trigger: event.trigger,
            reason: self.text("reason", event.reason.as_ref()),
            actor: self.stored.commit.actor.clone(),
            actor_name: self.own_key_name(&self.stored.commit.actor),
            selector: Some(SelectorDetails {
                subject_id: Some(self.subject.id.clone()),
                device: event.device_digest.and_then(|digest| self.device_name(digest)),
                except_session_id: event.except_session_id,
                ..SelectorDetails::default()
            }),
            matched: Some(event.matched),
        };
        (NoticeKind::SessionRevoked, NoticeDetails::Revoked(revoked))
    }

    fn suspended(&self, event: &event::SubjectSuspended) -> NoticePart {
        let suspension = SuspensionDetails {
            reason: self.text("reason", event.reason.as_ref()),
            until: event.until,
            actor: event.by.clone(),
            actor_name: self.own_key_name(&event.by),
        };
        (NoticeKind::SubjectSuspended, NoticeDetails::Suspension(suspension))
    }

    fn resumed(&self, event: &event::SubjectResumed) -> NoticePart {
        let reason = self.text("reason", event.reason.as_ref());
        let actor_name = self.own_key_name(&event.by);
        let suspension = SuspensionDetails { reason, until: None, actor: event.by.clone(), actor_name };
        (NoticeKind::SubjectResumed, NoticeDetails::Suspension(suspension))
    }

    fn own_key_name(&self, actor: &Actor) -> Option<String> {
        self.present.own_key_name(actor, self.owner())
    }

    /// The rules know a device by a digest; its name is in its sessions.
    fn device_name(&self, digest: Digest16) -> Option<String> {
        let of_device = |session: &&Session| session.device_digest() == Some(digest);
        let in_memory = [self.folded, Some(&*self.subject)].into_iter().flatten();
        if let Some(session) = in_memory.flat_map(|subject| &subject.sessions).find(of_device) {
            return self.text("device", session.device_name());
        }
        let subject = self.present.subject_in_full(&self.subject.id)?;
        self.text("device", subject.sessions.iter().find(of_device)?.device_name())
    }
}

type NoticePart = (NoticeKind, NoticeDetails);

/// What was fixed when a session was created.
#[derive(Clone, Copy)]
struct FixedTerms {
    terms: SessionTerms,
    began: Timestamp,
}

impl FixedTerms {
    const fn absolute_expires_at(self) -> Timestamp {
        self.began.plus(self.terms.absolute_lifetime)
    }
}

/// What a session may do and has done, if anything was said of either.
fn permitted_use(session: &Session) -> Option<PermittedUse> {
    let (scopes, constraints, usage) = (session.scopes(), session.constraints(), session.usage());
    let is_said = !scopes.is_empty() || constraints.is_some() || usage.transactions > 0;
    is_said.then(|| PermittedUse {
        scopes: scopes.to_vec(),
        constraints: constraints.cloned().unwrap_or_default(),
        usage: usage.clone(),
    })
}

fn soon(fixed: FixedTerms, renewal_count: u32, why: Option<ExpiringSoon>) -> Option<NoticePart> {
    let soon = ExpiringSoonDetails {
        renewals_left: fixed.terms.max_renewals.saturating_sub(renewal_count),
        absolute_expires_at: fixed.absolute_expires_at(),
        why: why?,
    };
    Some((NoticeKind::SessionExpiringSoon, NoticeDetails::ExpiringSoon(soon)))
}

fn expired(event: &event::SessionExpired) -> NoticePart {
    let expired = ExpiredDetails { expires_at: event.expires_at, cause: event.cause };
    (NoticeKind::SessionExpired, NoticeDetails::Expired(expired))
}
