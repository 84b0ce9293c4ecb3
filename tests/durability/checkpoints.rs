//! Checkpoints are made while the real program serves, of files alone; they hold what the log says, and a kill -9 at each
//! step of the making loses nothing.

use std::{fs, path::Path, time::Duration};

use tenure::{
    clock::{pause, stopwatch},
    core::state::AuthorityState,
    log,
    server::checkpoint::Checkpoint,
};

use crate::{
    authority::Authority,
    sealing::{
        MISSING, PATIENCE, die_at_each, flip, in_one_store, names, number_of, register, start, until_sealed,
    },
};

fn checkpoints(data: &Path) -> Vec<String> {
    names(&data.join("checkpoints"))
}

/// Waits until a checkpoint stands here.
pub(crate) fn until_checkpoint(authority: &Authority, position: u64) {
    let (admin, begun) = (authority.admin(), stopwatch());
    while number_of(&admin, "tenure_checkpoint_position") != position {
        assert!(begun.elapsed() < PATIENCE, "no checkpoint at {position}: {}", authority.said());
        admin.advance(2).unwrap();
        pause(Duration::from_millis(20));
    }
}

/// A stopped directory with three segments and a checkpoint behind them.
pub(crate) fn with_checkpoint(data: &Path) -> Authority {
    let authority = start(data);
    // Keys of requests are remembered of a shorter time.
    let moved = authority.admin().advance(90_000).unwrap();
    assert_eq!(moved.status, 200, "{moved:?}");
    register(&authority.admin(), MISSING + 4);
    until_sealed(&authority, data, 3);
    until_checkpoint(&authority, 3_000);
    authority
}

/// What a fold of all the log up to here gives, from the first event on.
fn folded(data: &Path, until: u64) -> AuthorityState {
    let mut state = AuthorityState::default();
    let log = log::open(data, &mut |stored| {
        if stored.last().0 > until {
            return Ok(());
        }
        state.apply(&stored.commit).map_err(|illegal| illegal.to_string())
    });
    log.unwrap().close().unwrap();
    state
}

#[test]
fn a_checkpoint_is_made_behind_the_last_segment_and_holds_what_the_log_says() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    let authority = with_checkpoint(&data);
    authority.until_said("a checkpoint was made");
    authority.stop_well();
    let made = checkpoints(&data);
    assert_eq!(made.last().unwrap(), "00000000000000003000.checkpoint");
    let checkpoint = Checkpoint::open(&data.join("checkpoints").join(made.last().unwrap())).unwrap();
    assert!(checkpoint.read().unwrap().state == folded(&data, 3_000));
    // The next start has nothing to make.
    let before = fs::read(data.join(checkpoint.name())).unwrap();
    let authority = start(&data);
    until_checkpoint(&authority, 3_000);
    authority.stop_well();
    assert_eq!(checkpoints(&data), made);
    assert!(fs::read(data.join(checkpoint.name())).unwrap() == before);
}

#[test]
fn a_damaged_checkpoint_is_named_set_aside_and_made_again() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    with_checkpoint(&data).stop_well();
    let path = data.join("checkpoints/00000000000000003000.checkpoint");
    let good = fs::read(&path).unwrap();
    flip(&path, 50);
    let authority = start(&data);
    let said = "checkpoints/00000000000000003000.checkpoint";
    let begun = stopwatch();
    while fs::read(&path).ok().as_ref() != Some(&good) {
        assert!(begun.elapsed() < PATIENCE, "{}", authority.said());
        pause(Duration::from_millis(20));
    }
    until_checkpoint(&authority, 3_000);
    authority.until_said(said);
    authority.until_said("the header's check does not match its bytes");
    assert!(data.join("checkpoints/00000000000000003000.damaged").exists());
    let alarms = authority.admin().get("/readyz").unwrap().body["alarms"].to_string();
    assert!(!alarms.contains("checkpoint"), "it was made again: {alarms}");
    authority.stop_well();
}

/// Where the process is killed: as it begins this call on this file.
const STEPS: [(&str, &str); 4] = [
    ("fsync", "checkpoints/00000000000000001000.new"),
    ("rename", "checkpoints/00000000000000001000.new"),
    ("fsync", "checkpoints"),
    ("fdatasync", "checkpoints/00000000000000003000.new"),
];

#[test]
fn a_kill_at_any_step_of_a_making_loses_nothing() {
    let killed = die_at_each("checkpoints", &STEPS, |authority, data, step| {
        until_checkpoint(&authority, 3_000);
        authority.stop_well();
        let left = checkpoints(data);
        assert!(left.iter().all(|name| name.ends_with(".checkpoint")), "{step}: {left:?}");
        let checkpoint = Checkpoint::open(&data.join("checkpoints").join(left.last().unwrap())).unwrap();
        assert!(checkpoint.read().unwrap().state == folded(data, 3_000), "{step}");
    });
    assert!(killed.is_none_or(|killed| killed >= STEPS.len() - 2), "only {killed:?} steps were met");
}
