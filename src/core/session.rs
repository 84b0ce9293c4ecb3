//! One session: what was granted, how far it has come, and whether a token of it is good now.

use std::{cell::RefCell, num::NonZeroU32, thread::LocalKey};

use minicbor::{Decode, Encode};
use triomphe::Arc;

pub use tenure_protocol::session::SessionStatus;

use super::{
    activity::SessionActivity,
    budget::{Budget, Constraints, Usage, unused},
    event::{
        EndTrigger, ExpiringSoon, ExpiryCause, RejectionCode, SessionDevice, SessionPurpose, SessionTerms,
    },
    id::{Digest16, Generation, Position, SessionId, SubjectId},
    interned::{Interned, RecentValues, Shareable},
    policy::{OnReuse, Policy},
    suspension::SubjectSuspension,
    text::SealedText,
    time::{Seconds, Timestamp},
};

/// With this number of renewals left, or fewer, its owner gets a notice.
const FEW_RENEWALS: u32 = 3;
/// An absolute end nearer than this is announced, too.
const SHORT_LIFE: Seconds = Seconds(86_400);

/// A session, as the facts up to some position leave it.
///
/// There is one of these for every session in memory, so its fields are packed with some care: what not every
/// session has lives in a box, and equal terms are kept once.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Session {
    /// Its name.
    #[n(0)]
    pub id: SessionId,
    /// Who holds it.
    #[n(1)]
    pub subject: SubjectId,
    /// Its limits, fixed at creation.
    #[n(2)]
    pub terms: Interned<SessionTerms>,
    /// When it began.
    #[n(3)]
    pub created_at: Timestamp,
    /// The position of the event that began it.
    #[n(4)]
    pub created: Position,
    /// The generation whose tokens work.
    #[n(5)]
    pub generation: Generation,
    /// The end of its period: it has expired exactly when `now >= expires_at`.
    #[n(6)]
    pub expires_at: Timestamp,
    /// When its holder should renew; see [`Session::renew_at`].
    #[n(7)]
    pub renew_after: Option<RenewAfter>,
    /// The position of the event that fixed `generation` and `expires_at`.
    #[n(8)]
    pub granted: Position,
    /// Its latest renewal.
    #[n(9)]
    pub renewal: Option<Box<LatestRenewal>>,
    /// The refusals already recorded for this generation.
    #[n(10)]
    pub refused: RefusedCodes,
    /// What only some sessions have.
    #[n(11)]
    pub details: Option<Box<SessionDetails>>,
    /// How it was ended, once it was.
    #[n(12)]
    pub revocation: Option<Box<SessionRevocation>>,
    /// What was announced of it already, and is announced only once.
    #[n(13)]
    pub said: OneTimeFlags,
}

/// How long after the start of a period its holder should renew: milliseconds, never 0. It takes a quarter of
/// the room that a moment takes, and no session has a period that it could not measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct RenewAfter(#[n(0)] NonZeroU32);

impl RenewAfter {
    /// From the start of a period to a moment in it; `None` if the moment lies outside.
    pub fn between(start: Timestamp, moment: Timestamp) -> Option<Self> {
        u32::try_from(moment.millis_since(start)).ok().and_then(NonZeroU32::new).map(Self)
    }
}

/// A session's latest renewal, and what the lost-reply rule must know of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct LatestRenewal {
    /// When it was granted.
    #[n(0)]
    pub at: Timestamp,
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

/// What is known of a session's device. The rules need the digest alone; the name can be erased.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct KnownDevice {
    /// A keyed digest of the name.
    #[n(0)]
    pub digest: Digest16,
    /// The name; `None` once erased.
    #[n(1)]
    pub name: Option<SealedText>,
}

impl From<SessionDevice> for KnownDevice {
    fn from(device: SessionDevice) -> Self {
        Self { digest: device.digest, name: Some(device.name) }
    }
}

/// How a session was ended.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SessionRevocation {
    /// When.
    #[n(0)]
    pub at: Timestamp,
    /// By which event.
    #[n(1)]
    pub position: Position,
    /// What ended it.
    #[n(2)]
    pub trigger: EndTrigger,
    /// Why, as given by the caller who revoked it.
    #[n(3)]
    pub reason: Option<SealedText>,
}

/// A set of [`RejectionCode`]s in one byte: there is room for eight, and a ninth needs a wider version of this field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct RefusedCodes(#[n(0)] u8);

impl RefusedCodes {
    /// Whether the code is in the set.
    pub const fn contains(self, code: RejectionCode) -> bool {
        self.0 & (1 << code as u8) != 0
    }

    /// The set and this code.
    #[must_use]
    pub const fn with(self, code: RejectionCode) -> Self {
        Self(self.0 | (1 << code as u8))
    }
}

/// What is recorded of a session at most once, in one byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct OneTimeFlags(#[n(0)] u8);

/// A thing recorded of a session at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneTimeFact {
    /// That its end is near.
    ExpiringSoon = 1,
    /// That it ended by itself.
    Expired = 2,
    /// That two holders contest it. No renewal takes that back.
    Contested = 4,
}

impl OneTimeFlags {
    /// Whether it was.
    pub const fn contains(self, once: OneTimeFact) -> bool {
        self.0 & once as u8 != 0
    }

    /// From now on it was.
    #[must_use]
    pub const fn with(self, once: OneTimeFact) -> Self {
        Self(self.0 | once as u8)
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
    /// Whether there is text about people in it.
    pub fn has_text(&self) -> bool {
        let of_details =
            |details: &SessionDetails| details.device_name().is_some() || details.metadata.is_some();
        self.details.as_deref().is_some_and(of_details)
            || self.revocation.as_ref().is_some_and(|revocation| revocation.reason.is_some())
    }

    /// Forgets every text about people in it.
    pub(super) fn drop_texts(&mut self) {
        if let Some(details) = &mut self.details {
            details.metadata = None;
            details.device = details.device.take().map(|device| KnownDevice { name: None, ..device });
        }
        if let Some(revocation) = &mut self.revocation {
            revocation.reason = None;
        }
    }

    /// The moment after which it cannot live, however often it is renewed.
    pub fn absolute_expires_at(&self) -> Timestamp {
        self.created_at.plus(self.terms.absolute_lifetime)
    }

    /// How often it was renewed: every renewal moved the generation by one.
    pub const fn renewal_count(&self) -> u32 {
        self.generation.renewals()
    }

    /// How many renewals are left to it.
    pub fn renewals_left(&self) -> u32 {
        self.terms.max_renewals.saturating_sub(self.renewal_count())
    }

    /// When it was last renewed.
    pub fn renewed_at(&self) -> Option<Timestamp> {
        self.renewal.as_ref().map(|renewal| renewal.at)
    }

    /// Until when a veto of its latest renewal is expected; `None` for a session that was never renewed.
    pub fn veto_window_end(&self) -> Option<Timestamp> {
        Some(self.renewed_at()?.plus(self.terms.renewal_reject_window))
    }

    /// When its period began.
    pub fn period_start(&self) -> Timestamp {
        self.renewed_at().unwrap_or(self.created_at)
    }

    /// The position of the event that its current generation began with: the first for which a token of it was
    /// sealed. The last one is [`Session::granted`].
    pub fn first_sealed(&self) -> Position {
        if self.refreshed_at().is_some() { self.created } else { self.granted }
    }

    /// When its holder should renew; `None` if every further renewal would be refused.
    pub fn renew_at(&self) -> Option<Timestamp> {
        let after = self.renew_after?;
        Some(self.period_start().plus_millis(i64::from(after.0.get())))
    }

    /// When its holder should renew, as seen at this moment: none, too, once it has ended.
    pub fn next_renewal(&self, now: Timestamp) -> Option<Timestamp> {
        self.renew_at().filter(|_| self.is_live(now))
    }

    /// Seconds until its period is over; 0 once it has ended.
    pub fn expires_in(&self, now: Timestamp) -> u64 {
        if self.is_live(now) { self.expires_at.seconds_since(now) } else { 0 }
    }

    /// The earliest moment at which it may be renewed: half of its period, rounded down to a second.
    pub fn earliest_renewal(&self) -> Timestamp {
        self.period_start().plus(self.terms.ttl.half())
    }

    /// Whether its period was cut at the absolute end.
    pub fn is_clamped(&self) -> bool {
        self.period_start().plus(self.terms.ttl) > self.expires_at
    }

    /// Whether its period is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
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
        if self.ends_at() < self.expires_at {
            ExpiryCause::Idle
        } else if self.expires_at >= self.absolute_expires_at() {
            ExpiryCause::Absolute
        } else {
            ExpiryCause::Ttl
        }
    }

    /// Whether it has ended by itself, with no record yet.
    pub fn awaits_expiry(&self, now: Timestamp) -> bool {
        self.revocation.is_none() && self.has_ended(now) && !self.said.contains(OneTimeFact::Expired)
    }

    /// Whether its current token works. Every path asks this one predicate.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revocation.is_none() && !self.has_ended(now)
    }

    /// Whether it may be live, whatever unrecorded uses turn up: it was not ended, its period is not
    /// over, and no record says that it was idle.
    pub fn may_be_live(&self, now: Timestamp) -> bool {
        self.revocation.is_none() && !self.is_expired(now) && !self.said.contains(OneTimeFact::Expired)
    }

    /// What it is at this moment.
    pub fn status(&self, now: Timestamp) -> SessionStatus {
        if self.revocation.is_some() {
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
        if let Some(revocation) = &self.revocation {
            Err(TokenFault::Revoked(revocation.trigger))
        } else if let Some(suspension) = suspension.filter(|suspension| suspension.is_in_force(now)) {
            Err(TokenFault::Suspended { position: suspension.position, until: suspension.until })
        } else if generation != self.generation {
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
        let renewal = self.renewal.as_deref()?;
        let at = renewal.at.as_millis().to_le_bytes();
        let key = renewal.key_digest.map_or([0; 16], |digest| *digest.as_bytes());
        let jitter = self.renew_after.map_or(0, |RenewAfter(after)| after.get()).to_le_bytes();
        let words = at.iter().chain(&key).chain(&jitter).copied();
        // FNV-1a: a collision gains nothing, because only the authority seals tokens.
        Some(words.fold(0x811c_9dc5, |sum: u32, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)))
    }

    /// The position of the event by which a token has this fault.
    pub fn cause_of(&self, fault: TokenFault) -> Position {
        match (fault, &self.revocation) {
            (TokenFault::Revoked(_), Some(revocation)) => revocation.position,
            (TokenFault::Suspended { position, .. }, _) => position,
            (TokenFault::Idle, _) => self.activity().map_or(self.granted, |activity| activity.seen),
            (TokenFault::Revoked(_) | TokenFault::Superseded | TokenFault::Expired, _) => self.granted,
        }
    }

    /// What happens when a token of it comes back that a renewal had replaced.
    pub fn on_reuse(&self, policy: &Policy) -> OnReuse {
        self.terms.on_reuse.unwrap_or(policy.on_reuse)
    }

    /// Whether it ends when a token of its current generation is presented: a replaced token came back, so the
    /// presenter of the newer one is the second holder.
    pub fn ends_when_presented(&self, policy: &Policy) -> bool {
        self.revocation.is_none()
            && self.said.contains(OneTimeFact::Contested)
            && self.on_reuse(policy) == OnReuse::Revoke
    }

    /// Whether a token of its current generation is known to have been presented since its latest renewal.
    pub fn was_presented(&self) -> bool {
        self.renewal.as_ref().is_some_and(|renewal| renewal.presented)
    }

    /// Whether it still matters that a token of its current generation is presented: to the lost-reply rule,
    /// which needs a key, and to the reuse rule, which does not.
    pub fn awaits_presentation(&self) -> bool {
        self.renewal.as_ref().is_some_and(|renewal| !renewal.presented)
    }

    /// Whether it is a sign-in to the console.
    pub fn is_of_console(&self) -> bool {
        self.terms.purpose == Some(SessionPurpose::Console)
    }

    /// The name of its device; `None` once erased.
    pub fn device_name(&self) -> Option<&SealedText> {
        self.details.as_ref()?.device_name()
    }

    /// The digest of its device's name.
    pub fn device_digest(&self) -> Option<Digest16> {
        self.details.as_ref()?.device.as_ref().map(|device| device.digest)
    }

    fn budget(&self) -> Option<&Budget> {
        self.details.as_ref()?.budget.as_deref()
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
        self.details.as_ref().map_or(&[], |details| &details.scopes)
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

/// Sessions are shared between the state that decides and the state that answers, and replaced when a fact
/// changes them.
pub type SharedSession = Arc<Session>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_with_its_count_of_references_fits_in_112_bytes() {
        // The allocator's next larger class is 128: one word more would cost every session two.
        assert!(size_of::<Session>() + size_of::<usize>() <= 112, "{}", size_of::<Session>());
    }

    #[test]
    fn details_fit_in_96_bytes() {
        // The allocator's next larger class is 112. A budget takes one word here, and is elsewhere.
        assert!(size_of::<SessionDetails>() <= 96, "{}", size_of::<SessionDetails>());
    }

    #[test]
    fn the_moment_of_a_renewal_is_measured_from_the_start_of_its_period() {
        let start = Timestamp::from_millis(1_000);
        assert_eq!(RenewAfter::between(start, start), None);
        assert_eq!(RenewAfter::between(start, Timestamp::from_millis(999)), None);
        assert!(RenewAfter::between(start, Timestamp::from_millis(604_800_000)).is_some());
    }
}
