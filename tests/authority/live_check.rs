//! Memory and log are compared while the authority is at work: what agrees is never called different, and what is
//! changed in memory is.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tenure::{
    audit::live_check::{CheckError, CheckFindings, LiveCheck, PublishedView},
    authority::Authority,
    core::{
        Position, Seconds, SubjectId, eviction::EvictionHorizon, session::Session,
        session_fields::SessionFields, subject::Subject, system::SystemState,
    },
    log::EventLog,
};

use crate::rebuild::Life;

type Lie<T> = Box<dyn Fn(&mut T) + Send + Sync>;

/// What an authority publishes, but for a lie.
struct View {
    authority: Arc<Authority>,
    about_names: Lie<Vec<SubjectId>>,
    about_subjects: Lie<Subject>,
    about_system: Lie<SystemState>,
}

impl View {
    fn of(life: &Life) -> Self {
        let authority = Arc::clone(&life.world.authority);
        let (about_names, about_subjects, about_system) =
            (Box::new(|_: &mut _| ()), Box::new(|_: &mut _| ()), Box::new(|_: &mut _| ()));
        Self { authority, about_names, about_subjects, about_system }
    }

    fn told_of(self, life: &Life, slice: usize) -> LiveCheck {
        LiveCheck::start(Arc::clone(&life.log) as Arc<dyn EventLog>, Arc::new(self), slice).unwrap()
    }
}

impl PublishedView for View {
    fn position(&self) -> Position {
        self.authority.live().position()
    }

    fn subjects(&self) -> Vec<SubjectId> {
        let mut names: Vec<_> =
            self.authority.live().subjects().iter().map(|subject| subject.id.clone()).collect();
        (self.about_names)(&mut names);
        names
    }

    fn subject(&self, id: &SubjectId) -> Option<Subject> {
        let mut subject = self.authority.live().recorded_subject(id).map(|subject| subject.as_ref().clone());
        if let Some(subject) = &mut subject {
            (self.about_subjects)(subject);
        }
        subject.or_else(|| self.subjects().contains(id).then(|| Subject::new(id.clone())))
    }

    fn horizon(&self) -> EvictionHorizon {
        self.authority.live().horizon()
    }

    fn system(&self) -> Arc<SystemState> {
        let mut system = self.authority.live().system().system.as_ref().clone();
        (self.about_system)(&mut system);
        Arc::new(system)
    }
}

fn lived(seed: u64, steps: u32) -> Life {
    let mut life = Life::new(seed);
    (0..steps).for_each(|_| life.step());
    life
}

/// A short one, in which a session was renewed: later most that is tried is tried in vain.
fn renewed_life() -> Life {
    let is_renewed = |life: &Life| {
        let subjects = life.world.authority.live().subjects();
        subjects.iter().any(|subject| subject.sessions.iter().any(|session| session.renewal().is_some()))
    };
    (10..1_000).map(|seed| lived(seed, 100)).find(is_renewed).unwrap()
}

fn found(check: &LiveCheck) -> CheckFindings {
    check.now().expect("nobody else checks").unwrap()
}

#[test]
fn an_authority_at_rest_agrees_with_its_log_whatever_the_slices() {
    let life = lived(1, 600);
    let published = life.world.authority.live();
    let sessions: usize = published.subjects().iter().map(|subject| subject.sessions.len()).sum();
    for slice in [1, 3, 1_000] {
        let check = View::of(&life).told_of(&life, slice);
        let expected = CheckFindings {
            position: published.position(),
            subjects: 4,
            sessions: sessions as u64,
            differences: vec![],
        };
        assert_eq!(found(&check), expected);
        assert_eq!((check.alarm(), check.rounds(), check.differences()), (None, 1, 0));
    }
}

#[test]
fn an_authority_at_work_agrees_with_its_log() {
    let mut life = lived(2, 300);
    let check = View::of(&life).told_of(&life, 2);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let checking = scope.spawn(|| {
            let mut rounds = 0;
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(found(&check).differences, []);
                rounds += 1;
            }
            rounds
        });
        (0..3_000).for_each(|_| life.step());
        is_over.store(true, Ordering::Relaxed);
        assert!(checking.join().unwrap() > 1);
    });
    assert_eq!(check.alarm(), None);
}

fn changed_by(session: &Session, lie: fn(&mut SessionFields)) -> Session {
    let mut fields = session.into();
    lie(&mut fields);
    fields.try_into().unwrap()
}

/// Every part of a session that a token is judged by, changed in memory only.
#[test]
fn a_session_that_was_changed_in_memory_is_named() {
    let life = renewed_life();
    let lies: [fn(&mut SessionFields); 4] = [
        |session| session.generation = session.generation.next(),
        |session| session.expires_at = session.expires_at.plus(Seconds(1)),
        |session| session.revocation = None,
        |session| session.renewal.iter_mut().for_each(|renewal| renewal.presented = !renewal.presented),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let about_subjects: Lie<Subject> = Box::new(move |subject| {
            subject.sessions.iter_mut().for_each(|session| *session = changed_by(session, lie));
        });
        let view = View { about_subjects, ..View::of(&life) };
        let changed = |id: &&SubjectId| {
            let told = PublishedView::subject(&view, id);
            told.as_ref() != life.world.authority.live().recorded_subject(id).as_deref()
        };
        let names = view.subjects();
        let mut wrong: Vec<_> = names.iter().filter(changed).cloned().map(Some).collect();
        wrong.sort();
        assert!(!wrong.is_empty(), "lie {number} changes nothing");
        let check = view.told_of(&life, 10);
        let differences = found(&check).differences;
        let mut found_wrong: Vec<_> =
            differences.iter().map(|difference| difference.subject.clone()).collect();
        found_wrong.sort();
        assert_eq!(found_wrong, wrong, "lie {number}");
        assert!(differences.iter().all(|one| one.live.is_some() && one.live != one.replayed));
        assert!(check.alarm().unwrap().contains("memory and log differ about "), "{:?}", check.alarm());
    }
}

#[test]
fn a_subject_that_only_one_of_them_knows_is_named() {
    let life = lived(4, 200);
    let check =
        View { about_names: Box::new(|names| names.push("ghost".parse().unwrap())), ..View::of(&life) };
    let differences = found(&check.told_of(&life, 10)).differences;
    assert!(
        matches!(&differences[..], [one] if one.replayed.is_none() && one.live.is_some()),
        "{differences:?}"
    );
    let about_subjects: Lie<Subject> = Box::new(|subject| subject.sessions.clear());
    let check = View { about_subjects, ..View::of(&life) }.told_of(&life, 10);
    assert_eq!(found(&check).differences.len(), 4);
}

#[test]
fn a_change_of_the_authority_s_own_state_is_named() {
    let life = lived(5, 20);
    let check =
        View { about_system: Box::new(|system| system.policy = None), ..View::of(&life) }.told_of(&life, 10);
    let differences = found(&check).differences;
    assert!(matches!(&differences[..], [one] if one.subject.is_none()), "{differences:?}");
    assert!(check.alarm().unwrap().contains("differ about the authority itself"));
}

/// It replayed the whole log for a caller that had left.
#[test]
fn a_check_that_nobody_waits_for_ends() {
    let life = lived(6, 20);
    let check = View::of(&life).told_of(&life, 10);
    let rounds = check.rounds();
    assert_eq!(check.now_while(&|| false), Some(Err(CheckError::Unwanted)));
    assert_eq!((check.rounds(), check.alarm()), (rounds, None));
    assert!(check.now_while(&|| true).unwrap().is_ok());
}

#[test]
fn a_check_ends_with_the_authority() {
    let life = lived(6, 20);
    let check = View::of(&life).told_of(&life, 10);
    check.end();
    assert_eq!(check.now(), Some(Err(CheckError::Over)));
    assert_eq!(check.alarm(), None);
}
