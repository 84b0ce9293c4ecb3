//! `tenure bench cluster`, as short as it can be.

use std::{path::Path, process::Command};

use serde_json::Value;
use tenure_testing::surroundings::variable;

use crate::broker;

fn measured(brokers: &Path, dir: &Path, more: &[&str]) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.env_clear().args(["bench", "cluster", "-o", "json", "--rounds", "1", "--seconds", "1"]);
    command.args(["--sessions", "1000", "--clients", "16", "--times", "1", "--dir"]).arg(dir);
    let ended = command.arg("--nats-server").arg(brokers).args(more).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let told: Value = serde_json::from_slice(&ended.stdout).unwrap();
    told["items"].as_array().unwrap().clone()
}

/// It kills, freezes and cuts off what it has started itself: that must come back each time.
#[test]
fn each_thing_that_the_benchmark_of_a_cluster_promises_is_measured() {
    if variable("TENURE_TEST_CLUSTER_LONG").is_none() {
        return;
    }
    let Some(program) = broker::program("that a cluster can be measured") else { return };
    let dir = tempfile::tempdir().unwrap();
    let items = measured(&program, dir.path(), &[]);
    let is_told = |item: &Value, name: &str| item[name].as_f64().is_some_and(|number| number > 0.0);
    let (outages, rates): (Vec<_>, Vec<_>) = items.iter().partition(|item| item["times"].is_u64());
    assert!(outages.len() == 6 && outages.iter().all(|item| is_told(item, "medianMillis")), "{items:?}");
    assert!(rates.len() == 6 && rates.iter().all(|item| is_told(item, "perSecond")), "{items:?}");
    for told in ["ratio", "cpuMicros", "followersMicros", "brokersMicros"] {
        assert!(is_told(&items[0], told), "{told}: {items:?}");
    }
    // Nothing of it is left.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
