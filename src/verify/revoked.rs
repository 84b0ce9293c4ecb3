//! What was revoked, as far as an access token that was signed before may still be shown.
//!
//! A revocation of one session is exact: every token of that session is refused. A selector may ask for what no
//! access token says, such as an owner or a device, and which sessions were there no token says either: the time in a
//! session's id is when it was drawn, not when the session began. So a selector is judged by when a token was signed,
//! and taken for wider than it is: every token that could be meant is refused, if it was signed before. The sessions
//! that it ended sign none after it; a live session gets a new one from the authority, which is accepted.
//!
//! The memory is bounded twice. A revocation is forgotten when no token that was signed before it can be alive. And
//! where there are too many, the oldest is turned into a selector of everyone, which takes no room.

use std::collections::{HashMap, HashSet, VecDeque};

use super::AccessClaims;
use tenure_protocol::{SessionId, SubjectId, Timestamp, token::LONGEST_ACCESS, wire::SelectorView};

/// A selector is recorded, its sessions are counted, it is synced, and then takes effect. A token signed meanwhile
/// may bear a later time than the selector: by this many milliseconds at most.
const SETTLING: i64 = 5_000;
/// A revocation is remembered for as long as a token may live that was signed before, in milliseconds.
pub(super) const REMEMBERED: i64 = LONGEST_ACCESS.0 as i64 * 1_000 + 2 * SETTLING;
/// A subject with more different rules than this is judged more coarsely.
const RULES_OF_A_SUBJECT: usize = 8;

/// What was revoked at one position of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RevocationEntry {
    pub(super) at: Timestamp,
    pub(super) whom: RevocationTarget,
}

/// The target of a revocation, as far as access tokens name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RevocationTarget {
    /// One session.
    Session(SessionId),
    /// Sessions of a subject; all of them but this, where one is kept.
    Subject(SubjectId, Option<SessionId>),
    /// Sessions of anyone.
    Everyone,
}

impl RevocationTarget {
    /// The target of a selector. Every member narrows a selector, so a member not understood here, or not carried by
    /// tokens, is passed over.
    pub(super) fn of_selector(selector: &SelectorView) -> Self {
        match &selector.subject_id {
            Some(subject) => Self::Subject(subject.clone(), selector.except_session_id),
            None => Self::Everyone,
        }
    }
}

/// The revocations that may still meet a token.
#[derive(Debug)]
pub(super) struct RevocationSet {
    sessions: HashSet<SessionId>,
    subjects: HashMap<SubjectId, Vec<SubjectRule>>,
    /// The latest selector of everyone.
    everyone: Option<Timestamp>,
    /// What takes room, oldest first.
    order: VecDeque<(Timestamp, RevokedTarget)>,
    capacity: usize,
}

/// A selector of one subject.
#[derive(Clone, Copy, Debug)]
struct SubjectRule {
    at: Timestamp,
    kept: Option<SessionId>,
}

#[derive(Debug)]
enum RevokedTarget {
    Session(SessionId),
    Subject(SubjectId),
}

impl RevocationSet {
    /// Starts empty; keeps up to `capacity` revocations apart.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            sessions: HashSet::new(),
            subjects: HashMap::new(),
            everyone: None,
            order: VecDeque::new(),
            capacity,
        }
    }

    /// How many revocations take room.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether the session that these claims name is ended, or may be.
    pub(super) fn covers(&self, claims: &AccessClaims) -> bool {
        self.sessions.contains(&claims.session)
            || self.everyone.is_some_and(|at| was_signed_by(at, claims))
            || self.subjects.get(&claims.subject).is_some_and(|rules| rules.iter().any(|r| r.covers(claims)))
    }

    /// Takes in a revocation. The same one twice is the same as once.
    pub(super) fn learn(&mut self, revocation: RevocationEntry) {
        let at = revocation.at;
        match revocation.whom {
            RevocationTarget::Session(session) => {
                if self.sessions.insert(session) {
                    self.order.push_back((at, RevokedTarget::Session(session)));
                }
            }
            RevocationTarget::Subject(subject, kept) => self.learn_rule(subject, SubjectRule { at, kept }),
            RevocationTarget::Everyone => self.everyone = self.everyone.max(Some(at)),
        }
        while self.order.len() > self.capacity {
            self.widen_the_oldest();
        }
    }

    /// Covers every token that was signed before this time, and none that was signed after it.
    pub(super) fn refuse_signed_before(&mut self, time: Timestamp) {
        self.everyone = self.everyone.max(Some(time.plus_millis(-SETTLING)));
    }

    /// Forgets what no living token can meet.
    pub(super) fn forget_before(&mut self, now: Timestamp) {
        let is_over = |at: Timestamp| at.plus_millis(REMEMBERED) <= now;
        while self.order.front().is_some_and(|(at, _)| is_over(*at)) {
            self.pop_oldest();
        }
        self.everyone = self.everyone.filter(|at| !is_over(*at));
    }

    fn learn_rule(&mut self, subject: SubjectId, rule: SubjectRule) {
        let rules = self.subjects.entry(subject.clone()).or_default();
        if add_rule(rules, rule) {
            self.order.push_back((rule.at, RevokedTarget::Subject(subject)));
        }
    }

    fn widen_the_oldest(&mut self) {
        if let Some(at) = self.pop_oldest() {
            self.everyone = self.everyone.max(Some(at));
        }
    }

    fn pop_oldest(&mut self) -> Option<Timestamp> {
        let (at, named) = self.order.pop_front()?;
        match named {
            RevokedTarget::Session(session) => {
                self.sessions.remove(&session);
            }
            RevokedTarget::Subject(subject) => {
                if let Some(rules) = self.subjects.get_mut(&subject) {
                    rules.retain(|rule| rule.at > at);
                    if rules.is_empty() {
                        self.subjects.remove(&subject);
                    }
                }
            }
        }
        Some(at)
    }
}

impl SubjectRule {
    fn covers(self, claims: &AccessClaims) -> bool {
        self.kept != Some(claims.session) && was_signed_by(self.at, claims)
    }
}

/// Whether a token may have been signed before what was recorded at this time counted.
fn was_signed_by(at: Timestamp, claims: &AccessClaims) -> bool {
    claims.issued_at <= at.plus_millis(SETTLING)
}

/// Adds a rule to those of a subject; whether anything is new in it.
fn add_rule(rules: &mut Vec<SubjectRule>, rule: SubjectRule) -> bool {
    if let Some(known) = rules.iter_mut().find(|known| known.kept == rule.kept) {
        let is_news = known.at < rule.at;
        known.at = known.at.max(rule.at);
        return is_news;
    }
    if rules.len() == RULES_OF_A_SUBJECT {
        let at = rules.iter().map(|known| known.at).fold(rule.at, Timestamp::max);
        *rules = vec![SubjectRule { at, kept: None }];
    } else {
        rules.push(rule);
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tenure_protocol::wire::FeedItem;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + seconds * 1_000)
    }

    /// The number keeps sessions of one moment apart.
    fn session(created: i64, number: u8) -> SessionId {
        let mut bytes = [number; 16];
        bytes[..6].copy_from_slice(&at(created).as_millis().to_be_bytes()[2..]);
        bytes[6] = 0x70;
        bytes[8] = 0x80;
        SessionId::from_bytes(bytes)
    }

    fn token(subject: &str, session: SessionId, issued: i64) -> AccessClaims {
        AccessClaims {
            issuer: "tenure".to_owned(),
            subject: subject.parse().unwrap(),
            session,
            audience: None,
            scopes: [].into(),
            issued_at: at(issued),
            not_before: at(issued),
            expires_at: at(issued + 600),
            token_id: "x".to_owned(),
        }
    }

    fn target(selector: &Value) -> RevocationTarget {
        let item = json!({ "position": 1, "at": at(0), "selector": selector, "sessionIds": null });
        match serde_json::from_value(item).unwrap() {
            FeedItem::Selection(ended) => RevocationTarget::of_selector(&ended.selector),
            FeedItem::Session(_) => panic!("{selector} is a selector"),
        }
    }

    fn after(revocations: &[(i64, Value)]) -> RevocationSet {
        let mut revoked = RevocationSet::new(100);
        for (seconds, selector) in revocations {
            revoked.learn(RevocationEntry { at: at(*seconds), whom: target(selector) });
        }
        revoked
    }

    #[test]
    fn a_revoked_session_is_ended_whenever_its_token_was_signed() {
        let mut revoked = RevocationSet::new(100);
        revoked.learn(RevocationEntry { at: at(10), whom: RevocationTarget::Session(session(0, 1)) });
        assert!(
            revoked.covers(&token("a", session(0, 1), 5)) && revoked.covers(&token("a", session(0, 1), 99))
        );
        assert!(!revoked.covers(&token("a", session(0, 2), 5)));
    }

    #[test]
    fn a_selector_of_a_subject_ends_what_was_signed_by_then_and_nothing_else() {
        let revoked = after(&[(10, json!({ "subjectId": "a" }))]);
        assert!(
            revoked.covers(&token("a", session(0, 1), 5)) && !revoked.covers(&token("b", session(0, 1), 5))
        );
        assert!(revoked.covers(&token("a", session(0, 1), 15)), "signed while it was written");
        assert!(!revoked.covers(&token("a", session(0, 1), 16)), "signed later, so its session lives");
    }

    #[test]
    fn a_selector_may_except_one_session_until_another_ends_it_too() {
        let (one, other) = (session(0, 1), session(0, 2));
        let but = |kept: SessionId| json!({ "subjectId": "a", "exceptSessionId": kept });
        let mut revoked = after(&[(10, but(one))]);
        assert!(!revoked.covers(&token("a", one, 5)) && revoked.covers(&token("a", other, 5)));
        revoked.learn(RevocationEntry { at: at(20), whom: target(&but(other)) });
        assert!(revoked.covers(&token("a", one, 5)) && revoked.covers(&token("a", other, 5)));
    }

    #[test]
    fn what_no_token_tells_is_taken_for_everyone_who_could_be_meant_until_a_new_token() {
        for selector in [
            json!({ "all": true, "ownerId": null }),
            json!({ "ownerId": "alice" }),
            json!({ "device": "laptop" }),
            json!({ "keyId": "k4.lid.x" }),
            json!({ "issuedBefore": "2026-11-21T10:00:00.000Z" }),
            json!({ "all": true, "laterField": 1 }),
            json!({ "all": false }),
            json!({ "subjectId": 7 }),
            json!({}),
        ] {
            let revoked = after(&[(10, selector.clone())]);
            assert!(revoked.covers(&token("anyone", session(0, 1), 10)), "{selector}");
            assert!(
                revoked.covers(&token("anyone", session(0, 1), 15)),
                "signed while it was written: {selector}"
            );
            assert!(!revoked.covers(&token("anyone", session(0, 1), 16)), "signed again: {selector}");
        }
        let kept = session(0, 2);
        let selector = json!({ "subjectId": "a", "device": "laptop", "exceptSessionId": kept });
        let of_subject = after(&[(10, selector)]);
        assert!(
            of_subject.covers(&token("a", session(0, 1), 5))
                && !of_subject.covers(&token("b", session(0, 1), 5))
        );
        assert!(!of_subject.covers(&token("a", session(0, 1), 16)), "signed again");
        assert!(!of_subject.covers(&token("a", kept, 5)), "kept, whatever else was asked");
    }

    /// A create draws its id and waits its turn; a selector of everyone overtakes it. The session lives, and the time in
    /// its id is before the selector's: what it is given later must pass.
    #[test]
    fn a_session_that_a_selector_overtook_gets_a_token_that_passes() {
        for selector in [json!({ "all": true }), json!({ "subjectId": "a" })] {
            let revoked = after(&[(10, selector.clone())]);
            assert!(!revoked.covers(&token("a", session(5, 1), 16)), "{selector}");
        }
    }

    /// The clock was ahead when the id was drawn, and stepped back before the session was decided.
    #[test]
    fn a_session_whose_id_is_of_later_is_ended_all_the_same() {
        for selector in [json!({ "all": true }), json!({ "subjectId": "a" })] {
            let revoked = after(&[(10, selector.clone())]);
            assert!(revoked.covers(&token("a", session(60, 1), 5)), "{selector}");
        }
    }

    #[test]
    fn a_selector_of_everyone_is_forgotten_when_no_token_from_before_can_live() {
        for selector in [json!({ "all": true }), json!({ "ownerId": "alice" })] {
            let mut revoked = after(&[(10, selector.clone())]);
            revoked.forget_before(at(10).plus_millis(REMEMBERED - 1));
            assert!(revoked.covers(&token("a", session(0, 1), 10)), "{selector}");
            revoked.forget_before(at(10).plus_millis(REMEMBERED));
            assert!(!revoked.covers(&token("a", session(0, 1), 10)), "{selector}");
        }
    }

    #[test]
    fn a_revocation_is_forgotten_when_no_token_from_before_can_live() {
        let mut revoked = after(&[(10, json!({ "subjectId": "a" }))]);
        revoked.learn(RevocationEntry { at: at(20), whom: RevocationTarget::Session(session(0, 1)) });
        revoked.forget_before(at(10).plus_millis(REMEMBERED - 1));
        assert_eq!(revoked.len(), 2);
        revoked.forget_before(at(10).plus_millis(REMEMBERED));
        assert_eq!(revoked.len(), 1);
        revoked.forget_before(at(20).plus_millis(REMEMBERED));
        assert!(revoked.len() == 0 && revoked.sessions.is_empty() && revoked.subjects.is_empty());
    }

    #[test]
    fn the_same_revocation_twice_takes_the_room_of_one() {
        let revoked = after(&[
            (10, json!({ "subjectId": "a" })),
            (20, json!({ "subjectId": "a" })),
            (10, json!({ "subjectId": "a" })),
        ]);
        assert_eq!(revoked.len(), 2);
    }

    /// The oldest become a selector of every session: still no revoked token is accepted.
    #[test]
    fn a_flood_is_bounded_and_lets_nobody_in() {
        let mut revoked = RevocationSet::new(1_000);
        for number in 0..50_000_u32 {
            let mut id = *session(0, 0).as_bytes();
            id[12..].copy_from_slice(&number.to_be_bytes());
            let whom = RevocationTarget::Session(SessionId::from_bytes(id));
            revoked.learn(RevocationEntry { at: at(i64::from(number / 100)), whom });
        }
        assert!(revoked.len() == 1_000 && revoked.sessions.len() == 1_000);
        let mut first = *session(0, 0).as_bytes();
        first[12..].copy_from_slice(&0_u32.to_be_bytes());
        assert!(revoked.covers(&token("a", SessionId::from_bytes(first), -5)));
        assert!(!revoked.covers(&token("a", session(0, 9), 499)), "signed after all that was widened");
    }

    #[test]
    fn a_subject_of_many_rules_is_judged_more_coarsely() {
        let all: Vec<_> = (1..=9).map(|number| session(0, number)).collect();
        let said = all
            .iter()
            .zip(10..)
            .map(|(kept, seconds)| (seconds, json!({ "subjectId": "a", "exceptSessionId": kept })));
        let revoked = after(&said.collect::<Vec<_>>());
        assert_eq!(revoked.subjects["a".parse::<SubjectId>().as_ref().unwrap()].len(), 1);
        assert!(all.iter().all(|session| revoked.covers(&token("a", *session, 5))));
    }
}
