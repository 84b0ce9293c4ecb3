//! The authority's answers as a verifier reads them. Members that it does not know are ignored; what it needs and
//! does not find makes the whole answer none.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    paseto::PublicKey,
    revoked::{Revocation, Whom},
    ring::RingKey,
};
use tenure_protocol::{OwnerId, Position, SessionId, SubjectId, Timestamp};

/// So many keys are more than any authority has.
const MOST_KEYS: usize = 256;

/// The answer of `GET /v1/keys`.
pub(super) fn keys(body: &[u8]) -> Option<Vec<RingKey>> {
    let keys = serde_json::from_slice::<KeysBody>(body).ok()?.keys;
    if keys.len() > MOST_KEYS {
        return None;
    }
    keys.into_iter().filter(KeyBody::is_in_use).map(KeyBody::read).collect()
}

#[derive(Deserialize)]
struct KeysBody {
    keys: Vec<KeyBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyBody {
    key_id: String,
    paserk: String,
    state: String,
    retire_at: Option<String>,
}

impl KeyBody {
    /// A key in a state of which nothing is known here signs nothing.
    fn is_in_use(&self) -> bool {
        ["active", "retiring"].contains(&&*self.state)
    }

    fn read(self) -> Option<RingKey> {
        let key = PublicKey::from_paserk(&self.paserk).filter(|key| **key.id() == *self.key_id)?;
        let retire_at = self.retire_at.map(|time| Timestamp::parse(&time).ok_or(())).transpose().ok()?;
        Some(RingKey { key, retire_at })
    }
}

/// The answer of `GET /v1/revocations/feed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FeedPage {
    /// In the order of their positions.
    pub(super) items: Vec<FeedItem>,
    /// Where the next page begins.
    pub(super) next_after: Position,
    /// How far the log goes.
    pub(super) head: Position,
    /// What time it is there.
    pub(super) now: Timestamp,
}

/// What was revoked at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FeedItem {
    pub(super) position: Position,
    pub(super) at: Timestamp,
    pub(super) whom: Vec<Whom>,
}

impl FeedItem {
    /// One by one.
    pub(super) fn revocations(&self) -> impl Iterator<Item = Revocation> {
        self.whom.iter().map(|whom| Revocation { at: self.at, whom: whom.clone() })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FeedBody {
    items: Vec<ItemBody>,
    next_after: u64,
    head: u64,
    now: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemBody {
    position: u64,
    at: String,
    session_id: Option<String>,
    /// With a selector: all that it ended, if they are not too many.
    session_ids: Option<Vec<String>>,
    selector: Option<Map<String, Value>>,
}

impl FeedPage {
    /// Reads the page after this position. None when it is none, or cannot be that page.
    pub(super) fn read(body: &[u8], after: Position) -> Option<Self> {
        let body: FeedBody = serde_json::from_slice(body).ok()?;
        let items = body.items.into_iter().map(ItemBody::read).collect::<Option<Vec<_>>>()?;
        let page = Self {
            items,
            next_after: Position(body.next_after),
            head: Position(body.head),
            now: Timestamp::parse(&body.now)?,
        };
        page.continues(after).then_some(page)
    }

    /// Whether there is nothing behind it.
    pub(super) fn is_last(&self) -> bool {
        self.next_after >= self.head
    }

    /// Items are in order, and each page but the last leads on: whoever follows comes to an end.
    fn continues(&self, after: Position) -> bool {
        let positions = self.items.iter().map(|item| item.position);
        let is_ordered = positions.clone().is_sorted() && positions.clone().all(|position| position > after);
        let is_within = positions.max().is_none_or(|last| last <= self.next_after);
        is_ordered && is_within && (self.is_last() || self.next_after > after)
    }
}

impl ItemBody {
    fn read(self) -> Option<FeedItem> {
        let session = |id: &String| id.parse().map(Whom::Session).ok();
        let whom = match (&self.session_id, &self.session_ids, &self.selector) {
            (Some(id), None, None) => vec![session(id)?],
            (None, Some(ids), Some(_)) => ids.iter().map(session).collect::<Option<_>>()?,
            (None, None, Some(selector)) => vec![Whom::of_selector(selector)],
            // A kind of revocation of a later version may be about anyone.
            (Some(_) | None, Some(_) | None, Some(_) | None) => vec![Whom::Everyone],
        };
        Some(FeedItem { position: Position(self.position), at: Timestamp::parse(&self.at)?, whom })
    }
}

/// What the authority says of a session token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Live(LiveToken),
    /// With the code that says why.
    Dead(String),
}

/// A session token that is good now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LiveToken {
    pub(super) session: SessionId,
    pub(super) subject: SubjectId,
    pub(super) owner: Option<OwnerId>,
    pub(super) scopes: Vec<String>,
    pub(super) expires_at: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JudgementBody {
    active: bool,
    code: Option<String>,
    session_id: Option<String>,
    subject_id: Option<String>,
    owner_id: Option<String>,
    scopes: Option<Vec<String>>,
    expires_at: Option<String>,
}

impl Judgement {
    /// Reads the answer of `POST /v1/introspect` about one token.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let body: JudgementBody = serde_json::from_slice(body).ok()?;
        if !body.active {
            return Some(Self::Dead(body.code.unwrap_or_default()));
        }
        Some(Self::Live(LiveToken {
            session: body.session_id?.parse().ok()?,
            subject: body.subject_id?.parse().ok()?,
            owner: body.owner_id.map(|owner| owner.parse().map_err(drop)).transpose().ok()?,
            scopes: body.scopes?,
            expires_at: Timestamp::parse(&body.expires_at?)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The public key of PASETO's test vectors of version 4 as PASERK, and its id.
    const KEY: &str = "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI";

    fn id() -> String {
        PublicKey::from_paserk(KEY).unwrap().id().to_string()
    }

    fn shown(keys: &Value) -> Option<Vec<RingKey>> {
        super::keys(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn page(after: u64, items: &Value, next_after: u64, head: u64) -> Option<FeedPage> {
        let now = "2026-11-21T10:00:00.000Z";
        let body = json!({ "items": items, "nextAfter": next_after, "head": head, "now": now });
        FeedPage::read(body.to_string().as_bytes(), Position(after))
    }

    fn item(position: u64) -> Value {
        let session = "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77";
        json!({ "position": position, "at": "2026-11-21T10:00:00.000Z", "sessionId": session })
    }

    #[test]
    fn a_key_is_known_by_the_id_that_follows_from_it() {
        let key =
            |id: &str, state: &str| json!({ "keyId": id, "paserk": KEY, "state": state, "retireAt": null });
        assert_eq!(shown(&json!([key(&id(), "active")])).unwrap().len(), 1);
        assert!(shown(&json!([key("k4.pid.other", "active")])).is_none(), "under another's name");
        assert_eq!(shown(&json!([key(&id(), "withdrawn")])).unwrap().len(), 0, "in an unknown state");
        assert!(
            shown(&json!([{ "keyId": id(), "paserk": KEY, "state": "active", "retireAt": "soon" }]))
                .is_none()
        );
    }

    #[test]
    fn a_page_is_in_order_and_leads_on() {
        assert!(page(0, &json!([item(1), item(1), item(5)]), 9, 9).unwrap().is_last());
        assert!(!page(0, &json!([item(1)]), 1, 9).unwrap().is_last());
        assert!(page(3, &json!([]), 3, 3).is_some());
        assert!(page(0, &json!([item(5), item(1)]), 9, 9).is_none(), "out of order");
        assert!(page(5, &json!([item(5)]), 9, 9).is_none(), "not after 5");
        assert!(page(0, &json!([item(5)]), 4, 9).is_none(), "beyond its own end");
        assert!(page(3, &json!([]), 3, 9).is_none(), "it would be asked for again and again");
    }

    #[test]
    fn an_item_that_is_not_understood_may_be_about_anyone() {
        let odd = json!([{ "position": 1, "at": "2026-11-21T10:00:00.000Z", "later": true }]);
        let whom = page(0, &odd, 1, 1).unwrap().items.remove(0).whom;
        assert_eq!(whom, [Whom::Everyone]);
        let odd = json!([{ "position": 1, "at": "2026-11-21T10:00:00.000Z", "sessionId": "me" }]);
        assert!(page(0, &odd, 1, 1).is_none(), "a session that cannot be named");
    }

    #[test]
    fn a_selector_that_comes_with_its_sessions_is_about_those() {
        let session = "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77";
        let with = |ids: Value| {
            json!([{ "position": 1, "at": "2026-11-21T10:00:00.000Z", "selector": { "ownerId": "alice" },
                "sessionIds": ids }])
        };
        let whom = |ids| page(0, &with(ids), 1, 1).unwrap().items.remove(0).whom;
        assert_eq!(whom(json!([session])), [Whom::Session(session.parse().unwrap())]);
        assert_eq!(whom(json!([])), []);
        assert_eq!(whom(Value::Null), [Whom::Everyone], "they are too many");
        assert!(page(0, &with(json!(["me"])), 1, 1).is_none());
    }

    #[test]
    fn a_judgement_is_live_only_when_it_says_all() {
        let session = "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77";
        let live = json!({ "active": true, "sessionId": session, "subjectId": "a", "ownerId": null, "scopes": [],
            "expiresAt": "2026-11-21T10:00:00.000Z" });
        assert!(matches!(Judgement::read(live.to_string().as_bytes()), Some(Judgement::Live(_))));
        for name in ["active", "sessionId", "subjectId", "scopes", "expiresAt"] {
            let mut less = live.clone();
            less.as_object_mut().unwrap().remove(name);
            assert_eq!(Judgement::read(less.to_string().as_bytes()), None, "{name}");
        }
        let dead = Judgement::read(br#"{"active":false,"code":"SESSION_REVOKED"}"#);
        assert_eq!(dead, Some(Judgement::Dead("SESSION_REVOKED".to_owned())));
    }
}
