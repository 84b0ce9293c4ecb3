//! The command line shows replies as they came, with what an older or newer server has in them. It picks members by
//! their names, so here is that each name is one of the API.

use serde_json::Value;
use tenure::http::openapi_document;

use crate::tree;

/// Where commands show replies of the API.
const COMMANDS: [&str; 8] = [
    "src/cli/commands/session",
    "src/cli/commands/subject",
    "src/cli/commands/credential",
    "src/cli/commands/keys",
    "src/cli/commands/webhook",
    "src/cli/commands/whoami.rs",
    "src/cli/commands/events.rs",
    "src/cli/commands/clock.rs",
];

/// What the commands themselves add to a reply: an event in words, and where it was asked.
const OWN: [&str; 4] = ["what", "by", "context", "server"];

/// The members that columns name, such as `health.pending`.
fn shown(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for column in source.split("Column::").skip(1) {
        let Some((kind, arguments)) = column.split_once('(') else { continue };
        let texts: Vec<_> = arguments.split(')').next().unwrap().split('"').skip(1).step_by(2).collect();
        match (kind, &texts[..]) {
            ("plain" | "id" | "state" | "moment" | "end" | "attempts", [_, field]) | ("span", [field]) => {
                found.push((*field).to_owned());
            }
            _ => {}
        }
    }
    found
}

/// Whether a schema has such a member, wherever the parts of the schema are.
fn has(document: &Value, schema: &Value, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    if let Some(reference) = schema["$ref"].as_str() {
        return has(document, document.pointer(reference.trim_start_matches('#')).unwrap(), path);
    }
    let parts = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|kind| schema[kind].as_array()).flatten();
    let member = schema["properties"].get(first);
    member.is_some_and(|member| has(document, member, rest))
        || parts.into_iter().any(|part| has(document, part, path))
}

#[test]
fn every_column_of_a_reply_is_a_member_of_one() {
    let document = openapi_document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let (mut unknown, mut seen) = (Vec::new(), 0);
    for path in tree::files_with("src/cli/commands", "rs") {
        if !COMMANDS.iter().any(|place| path.starts_with(place)) {
            continue;
        }
        for field in shown(&tree::text(&path).unwrap()) {
            seen += 1;
            let members: Vec<_> = field.split('.').collect();
            if !OWN.contains(&&*field) && !schemas.values().any(|schema| has(&document, schema, &members)) {
                unknown.push(format!("{}: {field}", path.display()));
            }
        }
    }
    assert!(seen > 50, "the columns are no longer found: {seen}");
    assert!(unknown.is_empty(), "no reply has these members: {unknown:#?}");
}
