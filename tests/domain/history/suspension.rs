//! The model's suspensions: who may suspend, lengthen and lift, and what is so while one lasts.

use super::{
    asks::{By, Suspender},
    model::{Answer, Model, Subject, granted, refused},
};

/// As it was last said; it may be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspension {
    pub(super) until: Option<i64>,
    pub(super) reason: Option<u8>,
    /// Whether only an admin may lift it.
    pub(super) is_admins: bool,
}

/// The end of a suspension as a number: later is longer.
fn end_of(until: Option<i64>) -> i64 {
    until.unwrap_or(i64::MAX)
}

impl Model {
    pub(super) fn is_suspended(&self, subject: usize, now: i64) -> bool {
        is_suspended(&self.subjects[subject], now)
    }

    /// Records that a suspension is over, once.
    pub(super) fn end_of_suspension(&mut self, subject: usize, now: i64) -> Option<String> {
        let is_over = self.subjects[subject].suspension.is_some() && !self.is_suspended(subject, now);
        if is_over {
            self.subjects[subject].suspension = None;
        }
        is_over.then(|| "resumed by itself".into())
    }

    fn exists_for(&self, subject: usize, by: Suspender) -> bool {
        match (self.subjects[subject].registration, by) {
            (None, _) => false,
            (Some((owner, _)), Suspender::Owner(asking)) => owner == Some(asking),
            (Some(_), Suspender::Admin | Suspender::Issuer) => true,
        }
    }

    pub(super) fn suspend(
        &mut self,
        subject: usize,
        by: Suspender,
        until: Option<i64>,
        mut reason: Option<u8>,
        now: i64,
    ) -> Answer {
        if !self.exists_for(subject, by) {
            return refused("SUBJECT_NOT_FOUND");
        }
        if until.is_some_and(|until| until <= now) {
            return refused("INVALID {\"until\"}");
        }
        let mut facts = vec![];
        facts.extend(self.end_of_suspension(subject, now));
        let mut is_admins = by == Suspender::Admin;
        if let Some(known) = self.subjects[subject].suspension {
            let takes_it_from_owner = is_admins && !known.is_admins;
            if known.until == until && known.reason == reason && !takes_it_from_owner {
                return granted(vec![]);
            }
            if !may_lift(by, known) && end_of(until) <= end_of(known.until) {
                return refused("HELD");
            }
            is_admins |= known.is_admins;
            if !may_lift(by, known) {
                reason = reason.or(known.reason);
            }
        }
        self.subjects[subject].suspension = Some(Suspension { until, reason, is_admins });
        facts.push(format!("suspended until {}", end_of(until)));
        granted(facts)
    }

    pub(super) fn resume(&mut self, subject: usize, by: Suspender, now: i64) -> Answer {
        if !self.exists_for(subject, by) {
            return refused("SUBJECT_NOT_FOUND");
        }
        let known = self.subjects[subject].suspension.filter(|_| self.is_suspended(subject, now));
        match known {
            None => granted(vec![]),
            Some(known) if !may_lift(by, known) => refused("HELD"),
            Some(_) => {
                self.subjects[subject].suspension = None;
                granted(vec!["resumed".into()])
            }
        }
    }

    pub(super) fn end_and_suspend(
        &mut self,
        subject: usize,
        number: u32,
        by: Suspender,
        reason: Option<u8>,
        now: i64,
    ) -> Answer {
        let ending = match by {
            Suspender::Admin => By::Admin,
            Suspender::Issuer => By::Issuer,
            Suspender::Owner(owner) => By::Owner(owner),
        };
        let mut answer = self.revoke(subject, number, ending, None, now);
        if answer.refused.is_none() {
            let known = self.subjects[subject].suspension.filter(|_| self.is_suspended(subject, now));
            let is_held = known
                .is_some_and(|known| known.until.is_none() && (by != Suspender::Admin || known.is_admins));
            if !is_held {
                answer.facts.extend(self.suspend(subject, by, None, reason, now).facts);
            }
        }
        answer
    }
}

pub(super) fn is_suspended(subject: &Subject, now: i64) -> bool {
    subject.suspension.is_some_and(|suspension| now < end_of(suspension.until))
}

fn may_lift(by: Suspender, suspension: Suspension) -> bool {
    match by {
        Suspender::Admin => true,
        Suspender::Owner(_) => !suspension.is_admins,
        Suspender::Issuer => false,
    }
}
