//! The cluster to try: parts that fit together, and words that the binary takes.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

use crate::{
    monitoring::yaml,
    server::{BINARY, file},
};

const COMPOSE: &str = "contrib/compose/compose.yaml";

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// The names of volumes and services are written down several times.
#[test]
fn each_part_of_the_cluster_names_parts_that_are_there() {
    let compose = yaml(COMPOSE);
    let services = compose["services"].as_object().unwrap();
    let volumes = compose["volumes"].as_object().unwrap();
    let (mut used, mut places) = (BTreeSet::new(), BTreeSet::new());
    for (name, service) in services {
        for volume in texts(&service["volumes"]) {
            let (volume, _) = volume.split_once(':').unwrap();
            assert!(volumes.contains_key(volume), "{name} uses the volume {volume}");
            used.insert(volume.to_owned());
        }
        if let Some(place) = service["environment"]["TENURE_CLUSTER__ADVERTISE"].as_str() {
            assert_eq!(place, format!("http://{name}:7300"));
            places.insert(place.to_owned());
        }
    }
    assert_eq!((used.len(), places.len()), (volumes.len(), 3), "each node has a place of its own");
    let brokers = services.keys().filter(|name| name.starts_with("nats-")).cloned().collect::<Vec<_>>();
    let url = format!("nats://{}", brokers.join(","));
    assert_eq!(services["b"]["environment"]["TENURE_LOG__URL"], url.as_str());
    let settings = compose["configs"]["nats"]["content"].as_str().unwrap();
    assert!(settings.contains("sync_interval: always"), "{settings}");
    assert!(brokers.iter().all(|broker| settings.contains(&format!("nats://{broker}:6222"))), "{settings}");
}

/// The server takes the settings, and the command line the words.
#[test]
fn the_binary_takes_what_the_cluster_gives_it() {
    let compose = yaml(COMPOSE);
    let mut command = Command::new(BINARY);
    command.env_clear().args(["doctor", "--config"]);
    let empty = tempfile::NamedTempFile::new().unwrap();
    command.arg(empty.path());
    for (name, value) in compose["services"]["c"]["environment"].as_object().unwrap() {
        command.env(name, value.as_str().unwrap());
    }
    let shown = command.output().unwrap();
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    assert!(text.contains("http://c:7300") && text.contains("nats://nats-a,nats-b,nats-c"), "{text}");
    let words = texts(&compose["services"]["init"]["command"]);
    let asked = Command::new(BINARY).env_clear().args(&words).arg("--help").output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    // The image has no shell, so the words go to the binary as they are.
    assert!(file("contrib/container/Containerfile").contains("ENTRYPOINT [\"/usr/local/bin/tenure\"]"));
}
