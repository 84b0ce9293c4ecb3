//! What the frozen history must fold to, for ever; and at every position what it was there.

use std::{fs, ops::ControlFlow};

use serde_json::{Value, json};
use tenure::{
    audit::replay::{HistoryReplay, ReplayEnd, digest, sessions},
    core::{Position, state::AuthorityState},
};

use crate::incident::{commits, path};

/// The state at every position, told as `incident.states` has it. `TENURE_WRITE_SAMPLES=1` writes it when it is missing.
fn told() -> Vec<Value> {
    let commits = commits();
    let last = commits.last().unwrap().last();
    (0..=last.0)
        .map(|position| {
            let mut replay = HistoryReplay::new(ReplayEnd::Position(Position(position)));
            for stored in &commits {
                if replay.add(stored).unwrap() == ControlFlow::Break(()) {
                    break;
                }
            }
            let all = sessions(replay.state(), None, replay.moment());
            let mut outcome = json!(replay.outcome());
            // They are of today's form of the state, which may get members; the facts may not.
            for name in ["stateDigest", "policy"] {
                outcome.as_object_mut().unwrap().remove(name);
            }
            json!({"outcome": outcome, "sessions": all})
        })
        .collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "whoever adds a history says so by the environment")]
fn the_frozen_history_folds_to_its_frozen_states() {
    let path = path("incident.states");
    let told: String = told().iter().flat_map(|state| [state.to_string(), "\n".to_owned()]).collect();
    if std::env::var("TENURE_WRITE_SAMPLES").is_ok() && !path.exists() {
        fs::write(&path, &told).unwrap();
    }
    let frozen = fs::read_to_string(path).unwrap();
    let parsed = |text: &str| -> Value {
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
    };
    let (frozen, told) = (parsed(&frozen), parsed(&told));
    assert_eq!(frozen.as_array().unwrap().len(), 23);
    expect_within(&frozen, &told);
}

/// Whatever was frozen is still so; members that came since are no matter.
fn expect_within(frozen: &Value, told: &Value) {
    match (frozen, told) {
        (Value::Object(frozen), Value::Object(told)) => {
            frozen.iter().for_each(|(name, value)| expect_within(value, &told[name]));
        }
        (Value::Array(frozen), Value::Array(told)) if frozen.len() == told.len() => {
            frozen.iter().zip(told).for_each(|(frozen, told)| expect_within(frozen, told));
        }
        (_, _) => assert_eq!(frozen, told),
    }
}

#[test]
fn a_replay_to_a_position_is_the_state_that_was_there() {
    let commits = commits();
    let mut live = AuthorityState::default();
    for stored in &commits {
        live.apply(&stored.commit).unwrap();
        let mut replay = HistoryReplay::new(ReplayEnd::Position(stored.last()));
        for stored in &commits {
            let _ = replay.add(stored).unwrap();
        }
        assert_eq!(digest(replay.state()), digest(&live), "position {}", stored.last());
    }
}

#[test]
fn a_replay_to_a_time_has_every_event_recorded_by_then() {
    let commits = commits();
    for at in commits.iter().map(|stored| stored.commit.recorded_at) {
        for (moment, is_there) in [(at, true), (at.plus_millis(-1), false)] {
            let mut replay = HistoryReplay::new(ReplayEnd::Time(moment));
            for stored in &commits {
                let _ = replay.add(stored).unwrap();
            }
            let last = commits.iter().rev().find(|stored| stored.commit.recorded_at <= moment);
            let position = last.map_or(Position::ZERO, tenure::log::StoredCommit::last);
            assert_eq!(replay.state().position, position);
            assert_eq!(replay.state().recorded_at == at, is_there, "{at}");
        }
    }
}
