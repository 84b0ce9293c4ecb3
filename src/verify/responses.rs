//! What the authority answers, checked: keys that are what they say, and pages of the feed that lead on. What does not
//! hold makes the whole answer unusable.

use super::{
    key_set::VerificationKey,
    paseto::PublicKey,
    revoked::{RevocationEntry, RevocationTarget},
};
use tenure_protocol::{EpochPosition, Position, Timestamp, wire};

/// No authority has more keys.
const MOST_KEYS: usize = 256;

/// The keys in an answer of `GET /v1/keys` that count.
pub(super) fn keys(body: &[u8]) -> Option<Vec<VerificationKey>> {
    let keys = serde_json::from_slice::<wire::KeysView>(body).ok()?.keys;
    if keys.len() > MOST_KEYS {
        return None;
    }
    keys.iter().filter(|key| is_in_use(key)).map(key).collect()
}

/// A key in a state of which nothing is known here signs nothing.
fn is_in_use(key: &wire::KeyView) -> bool {
    ["active", "retiring"].contains(&&*key.state)
}

fn key(view: &wire::KeyView) -> Option<VerificationKey> {
    let key = PublicKey::from_paserk(&view.paserk).filter(|key| **key.id() == *view.key_id.as_str())?;
    Some(VerificationKey { key, retire_at: view.retire_at })
}

/// A page of `GET /v1/revocations/feed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FeedPage {
    /// In the order of their positions.
    pub(super) items: Vec<FeedItem>,
    /// Where the next page begins.
    pub(super) next_after: Position,
    /// The epoch in which positions of this history are named.
    pub(super) epoch: u32,
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
    pub(super) whom: Vec<RevocationTarget>,
}

impl FeedItem {
    pub(super) fn of(item: &wire::FeedItem) -> Self {
        let whom = match item {
            wire::FeedItem::Session(ended) => vec![RevocationTarget::Session(ended.session_id)],
            wire::FeedItem::Selection(ended) => match &ended.session_ids {
                Some(ids) => ids.iter().copied().map(RevocationTarget::Session).collect(),
                None => vec![RevocationTarget::of_selector(&ended.selector)],
            },
        };
        Self { position: item.position(), at: item.at(), whom }
    }

    /// One by one.
    pub(super) fn revocations(&self) -> impl Iterator<Item = RevocationEntry> {
        self.whom.iter().map(|whom| RevocationEntry { at: self.at, whom: whom.clone() })
    }
}

impl FeedPage {
    /// Reads the page after this position. `None` if it is not a page, or cannot be that page.
    pub(super) fn read(body: &[u8], after: Position) -> Option<Self> {
        let wire::FeedPage { items, next_after, head, now } = serde_json::from_slice(body).ok()?;
        let items = items.iter().map(FeedItem::of).collect();
        let EpochPosition { epoch, position: next_after } = next_after;
        let page = Self { items, next_after, epoch, head, now };
        page.continues(after).then_some(page)
    }

    /// Whether there is nothing behind it.
    pub(super) fn is_last(&self) -> bool {
        self.next_after >= self.head
    }

    /// Items are in order, and each page but the last leads on: a follower comes to an end.
    fn continues(&self, after: Position) -> bool {
        let positions = self.items.iter().map(|item| item.position);
        let is_ordered = positions.clone().is_sorted() && positions.clone().all(|position| position > after);
        let is_within = positions.max().is_none_or(|last| last <= self.next_after);
        is_ordered && is_within && (self.is_last() || self.next_after > after)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The public key of PASETO's test vectors of version 4 as PASERK, and its id.
    const KEY: &str = "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI";

    fn id() -> String {
        PublicKey::from_paserk(KEY).unwrap().id().to_string()
    }

    fn shown(keys: &Value) -> Option<Vec<VerificationKey>> {
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
        let key = |id: &str, state: &str| {
            json!({ "keyId": id, "paserk": KEY, "state": state,
                "createdAt": "2026-11-21T10:00:00.000Z", "retireAt": null })
        };
        assert_eq!(shown(&json!([key(&id(), "active")])).unwrap().len(), 1);
        let other = id().replace("k4.pid.", "k4.lid.");
        assert!(shown(&json!([key(&other, "active")])).is_none(), "under another's name");
        assert_eq!(shown(&json!([key(&id(), "withdrawn")])).unwrap().len(), 0, "in an unknown state");
        assert!(
            shown(&json!([{ "keyId": id(), "paserk": KEY, "state": "active",
                "createdAt": "2026-11-21T10:00:00.000Z", "retireAt": "soon" }]))
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
        assert_eq!(whom, [RevocationTarget::Everyone]);
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
        assert_eq!(whom(json!([session])), [RevocationTarget::Session(session.parse().unwrap())]);
        assert_eq!(whom(json!([])), []);
        assert_eq!(whom(Value::Null), [RevocationTarget::Everyone], "they are too many");
        assert!(page(0, &with(json!(["me"])), 1, 1).is_none());
    }
}
