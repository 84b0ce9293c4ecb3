//! kill -9 under load: nothing acknowledged is lost, nothing is invented, and repeats get their answers.
//!
//! What this cannot show is a power cut: a killed process leaves the kernel's memory intact.

use std::{ops::Range, path::Path, thread, time::Duration};

use tenure::clock::{pause, stopwatch};

use crate::{
    ambient::{Chance, say, setting},
    authority::{Authority, kill_while_starting},
    history::History,
    load::{Appetite, Ledger, Load},
};

/// So long a round's load lasts at most.
const LONGEST_MILLIS: u64 = 300;

/// So many rounds pass on one data directory before another takes its place.
const ROUNDS_OF_A_DIRECTORY: u32 = 15;
/// So many directories are worn out at the same time.
const AT_ONCE: usize = 2;

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let rounds: u32 = setting("TENURE_KILL_ROUNDS", 30);
    let begun = stopwatch();
    let (mut facts, mut events) = (0, 0);
    let begins: Vec<_> =
        (0..rounds.div_ceil(ROUNDS_OF_A_DIRECTORY)).map(|number| number * ROUNDS_OF_A_DIRECTORY).collect();
    for some in begins.chunks(AT_ONCE) {
        let worn_out = |begin: u32| {
            let series = begin..rounds.min(begin + ROUNDS_OF_A_DIRECTORY);
            let (ledger, history) = wear_out_a_directory(series, &mut Chance::of_this_run("kill"));
            (ledger.facts.len(), history.len())
        };
        thread::scope(|scope| {
            let series: Vec<_> = some.iter().map(|begin| scope.spawn(move || worn_out(*begin))).collect();
            for series in series {
                let (of_series, events_of_series) = series.join().unwrap();
                (facts, events) = (facts + of_series, events + events_of_series);
            }
        });
    }
    say(&format!(
        "kill: {rounds} rounds in {:.0} s: {facts} acknowledgements, {events} events, 0 lost, 0 invented",
        begun.elapsed().as_secs_f64()
    ));
}

fn wear_out_a_directory(rounds: Range<u32>, chance: &mut Chance) -> (Ledger, History) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut all = Ledger::default();
    let mut history = History::default();
    for round in rounds {
        // Now and then so much that the log grows by segments.
        let appetite = if round % 8 == 5 { Appetite::HEAVY } else { Appetite::MIXED };
        let mut ledger = work_and_die(&data, chance, &format!("k{round}"), appetite);
        if round % 4 == 3 {
            // Also what a start does must bear being interrupted, anywhere.
            kill_while_starting(&data, Duration::from_millis(chance.below(40)));
        }
        let authority = Authority::start(&data);
        let admin = authority.admin();
        history.must_survive(&admin, &mut ledger);
        all.add(ledger);
        // One in three is killed once more, the others stop in good order.
        if round % 3 != 0 {
            authority.stop_well();
        }
    }
    let authority = Authority::start(&data);
    let whole = History::read(&authority.admin());
    whole.must_hold(&all);
    (all, whole)
}

/// A load on a fresh process, which is killed at some moment.
fn work_and_die(data: &Path, chance: &mut Chance, name: &str, appetite: Appetite) -> Ledger {
    let mut authority = Authority::start(data);
    let load = Load::begin(&authority.admin(), name, appetite, chance);
    pause(Duration::from_millis(20 + chance.below(LONGEST_MILLIS)));
    authority.kill();
    assert!(!authority.said().contains("panicked"), "{}", authority.said());
    load.ledger()
}
