//! `tenure subject erasure`

use std::time::Duration;

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::Value;

use crate::cli::{
    arguments::find, connection::client::ApiRequest, context::CommandContext, failure::CommandError,
    output::humanize,
};
use tenure_core::Timestamp;
use tenure_protocol::clock::{pause, stopwatch};

/// How long to wait until all nodes that are there have done it.
const PATIENCE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
#[command(after_help = "In a cluster, each node that holds keys is listed, whether it is there or not.")]
pub(crate) struct ErasureArgs {
    /// The subject, by id, name or unique beginning
    #[arg(value_name = "SUBJECT", value_parser = NonEmptyStringValueParser::new())]
    subject: String,
}

impl ErasureArgs {
    pub(crate) fn run(&self, cli: &CommandContext) -> Result<(), CommandError> {
        let id = find::subject(cli, &self.subject)?;
        show(cli, &cli.client.send(&request(&id))?.body)
    }
}

fn request(id: &str) -> ApiRequest {
    ApiRequest::get(&["v1", "subjects", id, "erasure"])
}

/// Waits a few seconds until what was erased now is erased everywhere; what is said of it then.
pub(super) fn settled(cli: &CommandContext, id: &str, mut erased: Value) -> Value {
    let begun = stopwatch();
    while is_under_way(&erased) && begun.elapsed() < PATIENCE {
        cli.output.progress("waiting for the other nodes");
        pause(AGAIN);
        // It is erased, whatever is answered now.
        match cli.client.send(&request(id)) {
            Ok(reply) => erased = reply.body,
            Err(_) => break,
        }
    }
    erased
}

/// Whether it is not done yet, and nobody that is away must be waited for.
fn is_under_way(erased: &Value) -> bool {
    let nodes = erased["nodes"].as_array();
    let is_coming = |node: &Value| node["done"] == false && node["present"] == true;
    let is_coming = nodes.is_none_or(|nodes| nodes.iter().any(is_coming));
    erased["done"] == false && (is_coming || erased["brokerDone"] == false)
}

/// Says what was erased, and where.
pub(super) fn show(cli: &CommandContext, erased: &Value) -> Result<(), CommandError> {
    cli.output.narrative(erased, &lines(erased, cli.now()))
}

fn lines(erased: &Value, now: Timestamp) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let at = erased["erasedAt"].as_str().and_then(Timestamp::parse);
    let at = at.map_or_else(String::new, |at| format!(", recorded {}", humanize::when(at, now)));
    let position = erased["position"].as_u64().map_or_else(String::new, |at| format!(" at position {at}"));
    let mut lines = vec![format!("text about {} is erased{at}{position}", text(&erased["subjectId"]))];
    let nodes = erased["nodes"].as_array();
    if nodes.is_some_and(Vec::is_empty) {
        return lines;
    }
    lines.extend(nodes.into_iter().flatten().map(|node| {
        let name = text(&node["node"]);
        let state = match (&node["done"], &node["present"]) {
            (Value::Bool(true), _) => "done".to_owned(),
            (_, Value::Bool(true)) => "outstanding".to_owned(),
            (_, _) => format!(
                "outstanding, and it is away: start it; if it never returns, destroy its disk and then run \
                 `tenure cluster forget {name}`"
            ),
        };
        format!("{state}: node {name}, {}", text(&node["address"]))
    }));
    if nodes.is_none() {
        lines.push("which nodes hold keys is not known yet: ask again".to_owned());
    }
    let broker = if erased["brokerDone"] == true { "done" } else { "outstanding" };
    lines.push(format!("{broker}: the broker's stream of keys"));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_is_away_is_not_waited_for_and_named_with_what_to_do() {
        let node = |done: bool, present: bool| json!({ "node": "a1", "address": "http://a", "done": done, "present": present });
        let erased = |nodes: Value, broker: bool| {
            json!({ "subjectId": "w", "erasedAt": null, "position": 7, "done": false, "nodes": nodes,
                "brokerDone": broker })
        };
        assert!(is_under_way(&erased(json!([node(true, true), node(false, true)]), true)));
        assert!(is_under_way(&erased(json!([node(true, true)]), false)));
        assert!(is_under_way(&erased(Value::Null, true)));
        let away = erased(json!([node(true, true), node(false, false)]), true);
        assert!(!is_under_way(&away));
        let lines = lines(&away, Timestamp::from_millis(0));
        assert_eq!(lines[..2], ["text about w is erased at position 7", "done: node a1, http://a"]);
        assert!(lines[2].contains("`tenure cluster forget a1`"), "{lines:?}");
        assert_eq!(lines[3], "done: the broker's stream of keys");
        let alone = json!({ "subjectId": "w", "done": true, "nodes": [], "brokerDone": null });
        assert_eq!((is_under_way(&alone), super::lines(&alone, Timestamp::from_millis(0)).len()), (false, 1));
    }
}
