//! An event of the record in words: what happened, and by whom, with the names of API keys.

use std::collections::HashMap;

use serde_json::Value;

use super::{columns::unique_length, humanize};
use crate::cli::{
    arguments::moments,
    connection::{client::ApiRequest, pages},
    context::CommandContext,
    failure::CommandError,
};
use tenure_core::Timestamp;

/// Enough characters of an id to make it unique in practice.
const SHORT: usize = 8;

/// Before the id of a key, in the sentences of a story.
const KEY: &str = "API key ";
/// The length of an id.
const ID: usize = 36;

/// What people call API keys, as far as this key may know.
#[derive(Debug, Default)]
pub(crate) struct KeyNames {
    names: HashMap<String, String>,
    /// As many characters of the ids as differ.
    shown: usize,
}

impl KeyNames {
    /// The names of the keys: an admin lists them, an auditor reads them in the record, and others know their own.
    pub(crate) fn read(cli: &CommandContext) -> Result<Self, CommandError> {
        let mut names = Self::default();
        let own = match cli.client.send(&ApiRequest::get(&["v1", "credentials", "self"])) {
            Ok(own) => own.body,
            // A session's token is not an API key.
            Err(CommandError::Problem(problem)) if matches!(problem.status, 401 | 403) => return Ok(names),
            Err(failure) => return Err(failure),
        };
        match own["role"].as_str() {
            Some("admin") => {
                let listed = ApiRequest::get(&["v1", "credentials"]);
                names.add(items(&pages::whole(cli, listed, pages::by_cursor)?));
            }
            Some("auditor") => {
                let issued = ApiRequest::get(&["v1", "events"]).query("kinds", Some("CredentialIssued"));
                names.add(items(&pages::whole(cli, issued, pages::by_position)?).map(|item| &item["data"]));
            }
            Some(_) | None => names.add([&own]),
        }
        Ok(names)
    }

    fn add<'k>(&mut self, keys: impl IntoIterator<Item = &'k Value>) {
        for key in keys {
            if let (Some(id), Some(name)) = (key["credentialId"].as_str(), key["name"].as_str()) {
                self.names.insert(id.to_owned(), name.to_owned());
            }
        }
        self.shown = unique_length(self.names.keys().map(String::as_str).collect());
    }

    /// A sentence of a story, with the names of the keys in it.
    pub(crate) fn in_sentence(&self, told: &str) -> String {
        let mut parts = told.split(KEY);
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text.push_str(KEY);
            let known = part.get(..ID).and_then(|id| Some((self.names.get(id)?, id, &part[ID..])));
            match known {
                Some((name, id, rest)) => text.extend(["\"", name, "\" (", id, ")", rest]),
                None => text.push_str(part),
            }
        }
        text
    }

    /// Who did it: `Alice's phone`, or `Alice's phone (01a22385)` where others have that name; `key 01a22385`, `itself`.
    pub(crate) fn who(&self, event: &Value) -> String {
        self.actor(&event["actor"])
    }

    fn is_shared(&self, name: &str) -> bool {
        self.names.values().filter(|known| *known == name).count() > 1
    }

    fn actor(&self, actor: &Value) -> String {
        let id = actor["id"].as_str().unwrap_or_default();
        match actor["kind"].as_str().unwrap_or_default() {
            "credential" => match self.names.get(id) {
                Some(name) if self.is_shared(name) => {
                    format!("{name} ({})", id.get(..self.shown).unwrap_or(id))
                }
                Some(name) => name.clone(),
                None => format!("key {}", short(id)),
            },
            "session" => "itself".to_owned(),
            "authority" => "the authority".to_owned(),
            "operator" => "the operator".to_owned(),
            "link" => "the link of a notice".to_owned(),
            other => other.to_owned(),
        }
    }
}

fn items(page: &Value) -> impl Iterator<Item = &Value> {
    page["items"].as_array().into_iter().flatten()
}

fn short(id: &str) -> &str {
    id.get(..SHORT).unwrap_or(id)
}

/// What happened, in a few words.
pub(crate) fn what(event: &Value) -> String {
    let told =
        EventDetails { data: &event["data"], at: event["recordedAt"].as_str().and_then(Timestamp::parse) };
    let kind = event["kind"].as_str().unwrap_or_default();
    told.of_session(kind).or_else(|| told.of_others(kind)).unwrap_or_else(|| kind.to_owned())
}

/// What ended a session.
pub(crate) fn trigger_words(trigger: &str) -> String {
    match trigger {
        "manual_revoke" => "revoked".to_owned(),
        "renewal_rejected" => "vetoed".to_owned(),
        "self" => "by its holder".to_owned(),
        "evicted" => "a newer one took its place".to_owned(),
        "token_reuse" => "a replaced token came back".to_owned(),
        "subject_revoked" => "all of the subject's".to_owned(),
        "bulk" | "" => "a selection".to_owned(),
        "restore" => "a restore began another epoch".to_owned(),
        other => other.replace('_', " "),
    }
}

/// Why a renewal was refused.
pub(crate) fn refusal_words(code: &str) -> String {
    match code {
        "RENEWAL_TOO_EARLY" => "too early".to_owned(),
        "RENEWAL_LIMIT_REACHED" => "no renewals left".to_owned(),
        "SESSION_ABSOLUTE_LIFETIME_EXCEEDED" => "it has reached its absolute end".to_owned(),
        "SESSION_RENEWAL_MISMATCH" => "a token that was replaced".to_owned(),
        "TOKEN_EXPIRED" => "its period was over".to_owned(),
        "SESSION_IDLE" => "it had gone idle".to_owned(),
        other => other.to_lowercase().replace('_', " "),
    }
}

/// The data of an event, and when it was recorded.
struct EventDetails<'e> {
    data: &'e Value,
    at: Option<Timestamp>,
}

impl EventDetails<'_> {
    fn of_session(&self, kind: &str) -> Option<String> {
        Some(match kind {
            "SessionCreated" => self.created(),
            "SessionRenewed" => {
                let number = self.data["generation"].as_u64().unwrap_or(1).saturating_sub(1);
                format!("renewal {number}, until {}", self.moment("expiresAt"))
            }
            "RenewalRejected" if self.data["cause"] == "owner" => "renewal vetoed".to_owned(),
            "RenewalRejected" => format!("renewal refused: {}{}", self.refusal(), self.contested()),
            "SessionRevoked" => format!("ended: {}{}", self.trigger(), self.reason()),
            "SessionsRevoked" | "SelectionRevoked" => {
                let matched = self.data["matched"].as_u64().unwrap_or_default();
                let sessions = if matched == 1 { "session" } else { "sessions" };
                format!("{matched} {sessions} ended: {}{}", self.trigger(), self.reason())
            }
            "SessionExpired" => format!("expired: {}", self.cause()),
            "SessionRefreshed" => format!("refreshed by use, until {}", self.moment("expiresAt")),
            "UsageRecorded" => self.used(),
            _ => return None,
        })
    }

    fn of_others(&self, kind: &str) -> Option<String> {
        let text = |name: &str| self.text(name).unwrap_or("-");
        Some(match kind {
            "SubjectRegistered" => {
                format!("registered{}{}", self.of("kind", " as "), self.of("ownerId", ", owner "))
            }
            "SubjectSuspended" => format!("suspended {}{}", self.until(), self.reason()),
            "SubjectResumed" => format!("resumed{}", self.reason()),
            "SubjectErased" => format!("its text was erased{}", self.reason()),
            "TokensPresented" => format!("new tokens shown by {}", self.count("presented")),
            "SessionsSeen" => format!("uses noted of {}", self.count("seen")),
            "CredentialIssued" => {
                let whose = self.of("ownerId", " of owner ");
                format!("{} key issued{whose}{}", text("role"), self.named())
            }
            "CredentialRevoked" => format!("key {} revoked", short(text("credentialId"))),
            "PolicyChanged" => "limits changed".to_owned(),
            "KeyRotated" if self.data["previousKeyId"].is_null() => format!("first {} key", text("which")),
            "KeyRotated" => format!("{} key replaced", text("which")),
            "WebhookCreated" => format!("webhook added for {}{}", text("host"), self.named()),
            "EpochBegan" => {
                format!("epoch {} began after position {}", self.data["epoch"], self.data["from"])
            }
            "LogSegmented" => format!("segments of {} events", self.data["segmentEvents"]),
            "CredentialConfirmed" => format!("key {} confirmed", short(text("credentialId"))),
            "WebhookDeleted" => format!("webhook {} removed", short(text("webhookId"))),
            _ => return None,
        })
    }

    fn created(&self) -> String {
        let renewals = match self.data["maxRenewals"].as_u64() {
            Some(0) => "no renewals".to_owned(),
            Some(most) => format!("{most} renewals"),
            None => "renewals".to_owned(),
        };
        let scopes: Vec<_> =
            self.data["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let scopes = if scopes.is_empty() { String::new() } else { format!(", {}", scopes.join(" ")) };
        let device = self.of("device", ", on ");
        let period = self.data["ttl"].as_u64().map_or_else(|| "?".to_owned(), humanize::duration);
        format!("began for {period}, {renewals}{scopes}{device}")
    }

    fn used(&self) -> String {
        let amount = self.of("amount", " ");
        let destination = self.of("destination", " to ");
        let (count, total) = (&self.data["transactions"], self.text("totalAmount").unwrap_or("0"));
        let total = if total == "0" { String::new() } else { format!(", {total} in all") };
        format!("used: {}{amount}{destination} (use {count}{total})", self.text("operation").unwrap_or("-"))
    }

    fn refusal(&self) -> String {
        refusal_words(self.text("code").unwrap_or_default())
    }

    fn contested(&self) -> &'static str {
        if self.data["contested"] == true { "; it has two holders" } else { "" }
    }

    fn trigger(&self) -> String {
        trigger_words(self.text("trigger").unwrap_or_default())
    }

    fn cause(&self) -> &'static str {
        match self.text("cause").unwrap_or_default() {
            "idle" => "it was not used",
            "absolute" => "its absolute end",
            _ => "it was not renewed",
        }
    }

    fn until(&self) -> String {
        if self.data["until"].is_null() {
            "until it is resumed".to_owned()
        } else {
            format!("until {}", self.moment("until"))
        }
    }

    fn reason(&self) -> String {
        self.text("reason").map(|reason| format!(": \"{reason}\"")).unwrap_or_default()
    }

    fn named(&self) -> String {
        self.text("name").map(|name| format!(": {name}")).unwrap_or_default()
    }

    fn of(&self, name: &str, before: &str) -> String {
        self.text(name).map(|text| format!("{before}{text}")).unwrap_or_default()
    }

    fn count(&self, name: &str) -> String {
        match self.data[name].as_array().map_or(0, Vec::len) {
            1 => "1 session".to_owned(),
            several => format!("{several} sessions"),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.data[name].as_str()
    }

    /// By the local clock; with its day unless it is the event's own.
    fn moment(&self, name: &str) -> String {
        let moment = self.text(name).and_then(Timestamp::parse);
        moment.map_or_else(|| "-".to_owned(), |moment| moments::short_time(moment, self.at.unwrap_or(moment)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use tenure_core::EventKind;

    fn told(kind: &str, data: &Value) -> String {
        what(&json!({"kind": kind, "recordedAt": "2026-11-21T03:10:00.000Z", "data": data}))
    }

    #[test]
    fn every_kind_has_words_of_its_own() {
        for kind in EventKind::ALL {
            let told = told(kind.name(), &json!({}));
            assert_ne!(told, kind.name());
        }
    }

    #[test]
    fn a_refusal_says_which_rule_and_an_end_who_and_why() {
        let refused = json!({"cause": "policy", "code": "RENEWAL_TOO_EARLY"});
        assert_eq!(told("RenewalRejected", &refused), "renewal refused: too early");
        assert_eq!(told("RenewalRejected", &json!({"cause": "owner"})), "renewal vetoed");
        let vetoed = json!({"trigger": "renewal_rejected", "reason": "not at night"});
        assert_eq!(told("SessionRevoked", &vetoed), "ended: vetoed: \"not at night\"");
        let used = json!({"operation": "pay", "amount": "12.50", "destination": "acme", "transactions": 3,
                          "totalAmount": "30"});
        assert_eq!(told("UsageRecorded", &used), "used: pay 12.50 to acme (use 3, 30 in all)");
    }

    #[test]
    fn a_key_goes_by_its_name() {
        let mut names = KeyNames::default();
        names.add([&json!({"credentialId": "01a22385-aaaa", "name": "Alice's phone"})]);
        let by = |names: &KeyNames, id: &str| names.who(&json!({"actor": {"kind": "credential", "id": id}}));
        assert_eq!(by(&names, "01a22385-aaaa"), "Alice's phone");
        assert_eq!(by(&names, "01a22385-bbbb"), "key 01a22385");
        assert_eq!(names.who(&json!({"actor": {"kind": "session", "id": "x"}})), "itself");
        // Two of one name differ by their ids.
        names.add([&json!({"credentialId": "01a22385-abcd", "name": "Alice's phone"})]);
        assert_eq!(by(&names, "01a22385-aaaa"), "Alice's phone (01a22385-aa)");
        assert_eq!(by(&names, "01a22385-abcd"), "Alice's phone (01a22385-ab)");
    }

    #[test]
    fn a_sentence_names_the_keys_that_are_known() {
        let mut names = KeyNames::default();
        let (known, other) = ("01a22385-5fd2-7000-8000-0000000000aa", "01a22385-5fd2-7000-8000-0000000000bb");
        names.add([&json!({"credentialId": known, "name": "Alice's phone"})]);
        let told =
            format!("It was ended by API key {known}, after API key {other} had renewed it by API key é.");
        let expected = format!(
            "It was ended by API key \"Alice's phone\" ({known}), after API key {other} had renewed it by API key é."
        );
        assert_eq!(names.in_sentence(&told), expected);
    }
}
