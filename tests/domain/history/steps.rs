//! What may happen: one command at random after the other.

use std::fmt::Debug;

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any},
    prop_oneof,
};

use super::asks::{Budget, NewSession, OwnLimits, Rules, Suspender};

/// The subjects of a history, by number.
pub(super) const SUBJECTS: [&str; 3] = ["ada", "bot:7", "zoe@example.org"];

/// One command at random. Which session it means is known only when it is its turn.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) pick: usize,
    pub(super) wait: Wait,
    pub(super) action: Action,
}

/// How far time moves first; an edge of the picked session that is past moves nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    Not,
    Millis(i64),
    Until(Edge, i64),
    Days(i64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Edge {
    Half,
    Expiry,
    WindowEnd,
    AbsoluteEnd,
    IdleEnd,
    Refresh,
    /// The moment from which on a replaced token contests the session.
    Grace,
    /// The moment up to which a use may be unrecorded.
    Tenth,
}

/// Which of a session's tokens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    Current,
    Previous,
    First,
    NeverIssued,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Key {
    None,
    Latest,
    Some(u8),
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Register {
        subject: usize,
        owner: Option<u8>,
        limits: OwnLimits,
        as_admin: bool,
    },
    Create {
        subject: usize,
        new: NewSession,
    },
    Renew {
        token: Which,
        key: Key,
        jitter: u16,
    },
    Introspect(Which),
    RecordUses,
    Crash,
    RecordPresented,
    LookForThieves,
    Mint(Which),
    Revoke {
        by: u8,
        token: Which,
        reject_renewal: Option<bool>,
    },
    RevokeAll {
        subject: usize,
        device: Option<u8>,
        spare: bool,
        owner: Option<u8>,
    },
    RevokeMatching {
        owner: Option<u8>,
        subject: Option<usize>,
        device: Option<u8>,
        before: Option<i64>,
    },
    Use {
        token: Option<Which>,
        operation: u8,
        tenths: Option<u64>,
    },
    Sweep {
        subject: usize,
    },
    Refresh(Which),
    Erase {
        subject: usize,
    },
    /// For so long.
    Suspend {
        subject: usize,
        by: Suspender,
        millis: Option<i64>,
        reason: Option<u8>,
    },
    Resume {
        subject: usize,
        by: Suspender,
    },
    EndAndSuspend {
        by: Suspender,
        reason: Option<u8>,
    },
    Rotate {
        access: bool,
        at_once: bool,
        overlap: Option<u32>,
    },
    ChangeRules(Rules),
}

fn waits() -> impl Strategy<Value = Wait> {
    let edge = prop_oneof![
        10 => Just(Edge::Half),
        2 => Just(Edge::Expiry),
        2 => Just(Edge::WindowEnd),
        1 => Just(Edge::AbsoluteEnd),
        2 => Just(Edge::IdleEnd),
        4 => Just(Edge::Refresh),
        2 => Just(Edge::Tenth),
        4 => Just(Edge::Grace),
    ];
    prop_oneof![
        26 => Just(Wait::Not),
        4 => prop_oneof![Just(1), Just(999), Just(1_000), Just(150_000), Just(700_000)].prop_map(Wait::Millis),
        20 => (edge, -1_i64..=1).prop_map(|(edge, off)| Wait::Until(edge, off)),
        1 => prop_oneof![3 => Just(1_i64), 1 => 2_i64..=40].prop_map(Wait::Days),
    ]
}

fn tokens() -> impl Strategy<Value = Which> {
    prop_oneof![
        8 => Just(Which::Current),
        4 => Just(Which::Previous),
        2 => Just(Which::First),
        1 => Just(Which::NeverIssued),
    ]
}

fn keys() -> impl Strategy<Value = Key> {
    prop_oneof![2 => Just(Key::None), 3 => Just(Key::Latest), 4 => (1_u8..=3).prop_map(Key::Some)]
}

fn one_of<T: Clone + Debug + 'static>(values: &'static [T]) -> impl Strategy<Value = T> {
    (0..values.len()).prop_map(|index| values[index].clone())
}

/// One of the usual values, and now and then of the others.
fn mostly<T: Clone + Debug + 'static>(usual: &'static [T], others: &'static [T]) -> impl Strategy<Value = T> {
    prop_oneof![19 => one_of(usual), 1 => one_of(others)]
}

fn own_limits() -> impl Strategy<Value = OwnLimits> {
    (
        one_of(&[None, Some(1), Some(3)]),
        one_of(&[None, Some(1)]),
        any::<Option<bool>>(),
        any::<Option<bool>>(),
    )
        .prop_map(|(sessions, device_sessions, evicts, device_evicts)| OwnLimits {
            sessions,
            device_sessions,
            evicts,
            device_evicts,
        })
}

fn new_sessions() -> impl Strategy<Value = NewSession> {
    let terms = (
        mostly(&[None, Some(300), Some(301), Some(1_000), Some(1_000)], &[Some(299), Some(604_801)]),
        mostly(&[None, Some(0), Some(1), Some(2), Some(3), Some(100)], &[Some(101)]),
        mostly(&[None, None, Some(1_000), Some(1_500), Some(2_000)], &[Some(300), Some(5_000_000)]),
        mostly(&[None, Some(300)], &[Some(299), Some(86_401)]),
        mostly(
            &[None, None, None, None, Some(301), Some(601), Some(601), Some(86_400)],
            &[Some(60), Some(59), Some(86_401)],
        ),
    );
    let reuse = one_of(&[None, None, Some(true), Some(true), Some(false)]);
    (terms, modes(), one_of(&[None, Some(1), Some(2)]), any::<u16>(), budgets(), reuse).prop_map(
        |(terms, mode, device, jitter, budget, reuse_ends)| {
            let (ttl, renewals, lifetime, window, idle) = terms;
            let (sliding, may_ask) = mode;
            let renewals = renewals.filter(|_| may_ask);
            NewSession {
                session: 0,
                ttl,
                renewals,
                lifetime,
                window,
                idle,
                sliding,
                reuse_ends,
                device,
                jitter,
                budget,
            }
        },
    )
}

/// Whether it slides, and whether it may ask for renewals: a sliding session gets none.
fn modes() -> impl Strategy<Value = (bool, bool)> {
    prop_oneof![14 => Just((false, true)), 6 => Just((true, false)), 1 => Just((true, true))]
}

/// Small, so that they are soon spent.
fn budgets() -> impl Strategy<Value = Option<Budget>> {
    let some = (
        one_of(&[None, Some(2), Some(10)]),
        one_of(&[None, Some(3), Some(10)]),
        one_of(&[None, Some(0), Some(2), Some(4)]),
        one_of(&[None, None, Some(1)]),
    );
    let some =
        some.prop_map(|(each, total, times, operation)| Some(Budget { each, total, times, operation }));
    prop_oneof![1 => Just(None), 2 => some]
}

fn rules() -> impl Strategy<Value = Rules> {
    let sizes = (
        one_of(&[1_000, 86_400]),
        one_of(&[86_400, 2_592_000]),
        one_of(&[None, None, Some(600)]),
        one_of(&[10, 10, 0, 120]),
    );
    (1_u32..=4, 1_u32..=2, any::<[bool; 4]>(), mostly(&[true, true], &[false]), sizes).prop_map(
        |(
            sessions,
            device_sessions,
            [evicts, device_evicts, auto_register, reuse_ends],
            slides,
            (ttl, lifetime, idle, grace),
        )| Rules {
            ttl,
            renewals: 2,
            lifetime,
            sessions,
            device_sessions,
            evicts,
            device_evicts,
            auto_register,
            reuse_ends,
            grace,
            idle,
            slides,
        },
    )
}

/// Some of them end before they begin, and most before a session does.
const SPANS: &[Option<i64>] =
    &[None, None, None, Some(0), Some(1_000), Some(1_000), Some(150_000), Some(150_000), Some(86_400_000)];

fn suspenders() -> impl Strategy<Value = Suspender> {
    prop_oneof![
        2 => Just(Suspender::Admin),
        2 => Just(Suspender::Issuer),
        4 => (1_u8..=2).prop_map(Suspender::Owner),
    ]
}

fn actions() -> impl Strategy<Value = Action> {
    let subject = || 0..SUBJECTS.len();
    let whose = || one_of(&[None, Some(1), Some(2)]);
    prop_oneof![
        2 => (subject(), whose(), own_limits(), any::<bool>()).prop_map(|(subject, owner, limits, as_admin)| {
            Action::Register { subject, owner, limits, as_admin }
        }),
        8 => (subject(), new_sessions()).prop_map(|(subject, new)| Action::Create { subject, new }),
        16 => (tokens(), keys(), any::<u16>())
            .prop_map(|(token, key, jitter)| Action::Renew { token, key, jitter }),
        6 => tokens().prop_map(Action::Introspect),
        1 => Just(Action::RecordUses),
        1 => Just(Action::Crash),
        6 => tokens().prop_map(Action::Refresh),
        1 => subject().prop_map(|subject| Action::Erase { subject }),
        2 => (any::<bool>(), any::<bool>(), one_of(&[None, Some(400)])).prop_map(
            |(access, at_once, overlap)| Action::Rotate { access, at_once, overlap }
        ),
        2 => Just(Action::RecordPresented),
        2 => Just(Action::LookForThieves),
        3 => tokens().prop_map(Action::Mint),
        3 => (subject(), suspenders(), one_of(SPANS), one_of(&[None, None, None, Some(1)]))
            .prop_map(|(subject, by, millis, reason)| Action::Suspend { subject, by, millis, reason }),
        2 => (subject(), suspenders()).prop_map(|(subject, by)| Action::Resume { subject, by }),
        1 => (suspenders(), one_of(&[None, None, Some(1)]))
            .prop_map(|(by, reason)| Action::EndAndSuspend { by, reason }),
        3 => (0_u8..5, tokens(), any::<Option<bool>>())
            .prop_map(|(by, token, reject_renewal)| Action::Revoke { by, token, reject_renewal }),
        2 => (subject(), whose(), any::<bool>(), whose()).prop_map(|(subject, device, spare, owner)| {
            Action::RevokeAll { subject, device, spare, owner }
        }),
        2 => (whose(), one_of(&[None, None, Some(0), Some(1)]), whose(), one_of(&[None, None, Some(0), Some(1)]))
            .prop_map(|(owner, subject, device, before)| {
                Action::RevokeMatching { owner, subject, device, before }
            }),
        6 => (
            prop_oneof![3 => tokens().prop_map(Some), 2 => Just(None)],
            1_u8..=2,
            one_of(&[None, Some(0), Some(1), Some(1), Some(2), Some(3), Some(10)]),
        ).prop_map(|(token, operation, tenths)| Action::Use { token, operation, tenths }),
        2 => subject().prop_map(|subject| Action::Sweep { subject }),
        1 => rules().prop_map(Action::ChangeRules),
    ]
}

pub(super) fn histories() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_usize..60, waits(), actions()).prop_map(|(pick, wait, action)| Step { pick, wait, action });
    vec(step, 1..170)
}
