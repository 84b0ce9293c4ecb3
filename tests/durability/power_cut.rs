//! The power is cut under load: nothing acknowledged before is lost, and the store opens.
//!
//! The authority works on ext4 in a file. The file system is shut down without its journal: whatever was not
//! synced is gone, as with the power. A store that takes sled's own `flush()` for a barrier does not pass.

use std::{fs, ops::Range, path::Path, time::Duration};

use tenure::clock::{pause, stopwatch};

use crate::{
    ambient::{Chance, not_run, say, setting},
    authority::Authority,
    history::History,
    load::{Appetite, Ledger, Load},
    mounted_disk::MountedDisk,
    sealing::{SEGMENT, number_of},
};

/// So long a load goes on at most when it need not wait for the log to grow, or has waited.
const LONGEST_MILLIS: u64 = 400;
/// For the log to grow by a segment of 8 MiB.
const PATIENCE: Duration = Duration::from_secs(20);
const MEBIBYTES: u64 = 512;

/// So many rounds pass on one disk before another takes its place.
const ROUNDS_OF_A_DISK: u32 = 10;
/// Segments so small that some are made in every round, with indexes and checkpoints behind them.
const TINY: &[&str] = &[SEGMENT];

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    cut_again_and_again(setting("TENURE_POWER_CUT_ROUNDS", 3), &[]);
}

/// A start ends what was begun, and what is in segments is in no other place, and is not lost with one.
#[test]
fn what_was_acknowledged_survives_a_power_cut_while_segments_and_checkpoints_are_made() {
    cut_again_and_again(setting("TENURE_POWER_CUT_SEGMENT_ROUNDS", 2), TINY);
}

fn cut_again_and_again(rounds: u32, settings: &[&str]) {
    let mut chance = Chance::of_this_run("power cut");
    let begun = stopwatch();
    let (mut done, mut facts, mut events) = (0, 0, 0);
    while done < rounds {
        let series = done..rounds.min(done + ROUNDS_OF_A_DISK);
        done = series.end;
        match wear_out_a_disk(series, &mut chance, settings) {
            Ok((ledger, history)) => {
                facts += ledger.facts.len();
                events += history.len();
            }
            Err(why) => return not_run("power cut", &why),
        }
    }
    say(&format!(
        "power cut: {rounds} rounds in {:.0} s: {facts} acknowledgements, {events} events, 0 lost, 0 unopenable",
        begun.elapsed().as_secs_f64()
    ));
}

/// Rounds on one data directory. The reason, where there can be none.
fn wear_out_a_disk(
    rounds: Range<u32>,
    chance: &mut Chance,
    settings: &[&str],
) -> Result<(Ledger, History), String> {
    let mut mounted = MountedDisk::ext4(MEBIBYTES)?;
    let data = mounted.path().join("data");
    let mut all = Ledger::default();
    let mut history = History::default();
    if !settings.is_empty() {
        all.add(until_some_is_full(&data, settings, chance));
    }
    for round in rounds {
        let mut ledger = work_until_the_cut(&mounted, &data, chance, (round, settings))?;
        mounted = mounted.restore_power();
        let authority = Authority::start_with(&data, settings);
        let admin = authority.admin();
        history.must_survive(&admin, &mut ledger);
        all.add(ledger);
        // A head covers the ranges that are sealed in the next round.
        if round % 3 == 0 || !settings.is_empty() {
            authority.stop_well();
        }
    }
    let authority = Authority::start_with(&data, settings);
    let whole = History::read(&authority.admin());
    whole.must_hold(&all);
    Ok((all, whole))
}

/// A start makes the rest of the log's last segment ready, so it is only in the segments behind it that a
/// write without a sync is lost. So every second load goes on until there is one.
fn work_until_the_cut(
    mounted: &MountedDisk,
    data: &Path,
    chance: &mut Chance,
    (round, settings): (u32, &[&str]),
) -> Result<Ledger, String> {
    let mut authority = Authority::start_with(data, settings);
    let is_heavy = round.is_multiple_of(2) && settings.is_empty();
    let appetite = if is_heavy { Appetite::HEAVY } else { Appetite::MIXED };
    let load = Load::begin(&authority.admin(), &format!("p{round}"), appetite, chance);
    if appetite.is_heavy {
        wait_for_growth(&data.join("log/1/db"));
    }
    pause(Duration::from_millis(chance.below(LONGEST_MILLIS)));
    // An answer that comes while the power goes may be from before or from after: it does not count.
    load.close();
    let cut = mounted.cut_power();
    authority.kill();
    let ledger = load.ledger();
    cut.map(|()| ledger)
}

/// Works until a range is full, and stops in good order, so that the next process seals it.
fn until_some_is_full(data: &Path, settings: &[&str], chance: &mut Chance) -> Ledger {
    let (authority, begun) = (Authority::start_with(data, settings), stopwatch());
    let load = Load::begin(&authority.admin(), "full", Appetite::MIXED, chance);
    while number_of(&authority.admin(), "tenure_position") < 1_000 {
        assert!(begun.elapsed() < PATIENCE, "the log does not grow");
        pause(Duration::from_millis(20));
    }
    load.close();
    let ledger = load.ledger();
    authority.stop_well();
    ledger
}

fn wait_for_growth(file: &Path) {
    let length = || fs::metadata(file).unwrap().len();
    let (before, begun) = (length(), stopwatch());
    while length() <= before {
        assert!(begun.elapsed() < PATIENCE, "the log does not grow");
        pause(Duration::from_millis(5));
    }
}
