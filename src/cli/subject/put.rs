//! `tenure subject put`

use clap::Args;
use serde_json::{Map, Value};

use super::COLUMNS;
use crate::{
    cli::{
        client::Request,
        context::{Context, fields},
        failure::Failure,
    },
    domain::{OwnerId, SubjectId},
};

/// What to do at a limit.
const ON_LIMIT: [&str; 2] = ["reject", "evict_oldest"];

/// The whole subject is replaced: what is left out goes back to its default.
#[derive(Debug, Args)]
pub(crate) struct Put {
    /// The subject's id: 1 to 128 of A-Z a-z 0-9 . _ : @ -
    #[arg(value_name = "ID")]
    subject: SubjectId,

    /// Name for people
    #[arg(long)]
    name: Option<String>,

    /// What it is
    #[arg(long, value_parser = ["agent", "user", "service"])]
    kind: Option<String>,

    /// Who answers for it and may veto its renewals
    #[arg(long, value_name = "ID")]
    owner: Option<OwnerId>,

    /// Active sessions that it may have, 1 to 10000 [default: the server's limits.per_subject]
    #[arg(long, value_name = "N")]
    max_sessions: Option<u32>,

    /// Active sessions that it may have on one device, 1 to 10000 [default: limits.per_device]
    #[arg(long, value_name = "N")]
    max_sessions_per_device: Option<u32>,

    /// What a session too many does: it is refused, or it ends the oldest [default: limits.on_limit]
    #[arg(long, value_name = "ACTION", value_parser = ON_LIMIT)]
    on_limit: Option<String>,

    /// What a session too many on one device does [default: limits.on_device_limit]
    #[arg(long, value_name = "ACTION", value_parser = ON_LIMIT)]
    on_device_limit: Option<String>,
}

impl Put {
    pub(crate) fn run(self, cli: &Context) -> Result<(), Failure> {
        let id = self.subject.clone();
        let request = Request::put(&["v1", "subjects", id.as_str()], Some(self.body().into()));
        cli.show(&request, COLUMNS)
    }

    fn body(self) -> Map<String, Value> {
        fields([
            ("name", self.name.map(Value::from)),
            ("kind", self.kind.map(Value::from)),
            ("ownerId", self.owner.map(|owner| owner.as_str().into())),
            ("maxSessions", self.max_sessions.map(Value::from)),
            ("maxSessionsPerDevice", self.max_sessions_per_device.map(Value::from)),
            ("onLimit", self.on_limit.map(Value::from)),
            ("onDeviceLimit", self.on_device_limit.map(Value::from)),
        ])
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        put: Put,
    }

    fn body(line: &str) -> Value {
        Line::try_parse_from(line.split(' ')).unwrap().put.body().into()
    }

    #[test]
    fn only_what_was_typed_is_sent() {
        assert_eq!(body("put agent-7"), json!({}));
        assert_eq!(
            body("put agent-7 --kind agent --owner o1 --max-sessions 1 --on-limit evict_oldest"),
            json!({"kind": "agent", "ownerId": "o1", "maxSessions": 1, "onLimit": "evict_oldest"})
        );
    }

    #[test]
    fn a_wrong_id_or_kind_is_noticed_here() {
        assert!(Line::try_parse_from(["put", "a/b"]).is_err());
        assert!(Line::try_parse_from(["put", "a", "--kind", "robot"]).is_err());
    }
}
