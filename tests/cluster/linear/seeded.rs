//! A check that never refuses is none: it is seen to find what it is for.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Deed, Entry, History, No, order};
use crate::node::{Caller, Granted, Node, copy_all};

const fn told(asked: u64, answered: u64, deed: Deed) -> Entry {
    Entry { asked, answered: Some(answered), deed }
}

const fn untold(asked: u64, deed: Deed) -> Entry {
    Entry { asked, answered: None, deed }
}

const fn renewed(of: u32) -> Deed {
    Deed::Renew { of, told: Some(Ok(of + 1)) }
}

const fn live(of: u32) -> Deed {
    Deed::Check { of, told: Ok(of) }
}

const fn dead(of: u32, why: No) -> Deed {
    Deed::Check { of, told: Err(why) }
}

#[track_caller]
fn is_refused(history: &[Entry]) {
    assert!(order(history).is_err(), "{history:?} has an order");
}

#[track_caller]
fn has_an_order(history: &[Entry]) {
    if let Err(stuck) = order(history) {
        panic!("{stuck}");
    }
}

#[test]
fn a_stale_read_is_found() {
    is_refused(&[told(0, 1, Deed::End), told(2, 3, live(0))]);
    is_refused(&[told(0, 1, renewed(0)), told(2, 3, live(0))]);
    is_refused(&[told(0, 1, Deed::Suspend), told(2, 3, live(0))]);
    is_refused(&[told(0, 1, Deed::Suspend), told(2, 3, Deed::Resume), told(4, 5, dead(0, No::Suspended))]);
    // Two checks while it ends may differ, but not in this order.
    is_refused(&[told(0, 9, Deed::End), told(1, 2, dead(0, No::Ended)), told(3, 4, live(0))]);
    has_an_order(&[told(0, 9, Deed::End), told(1, 2, live(0)), told(3, 4, dead(0, No::Ended))]);
}

#[test]
fn a_lost_fence_is_found() {
    // Two leaders each renew the same token.
    is_refused(&[told(0, 5, renewed(0)), told(1, 6, renewed(0))]);
    // One leader renews a session that another one has ended.
    is_refused(&[told(0, 1, Deed::End), told(2, 3, renewed(0))]);
    has_an_order(&[
        told(0, 5, renewed(0)),
        told(1, 6, Deed::Renew { of: 0, told: Some(Err(No::Superseded)) }),
        told(7, 8, live(1)),
        told(7, 8, dead(0, No::Superseded)),
    ]);
}

#[test]
fn a_double_append_is_found() {
    is_refused(&[told(0, 1, renewed(0)), told(2, 3, Deed::Check { of: 2, told: Ok(2) })]);
    is_refused(&[told(0, 1, Deed::Renew { of: 0, told: Some(Ok(2)) })]);
    // One that was recorded again after it was taken back.
    is_refused(&[
        told(0, 1, Deed::Suspend),
        told(2, 3, Deed::Resume),
        told(4, 5, live(0)),
        told(6, 7, dead(0, No::Suspended)),
    ]);
    // Not so if it is one that nobody was told of.
    has_an_order(&[
        told(0, 1, Deed::Suspend),
        untold(1, Deed::Suspend),
        told(2, 3, Deed::Resume),
        told(4, 5, live(0)),
        told(6, 7, dead(0, No::Suspended)),
    ]);
}

#[test]
fn an_acknowledged_deed_that_was_lost_is_found() {
    is_refused(&[told(0, 1, renewed(0)), told(2, 3, Deed::Renew { of: 1, told: Some(Err(No::Superseded)) })]);
    is_refused(&[told(0, 1, Deed::Suspend), told(2, 3, renewed(0))]);
}

#[test]
fn what_is_unknown_may_happen_late_or_never_but_once() {
    let lost = untold(0, Deed::Renew { of: 0, told: None });
    has_an_order(&[lost, told(5, 6, live(0))]);
    has_an_order(&[lost, told(5, 6, live(0)), told(7, 8, dead(0, No::Superseded)), told(9, 10, live(1))]);
    is_refused(&[lost, told(5, 6, dead(0, No::Superseded)), told(7, 8, live(0))]);
    is_refused(&[lost, told(7, 8, live(1)), told(9, 10, dead(1, No::Superseded))]);
    is_refused(&[told(0, 1, live(0)), untold(4, Deed::End), told(2, 3, dead(0, No::Ended))]);
}

/// One that has an effect only after another one must wait for it, though it could be taken before.
#[test]
fn what_would_change_nothing_now_may_change_something_later() {
    has_an_order(&[
        told(0, 1, Deed::Suspend),
        told(2, 9, Deed::Suspend),
        told(3, 4, Deed::Resume),
        told(10, 11, dead(0, No::Suspended)),
    ]);
}

/// A search that tried everything would not end.
#[test]
fn a_long_history_of_many_at_once_is_judged_soon() {
    let mut history = vec![];
    for generation in 0..200 {
        let at = u64::from(generation) * 100;
        history.push(told(at, at + 50, renewed(generation)));
        for other in 0..5 {
            history.push(told(at, at + 90, Deed::Renew { of: generation, told: Some(Err(No::Superseded)) }));
            history.push(told(at + other, at + 95, live(generation)));
            history.push(told(at + other, at + 95, live(generation + 1)));
        }
        history.push(untold(at, Deed::Suspend));
    }
    has_an_order(&history);
    history.push(told(30_000, 30_001, live(3)));
    is_refused(&history);
}

/// A world of two halves that know nothing of each other, as they would be without a fence: two servers on copies of
/// one directory.
struct Halves {
    nodes: [Node; 2],
    callers: [Caller; 2],
    granted: Granted,
    _dirs: [tempfile::TempDir; 2],
}

impl Halves {
    fn of_one() -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut first = Node::alone(dirs[0].path());
        let admin = first.admin(dirs[0].path());
        let granted = admin.create("agent-1");
        first.signal(Signal::TERM);
        assert!(first.ends().success(), "{}", first.said());
        copy_all(dirs[0].path(), dirs[1].path());
        let mut nodes = [Node::alone(dirs[0].path()), Node::alone(dirs[1].path())];
        let callers = nodes.each_mut().map(|node| node.admin(dirs[0].path()));
        let halves = Self { nodes, callers, granted, _dirs: dirs };
        halves.half_a_period();
        halves
    }

    fn half_a_period(&self) {
        for caller in &self.callers {
            let advanced = json!({ "advance": 43_200 });
            assert_eq!(caller.send("PUT", "/v1/clock", &[], Some(&advanced)).unwrap().status, 200);
        }
    }

    /// Renews at one of them, and takes it down; gives the next token.
    fn renew(&self, history: &History, half: usize, of: u32, token: &str) -> String {
        let asked = history.now();
        let next = self.renew_untold(half, token);
        let told = next["renewalCount"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap();
        history.told(asked, Deed::Renew { of, told: Some(Ok(told)) });
        next["token"].as_str().unwrap().to_owned()
    }

    fn renew_untold(&self, half: usize, token: &str) -> Value {
        let (path, bearer) = (format!("/v1/sessions/{}/renew", self.granted.id), format!("Bearer {token}"));
        let reply = self.callers[half].send("PUT", &path, &[("authorization", &bearer)], None).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }

    fn check(&self, history: &History, half: usize, of: u32, token: &str) {
        let asked = history.now();
        let said = self.callers[half].introspects(token).body["results"][0].clone();
        let count = said["renewalCount"].as_u64().and_then(|count| u32::try_from(count).ok());
        history.told(asked, Deed::Check { of, told: count.ok_or(No::Superseded) });
    }

    fn ends(mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
    }
}

/// What the siege would see of nodes that do not fence each other, of real ones.
#[test]
fn two_servers_that_do_not_know_of_each_other_are_found_out() {
    let halves = Halves::of_one();
    let token = halves.granted.token.clone();
    // The fence: both renew one token.
    let fence = History::new();
    let next = halves.renew(&fence, 0, 0, &token);
    assert!(fence.order().is_ok());
    // The stale read: the other one still calls the replaced token good.
    let stale = History::new();
    stale.told(0, renewed(0));
    halves.check(&stale, 0, 1, &next);
    assert!(stale.order().is_ok());
    halves.check(&stale, 1, 0, &token);
    assert!(stale.order().is_err(), "a stale read is not found");
    halves.renew(&fence, 1, 0, &token);
    assert!(fence.order().is_err(), "a lost fence is not found");
    // The double append: a renewal that nobody asked for.
    let double = History::new();
    double.told(0, renewed(0));
    halves.half_a_period();
    let unasked = halves.renew_untold(0, &next);
    halves.check(&double, 0, 2, unasked["token"].as_str().unwrap());
    assert!(double.order().is_err(), "a double append is not found");
    halves.ends();
}
