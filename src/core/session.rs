//! One session: what was granted, how far it has come, and whether a token of it is good now.

use std::{cell::RefCell, thread::LocalKey};

use minicbor::{Decode, Encode};
use triomphe::Arc;

pub use super::session_parts::{
    KnownDevice, OneTimeFact, OneTimeFlags, RefusedCodes, RenewAfter, SessionRevocation,
};
pub use tenure_protocol::session::SessionStatus;

use super::{
    activity::SessionActivity,
    budget::{Budget, Constraints, Usage, unused},
    commit::EventMeta,
    event::{EndTrigger, ExpiringSoon, ExpiryCause, SessionPurpose, SessionTerms},
    id::{Digest16, Generation, Position, SessionId, SubjectId},
    interned::{Interned, RecentValues, Shareable},
    packed::{NO_POSITION, NO_TIME, PackedPosition, PackedTime},
    policy::{OnReuse, Policy},
    suspension::SubjectSuspension,
    text::SealedText,
    time::{Seconds, Timestamp},
};

/// With this number of renewals left, or fewer, its owner gets a notice.
const FEW_RENEWALS: u32 = 3;
/// An absolute end nearer than this is announced, too.
const SHORT_LIFE: Seconds = Seconds(86_400);

/// A session, as the facts up to some position leave it. Its subject holds it.
///
/// There is one of these for every session in memory, so it takes 64 bytes: what not every session has lies elsewhere,
/// and equal terms are kept once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Who holds it.
    pub subject: SubjectId,
    /// Its limits, fixed at creation.
    pub terms: Interned<SessionTerms>,
    /// Only if it says something.
    extras: Option<Arc<SessionExtras>>,
    began_at: PackedTime,
    began: PackedPosition,
    ends: PackedTime,
    /// When its holder should renew; see [`Session::renew_at`].
    pub renew_after: Option<RenewAfter>,
    /// The refusals already recorded for this generation.
    pub refused: RefusedCodes,
    /// What was announced of it already, and is announced only once.
    pub said: OneTimeFlags,
}

/// What a session has that was renewed, ended, refreshed or granted with more than limits. The versions of a session
/// that do not differ in it share it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SessionExtras {
    generation: Generation,
    granted: PackedPosition,
    renewal: Option<LatestRenewal>,
    details: Option<Box<SessionDetails>>,
    revocation: Option<Box<SessionRevocation>>,
}

impl SessionExtras {
    /// As good as none, for a session that began there.
    const fn none(began: PackedPosition) -> Self {
        let generation = Generation::FIRST;
        Self { generation, granted: began, renewal: None, details: None, revocation: None }
    }
}

/// The period of a session as its creation or a renewal fixed it.
#[derive(Clone, Copy, Debug)]
pub(super) struct GrantedPeriod {
    position: PackedPosition,
    begins: PackedTime,
    ends: PackedTime,
    renew_after: Option<RenewAfter>,
}

impl GrantedPeriod {
    /// Granted by this event.
    pub(super) fn of(
        recorded: EventMeta,
        ends: Timestamp,
        renew_at: Option<Timestamp>,
    ) -> Result<Self, &'static str> {
        let renew_after =
            |moment| RenewAfter::between(recorded.at, moment).ok_or("renewAt does not lie in its period");
        Ok(Self {
            position: PackedPosition::of(recorded.position).ok_or(NO_POSITION)?,
            begins: PackedTime::of(recorded.at).ok_or(NO_TIME)?,
            ends: PackedTime::of(ends).ok_or(NO_TIME)?,
            renew_after: renew_at.map(renew_after).transpose()?,
        })
    }
}

/// A session's latest renewal, and what the lost-reply rule must know of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LatestRenewal {
    #[n(0)]
    at: PackedTime,
    /// The digest of its idempotency key.
    #[n(1)]
    pub key_digest: Option<Digest16>,
    /// Whether a token of its generation was presented anywhere since.
    #[n(2)]
    pub presented: bool,
}

/// What only some sessions have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SessionDetails {
    /// The device that it belongs to.
    #[n(0)]
    pub device: Option<KnownDevice>,
    /// What it may be used for.
    #[n(1)]
    pub scopes: Box<[String]>,
    /// A JSON object of the creator's.
    #[n(2)]
    pub metadata: Option<SealedText>,
    /// What it may be used for, and what it was used for; `None` if there is neither.
    #[n(3)]
    pub budget: Option<Box<Budget>>,
    /// When it was last used; only of a session with an `idleTimeout`.
    #[n(4)]
    pub activity: Option<Box<SessionActivity>>,
}

impl SessionDetails {
    fn device_name(&self) -> Option<&SealedText> {
        self.device.as_ref()?.name.as_ref()
    }
}

/// Why a genuine token is not good now; in the order in which the checks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// Its session was ended, and what ended it.
    Revoked(EndTrigger),
    /// Its subject is suspended.
    Suspended {
        /// By which event.
        position: Position,
        /// When that ends by itself.
        until: Option<Timestamp>,
    },
    /// A renewal replaced it.
    Superseded,
    /// The period of its session is over.
    Expired,
    /// Its session was not used for its idle time.
    Idle,
}

impl Session {
    /// A session of this subject that has just begun.
    pub(super) fn begun(
        id: SessionId,
        subject: SubjectId,
        terms: Interned<SessionTerms>,
        period: GrantedPeriod,
        details: SessionDetails,
    ) -> Self {
        let mut session = Self {
            id,
            subject,
            terms,
            extras: None,
            began_at: period.begins,
            began: period.position,
            ends: period.ends,
            renew_after: period.renew_after,
            refused: RefusedCodes::default(),
            said: OneTimeFlags::default(),
        };
        if details != SessionDetails::default() {
            *session.details_mut() = details;
        }
        session
    }

    /// Begins its next period, and its next generation.
    pub(super) fn renew(&mut self, period: GrantedPeriod, key_digest: Option<Digest16>) {
        let generation = self.generation().next();
        let extras = self.extras_mut();
        extras.generation = generation;
        extras.granted = period.position;
        extras.renewal = Some(LatestRenewal { at: period.begins, key_digest, presented: false });
        self.ends = period.ends;
        self.renew_after = period.renew_after;
        self.refused = RefusedCodes::default();
    }

    /// Goes on until the end of this period, in the same generation.
    pub(super) fn prolong(&mut self, period: GrantedPeriod) {
        self.extras_mut().granted = period.position;
        self.ends = period.ends;
    }

    /// Notes that a token of its latest renewal was presented.
    pub(super) fn mark_presented(&mut self) {
        if let Some(renewal) = &mut self.extras_mut().renewal {
            renewal.presented = true;
        }
    }

    /// Ends it so.
    pub(super) fn end(&mut self, revocation: SessionRevocation) {
        self.extras_mut().revocation = Some(Box::new(revocation));
    }

    fn extras_mut(&mut self) -> &mut SessionExtras {
        let extras = self.extras.get_or_insert_with(|| Arc::new(SessionExtras::none(self.began)));
        Arc::make_mut(extras)
    }

    /// Of a session that has just begun: what had become of it.
    pub(super) fn restore(
        &mut self,
        (generation, granted, renewal): (Generation, Position, Option<LatestRenewal>),
        details: Option<Box<SessionDetails>>,
        revocation: Option<Box<SessionRevocation>>,
    ) -> Result<(), &'static str> {
        let granted = PackedPosition::of(granted).ok_or(NO_POSITION)?;
        let extras = SessionExtras { generation, granted, renewal, details, revocation };
        self.extras = (extras != SessionExtras::none(self.began)).then(|| Arc::new(extras));
        Ok(())
    }

    pub(super) fn details_mut(&mut self) -> &mut SessionDetails {
        self.extras_mut().details.get_or_insert_default()
    }

    /// Whether nothing became of a session between two versions of it: what is fixed when it begins is not looked at.
    pub fn is_unchanged_in(&self, other: &Self) -> bool {
        (self.ends, self.renew_after, self.refused, self.said)
            == (other.ends, other.renew_after, other.refused, other.said)
            && self.extras == other.extras
    }

    /// When it began.
    pub const fn created_at(&self) -> Timestamp {
        self.began_at.moment()
    }

    /// The position of the event that began it.
    pub const fn created(&self) -> Position {
        self.began.position()
    }

    /// The end of its period: it has expired exactly when `now >= expires_at`.
    pub const fn expires_at(&self) -> Timestamp {
        self.ends.moment()
    }

    /// The generation whose tokens work.
    pub fn generation(&self) -> Generation {
        self.extras.as_ref().map_or(Generation::FIRST, |extras| extras.generation)
    }

    /// The position of the event that fixed its generation and the end of its period.
    pub fn granted(&self) -> Position {
        self.extras.as_ref().map_or(self.began, |extras| extras.granted).position()
    }

    /// Its latest renewal.
    pub fn renewal(&self) -> Option<&LatestRenewal> {
        self.extras.as_ref()?.renewal.as_ref()
    }

    /// What only some sessions have.
    pub fn details(&self) -> Option<&SessionDetails> {
        self.extras.as_ref()?.details.as_deref()
    }

    /// How it was ended, once it was.
    pub fn revocation(&self) -> Option<&SessionRevocation> {
        self.extras.as_ref()?.revocation.as_deref()
    }

    /// Whether there is text about people in it.
    pub fn has_text(&self) -> bool {
        let of_details =
            |details: &SessionDetails| details.device_name().is_some() || details.metadata.is_some();
        self.details().is_some_and(of_details)
            || self.revocation().is_some_and(|revocation| revocation.reason.is_some())
    }

    /// Forgets every text about people in it.
    pub(super) fn drop_texts(&mut self) {
        let extras = self.extras_mut();
        if let Some(details) = &mut extras.details {
            details.metadata = None;
            details.device = details.device.take().map(|device| KnownDevice { name: None, ..device });
        }
        if let Some(revocation) = &mut extras.revocation {
            revocation.reason = None;
        }
    }

    /// The moment after which it cannot live, however often it is renewed.
    pub fn absolute_expires_at(&self) -> Timestamp {
        self.created_at().plus(self.terms.absolute_lifetime)
    }

    /// How often it was renewed: every renewal moved the generation by one.
    pub fn renewal_count(&self) -> u32 {
        self.generation().renewals()
    }

    /// How many renewals are left to it.
    pub fn renewals_left(&self) -> u32 {
        self.terms.max_renewals.saturating_sub(self.renewal_count())
    }

    /// When it was last renewed.
    pub fn renewed_at(&self) -> Option<Timestamp> {
        self.renewal().map(|renewal| renewal.at.moment())
    }

    /// Until when a veto of its latest renewal is expected; `None` for a session that was never renewed.
    pub fn veto_window_end(&self) -> Option<Timestamp> {
        Some(self.renewed_at()?.plus(self.terms.renewal_reject_window))
    }

    /// When its period began.
    pub fn period_start(&self) -> Timestamp {
        self.renewed_at().unwrap_or(self.created_at())
    }

    /// The position of the event that its current generation began with: the first for which a token of it was
    /// sealed. The last one is [`Session::granted`].
    pub fn first_sealed(&self) -> Position {
        if self.refreshed_at().is_some() { self.created() } else { self.granted() }
    }

    /// When its holder should renew; `None` if every further renewal would be refused.
    pub fn renew_at(&self) -> Option<Timestamp> {
        let after = self.renew_after?;
        Some(self.period_start().plus_millis(i64::from(after.millis())))
    }

    /// When its holder should renew, as seen at this moment: none, too, once it has ended.
    pub fn next_renewal(&self, now: Timestamp) -> Option<Timestamp> {
        self.renew_at().filter(|_| self.is_live(now))
    }

    /// Seconds until its period is over; 0 once it has ended.
    pub fn expires_in(&self, now: Timestamp) -> u64 {
        if self.is_live(now) { self.expires_at().seconds_since(now) } else { 0 }
    }

    /// The earliest moment at which it may be renewed: half of its period, rounded down to a second.
    pub fn earliest_renewal(&self) -> Timestamp {
        self.period_start().plus(self.terms.ttl.half())
    }

    /// Whether its period was cut at the absolute end.
    pub fn is_clamped(&self) -> bool {
        self.period_start().plus(self.terms.ttl) > self.expires_at()
    }

    /// Whether its period is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at()
    }

    /// Whether its end is near, given this number of renewals left, and has not been announced yet.
    pub fn expiring_soon(&self, renewals_left: u32, now: Timestamp) -> Option<ExpiringSoon> {
        if self.said.contains(OneTimeFact::ExpiringSoon) {
            None
        } else if renewals_left <= FEW_RENEWALS {
            Some(ExpiringSoon::Renewals)
        } else if self.absolute_expires_at() <= now.plus(SHORT_LIFE) {
            Some(ExpiringSoon::Absolute)
        } else {
            None
        }
    }

    /// The limit at which it ends if nothing else happens to it.
    pub fn expiry_cause(&self) -> ExpiryCause {
        if self.ends_at() < self.expires_at() {
            ExpiryCause::Idle
        } else if self.expires_at() >= self.absolute_expires_at() {
            ExpiryCause::Absolute
        } else {
            ExpiryCause::Ttl
        }
    }

    /// Whether it has ended by itself, with no record yet.
    pub fn awaits_expiry(&self, now: Timestamp) -> bool {
        self.revocation().is_none() && self.has_ended(now) && !self.said.contains(OneTimeFact::Expired)
    }

    /// Whether its current token works. Every path asks this one predicate.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revocation().is_none() && !self.has_ended(now)
    }

    /// Whether it may be live, whatever unrecorded uses turn up: it was not ended, its period is not
    /// over, and no record says that it was idle.
    pub fn may_be_live(&self, now: Timestamp) -> bool {
        self.revocation().is_none() && !self.is_expired(now) && !self.said.contains(OneTimeFact::Expired)
    }

    /// What it is at this moment.
    pub fn status(&self, now: Timestamp) -> SessionStatus {
        if self.revocation().is_some() {
            SessionStatus::Revoked
        } else if self.has_ended(now) {
            SessionStatus::Expired
        } else {
            SessionStatus::Active
        }
    }

    /// Whether a genuine token of this generation is good now, with what is known of a suspension of its subject; if
    /// not, the first fault that applies.
    pub fn judge(
        &self,
        generation: Generation,
        suspension: Option<&SubjectSuspension>,
        now: Timestamp,
    ) -> Result<(), TokenFault> {
        if let Some(revocation) = self.revocation() {
            Err(TokenFault::Revoked(revocation.trigger))
        } else if let Some(suspension) = suspension.filter(|suspension| suspension.is_in_force(now)) {
            Err(TokenFault::Suspended { position: suspension.position, until: suspension.until })
        } else if generation != self.generation() {
            Err(TokenFault::Superseded)
        } else if self.is_expired(now) {
            Err(TokenFault::Expired)
        } else if self.is_idle(now) {
            Err(TokenFault::Idle)
        } else {
            Ok(())
        }
    }

    /// Which renewal granted the generation: a number that another renewal of the same session has only by chance, also
    /// one that stands at the same position of another history. `None` for the first generation, which its id names.
    pub fn grant(&self) -> Option<u32> {
        let renewal = self.renewal()?;
        let at = renewal.at.moment().as_millis().to_le_bytes();
        let key = renewal.key_digest.map_or([0; 16], |digest| *digest.as_bytes());
        let jitter = self.renew_after.map_or(0, RenewAfter::millis).to_le_bytes();
        let words = at.iter().chain(&key).chain(&jitter).copied();
        // FNV-1a: a collision gains nothing, because only the authority seals tokens.
        Some(words.fold(0x811c_9dc5, |sum: u32, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)))
    }

    /// The position of the event by which a token has this fault.
    pub fn cause_of(&self, fault: TokenFault) -> Position {
        match (fault, self.revocation()) {
            (TokenFault::Revoked(_), Some(revocation)) => revocation.position,
            (TokenFault::Suspended { position, .. }, _) => position,
            (TokenFault::Idle, _) => self.activity().map_or(self.granted(), |activity| activity.seen),
            (TokenFault::Revoked(_) | TokenFault::Superseded | TokenFault::Expired, _) => self.granted(),
        }
    }

    /// What happens when a token of it comes back that a renewal had replaced.
    pub fn on_reuse(&self, policy: &Policy) -> OnReuse {
        self.terms.on_reuse.unwrap_or(policy.on_reuse)
    }

    /// Whether it ends when a token of its current generation is presented: a replaced token came back, so the
    /// presenter of the newer one is the second holder.
    pub fn ends_when_presented(&self, policy: &Policy) -> bool {
        self.revocation().is_none()
            && self.said.contains(OneTimeFact::Contested)
            && self.on_reuse(policy) == OnReuse::Revoke
    }

    /// Whether a token of its current generation is known to have been presented since its latest renewal.
    pub fn was_presented(&self) -> bool {
        self.renewal().is_some_and(|renewal| renewal.presented)
    }

    /// Whether it still matters that a token of its current generation is presented: to the lost-reply rule,
    /// which needs a key, and to the reuse rule, which does not.
    pub fn awaits_presentation(&self) -> bool {
        self.renewal().is_some_and(|renewal| !renewal.presented)
    }

    /// Whether it is a sign-in to the console.
    pub fn is_of_console(&self) -> bool {
        self.terms.purpose == Some(SessionPurpose::Console)
    }

    /// The name of its device; `None` once erased.
    pub fn device_name(&self) -> Option<&SealedText> {
        self.details()?.device_name()
    }

    /// The digest of its device's name.
    pub fn device_digest(&self) -> Option<Digest16> {
        self.details()?.device.as_ref().map(|device| device.digest)
    }

    fn budget(&self) -> Option<&Budget> {
        self.details()?.budget.as_deref()
    }

    /// The limits on its use, fixed at creation.
    pub fn constraints(&self) -> Option<&Constraints> {
        self.budget()?.constraints.as_deref()
    }

    /// What it was used for so far.
    pub fn usage(&self) -> &Usage {
        self.budget().map_or(unused(), |budget| &budget.usage)
    }

    /// What it may be used for.
    pub fn scopes(&self) -> &[String] {
        self.details().map_or(&[], |details| &details.scopes)
    }
}

thread_local! {
    static RECENT_TERMS: RecentValues<SessionTerms> = const { RefCell::new(Vec::new()) };
}

impl Shareable for SessionTerms {
    fn recent() -> &'static LocalKey<RecentValues<Self>> {
        &RECENT_TERMS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_a_line_of_the_cache_and_what_some_have_another() {
        assert_eq!(size_of::<Session>(), 64);
        assert!(size_of::<SessionExtras>() + size_of::<usize>() <= 64, "{}", size_of::<SessionExtras>());
    }

    #[test]
    fn details_fit_in_96_bytes() {
        // The allocator's next larger class is 112. A budget takes one word here, and is elsewhere.
        assert!(size_of::<SessionDetails>() <= 96, "{}", size_of::<SessionDetails>());
    }
}
