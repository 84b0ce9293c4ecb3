//! The rules a second time, as plainly as the contract tells them: whole seconds and milliseconds as numbers,
//! tokens as a list, answers as text. It shares no code with the domain, so that both are not wrong together.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    asks::{Ask, By, NewSession, OwnLimits, Rules, Selection},
    keys::Keys,
    session::{Activity, Session, Token, period},
    suspension::{Suspension, is_suspended},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Subject {
    pub(super) registration: Option<(Option<u8>, OwnLimits)>,
    pub(super) suspension: Option<Suspension>,
}

/// What happened, one line a fact, and the code of the refusal if there was one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) refused: Option<String>,
    pub(super) facts: Vec<String>,
}

pub(super) fn granted(facts: Vec<String>) -> Answer {
    Answer { refused: None, facts }
}

pub(super) fn refused(code: impl Into<String>) -> Answer {
    Answer { refused: Some(code.into()), facts: vec![] }
}

/// All subjects and their sessions.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) rules: Rules,
    pub(super) subjects: Vec<Subject>,
    pub(super) sessions: BTreeMap<u32, Session>,
    /// The keys of session tokens, and those of access tokens.
    pub(super) keys: [Keys; 2],
}

impl Model {
    /// With a first key of each use.
    pub(super) fn new(rules: Rules, subjects: usize) -> Self {
        let subjects = vec![Subject::default(); subjects];
        Self { rules, subjects, sessions: BTreeMap::new(), keys: [Keys::first(), Keys::first()] }
    }

    /// A token of this generation was presented somewhere.
    pub(super) fn present(&mut self, session: u32, generation: u32) {
        if let Some(session) = self.sessions.get_mut(&session)
            && let Some(token) = session.tokens.get_mut(generation as usize - 1)
        {
            token.presented = true;
        }
    }

    /// What was presented is recorded from now on.
    pub(super) fn mark_presented(&mut self) {
        for token in self.sessions.values_mut().flat_map(|session| &mut session.tokens) {
            token.is_marked = token.presented;
        }
    }

    /// The sessions whose latest use is not recorded, and when that was.
    pub(super) fn unrecorded_uses(&self) -> Vec<(u32, i64)> {
        let unrecorded = |(number, session): (&u32, &Session)| {
            let activity = session.activity.filter(|activity| activity.seen > activity.recorded)?;
            session.can_be_seen().then_some((*number, activity.seen))
        };
        self.sessions.iter().filter_map(unrecorded).collect()
    }

    pub(super) fn record_use(&mut self, number: u32) {
        if let Some(activity) = self.sessions.get_mut(&number).and_then(|session| session.activity.as_mut()) {
            activity.recorded = activity.seen;
        }
    }

    /// A token is shown for a check; what is wrong with it. If it is good, that is a use.
    pub(super) fn introspect(&mut self, number: u32, generation: u32, now: i64) -> Option<&'static str> {
        let session = self.sessions.get_mut(&number).expect("it was picked");
        let fault = session.judge(generation, is_suspended(&self.subjects[session.subject], now), now);
        if let Some(activity) = session.activity.as_mut().filter(|_| fault.is_none()) {
            activity.seen = now;
        }
        fault
    }

    /// What was not recorded is forgotten. Sessions count as seen a tenth of their idle time later than recorded.
    pub(super) fn crash(&mut self, now: i64) {
        for session in self.sessions.values_mut() {
            let can_be_seen = session.can_be_seen();
            if let Some(activity) = &mut session.activity {
                let excused = if can_be_seen { now.min(activity.tenth()) } else { 0 };
                activity.seen = activity.recorded.max(excused);
            }
            let newest = session.tokens.last_mut().expect("a session begins with a token");
            newest.presented = newest.is_marked;
        }
    }

    pub(super) fn ask(&mut self, subject: usize, ask: &Ask, now: i64) -> Answer {
        match *ask {
            Ask::Register { owner, limits, as_admin } => self.register(subject, owner, limits, as_admin),
            Ask::Create(new) => self.create(subject, new, now),
            Ask::Renew { session, generation, key, .. } => self.renew(session, generation as usize, key, now),
            Ask::Revoke { session, by, reject_renewal } => {
                self.revoke(subject, session, by, reject_renewal, now)
            }
            Ask::RevokeAll { device, except, owner } => self.revoke_all(subject, device, except, owner, now),
            Ask::Use { session, generation, operation, tenths } => {
                self.use_it(session, generation, operation, tenths, now)
            }
            Ask::Sweep => self.sweep(subject, now),
            Ask::Refresh { session, generation } => self.refresh(session, generation, now),
            Ask::EndContested { session, shown } => {
                let shown = shown.map(|generation| generation as usize);
                let known = self.sessions.get(&session).expect("it was picked");
                let newest = known.tokens.len();
                let is_shown = shown == Some(newest) || newest > 1 && known.current().presented;
                if is_shown && known.ends_by(newest) { self.both_shown(session) } else { granted(vec![]) }
            }
            Ask::Erase if self.subjects[subject].registration.is_none() => refused("SUBJECT_NOT_FOUND"),
            Ask::Erase => {
                if let Some(suspension) = &mut self.subjects[subject].suspension {
                    suspension.reason = None;
                }
                granted(vec!["erased".into()])
            }
            Ask::Suspend { by, until, reason } => self.suspend(subject, by, until, reason, now),
            Ask::Resume { by } => self.resume(subject, by, now),
            Ask::EndAndSuspend { session, by, reason } => {
                self.end_and_suspend(subject, session, by, reason, now)
            }
        }
    }

    /// The limits that apply to a subject: how many sessions, and how many of one device.
    pub(super) fn limits(&self, subject: usize) -> (u32, u32) {
        let own = self.subjects[subject].registration.map(|(_, own)| own).unwrap_or_default();
        (
            own.sessions.unwrap_or(self.rules.sessions),
            own.device_sessions.unwrap_or(self.rules.device_sessions),
        )
    }

    /// The active sessions of a subject, oldest first.
    pub(super) fn active(&self, subject: usize, device: Option<u8>, now: i64) -> Vec<u32> {
        let mut found: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.subject == subject && session.is_active(now))
            .filter(|(_, session)| device.is_none() || session.device == device)
            .map(|(number, session)| (session.tokens[0].issued, *number))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, number)| number).collect()
    }

    fn register(&mut self, subject: usize, owner: Option<u8>, limits: OwnLimits, as_admin: bool) -> Answer {
        let known = &mut self.subjects[subject].registration;
        let wanted = match known {
            Some((was, had)) if !as_admin => (owner.or(*was), limits.or(*had)),
            Some(_) | None => (owner, limits),
        };
        match known {
            Some(same) if *same == wanted => return granted(vec![]),
            Some((was, had)) if !as_admin && (was.is_some() && *was != wanted.0 || *had != wanted.1) => {
                return refused("POLICY");
            }
            Some(_) | None => {}
        }
        *known = Some(wanted);
        granted(vec!["registered".into()])
    }

    fn create(&mut self, subject: usize, new: NewSession, now: i64) -> Answer {
        let ttl = new.ttl.unwrap_or(self.rules.ttl);
        let renewals = new.renewals.unwrap_or(if new.sliding { 0 } else { self.rules.renewals });
        let idle = new.idle.or(self.rules.idle).or(new.sliding.then_some(1_800));
        let lifetime = new.lifetime.unwrap_or(self.rules.lifetime);
        let window = new.window.unwrap_or(3_600);
        let mut wrong = BTreeSet::new();
        if !(300..=604_800).contains(&ttl) {
            wrong.insert("ttl");
        }
        if renewals > if new.sliding { 0 } else { 100 } {
            wrong.insert("maxRenewals");
        }
        if !(300..=86_400).contains(&window) {
            wrong.insert("renewalRejectWindow");
        }
        if idle.is_some_and(|idle| !(60..=86_400).contains(&idle)) {
            wrong.insert("idleTimeout");
        }
        if lifetime > self.rules.lifetime || lifetime < ttl {
            wrong.insert(if new.lifetime.is_some() { "absoluteLifetime" } else { "ttl" });
        }
        if !wrong.is_empty() {
            return refused(format!("INVALID {wrong:?}"));
        }
        let mut facts = vec![];
        if self.subjects[subject].registration.is_none() {
            if !self.rules.auto_register {
                return refused("SUBJECT_NOT_FOUND");
            }
            facts.push("registered".into());
        }
        if self.is_suspended(subject, now) {
            return refused("SUBJECT_SUSPENDED");
        }
        let leaving = match self.who_makes_room(subject, new.device, now) {
            Ok(leaving) => leaving,
            Err(count) => return refused(format!("SESSION_LIMIT_EXCEEDED {count}")),
        };
        for number in leaving {
            facts.push(self.end(number, "evicted"));
        }
        self.subjects[subject].registration.get_or_insert_default();
        let ttl = i64::from(ttl) * 1_000;
        let end = now + i64::from(lifetime) * 1_000;
        let session = Session {
            subject,
            device: new.device,
            ttl,
            renewals: renewals as usize,
            window: i64::from(window) * 1_000,
            end,
            tokens: vec![self.token(now, now + ttl, None)],
            ended: None,
            refusals: BTreeSet::new(),
            said_soon: false,
            said_expired: false,
            reuse_ends: new.reuse_ends.unwrap_or(self.rules.reuse_ends),
            contested: false,
            budget: new.budget,
            activity: idle.map(|idle| Activity {
                timeout: i64::from(idle) * 1_000,
                ttl,
                slides: new.sliding,
                seen: now,
                recorded: now,
                refreshed: now,
            }),
            used: (0, 0),
        };
        facts.push(format!("{} created {}", new.session, period(&session)));
        self.sessions.insert(new.session, session);
        granted(facts)
    }

    fn token(&self, issued: i64, expires: i64, key: Option<u8>) -> Token {
        Token { issued, expires, key, presented: false, is_marked: false, sealer: self.keys[0].newest() }
    }

    fn who_makes_room(&self, subject: usize, device: Option<u8>, now: i64) -> Result<Vec<u32>, String> {
        let own = self.subjects[subject].registration.map(|(_, own)| own).unwrap_or_default();
        let (most, most_on_device) = self.limits(subject);
        let mut leaving = vec![];
        if device.is_some() {
            let mut there = self.active(subject, device, now);
            while there.len() >= most_on_device as usize {
                if !own.device_evicts.unwrap_or(self.rules.device_evicts) {
                    return Err(format!("{} of a device", there.len()));
                }
                leaving.push(there.remove(0));
            }
        }
        let mut all = self.active(subject, None, now);
        all.retain(|number| !leaving.contains(number));
        while all.len() >= most as usize {
            if !own.evicts.unwrap_or(self.rules.evicts) {
                return Err(all.len().to_string());
            }
            leaving.push(all.remove(0));
        }
        Ok(leaving)
    }

    fn renew(&mut self, number: u32, generation: usize, key: Option<u8>, now: i64) -> Answer {
        let grace = self.rules.grace;
        let sealed = self.token(now, now, key);
        let Some(session) = self.sessions.get_mut(&number) else { return refused("SESSION_NOT_FOUND") };
        if session.ended.is_some() {
            return refused("SESSION_REVOKED");
        }
        let newest = session.tokens.len();
        let has_its_key = newest > 1 && key.is_some() && key == session.current().key;
        let mut stands_in = false;
        if session.ends_by(generation) {
            return self.both_shown(number);
        }
        if is_suspended(&self.subjects[session.subject], now) {
            return refused("SUBJECT_SUSPENDED");
        }
        if generation == newest {
            if has_its_key {
                return refused("IDEMPOTENCY_KEY_REUSED");
            }
        } else {
            stands_in = generation + 1 == newest && has_its_key && !session.current().presented;
            if !stands_in {
                let is_previous = generation + 1 == newest;
                let is_excused = has_its_key || is_previous && now < session.grace_end(grace);
                if generation < newest && session.reuse_ends && !is_excused {
                    return self.contest(number, generation);
                }
                return self.reject(number, "SESSION_RENEWAL_MISMATCH");
            }
        }
        if let Some(over) = session.over(now) {
            return self.reject(number, over);
        }
        if stands_in {
            return granted(vec![]);
        }
        if newest > session.renewals {
            return self.reject_with_hint(number, "RENEWAL_LIMIT_REACHED", now);
        }
        if session.current().expires >= session.end {
            return self.reject_with_hint(number, "SESSION_ABSOLUTE_LIFETIME_EXCEEDED", now);
        }
        if now < session.half() {
            return self.reject_with_hint(number, "RENEWAL_TOO_EARLY", now);
        }
        let expires = session.end.min(now + session.ttl);
        session.tokens.push(Token { expires, ..sealed });
        session.see(now);
        let hint = session.hint(now);
        granted(vec![format!("{number} renewed {}{hint}", period(session))])
    }

    /// A token that was replaced came back. It ends the session if one of those after it was shown.
    fn contest(&mut self, number: u32, generation: usize) -> Answer {
        let session = self.sessions.get_mut(&number).expect("it was found before");
        let newest = session.tokens.len();
        let mut answer = refused("SESSION_RENEWAL_MISMATCH");
        if !std::mem::replace(&mut session.contested, true) {
            session.refusals.insert((newest, "SESSION_RENEWAL_MISMATCH"));
            answer.facts.push(format!("{number} contested at generation {newest}"));
        }
        if session.tokens.iter().skip(generation).any(|token| token.presented) {
            answer.facts.push(self.end(number, "token_reuse"));
        }
        answer
    }

    fn both_shown(&mut self, number: u32) -> Answer {
        Answer { facts: vec![self.end(number, "token_reuse")], ..refused("SESSION_REVOKED") }
    }

    fn reject_with_hint(&mut self, number: u32, code: &'static str, now: i64) -> Answer {
        let mut answer = self.reject(number, code);
        if let Some(fact) = answer.facts.first_mut() {
            fact.push_str(self.sessions.get_mut(&number).expect("it was just rejected").hint(now));
        }
        answer
    }

    fn use_it(
        &mut self,
        number: u32,
        generation: Option<u32>,
        operation: u8,
        tenths: Option<u64>,
        now: i64,
    ) -> Answer {
        let Some(session) = self.sessions.get_mut(&number) else { return refused("SESSION_NOT_FOUND") };
        if generation.is_some_and(|generation| session.ends_by(generation as usize)) {
            return self.both_shown(number);
        }
        let is_suspended = is_suspended(&self.subjects[session.subject], now);
        match generation.map(|generation| session.judge(generation, is_suspended, now)) {
            None if session.ended.is_none() && is_suspended => return refused("SUBJECT_SUSPENDED"),
            None if !session.is_active(now) => return refused("SESSION_NOT_ACTIVE"),
            Some(Some(fault)) => return refused(fault),
            Some(None) | None => {}
        }
        let (times, total) = session.used;
        if let Some(budget) = session.budget {
            let broken = if budget.operation.is_some_and(|only| only != operation) {
                "allowedOperations"
            } else if budget.each.is_some_and(|most| tenths.is_none_or(|tenths| tenths > most)) {
                "maxAmountPerTx"
            } else if budget.times.is_some_and(|most| times >= most) {
                "maxTransactions"
            } else if budget.total.is_some_and(|most| tenths.is_none_or(|tenths| total + tenths > most)) {
                "maxTotalAmount"
            } else {
                ""
            };
            if !broken.is_empty() {
                return refused(format!("CONSTRAINT_VIOLATED {broken}"));
            }
        }
        session.used = (times + 1, total + tenths.unwrap_or(0));
        session.see(now);
        granted(vec![format!("{number} used {} times, {} in all", session.used.0, in_tenths(session.used.1))])
    }

    fn sweep(&mut self, subject: usize, now: i64) -> Answer {
        let mut facts = vec![];
        facts.extend(self.end_of_suspension(subject, now));
        for (number, session) in &mut self.sessions {
            let is_over = session.ended.is_none() && session.over(now).is_some();
            if session.subject == subject && is_over && !session.said_expired {
                session.said_expired = true;
                let expires = session.current().expires;
                let (end, limit) = match session.idle_end() {
                    Some(idle) if idle < expires => (idle, "idle"),
                    _ if expires == session.end => (expires, "absolute"),
                    _ => (expires, "ttl"),
                };
                facts.push(format!("{number} expired at {end} by {limit}"));
            }
        }
        granted(facts)
    }

    fn refresh(&mut self, number: u32, generation: u32, now: i64) -> Answer {
        let (is_on, sealer) = (self.rules.slides, self.keys[0].newest());
        let Some(session) = self.sessions.get_mut(&number) else { return refused("SESSION_NOT_FOUND") };
        if session.ends_by(generation as usize) {
            return self.both_shown(number);
        }
        let is_suspended = is_suspended(&self.subjects[session.subject], now);
        if let Some(fault) = session.judge(generation, is_suspended, now) {
            return refused(fault);
        }
        let (ttl, end, expires) = (session.ttl, session.end, session.current().expires);
        let Some(activity) = &mut session.activity else { return granted(vec![]) };
        if !is_on || !activity.slides || now < activity.refresh_at() || expires == end {
            return granted(vec![]);
        }
        activity.see(now);
        activity.refreshed = now;
        let token = session.tokens.last_mut().expect("a session begins with a token");
        (token.expires, token.sealer) = (end.min(now + ttl), sealer);
        granted(vec![format!("{number} refreshed until {}", token.expires)])
    }

    fn reject(&mut self, number: u32, code: &'static str) -> Answer {
        let session = self.sessions.get_mut(&number).expect("it was found before");
        let generation = session.tokens.len();
        let is_new = session.refusals.insert((generation, code));
        let fact = format!("{number} refused at generation {generation}: {code}");
        Answer { refused: Some(code.into()), facts: if is_new { vec![fact] } else { vec![] } }
    }

    pub(super) fn revoke(
        &mut self,
        subject: usize,
        number: u32,
        by: By,
        veto: Option<bool>,
        now: i64,
    ) -> Answer {
        let owner = self.subjects[subject].registration.and_then(|(owner, _)| owner);
        let Some(session) = self.sessions.get(&number) else { return refused("SESSION_NOT_FOUND") };
        if let By::Owner(asking) = by
            && owner != Some(asking)
        {
            return refused("SESSION_NOT_FOUND");
        }
        if let By::Own(generation) = by {
            let is_current = generation as usize == session.tokens.len();
            match session.ended {
                Some(_) if is_current => {}
                Some(_) => return refused("SESSION_REVOKED"),
                None if !is_current => return refused("TOKEN_SUPERSEDED"),
                None if !session.is_active(now) => return refused(session.over(now).expect("it is over")),
                None => {}
            }
        }
        if session.ended.is_some() {
            return granted(vec![]);
        }
        let may_veto = matches!(by, By::Admin | By::Owner(_)) && session.tokens.len() > 1;
        if veto == Some(true) && !may_veto {
            return refused("INVALID {\"rejectRenewal\"}");
        }
        let generation = session.tokens.len();
        if may_veto && veto.unwrap_or(now <= session.window_end()) {
            let vetoed = format!("{number} vetoed at generation {generation}");
            return granted(vec![vetoed, self.end(number, "renewal_rejected")]);
        }
        let trigger = if matches!(by, By::Own(_)) { "self" } else { "manual_revoke" };
        granted(vec![self.end(number, trigger)])
    }

    fn revoke_all(
        &mut self,
        subject: usize,
        device: Option<u8>,
        except: Option<u32>,
        owner: Option<u8>,
        now: i64,
    ) -> Answer {
        match self.subjects[subject].registration {
            Some((of, _)) if owner.is_none() || owner == of => {}
            Some(_) | None => return refused("SUBJECT_NOT_FOUND"),
        }
        if except.is_some_and(|kept| self.sessions.get(&kept).is_none_or(|known| known.subject != subject)) {
            return refused("SESSION_NOT_FOUND");
        }
        let mut matching = self.active(subject, device, now);
        matching.retain(|number| Some(*number) != except);
        for number in &matching {
            self.end(*number, "subject_revoked");
        }
        granted(if matching.is_empty() { vec![] } else { vec![format!("{} ended at once", matching.len())] })
    }

    /// Ends what a selection meets, whosever it is. One that is idle may have been used, so it is met until its
    /// end is recorded.
    pub(super) fn revoke_matching(&mut self, selection: Selection, now: i64) -> Answer {
        let Selection { owner, subject, device, before } = selection;
        let owner_of = |subject: usize| self.subjects[subject].registration.and_then(|(owner, _)| owner);
        let is_met = |session: &Session| {
            session.can_be_seen()
                && now < session.current().expires
                && (owner.is_none() || owner_of(session.subject) == owner)
                && subject.is_none_or(|subject| session.subject == subject)
                && (device.is_none() || session.device == device)
                && before.is_none_or(|moment| session.current().issued < moment)
        };
        let met = self.sessions.iter().filter(|(_, session)| is_met(session));
        let met: Vec<_> = met.map(|(number, _)| *number).collect();
        for number in &met {
            self.end(*number, "bulk");
        }
        granted(if met.is_empty() { vec![] } else { vec![format!("{} ended at once", met.len())] })
    }

    fn end(&mut self, number: u32, trigger: &'static str) -> String {
        self.sessions.get_mut(&number).expect("it was found before").ended = Some(trigger);
        format!("{number} ended by {trigger}")
    }
}

/// A number of tenths as the domain writes it.
pub(super) fn in_tenths(tenths: u64) -> String {
    if tenths.is_multiple_of(10) {
        (tenths / 10).to_string()
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}
