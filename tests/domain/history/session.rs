//! A session as the model knows it: its tokens, its use, and how it ends.

use std::collections::BTreeSet;

use super::asks::Budget;

/// A token that was issued; its place in the list is its generation.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) issued: i64,
    pub(super) expires: i64,
    pub(super) key: Option<u8>,
    pub(super) presented: bool,
    /// Whether that is recorded.
    pub(super) is_marked: bool,
    /// Which of the keys sealed it, by its place.
    pub(super) sealer: usize,
}

/// When a session with an idle time was used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
    pub(super) timeout: i64,
    pub(super) ttl: i64,
    pub(super) slides: bool,
    /// Its last use, and the last one that is recorded.
    pub(super) seen: i64,
    pub(super) recorded: i64,
    /// When it was created or refreshed.
    pub(super) refreshed: i64,
}

impl Activity {
    pub(super) fn see(&mut self, now: i64) {
        (self.seen, self.recorded) = (now, now);
    }

    /// The moment up to which a crash may forget a use.
    pub(super) const fn tenth(&self) -> i64 {
        self.recorded + self.timeout / 10
    }

    pub(super) fn refresh_at(&self) -> i64 {
        self.refreshed + self.timeout.min(self.ttl) / 2 / 1_000 * 1_000
    }
}

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, as in the contract")]
pub(super) struct Session {
    pub(super) subject: usize,
    pub(super) device: Option<u8>,
    pub(super) ttl: i64,
    pub(super) renewals: usize,
    pub(super) window: i64,
    pub(super) end: i64,
    pub(super) tokens: Vec<Token>,
    pub(super) ended: Option<&'static str>,
    pub(super) refusals: BTreeSet<(usize, &'static str)>,
    pub(super) said_soon: bool,
    pub(super) said_expired: bool,
    /// Whether a replaced token ends it once the newer one is shown, and whether such a token came.
    pub(super) reuse_ends: bool,
    pub(super) contested: bool,
    pub(super) budget: Option<Budget>,
    pub(super) activity: Option<Activity>,
    /// How often it was used, and what that cost in tenths.
    pub(super) used: (u64, u64),
}

impl Session {
    pub(super) fn current(&self) -> &Token {
        self.tokens.last().expect("a session begins with a token")
    }

    pub(super) fn is_active(&self, now: i64) -> bool {
        self.ended.is_none() && self.over(now).is_none()
    }

    pub(super) fn idle_end(&self) -> Option<i64> {
        self.activity.map(|activity| activity.seen + activity.timeout)
    }

    /// Which end of its own it has reached.
    pub(super) fn over(&self, now: i64) -> Option<&'static str> {
        if now >= self.current().expires {
            Some("TOKEN_EXPIRED")
        } else {
            self.idle_end().filter(|end| now >= *end).map(|_| "SESSION_IDLE")
        }
    }

    /// Whether a use says anything of it: no more once its end was recorded.
    pub(super) fn can_be_seen(&self) -> bool {
        self.ended.is_none() && !self.said_expired
    }

    /// What a token of this generation is worth.
    pub(super) fn judge(&self, generation: u32, is_suspended: bool, now: i64) -> Option<&'static str> {
        if self.ended.is_some() {
            Some("SESSION_REVOKED")
        } else if is_suspended {
            Some("SUBJECT_SUSPENDED")
        } else if generation as usize != self.tokens.len() {
            Some("TOKEN_SUPERSEDED")
        } else {
            self.over(now)
        }
    }

    /// Whether it ends when a token of this generation is shown.
    pub(super) fn ends_by(&self, generation: usize) -> bool {
        self.ended.is_none() && self.contested && self.reuse_ends && generation == self.tokens.len()
    }

    /// The end of the time in which the replaced token contests nothing.
    pub(super) fn grace_end(&self, grace: u32) -> i64 {
        if self.tokens.len() > 1 { self.current().issued + i64::from(grace) * 1_000 } else { 0 }
    }

    pub(super) fn see(&mut self, now: i64) {
        if let Some(activity) = &mut self.activity {
            activity.see(now);
        }
    }

    pub(super) fn half(&self) -> i64 {
        self.current().issued + self.ttl / 2 / 1_000 * 1_000
    }

    pub(super) fn window_end(&self) -> i64 {
        self.current().issued + self.window
    }

    /// What a renewal or a refused one says of the end, once.
    pub(super) fn hint(&mut self, now: i64) -> &'static str {
        let left = (self.renewals + 1).saturating_sub(self.tokens.len());
        let hint = if left <= 3 {
            ", few renewals left"
        } else if self.end - now <= 86_400_000 {
            ", near its absolute end"
        } else {
            ""
        };
        if hint.is_empty() || std::mem::replace(&mut self.said_soon, true) { "" } else { hint }
    }

    pub(super) fn cannot_be_renewed_again(&self) -> bool {
        self.tokens.len() > self.renewals || self.current().expires >= self.end
    }
}

/// The latest period in words: which generation it belongs to, its end, and whether another can follow.
pub(super) fn period(session: &Session) -> String {
    let last = if session.cannot_be_renewed_again() { ", the last" } else { "" };
    format!("generation {} until {}{last}", session.tokens.len(), session.current().expires)
}
