//! Callers that never rest, at every node, while nodes, brokers and the network between them fail and come back.
//!
//! What each caller was told of its own sessions must hold (`worker`), and what several callers were told of one session
//! must have an order (`cell`).

mod cell;
mod machines;
mod worker;

use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use cell::{Cell, Judged, Moves, move_by};
use machines::{Fault, Machines};
use rustix::process::Signal;
use tenure::clock::{pause, stopwatch};
use tenure_testing::surroundings::{say, variable};
use worker::Worker;

use crate::broker;

/// A request that is not certain by then has failed.
const CERTAIN: Duration = Duration::from_mins(2);
const CALLERS: u64 = 4;
/// So many sessions at once are asked about by several callers each.
const CELLS: usize = 2;
/// A request may be repeated under its key for as long as the whole takes, whatever becomes of the clock.
const SETTINGS: [&str; 1] = ["idempotency.window=86400"];
/// So many faults, unless `TENURE_TEST_CLUSTER_FAULTS` says otherwise, in the long form.
const FAULTS: usize = 60;

/// Chance that can be had again.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Size and root of the last head that a node has signed, or has found to be that of its own tree.
fn head(data: &Path) -> Option<(u64, String)> {
    let note = fs::read_to_string(data.join("head.note")).ok()?;
    let mut lines = note.lines().skip(1);
    Some((lines.next()?.parse().ok()?, lines.next()?.to_owned()))
}

/// Only the node that leads signs, when its clock has moved on, and the others follow a moment later: waits until all have
/// the same head, of all that is in the log.
fn heads_agree(machines: &Machines) {
    let begun = stopwatch();
    loop {
        move_by(&machines.callers, Duration::from_secs(2));
        pause(Duration::from_secs(1));
        let heads: Vec<_> = machines.dirs.iter().map(|dir| head(dir.path())).collect();
        let size = heads[0].as_ref().map(|(size, _)| *size);
        if size.is_some() && size == machines.position() && heads.iter().all(|head| *head == heads[0]) {
            return;
        }
        assert!(begun.elapsed() < CERTAIN, "{heads:?} at {:?}", machines.position());
    }
}

/// The faults of the short form, or as many as are asked for.
fn faults(machines: &mut Machines, is_long: bool) -> Vec<Fault> {
    if !is_long {
        return vec![Fault::FollowerDies, Fault::LeaderIsCutOff];
    }
    let count = variable("TENURE_TEST_CLUSTER_FAULTS").and_then(|count| count.parse().ok()).unwrap_or(FAULTS);
    // Each of them once, and the rest by chance.
    let drawn: Vec<_> = (Fault::ALL.len()..count).map(|_| machines.drawn()).collect();
    Fault::ALL.into_iter().chain(drawn).take(count).collect()
}

fn besiege(machines: &mut Machines, faults: &[Fault]) {
    machines.goes_on();
    for (number, fault) in faults.iter().enumerate() {
        let begun = stopwatch();
        machines.happens(*fault);
        let (took, rest) = (begun.elapsed(), machines.goes_on());
        machines.is_whole();
        say(&format!(
            "{number} {fault:?}: {took:?}, {rest:?} until all went on, and whole after {:?}",
            begun.elapsed()
        ));
    }
}

/// Callers at work while this goes on; what the first of them knows in the end.
fn under_load(machines: &mut Machines, seed: u64, work: impl FnOnce(&mut Machines)) -> Vec<Worker> {
    let (done, is_over, moves) = (Arc::clone(&machines.done), AtomicBool::new(false), Moves::new(CELLS));
    let callers = machines.callers.clone();
    thread::scope(|scope| {
        let is_over = &is_over;
        let worker = |number: u64| {
            let (nodes, seed) = (callers.clone(), seed.wrapping_add(number));
            let worker = Worker::new(format!("worker-{number}"), nodes, seed, Arc::clone(&done));
            scope.spawn(move || worker.run(is_over))
        };
        let cell = |number: usize| {
            let (nodes, moves) = (callers.clone(), moves.clone());
            let (seed, done) = (seed.wrapping_add(1_000 * number as u64), Arc::clone(&done));
            scope.spawn(move || Cell { number, nodes, seed, done, moves }.run(is_over))
        };
        let workers: Vec<_> = (0..CALLERS).map(worker).collect();
        let cells: Vec<_> = (0..CELLS).map(cell).collect();
        scope.spawn(|| moves.run(&callers, is_over));
        // Whatever fails here must end the callers too.
        let faulty = catch_unwind(AssertUnwindSafe(|| work(machines)));
        is_over.store(true, Ordering::SeqCst);
        let workers: Vec<_> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        for Judged { sessions, entries } in cells.into_iter().map(|cell| cell.join().unwrap()) {
            say(&format!("{sessions} sessions, of which {entries} things were told, have an order"));
        }
        faulty.unwrap();
        workers
    })
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_whatever_dies_or_sleeps() {
    let test = "that nothing acknowledged is lost whatever dies or sleeps";
    let Some(program) = broker::program(test) else { return };
    let is_long = variable("TENURE_TEST_CLUSTER_LONG").is_some();
    let drawn = || RandomState::new().build_hasher().finish();
    let seed = variable("TENURE_TEST_SEED").and_then(|seed| seed.parse().ok()).unwrap_or_else(drawn);
    say(&format!("the siege of a cluster has the seed {seed}"));
    let mut machines = Machines::new(&program, is_long, seed);
    let faults = faults(&mut machines, is_long);
    let workers = under_load(&mut machines, seed, |machines| besiege(machines, &faults));
    machines.settles();
    for caller in &machines.callers {
        for worker in &workers {
            worker.check(caller);
        }
    }
    heads_agree(&machines);
    for node in &mut machines.nodes {
        node.signal(Signal::TERM);
        assert!(node.ends().success(), "{}", node.said());
    }
}
