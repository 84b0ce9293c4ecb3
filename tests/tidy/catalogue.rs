//! The catalogue of events: every kind is told, has a frozen sample, and shows what the sample holds.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Map, Value};
use tenure::{
    core::{EventKind, Position},
    log::StoredCommit,
};

use crate::{blocks, tree};

const CATALOGUE: &str = "docs/events.md";
/// In the first layout of a commit the end of a selection was a form of the kind that ends one subject's sessions.
const SECOND_FORM: &str = "SessionsRevoked.bulk.v1";

#[test]
fn every_kind_has_a_place_in_the_catalogue_in_the_order_of_its_number() {
    let text = tree::text(Path::new(CATALOGUE)).unwrap();
    let told = text.lines().filter_map(|line| line.strip_prefix("## "));
    let told: Vec<_> = told.filter(|title| !EventKind::named(title).is_empty()).collect();
    assert_eq!(told, EventKind::names());
}

/// With the fields that a kind got after it was first written.
const GROWN: [&str; 5] = [
    "SelectionRevoked.cause.v1.format2",
    "SessionCreated.onReuse.v1.format2",
    "RenewalRejected.contested.v1.format2",
    "PolicyChanged.reuseGrace.v1.format2",
    "WebhookCreated.name.v1.format2",
];

#[test]
fn every_kind_and_version_has_a_frozen_sample_and_nothing_else_has() {
    let wanted: BTreeSet<String> = EventKind::ALL
        .into_iter()
        .flat_map(|kind| {
            // A kind that came after the first layout has no sample of it.
            let old = (kind <= EventKind::SelectionRevoked).then(|| {
                let is_selection = kind == EventKind::SelectionRevoked;
                if is_selection { SECOND_FORM.to_owned() } else { format!("{kind:?}.v1") }
            });
            old.into_iter().chain([format!("{kind:?}.v{}.format2", kind.version())])
        })
        .chain(GROWN.map(str::to_owned))
        .flat_map(|stem| [format!("{stem}.hex"), format!("{stem}.txt")])
        .collect();
    let found = tree::files("fixtures/events").into_iter();
    let found: BTreeSet<_> =
        found.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(found, wanted);
}

#[test]
fn the_example_of_every_kind_is_its_frozen_sample() {
    for kind in EventKind::ALL {
        let example = serde_json::to_string_pretty(&Value::Object(sample(kind))).unwrap();
        blocks::check(CATALOGUE, &format!("{kind:?}"), &format!("```json\n{example}\n```"));
    }
}

#[test]
fn the_members_of_every_kind_are_told() {
    let text = tree::text(Path::new(CATALOGUE)).unwrap();
    for kind in EventKind::ALL {
        let section = text.split(&format!("\n## {}\n", kind.name())).nth(1).expect("a section of its own");
        let section = section.split("\n## ").next().unwrap();
        let told = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let told: BTreeSet<_> = told.map(|(name, _)| name.to_owned()).collect();
        let there: BTreeSet<_> = sample(kind).keys().cloned().collect();
        assert_eq!(told, there, "{}", kind.name());
    }
}

/// The arrays inside of events are written out in the format of the log: by it a stranger reads one.
#[test]
fn the_arrays_of_the_format_of_the_log_have_the_fields_of_the_code() {
    let format = tree::text(Path::new("docs/log-format.md")).unwrap();
    for (file, name) in [
        ("src/core/profile.rs", "SubjectProfile"),
        ("src/core/event/subject.rs", "SessionTerms"),
        ("src/core/event/subject.rs", "SessionDevice"),
        ("src/core/budget.rs", "Constraints"),
        ("src/core/bulk.rs", "SessionSelector"),
    ] {
        let source = tree::text(Path::new(file)).unwrap();
        let (_, behind) = source.split_once(&format!("pub struct {name} {{")).unwrap();
        let (fields, _) = behind.split_once("\n}").unwrap();
        let fields: Vec<_> = fields
            .lines()
            .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'))
            .map(|(field, _)| field)
            .collect();
        let array = format!("`[{}]`", fields.join(", "));
        assert!(fields.len() > 1 && format.contains(&array), "{name}: {array}");
    }
}

/// The `data` of a kind's frozen sample, as the API shows it; texts, which are sealed there, as `…`.
fn sample(kind: EventKind) -> Map<String, Value> {
    let path = format!("fixtures/events/{kind:?}.v{}.format2.hex", kind.version());
    let digits: String = tree::text(Path::new(&path)).unwrap().split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
    let stored = StoredCommit::decode(Position(1), &bytes).unwrap();
    let event = &stored.commit.events[0];
    assert_eq!(event.kind(), kind);
    let Ok(Value::Object(mut members)) = serde_json::to_value(event) else { panic!("an event is an object") };
    for (field, text) in event.texts() {
        members.insert(field.to_owned(), text.map_or(Value::Null, |_| "…".into()));
    }
    members
}
