//! The news reaches every reader whole: each position once, in order, whatever readers and writers do meanwhile.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};

use tenure::{
    authority::{Authority, NewProfile, NewSession, SubjectRevocationRequest},
    clock::pause,
    core::{
        Digest16, OwnerId, Position, SealedText, SessionId, StreamId, SubjectId, Timestamp,
        event::SessionTerms, subject::Subject,
    },
    entropy::{Entropy, SeededEntropy},
    log::{self, EventLog, MemoryLog},
    notify::{CommitBatch, FeedCommit, NoticeContext, NoticeKind, notice::NoticeDetails},
};

use crate::world::{World, context, world};

/// Checks that the news goes on without a gap, and notes how far it came.
fn hear(batch: &CommitBatch, heard: &mut Position) {
    for commit in batch.commits() {
        assert_eq!(commit.stored().first, heard.next());
        *heard = commit.stored().last();
    }
}

fn register(authority: &Authority, name: &str) {
    let registered =
        authority.register_subject(context(), name.parse().unwrap(), NewProfile::default(), true);
    pollster::block_on(registered).unwrap();
}

/// Eight writers at work until they are told to stop.
fn with_writers<T>(world: &World, read: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (stop, authority) = (&stop, &world.authority);
            scope.spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::SeqCst) {
                    register(authority, &format!("s{writer}-{n}"));
                    n += 1;
                }
            });
        }
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
        stop.store(true, Ordering::SeqCst);
        read.unwrap()
    })
}

#[test]
fn a_reader_that_drops_a_thousand_times_hears_each_position_once_in_order() {
    let world = world(Arc::new(MemoryLog::new()), 1);
    let chance = SeededEntropy::new(2);
    let mut heard = Position::ZERO;
    with_writers(&world, || {
        for _ in 0..1_000 {
            let mut byte = [0];
            chance.fill(&mut byte);
            let mut cursor = world.authority.subscribe(heard);
            for _ in 0..byte[0] % 4 {
                hear(&pollster::block_on(cursor.next()).unwrap().unwrap(), &mut heard);
            }
        }
    });
    let mut cursor = world.authority.subscribe(heard);
    let end = world.authority.live().position();
    assert!(end > Position(1_000), "{end}");
    while heard < end {
        hear(&pollster::block_on(cursor.next()).unwrap().unwrap(), &mut heard);
    }
}

#[test]
fn a_reader_that_sleeps_through_the_live_channel_reads_the_rest_from_the_log() {
    let world = world(Arc::new(MemoryLog::new()), 3);
    let mut heard = world.authority.feed().head();
    let mut sleeper = world.authority.subscribe(heard);
    with_writers(&world, || {
        // The first batch comes live; what follows is far more than the channel holds.
        hear(&pollster::block_on(sleeper.next()).unwrap().unwrap(), &mut heard);
        pause(Duration::from_millis(1_500));
    });
    let end = world.authority.live().position();
    while heard < end {
        hear(&pollster::block_on(sleeper.next()).unwrap().unwrap(), &mut heard);
    }
}

#[test]
fn a_reader_hears_the_last_word_of_an_authority_that_stops() {
    let world = world(Arc::new(MemoryLog::new()), 4);
    let mut cursor = world.authority.subscribe(Position::ZERO);
    register(&world.authority, "last");
    world.authority.stop();
    let mut heard = Position::ZERO;
    while let Some(batch) = pollster::block_on(cursor.next()).unwrap() {
        hear(&batch, &mut heard);
    }
    assert_eq!(heard, world.authority.live().position());
}

/// More than are told at one moment, some of whom leave and leave their places to others.
#[test]
fn a_thousand_readers_hear_each_position_once_in_order_up_to_the_last() {
    let world = world(Arc::new(MemoryLog::new()), 5);
    let join = |heard: Position| (world.authority.subscribe(heard), heard);
    let mut readers: Vec<_> = (0..1_100).map(|_| join(world.authority.feed().head())).collect();
    with_writers(&world, || {
        pause(Duration::from_millis(200));
        let leaving = readers.split_off(150);
        drop(leaving);
        pause(Duration::from_millis(100));
        for n in 0..500 {
            readers.push(join(if n % 2 == 0 { Position::ZERO } else { world.authority.feed().head() }));
        }
        for (cursor, heard) in &mut readers {
            hear(&pollster::block_on(cursor.next()).unwrap().unwrap(), heard);
        }
        pause(Duration::from_millis(200));
    });
    assert_eq!(world.authority.feed().cursors(), 650);
    world.authority.stop();
    for (mut cursor, mut heard) in readers {
        while let Some(batch) = pollster::block_on(cursor.next()).unwrap() {
            hear(&batch, &mut heard);
        }
        assert_eq!(heard, world.authority.live().position());
    }
}

#[test]
fn a_place_inside_a_commit_gives_the_whole_commit_again() {
    let world = world(Arc::new(MemoryLog::new()), 5);
    let created = world
        .authority
        .create_session(context(), tenure::authority::NewSession::of("twice".parse().unwrap()));
    // The first session of an unknown subject is two events of one commit.
    let position = pollster::block_on(created).unwrap().position.unwrap();
    let mut cursor = world.authority.subscribe(Position(position.0 - 1));
    let batch = pollster::block_on(cursor.next()).unwrap().unwrap();
    assert_eq!(batch.commits()[0].stored().first, Position(position.0 - 1));
}

#[test]
fn what_was_told_before_a_crash_is_there_after_it() {
    let data = tempfile::tempdir().unwrap();
    let open = || log::open(data.path(), &mut |_| Ok(())).unwrap();
    let log: Arc<dyn EventLog> = Arc::new(open());
    let mut heard = Vec::new();
    {
        let world = world(Arc::clone(&log), 6);
        let mut cursor = world.authority.subscribe(Position::ZERO);
        for n in 0..20 {
            register(&world.authority, &format!("s{n}"));
            let batch = pollster::block_on(cursor.next()).unwrap().unwrap();
            heard.extend(batch.commits().iter().map(|commit| commit.stored().clone()));
        }
    }
    drop(log);
    let mut kept = open().read(Position::ZERO, usize::MAX).unwrap();
    kept.truncate(heard.len());
    assert_eq!(kept, heard);
}

/// What readers would derive alike is derived once and kept. Kept text must not outlive its erasure.
#[test]
fn what_is_kept_for_readers_is_not_told_once_it_was_erased() {
    let log = Arc::new(MemoryLog::new());
    let world = world(Arc::clone(&log) as Arc<dyn EventLog>, 7);
    let authority = &*world.authority;
    let new = NewSession { device: Some("Anna's phone".into()), ..NewSession::of("anna".parse().unwrap()) };
    pollster::block_on(authority.create_session(context(), new)).unwrap();
    let stored = log.read(Position::ZERO, 100).unwrap().pop().unwrap();
    let commit = FeedCommit::of(Arc::new(stored));
    let told = || serde_json::to_string(&*commit.notices(authority)).unwrap();
    assert!(told().contains("Anna's phone"), "{}", told());
    pollster::block_on(authority.erase_subject(context(), "anna".parse().unwrap(), "asked for it")).unwrap();
    assert!(!told().contains("Anna's phone"), "{}", told());
}

/// What is so today, where every session has left memory and the log must not be asked.
struct WithoutSessions<'a>(&'a Authority);

impl NoticeContext for WithoutSessions<'_> {
    fn subject(&self, id: &SubjectId) -> Option<Arc<Subject>> {
        let subject = self.0.live().subject(id)?;
        let mut subject = subject.as_ref().clone();
        subject.sessions.clear();
        Some(Arc::new(subject))
    }

    fn subject_in_full(&self, id: &SubjectId) -> Option<Arc<Subject>> {
        panic!("the sessions of {id} were read back")
    }

    fn terms_of_left(&self, session: SessionId) -> Option<(SessionTerms, Timestamp)> {
        panic!("the terms of {session} were read back")
    }

    fn open_text(&self, stream: &StreamId, field: &'static str, text: &SealedText) -> Option<String> {
        self.0.open_text(stream, field, text)
    }

    fn device_name(&self, _digest: Digest16, _owner: Option<&OwnerId>) -> Option<String> {
        None
    }

    fn epoch_of(&self, position: Position) -> u32 {
        NoticeContext::epoch_of(self.0, position)
    }

    fn erasures(&self) -> u64 {
        NoticeContext::erasures(self.0)
    }
}

/// A session may leave memory before a reader gets to its notices; then each of them was read back from the log.
#[test]
fn notices_of_a_commit_just_published_are_made_of_what_the_fold_left() {
    let world = world(Arc::new(MemoryLog::new()), 8);
    let authority = &*world.authority;
    let new = NewSession { device: Some("Anna's phone".into()), ..NewSession::of("anna".parse().unwrap()) };
    let created = pollster::block_on(authority.create_session(context(), new)).unwrap();
    let mut cursor = authority.subscribe(authority.feed().head());
    // Once it waits, what happens reaches it live, and not from the log.
    let waits = pin!(cursor.next()).poll(&mut Context::from_waker(Waker::noop())).is_pending();
    assert!(waits, "there is nothing yet");
    world.clock.set(created.session.renew_at().unwrap()).unwrap();
    let holder = authority.holder(created.token.expose()).unwrap();
    pollster::block_on(authority.renew(context(), &holder, None)).unwrap();
    let asked = SubjectRevocationRequest {
        subject_id: "anna".parse().unwrap(),
        device: Some("Anna's phone".into()),
        except: None,
        owner: None,
        reason: None,
    };
    pollster::block_on(authority.revoke_many(context(), asked)).unwrap();
    let mut notices = Vec::new();
    while notices.len() < 2 {
        let batch = pollster::block_on(cursor.next()).unwrap().unwrap();
        notices.extend(batch.notices(&WithoutSessions(authority)));
    }
    let kinds: Vec<_> = notices.iter().map(|notice| notice.kind).collect();
    assert_eq!(kinds, [NoticeKind::SessionRenewed, NoticeKind::SessionRevoked]);
    let NoticeDetails::Revoked(revoked) = &notices[1].details else { panic!("{notices:?}") };
    let device = revoked.selector.as_ref().and_then(|selector| selector.device.as_deref());
    assert_eq!(device, Some("Anna's phone"));
}
