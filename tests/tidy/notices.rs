//! The catalogue of notices: every kind is told, with exactly the members that it has.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use serde_json::{Map, Value};
use tenure::{
    core::{
        Actor, Commit, CommitId, Digest16, Event, EventKind, Generation, OwnerId, Position, SealedText,
        Seconds, SessionId, SessionMode, StreamId, SubjectEvent, SubjectId, SystemEvent, Timestamp,
        commit::ActorKind,
        event::{
            EndTrigger, ExpiringSoon, ExpiryCause, RejectionCause, RejectionCode, RenewalRejected, Role,
            SelectionRevoked, SessionCreated, SessionDevice, SessionExpired, SessionRenewed, SessionRevoked,
            SessionTerms, SessionsRevoked, SubjectProfile, SubjectRegistered, SubjectResumed,
            SubjectSuspended,
        },
        state::AuthorityState,
        subject::Subject,
    },
    log::{StoredCommit, encode},
    notify::{Notice, NoticeContext, NoticeKind, notices_of},
};

use crate::{blocks, tree};

const CATALOGUE: &str = "docs/notices.md";

#[test]
fn every_kind_is_told_in_the_catalogue_and_no_other() {
    let text = tree::text(Path::new(CATALOGUE)).unwrap();
    let told: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(told, NoticeKind::ALL.map(NoticeKind::name));
}

#[test]
fn the_example_of_every_kind_is_what_is_told() {
    for notice in examples() {
        let example = serde_json::to_string_pretty(&notice).unwrap();
        blocks::check(CATALOGUE, notice.kind.name(), &format!("```json\n{example}\n```"));
    }
}

#[test]
fn the_members_of_every_kind_are_told() {
    let text = tree::text(Path::new(CATALOGUE)).unwrap();
    let common = members(text.split("\n## ").next().unwrap());
    for notice in examples() {
        let section = text.split(&format!("\n## {}\n", notice.kind.name())).nth(1).unwrap();
        let own = members(section.split("\n## ").next().unwrap());
        let told: BTreeSet<_> = common.union(&own).cloned().collect();
        let there: BTreeSet<_> = object(&notice).keys().cloned().collect();
        assert_eq!(told, there, "{}", notice.kind.name());
    }
}

fn members(section: &str) -> BTreeSet<String> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

fn object(notice: &Notice) -> Map<String, Value> {
    let Ok(Value::Object(members)) = serde_json::to_value(notice) else { panic!("a notice is an object") };
    members
}

#[test]
fn of_every_kind_of_event_that_is_told_there_are_notices() {
    let told: BTreeSet<_> = EventKind::ALL.into_iter().filter(|kind| kind.is_notifiable()).collect();
    assert_eq!(History::told().told_of, told);
}

/// One of every kind, in the order of the kinds.
fn examples() -> Vec<Notice> {
    let mut examples: Vec<Notice> = Vec::new();
    for notice in History::told().notices {
        if !examples.iter().any(|known| known.kind == notice.kind) {
            examples.push(notice);
        }
    }
    examples.sort_by_key(|notice| notice.kind);
    assert_eq!(examples.len(), NoticeKind::ALL.len());
    examples
}

const BEGIN: Timestamp = Timestamp::from_millis(1_795_224_900_000);
const SESSION: SessionId = SessionId::from_bytes([0x51; 16]);
const OTHER: SessionId = SessionId::from_bytes([0x52; 16]);
const THIRD: SessionId = SessionId::from_bytes([0x53; 16]);

/// A short history of one subject, whose texts are sealed by nobody.
#[derive(Default)]
struct History {
    state: AuthorityState,
    notices: Vec<Notice>,
    /// The kinds of events that led to notices.
    told_of: BTreeSet<EventKind>,
}

struct Today(Arc<Subject>);

impl NoticeContext for Today {
    fn subject(&self, _id: &SubjectId) -> Option<Arc<Subject>> {
        Some(Arc::clone(&self.0))
    }

    fn open_text(&self, _stream: &StreamId, _field: &'static str, text: &SealedText) -> Option<String> {
        String::from_utf8(text.as_bytes().to_vec()).ok()
    }

    fn device_name(&self, _digest: Digest16, _owner: Option<&OwnerId>) -> Option<String> {
        None
    }

    fn epoch_of(&self, _position: Position) -> u32 {
        tenure::core::epoch::FIRST
    }

    fn erasures(&self) -> u64 {
        0
    }
}

impl History {
    fn told() -> Self {
        let mut history = Self::default();
        let profile = SubjectProfile {
            name: Some(text("Night shift")),
            owner_id: Some("alice".parse().unwrap()),
            ..SubjectProfile::default()
        };
        history.record(0, Event::Subject(SubjectEvent::SubjectRegistered(SubjectRegistered { profile })));
        history.record(0, created(SESSION));
        history.record(43_200, renewed());
        history.record(46_000, refused());
        history.record(46_800, ended());
        history.record(86_000, created(THIRD));
        history.record(86_000, all_ended());
        history.record(86_400, created(OTHER));
        let expires_at = after(2 * 86_400);
        let cause = ExpiryCause::Ttl;
        let expired = SessionExpired { session_id: OTHER, expires_at, cause };
        history.record(2 * 86_400, Event::Subject(SubjectEvent::SessionExpired(expired)));
        history.record(2 * 86_400, all_selected());
        history.record(2 * 86_400, suspended());
        history.record(2 * 86_400 + 600, resumed());
        history
    }

    fn record(&mut self, seconds: u32, event: Event) {
        let id: SubjectId = "bot-7".parse().unwrap();
        let (stream, expected) = match event {
            Event::System(_) => (StreamId::System, self.state.system.version),
            Event::Subject(_) => {
                let known = self.state.subjects.get(&id);
                (StreamId::Subject(id.clone()), known.map_or(Position::ZERO, Subject::version))
            }
        };
        let commit = Commit {
            id: CommitId::from_bytes([0; 16]),
            stream,
            expected,
            recorded_at: after(seconds),
            actor: actor(),
            correlation_id: None,
            idempotency: None,
            events: vec![event],
        };
        let first = self.state.position.next();
        self.state.apply(&commit).unwrap();
        let today = Today(Arc::new(self.state.subjects[&id].clone()));
        let stored = StoredCommit::decode(first, encode(&commit).unwrap().bytes()).unwrap();
        let notices = notices_of(&stored, None, &today);
        if !notices.is_empty() {
            self.told_of.insert(stored.commit.events[0].kind());
        }
        self.notices.extend(notices);
    }
}

fn after(seconds: u32) -> Timestamp {
    BEGIN.plus(Seconds(seconds))
}

fn text(text: &str) -> SealedText {
    SealedText::from_bytes(text.as_bytes().to_vec())
}

fn created(session_id: SessionId) -> Event {
    let begin = if session_id == SESSION { 0 } else { 86_400 };
    Event::Subject(SubjectEvent::SessionCreated(SessionCreated {
        session_id,
        terms: SessionTerms {
            ttl: Seconds(86_400),
            max_renewals: 4,
            absolute_lifetime: Seconds(2_592_000),
            renewal_reject_window: Seconds(3_600),
            idle_timeout: None,
            mode: SessionMode::Fixed,
            on_reuse: Some(tenure::core::policy::OnReuse::Reject),
            purpose: None,
        },
        expires_at: after(begin + 86_400),
        renew_at: Some(after(begin + 60_000)),
        device: Some(SessionDevice {
            digest: tenure::core::Digest16::from_bytes([7; 16]),
            name: text("build server"),
        }),
        scopes: vec![],
        metadata: None,
        constraints: None,
    }))
}

fn suspended() -> Event {
    Event::Subject(SubjectEvent::SubjectSuspended(SubjectSuspended {
        reason: Some(text("it spends too much")),
        until: Some(after(3 * 86_400)),
        by: actor(),
        role: Role::Owner,
    }))
}

fn resumed() -> Event {
    let reason = Some(text("the budget was raised"));
    Event::Subject(SubjectEvent::SubjectResumed(SubjectResumed {
        reason,
        by: actor(),
        role: Some(Role::Owner),
    }))
}

fn actor() -> Actor {
    Actor { kind: ActorKind::Credential, id: Some("c1c1c1c1-c1c1-c1c1-c1c1-c1c1c1c1c1c1".into()) }
}

fn all_selected() -> Event {
    Event::System(SystemEvent::SelectionRevoked(SelectionRevoked {
        selector: Box::default(),
        matched: 1,
        reason: None,
        owners: None,
        cause: None,
    }))
}

fn all_ended() -> Event {
    Event::Subject(SubjectEvent::SessionsRevoked(SessionsRevoked {
        device_digest: None,
        except_session_id: None,
        oldest: None,
        matched: 1,
        trigger: EndTrigger::SubjectRevoked,
        reason: None,
    }))
}

fn renewed() -> Event {
    Event::Subject(SubjectEvent::SessionRenewed(SessionRenewed {
        session_id: SESSION,
        generation: Generation(2),
        expires_at: after(43_200 + 86_400),
        renew_at: Some(after(43_200 + 60_000)),
        key_digest: None,
        expiring_soon: Some(ExpiringSoon::Renewals),
    }))
}

fn refused() -> Event {
    Event::Subject(SubjectEvent::RenewalRejected(RenewalRejected {
        session_id: SESSION,
        generation: Generation(2),
        cause: RejectionCause::Policy,
        code: Some(RejectionCode::RenewalTooEarly),
        expiring_soon: None,
        contested: false,
    }))
}

fn ended() -> Event {
    let reason = Some(text("not needed any more"));
    Event::Subject(SubjectEvent::SessionRevoked(SessionRevoked {
        session_id: SESSION,
        trigger: EndTrigger::ManualRevoke,
        reason,
    }))
}
