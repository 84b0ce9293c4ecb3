//! What two moments of a history differ in.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::view::ReplayedSession;
use tenure_core::{Timestamp, state::AuthorityState, subject::Subject};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldDifference {
    /// `policy`, `credential`, `subject` or `session`.
    pub what: &'static str,
    /// Its name; `None` for the policy.
    pub id: Option<String>,
    /// `new`, or which of its members changed.
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
    compare("policy", None, before.policy().as_ref(), after.policy().as_ref(), &mut found);
    for id in after.state.system.credentials.keys() {
        let name = Some(id.to_string());
        compare(
            "credential",
            name,
            before.credential(id).as_ref(),
            after.credential(id).as_ref(),
            &mut found,
        );
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

impl ComparableState<'_> {
    fn policy(&self) -> Option<JsonMembers> {
        self.state.system.policy.as_ref().map(members)
    }

    fn credential(&self, id: &tenure_core::CredentialId) -> Option<JsonMembers> {
        let credential = self.state.system.credentials.get(id)?;
        Some(object(json!({
            "role": credential.role, "ownerId": credential.owner_id,
            "createdAt": credential.created_at, "revokedAt": credential.revoked_at,
        })))
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
        // Nothing that was recorded goes away.
        (Some(_) | None, None) => {}
    }
}
