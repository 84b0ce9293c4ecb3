//! What the authority remembers, held against what its callers were told.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::{
    caller::Caller,
    load::{Fact, Held, Ledger, Unanswered, called},
};

/// The whole history, as `GET /v1/events` tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct History {
    events: Vec<Recorded>,
}

/// An event, as far as these tests look at it.
#[derive(Clone, Debug, PartialEq)]
struct Recorded {
    kind: String,
    subject: Option<String>,
    session: Option<String>,
    data: Value,
    hash: String,
}

/// What the events say of one session.
#[derive(Debug, Default)]
struct Told {
    subject: String,
    renewals: u64,
    is_revoked: bool,
}

impl History {
    /// From the first event to the last.
    pub(crate) fn read(admin: &Caller) -> Self {
        let mut history = Self::default();
        history.follow(admin);
        history
    }

    /// Reads on. Positions are dense, and the last event known before is still what it was: its hash stands
    /// for all before it, in which every start compares the whole log with a root.
    pub(crate) fn follow(&mut self, admin: &Caller) {
        let known = self.events.len().saturating_sub(1);
        let last = self.events.get(known).cloned();
        self.events.truncate(known);
        loop {
            let after = self.events.len();
            let page = admin.get(&format!("/v1/events?after={after}&limit=200")).unwrap();
            assert_eq!(page.status, 200, "{page:?}");
            let items = page.body["items"].as_array().unwrap();
            for item in items {
                assert_eq!(item["position"], self.events.len() + 1, "positions are dense");
                self.events.push(recorded(item));
            }
            if items.is_empty() {
                break;
            }
        }
        assert!(last.is_none() || self.events.get(known) == last.as_ref(), "event {} is another", known + 1);
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Everything acknowledged is there, and nothing that nobody asked for.
    pub(crate) fn must_hold(&self, ledger: &Ledger) {
        for fact in &ledger.facts {
            self.must_show(fact);
        }
        let told = self.told();
        for held in &ledger.sessions {
            check_session(held, &told);
        }
        must_not_invent(ledger, &told);
        self.must_be_whole();
    }

    fn must_show(&self, fact: &Fact) {
        let index = usize::try_from(fact.position).unwrap() - 1;
        let found = self.events.get(index).unwrap_or_else(|| {
            panic!("LOST: {fact:?} was acknowledged, and there are {} events", self.events.len())
        });
        let is_same = found.kind == fact.kind
            && found.subject.as_deref() == Some(&fact.subject)
            && found.session == fact.session;
        assert!(is_same, "LOST: {fact:?} was acknowledged, and there is {found:?}");
    }

    /// Commits of two events: an eviction and the session that it made room for, a veto and the end of its
    /// session. There is never the one without the other.
    fn must_be_whole(&self) {
        for (index, event) in self.events.iter().enumerate() {
            let second = if event.data["trigger"] == "evicted" {
                "SessionCreated"
            } else if event.data["cause"] == "owner" {
                "SessionRevoked"
            } else {
                continue;
            };
            let next = self.events.get(index + 1);
            let is_whole = next.is_some_and(|next| next.kind == second && next.subject == event.subject);
            assert!(is_whole, "TORN: {event:?} at {} is followed by {next:?}", index + 1);
        }
    }

    fn told(&self) -> HashMap<String, Told> {
        let mut told: HashMap<String, Told> = HashMap::new();
        for event in &self.events {
            let (Some(id), Some(subject)) = (&event.session, &event.subject) else { continue };
            let session = told.entry(id.clone()).or_default();
            match &*event.kind {
                "SessionCreated" => subject.clone_into(&mut session.subject),
                "SessionRenewed" => session.renewals += 1,
                "SessionRevoked" => session.is_revoked = true,
                _ => {}
            }
        }
        told
    }

    /// After a start: what was acknowledged is there, before and after what was asked last is repeated, and the answers
    /// are what the events say.
    pub(crate) fn must_survive(&mut self, admin: &Caller, ledger: &mut Ledger) {
        self.follow(admin);
        self.must_hold(ledger);
        repeat(admin, ledger);
        self.follow(admin);
        self.must_hold(ledger);
        self.must_explain(admin, ledger);
    }

    /// The answers about these sessions are what their events say.
    pub(crate) fn must_explain(&self, admin: &Caller, ledger: &Ledger) {
        let told = self.told();
        let views = admin.list("/v1/sessions?status=all&limit=200");
        let views: HashMap<_, _> =
            views.iter().map(|view| (view["sessionId"].as_str().unwrap(), view)).collect();
        assert_eq!(views.len(), told.values().filter(|told| !told.subject.is_empty()).count());
        for held in &ledger.sessions {
            let (view, told) = (views[&*held.id], &told[&held.id]);
            assert_eq!(view["renewalCount"], told.renewals, "{view:?}");
            assert_eq!(view["status"] == "REVOKED", told.is_revoked, "{view:?}");
            assert_eq!(view["subjectName"], called(&held.subject));
        }
        let tokens: Vec<_> = ledger.sessions.iter().map(|held| &*held.token).collect();
        for (held, judged) in ledger.sessions.iter().zip(admin.introspect(&tokens)) {
            check_token(held, &told[&held.id], &judged);
        }
        let replaced = ledger.sessions.iter().filter_map(|held| Some(&*held.latest.as_ref()?.old_token));
        for judged in admin.introspect(&replaced.collect::<Vec<_>>()) {
            assert_eq!(judged["active"], false, "a token that was replaced: {judged:?}");
        }
    }
}

fn recorded(item: &Value) -> Recorded {
    let text = |name: &str| item[name].as_str().map(str::to_owned);
    Recorded {
        kind: text("kind").unwrap(),
        subject: text("subjectId"),
        session: text("sessionId"),
        data: item["data"].clone(),
        hash: text("recordHash").unwrap(),
    }
}

fn check_session(held: &Held, told: &HashMap<String, Told>) {
    let told = told.get(&held.id).unwrap_or_else(|| panic!("LOST: the session of {held:?}"));
    let perhaps = u64::from(matches!(held.unanswered, Some(Unanswered::Renewal(_))));
    let renewals = held.renewals..=held.renewals + perhaps;
    assert!(renewals.contains(&told.renewals), "{} renewals of {held:?}", told.renewals);
    assert!(told.is_revoked || held.revoked.is_none(), "LOST: the revocation of {held:?}");
}

/// A session that nobody was told of comes from a create that was not answered; one from each.
fn must_not_invent(ledger: &Ledger, told: &HashMap<String, Told>) {
    let known: HashSet<&str> = ledger.sessions.iter().map(|held| &*held.id).collect();
    let subjects: HashSet<&str> = ledger.sessions.iter().map(|held| &*held.subject).collect();
    let mut unknown: HashMap<&str, usize> = HashMap::new();
    for (id, session) in told {
        if subjects.contains(&*session.subject) && !known.contains(&**id) {
            *unknown.entry(&session.subject).or_default() += 1;
        }
    }
    for (subject, count) in unknown {
        let lost = ledger.lost_creates.iter().filter(|begun| begun.subject == subject).count();
        assert!(count <= lost, "INVENTED: {count} sessions of {subject}; {lost} creates had no answer");
    }
}

/// The holder's token is good, or there is a fact that ended it.
fn check_token(held: &Held, told: &Told, judged: &Value) {
    let said = if judged["active"] == true { "" } else { judged["code"].as_str().unwrap() };
    let expected: &[&str] = if told.is_revoked {
        &["SESSION_REVOKED"]
    } else if told.renewals > held.renewals {
        &["TOKEN_SUPERSEDED"]
    } else {
        &["", "TOKEN_EXPIRED"]
    };
    assert!(expected.contains(&said), "{judged:?} of {held:?}");
}

/// Of requests that were answered, so many are repeated.
const REPEATED: usize = 100;

/// Repeats what was asked last, each under its key: what was acknowledged gets the same answer, and what was
/// not gets its one effect now, if it has not had it.
pub(crate) fn repeat(admin: &Caller, ledger: &mut Ledger) {
    for begun in ledger.lost_registrations.drain(..) {
        let reply = begun.register(admin).unwrap();
        assert!(reply.is_granted(), "{reply:?}");
    }
    for begun in ledger.lost_creates.drain(..) {
        let reply = begun.create(admin).unwrap();
        assert_eq!(reply.status, 201, "{reply:?}");
        ledger.sessions.push(Held::granted(begun, reply));
    }
    let old = ledger.sessions.len().saturating_sub(REPEATED);
    for (number, held) in ledger.sessions.iter_mut().enumerate() {
        match held.unanswered.take() {
            Some(Unanswered::Renewal(key)) => repeat_unanswered_renewal(admin, held, &key),
            Some(Unanswered::Revocation(key)) => repeat_revocation(admin, held, &key),
            None if number >= old => repeat_answered(admin, held),
            None => {}
        }
    }
}

fn repeat_unanswered_renewal(admin: &Caller, held: &mut Held, key: &str) {
    let reply = admin.renew(&held.id, &held.token, Some(key)).unwrap();
    if reply.status == 200 {
        held.renewals += 1;
        assert_eq!(reply.number("renewalCount"), held.renewals, "{reply:?} of {held:?}");
        held.token = reply.text("token");
        held.latest = None;
        let again = admin.renew(&held.id, &held.token, Some(key)).unwrap();
        assert_eq!(again.code(), "IDEMPOTENCY_KEY_REUSED", "the same key with the current token");
        return;
    }
    // It had no effect, and can have none now: the time that stood still may have gone back a little.
    if !["RENEWAL_TOO_EARLY", "RENEWAL_LIMIT_REACHED"].contains(&reply.code()) {
        // With its session at an end there is no telling whether it was renewed before.
        assert!(["TOKEN_EXPIRED", "SESSION_REVOKED"].contains(&reply.code()), "{reply:?} of {held:?}");
        held.unanswered = Some(Unanswered::Renewal(key.to_owned()));
    }
}

fn repeat_revocation(admin: &Caller, held: &Held, key: &str) {
    let path = format!("/v1/sessions/{}?reason=no+longer+needed", held.id);
    let reply = admin.delete(&path, Some(key)).unwrap();
    assert_eq!(reply.status, 200, "{reply:?} of {held:?}");
    if let Some(revoked) = &held.revoked {
        assert_eq!(reply.body, revoked.reply.body);
    }
}

fn repeat_answered(admin: &Caller, held: &Held) {
    if let Some(revoked) = &held.revoked {
        repeat_revocation(admin, held, &revoked.key);
    } else if let Some(latest) = held.latest.as_ref().filter(|latest| !latest.presented) {
        let reply = admin.renew(&held.id, &latest.old_token, Some(&latest.key)).unwrap();
        // It may have been evicted since, or have expired.
        if !["SESSION_REVOKED", "TOKEN_EXPIRED"].contains(&reply.code()) {
            assert_eq!(reply.status, 200, "{reply:?} of {held:?}");
            assert_eq!(but_token(&reply.body), but_token(&latest.reply.body));
        }
    } else if held.latest.is_none() {
        let reply = held.begun.create(admin).unwrap();
        assert_eq!((reply.status, reply.position), (201, held.created.position), "{reply:?} of {held:?}");
        assert_eq!(but_token(&reply.body), but_token(&held.created.body));
    }
}

fn but_token(body: &Value) -> Value {
    let mut body = body.clone();
    body["token"] = Value::Null;
    body
}
