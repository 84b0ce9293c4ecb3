//! Callers at work, who write down every acknowledgement: subjects, sessions, renewals, revocations.
//!
//! Each worker asks about subjects of its own, one thing after the other, so it knows exactly what must be
//! true of them: all that was acknowledged, and perhaps the one thing that was not answered.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Value, json};
use tenure::clock::pause;

use crate::{
    ambient::Chance,
    caller::{Caller, Lost, Reply},
};

/// A session's period, in seconds of the test clock. The clock moves by a sixth of it at each tick: a session
/// is renewed now and then, asked for too early at times, and expires when it is neglected.
const TTL: u64 = 3_600;
const TICK: Duration = Duration::from_millis(10);
/// So many active sessions a subject may have; one more takes the place of the oldest, in the same commit.
const SESSIONS: u64 = 3;

/// Something that was acknowledged with its position.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) position: u64,
    pub(crate) kind: &'static str,
    pub(crate) subject: String,
    pub(crate) session: Option<String>,
}

/// A session, as its holder knows it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) subject: String,
    pub(crate) id: String,
    pub(crate) token: String,
    /// How it was asked for, and the answer.
    pub(crate) begun: Begun,
    pub(crate) created: Reply,
    /// Acknowledged renewals.
    pub(crate) renewals: u64,
    pub(crate) latest: Option<Renewal>,
    pub(crate) revoked: Option<Revoked>,
    pub(crate) unanswered: Option<Unanswered>,
}

/// An acknowledged renewal.
#[derive(Clone, Debug)]
pub(crate) struct Renewal {
    pub(crate) key: String,
    pub(crate) old_token: String,
    pub(crate) reply: Reply,
    /// Its token was used since, so a repeat is refused.
    pub(crate) presented: bool,
}

/// An acknowledged revocation.
#[derive(Clone, Debug)]
pub(crate) struct Revoked {
    pub(crate) key: String,
    pub(crate) reply: Reply,
}

/// What was asked last of a session, under this key, and has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    Renewal(String),
    Revocation(String),
}

/// A request about a subject, as it was sent, so that it can be repeated.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) subject: String,
    pub(crate) key: String,
    pub(crate) body: Value,
}

impl Begun {
    /// Asks for the subject.
    pub(crate) fn register(&self, admin: &Caller) -> Result<Reply, Lost> {
        admin.put(&format!("/v1/subjects/{}", self.subject), Some(&self.key), &self.body)
    }

    /// Asks for a session of the subject.
    pub(crate) fn create(&self, admin: &Caller) -> Result<Reply, Lost> {
        admin.post("/v1/sessions", Some(&self.key), &self.body)
    }
}

impl Held {
    /// The session that this answer is about.
    pub(crate) fn granted(begun: Begun, created: Reply) -> Self {
        Self {
            subject: begun.subject.clone(),
            id: created.text("sessionId"),
            token: created.text("token"),
            begun,
            created,
            renewals: 0,
            latest: None,
            revoked: None,
            unanswered: None,
        }
    }
}

/// All that one worker knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) facts: Vec<Fact>,
    pub(crate) sessions: Vec<Held>,
    pub(crate) lost_registrations: Vec<Begun>,
    pub(crate) lost_creates: Vec<Begun>,
    /// The refusal that ended the work, when it was neither the end of the server nor that of the test.
    pub(crate) refused: Option<Reply>,
}

/// How much is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Appetite {
    pub(crate) workers: u32,
    /// The most subjects of one worker. Each needs a new key, and the sync of that brings more to the disk
    /// than the key.
    pub(crate) subjects: usize,
    /// Many sessions with as much in them as there may be, about 12 KB, so that the log's file grows.
    pub(crate) is_heavy: bool,
}

impl Appetite {
    pub(crate) const MIXED: Self = Self { workers: 4, subjects: usize::MAX, is_heavy: false };
    pub(crate) const HEAVY: Self = Self { workers: 8, subjects: 2, is_heavy: true };
}

/// Workers, until there is no server any more or they are told to end.
pub(crate) struct Load {
    closing: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Ledger>>,
    ticker: JoinHandle<()>,
}

impl Load {
    /// Starts so many workers. `name` keeps the subjects of one load apart from those of another.
    pub(crate) fn begin(admin: &Caller, name: &str, appetite: Appetite, chance: &mut Chance) -> Self {
        let closing = Arc::new(AtomicBool::new(false));
        let begin = |number| {
            let worker = Worker {
                admin: admin.apart(),
                chance: chance.branch(),
                name: format!("{name}-{number}"),
                count: 0,
                appetite,
                subjects: vec![],
                ledger: Ledger::default(),
                closing: Arc::clone(&closing),
            };
            thread::spawn(move || worker.run())
        };
        let workers = (0..appetite.workers).map(begin).collect();
        let ticker = thread::spawn({
            let (admin, closing) = (admin.apart(), Arc::clone(&closing));
            move || {
                while !closing.load(Ordering::SeqCst) && admin.advance(TTL / 6).is_ok() {
                    pause(TICK);
                }
            }
        });
        Self { closing, workers, ticker }
    }

    /// From here on an answer counts as none: it may have come too late.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Whether every worker has met its end.
    pub(crate) fn is_over(&self) -> bool {
        self.workers.iter().all(JoinHandle::is_finished)
    }

    /// What they wrote down.
    pub(crate) fn ledger(self) -> Ledger {
        let mut whole = Ledger::default();
        for worker in self.workers {
            whole.add(worker.join().unwrap());
        }
        self.closing.store(true, Ordering::SeqCst);
        self.ticker.join().unwrap();
        whole
    }
}

impl Ledger {
    pub(crate) fn add(&mut self, other: Self) {
        self.facts.extend(other.facts);
        self.sessions.extend(other.sessions);
        self.lost_registrations.extend(other.lost_registrations);
        self.lost_creates.extend(other.lost_creates);
        self.refused = self.refused.take().or(other.refused);
    }

    fn note(&mut self, kind: &'static str, subject: &str, session: Option<&str>, reply: &Reply) {
        let Some(position) = reply.position else { return };
        let (subject, session) = (subject.to_owned(), session.map(str::to_owned));
        self.facts.push(Fact { position, kind, subject, session });
    }
}

/// The name of a subject.
pub(crate) fn called(subject: &str) -> String {
    format!("The one called {subject}")
}

/// Lets callers work for a while, and end of themselves.
pub(crate) fn work(admin: &Caller, name: &str, length: Duration) -> Ledger {
    let load = Load::begin(admin, name, Appetite::MIXED, &mut Chance::new(length.subsec_nanos().into()));
    pause(length);
    load.close();
    load.ledger()
}

/// How a question came back.
enum Answer {
    Given(Reply),
    /// Its fate is not known.
    None,
    /// Nothing came of it, and nothing will.
    Refused(Reply),
}

/// The worker's day is over.
struct Over;

struct Worker {
    admin: Caller,
    chance: Chance,
    name: String,
    count: u32,
    appetite: Appetite,
    subjects: Vec<String>,
    ledger: Ledger,
    closing: Arc<AtomicBool>,
}

impl Worker {
    fn run(mut self) -> Ledger {
        while self.step().is_ok() {}
        self.ledger
    }

    fn step(&mut self) -> Result<(), Over> {
        if self.closing.load(Ordering::SeqCst) {
            return Err(Over);
        }
        match self.chance.below(20) {
            _ if self.subjects.is_empty() => self.register(),
            0 if self.subjects.len() < self.appetite.subjects => self.register(),
            0..=5 => self.create(),
            6 => self.revoke(),
            7..=16 if self.appetite.is_heavy => self.create(),
            _ => self.renew(),
        }
    }

    fn register(&mut self) -> Result<(), Over> {
        let subject = format!("{}-s{}", self.name, self.subjects.len());
        let body = json!({ "name": called(&subject), "maxSessions": SESSIONS, "onLimit": "evict_oldest" });
        let begun = Begun { subject, key: self.key(), body };
        match self.answer(begun.register(&self.admin)) {
            Answer::Given(reply) => {
                assert_eq!(reply.status, 201, "{reply:?}");
                self.ledger.note("SubjectRegistered", &begun.subject, None, &reply);
                self.subjects.push(begun.subject);
                Ok(())
            }
            Answer::None => {
                self.ledger.lost_registrations.push(begun);
                Err(Over)
            }
            Answer::Refused(reply) => self.end(reply),
        }
    }

    fn create(&mut self) -> Result<(), Over> {
        let index = self.below(self.subjects.len());
        let subject = self.subjects[index].clone();
        let mut body = json!({ "subjectId": subject, "ttl": TTL, "maxRenewals": 100,
            "device": format!("device of {subject}"), "metadata": { "padding": "x".repeat(self.below(600)) } });
        if self.appetite.is_heavy {
            let scope = |number| format!("scope-{number}-{}", "y".repeat(110));
            body["scopes"] = (0..16).map(scope).collect();
            body["metadata"]["padding"] = "x".repeat(4_000).into();
            let place = |number| format!("place-{number}-{}", "z".repeat(240));
            body["constraints"]["allowedDestinations"] = (0..30).map(place).collect();
        }
        let begun = Begun { subject, key: self.key(), body };
        match self.answer(begun.create(&self.admin)) {
            Answer::Given(reply) => {
                assert_eq!(reply.status, 201, "{reply:?}");
                let id = reply.text("sessionId");
                self.ledger.note("SessionCreated", &begun.subject, Some(&id), &reply);
                self.ledger.sessions.push(Held::granted(begun, reply));
                Ok(())
            }
            Answer::None => {
                self.ledger.lost_creates.push(begun);
                Err(Over)
            }
            Answer::Refused(reply) => self.end(reply),
        }
    }

    fn renew(&mut self) -> Result<(), Over> {
        let Some(index) = self.recent() else { return Ok(()) };
        let (key, old_token) = (self.key(), self.ledger.sessions[index].token.clone());
        if let Some(latest) = &mut self.ledger.sessions[index].latest {
            latest.presented = true;
        }
        let asked = self.admin.renew(&self.ledger.sessions[index].id, &old_token, Some(&key));
        let answer = self.answer(asked);
        let held = &mut self.ledger.sessions[index];
        let (subject, id) = (held.subject.clone(), held.id.clone());
        match answer {
            Answer::Given(reply) if reply.status == 200 => {
                held.renewals += 1;
                assert_eq!(reply.number("renewalCount"), held.renewals, "{reply:?}");
                held.token = reply.text("token");
                self.ledger.note("SessionRenewed", &subject, Some(&id), &reply);
                let renewal = Renewal { key, old_token, reply, presented: false };
                self.ledger.sessions[index].latest = Some(renewal);
            }
            Answer::Given(reply) => {
                let codes =
                    ["RENEWAL_TOO_EARLY", "TOKEN_EXPIRED", "SESSION_REVOKED", "RENEWAL_LIMIT_REACHED"];
                assert!(codes.contains(&reply.code()), "{reply:?}");
                self.ledger.note("RenewalRejected", &subject, Some(&id), &reply);
            }
            Answer::None => {
                held.unanswered = Some(Unanswered::Renewal(key));
                return Err(Over);
            }
            Answer::Refused(reply) => return self.end(reply),
        }
        Ok(())
    }

    fn revoke(&mut self) -> Result<(), Over> {
        let Some(index) = self.recent() else { return Ok(()) };
        let key = self.key();
        let held = &self.ledger.sessions[index];
        let asked =
            self.admin.delete(&format!("/v1/sessions/{}?reason=no+longer+needed", held.id), Some(&key));
        let answer = self.answer(asked);
        let held = &mut self.ledger.sessions[index];
        let (subject, id) = (held.subject.clone(), held.id.clone());
        match answer {
            Answer::Given(reply) => {
                assert_eq!(reply.status, 200, "{reply:?}");
                if reply.text("trigger") != "evicted" && held.revoked.is_none() {
                    held.revoked = Some(Revoked { key, reply: reply.clone() });
                }
                self.ledger.note("SessionRevoked", &subject, Some(&id), &reply);
                Ok(())
            }
            Answer::None => {
                held.unanswered = Some(Unanswered::Revocation(key));
                Err(Over)
            }
            Answer::Refused(reply) => self.end(reply),
        }
    }

    fn answer(&self, asked: Result<Reply, Lost>) -> Answer {
        match asked {
            Err(Lost) => Answer::None,
            Ok(_) if self.closing.load(Ordering::SeqCst) => Answer::None,
            Ok(reply) if reply.code() == "OUTCOME_UNKNOWN" => Answer::None,
            Ok(reply) if reply.status == 503 => Answer::Refused(reply),
            Ok(reply) => Answer::Given(reply),
        }
    }

    fn end(&mut self, reply: Reply) -> Result<(), Over> {
        self.ledger.refused = Some(reply);
        Err(Over)
    }

    /// One of the latest few sessions.
    fn recent(&mut self) -> Option<usize> {
        let count = self.ledger.sessions.len();
        let back = self.below(count.clamp(1, 4)) + 1;
        count.checked_sub(back)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.chance.below(end as u64)).unwrap()
    }

    fn key(&mut self) -> String {
        self.count += 1;
        format!("{}-key-{}", self.name, self.count)
    }
}
