//! What is known of a subject, as options.

use clap::Args;
use serde_json::{Map, Value};

use crate::cli::context::fields;
use tenure_core::OwnerId;

/// What to do at a limit.
const ON_LIMIT: [&str; 2] = ["reject", "evict_oldest"];

/// The fields of a request, and the options that give them.
pub(super) const FIELDS: [(&str, &str); 7] = [
    ("name", "name"),
    ("kind", "kind"),
    ("ownerId", "owner"),
    ("maxSessions", "max-sessions"),
    ("maxSessionsPerDevice", "max-sessions-per-device"),
    ("onLimit", "on-limit"),
    ("onDeviceLimit", "on-device-limit"),
];

/// The names of the options, for clap.
pub(super) const OPTIONS: [&str; 7] =
    ["name", "kind", "owner", "max-sessions", "max-sessions-per-device", "on-limit", "on-device-limit"];

/// What is known of a subject.
#[derive(Debug, Args)]
pub(super) struct AttributeArgs {
    /// Name for people
    #[arg(long)]
    name: Option<String>,

    /// What it is
    #[arg(long, value_parser = ["agent", "user", "service"])]
    kind: Option<String>,

    /// Who answers for it and may veto its renewals
    #[arg(long, value_name = "ID")]
    owner: Option<OwnerId>,

    /// Maximum number of active sessions, 1 to 10000 [default: the server's limits.per_subject]
    #[arg(long, value_name = "N")]
    max_sessions: Option<u32>,

    /// Maximum number of active sessions on one device, 1 to 10000 [default: limits.per_device]
    #[arg(long, value_name = "N")]
    max_sessions_per_device: Option<u32>,

    /// What happens at the limit: the new session is refused, or ends the oldest [default: limits.on_limit]
    #[arg(long, value_name = "ACTION", value_parser = ON_LIMIT)]
    on_limit: Option<String>,

    /// What happens at the limit of a device [default: limits.on_device_limit]
    #[arg(long, value_name = "ACTION", value_parser = ON_LIMIT)]
    on_device_limit: Option<String>,
}

impl AttributeArgs {
    /// The fields of a request: what was typed.
    pub(super) fn body(self) -> Map<String, Value> {
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
