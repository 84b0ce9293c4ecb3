//! What two moments of a history differ in.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::view::ReplayedSession;
use tenure_core::{
    Timestamp,
    epoch::Epoch,
    keys::{KeyHistory, KeyUse},
    state::AuthorityState,
    subject::Subject,
    system::Credential,
    webhook::Webhook,
};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDifference {
    /// `policy`, `log`, `epoch`, `key`, `credential`, `webhook`, `subject` or `session`.
    pub what: &'static str,
    /// Its name; `None` for the policy and the log.
    pub id: Option<String>,
    /// `new`, `deleted`, or which of its members changed.
    pub field: String,
    /// What it was.
    pub before: Value,
    /// What it is.
    pub after: Value,
}

/// What a thing is, member by member.
type JsonMembers = Map<String, Value>;

/// All differences between two states of one history, each judged at its moment; the earlier one first.
pub fn differences(
    earlier: (&AuthorityState, Timestamp),
    later: (&AuthorityState, Timestamp),
) -> Vec<FieldDifference> {
    let [before, after] = [earlier, later].map(|(state, at)| ComparableState { state, at });
    let mut found = Vec::new();
    for (what, things) in after.system() {
        let mut earlier = before.things(what);
        for (id, is) in things {
            let was = earlier.remove(&id);
            compare(what, id, was.as_ref(), Some(&is), &mut found);
        }
        for (id, was) in earlier {
            compare(what, id, Some(&was), None, &mut found);
        }
    }
    let subjects: BTreeSet<_> = after.state.subjects.keys().collect();
    for id in subjects {
        let (was, is) = (before.state.subjects.get(id), after.state.subjects.get(id));
        let members = [was.map(|was| before.subject(was)), is.map(|is| after.subject(is))];
        compare("subject", Some(id.to_string()), members[0].as_ref(), members[1].as_ref(), &mut found);
        for session in is.into_iter().flat_map(|subject| &subject.sessions) {
            let members = [before.session(was, session.id), after.session(is, session.id)];
            compare(
                "session",
                Some(session.id.to_string()),
                members[0].as_ref(),
                members[1].as_ref(),
                &mut found,
            );
        }
    }
    found
}

struct ComparableState<'s> {
    state: &'s AuthorityState,
    at: Timestamp,
}

/// Things of one sort, each by its name.
type NamedThings = BTreeMap<Option<String>, JsonMembers>;

/// The sorts of things that the system's events are about.
const OF_THE_SYSTEM: [&str; 6] = ["policy", "log", "epoch", "key", "credential", "webhook"];

impl ComparableState<'_> {
    fn system(&self) -> impl Iterator<Item = (&'static str, NamedThings)> {
        OF_THE_SYSTEM.into_iter().map(|what| (what, self.things(what)))
    }

    fn things(&self, what: &str) -> NamedThings {
        let system = &self.state.system;
        match what {
            "policy" => system.policy.iter().map(|policy| (None, members(policy))).collect(),
            "log" => [(None, object(json!({ "segmentEvents": system.segment_events })))].into(),
            "epoch" => system.epochs.begun().iter().map(epoch).collect(),
            "key" => KeyUse::ALL.iter().flat_map(|(_, which)| keys(&system.keys, *which)).collect(),
            "credential" => system.credentials.values().map(credential).collect(),
            "webhook" => system.webhooks.values().map(webhook).collect(),
            _ => NamedThings::new(),
        }
    }

    fn subject(&self, subject: &Subject) -> JsonMembers {
        let mut members = profile(subject);
        let suspension = subject.suspension_at(self.at);
        let told = suspension.map(|known| json!({ "at": known.at, "by": known.by, "until": known.until }));
        members.insert("suspension".into(), json!(told));
        members
    }

    fn session(&self, subject: Option<&Subject>, id: tenure_core::SessionId) -> Option<JsonMembers> {
        let subject = subject?;
        let state = ReplayedSession::of(self.state, subject, subject.session(id)?, self.at);
        let mut members = members(&state);
        // They say when one looked, or whose it is, which the subject says too.
        for name in ["asOfPosition", "asOfTime", "expiresIn", "ownerId"] {
            members.remove(name);
        }
        Some(members)
    }
}

fn epoch(epoch: &Epoch) -> (Option<String>, JsonMembers) {
    let is = json!({ "from": epoch.from, "at": epoch.at, "previousName": epoch.previous_name });
    (Some(epoch.number.to_string()), object(is))
}

fn keys(keys: &KeyHistory, which: KeyUse) -> impl Iterator<Item = (Option<String>, JsonMembers)> {
    keys.of(which).iter().map(move |key| {
        let is = json!({ "use": which, "createdAt": key.created_at, "retireAt": key.retire_at });
        (Some(key.id.to_string()), object(is))
    })
}

fn credential(credential: &Credential) -> (Option<String>, JsonMembers) {
    let is = json!({
        "role": credential.role, "ownerId": credential.owner_id, "createdAt": credential.created_at,
        "expiresAt": credential.expires_at, "revokedAt": credential.revoked_at,
        "heldSince": credential.held_since,
    });
    (Some(credential.id.to_string()), object(is))
}

fn webhook(webhook: &Webhook) -> (Option<String>, JsonMembers) {
    let mut is = members(&webhook.asked);
    is.remove("webhookId");
    is.insert("createdAt".into(), json!(webhook.created_at));
    (Some(webhook.id().to_string()), is)
}

fn profile(subject: &Subject) -> JsonMembers {
    let mut members = subject.profile().map_or_else(JsonMembers::new, members);
    if let Some(registration) = subject.registration() {
        members.insert("createdAt".into(), json!(registration.created_at));
    }
    members
}

fn members(thing: &impl Serialize) -> JsonMembers {
    object(serde_json::to_value(thing).expect("our own documents are always JSON"))
}

fn object(value: Value) -> JsonMembers {
    match value {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            JsonMembers::new()
        }
    }
}

fn compare(
    what: &'static str,
    id: Option<String>,
    before: Option<&JsonMembers>,
    after: Option<&JsonMembers>,
    found: &mut Vec<FieldDifference>,
) {
    match (before, after) {
        (None, Some(after)) => {
            let after = Value::Object(after.clone());
            found.push(FieldDifference { what, id, field: "new".into(), before: Value::Null, after });
        }
        (Some(before), Some(after)) => {
            for (name, value) in after.iter().filter(|(name, value)| before.get(*name) != Some(value)) {
                let before = before.get(name).cloned().unwrap_or_default();
                let (id, after) = (id.clone(), value.clone());
                found.push(FieldDifference { what, id, field: name.clone(), before, after });
            }
        }
        (Some(before), None) => {
            let before = Value::Object(before.clone());
            found.push(FieldDifference { what, id, field: "deleted".into(), before, after: Value::Null });
        }
        (None, None) => {}
    }
}
