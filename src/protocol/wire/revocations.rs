//! `/v1/revocations`, and its feed.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::{Digest16, EpochPosition, KeyId, OwnerId, Position, SessionId, SubjectId, Timestamp};

/// Sessions to end at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = RevocationBody))]
pub struct RevokeMatchingRequest {
    /// Which sessions.
    pub selector: RevocationSelector,
    /// Why; 1 to 500 characters. A dry run needs none.
    pub reason: Option<String>,
    /// Whether only to say what would end.
    pub dry_run: Option<bool>,
}

/// Which sessions: `all` alone, or what all of them have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = SelectorBody))]
pub struct RevocationSelector {
    /// Every session.
    pub all: Option<bool>,
    /// Those of subjects that this owner answers for.
    pub owner_id: Option<OwnerId>,
    /// Those of this subject.
    pub subject_id: Option<SubjectId>,
    /// Those of the device of this name, whosever it is; 1 to 128 characters.
    pub device: Option<String>,
    /// Those whose current token was issued before this moment, which must not be in the future.
    pub issued_before: Option<Timestamp>,
    /// Those of whose current generation this key sealed a token: the id of a key of session tokens, also of one
    /// that is retiring or over.
    pub key_id: Option<KeyId>,
}

/// The sessions that ended, or would.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct RevokedMatching {
    /// How many there are.
    pub matched: u32,
    /// Some of them, 20 at most.
    pub sample: Vec<SessionId>,
    /// The event that ended them; null when nothing was appended.
    pub position: Option<Position>,
}

/// One page of the feed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct FeedPage {
    /// In the order of their positions.
    pub items: Vec<FeedItem>,
    /// Give it as `after` to go on: a number in the first epoch, a text `<epoch>:<position>` in later ones.
    pub next_after: EpochPosition,
    /// The last position of the log that this page takes into account.
    pub head: Position,
    /// The authority's time.
    pub now: Timestamp,
}

/// The end of one session, or of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = Item))]
pub enum FeedItem {
    /// Of one session.
    Session(EndedSession),
    /// Of all that a selector met.
    Selection(EndedSelection),
}

/// The end of one session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct EndedSession {
    /// The event that ended it.
    pub position: Position,
    /// When.
    pub at: Timestamp,
    /// The session.
    pub session_id: SessionId,
}

/// The end of all sessions that a selector met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct EndedSelection {
    /// The event that ended them.
    pub position: Position,
    /// When.
    pub at: Timestamp,
    /// What they have in common.
    pub selector: SelectorView,
    /// All sessions that it ended. Null when they are more than 10 000, and when the subject was suspended: then refuse
    /// every access token with `iat` up to 5 s after `at`, or those of `selector.subjectId` when there is one.
    pub session_ids: Option<Vec<SessionId>>,
}

/// What was said of the sessions that were ended: all of it applies to each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct SelectorView {
    /// Whether nothing else is said: every session.
    pub all: bool,
    /// Those of this owner's subjects.
    pub owner_id: Option<OwnerId>,
    /// Those of this subject.
    pub subject_id: Option<SubjectId>,
    /// A keyed digest of the name of their device.
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<String>))]
    pub device_digest: Option<Digest16>,
    /// All but this one.
    pub except_session_id: Option<SessionId>,
    /// Those created before this.
    pub issued_before: Option<Timestamp>,
    /// Those of whose current generation this key sealed a token.
    pub key_id: Option<KeyId>,
}

/// An item as it comes. A reader that does not understand what was ended takes it to be everything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFeedItem {
    position: Position,
    at: Timestamp,
    session_id: Option<SessionId>,
    session_ids: Option<Vec<SessionId>>,
    selector: Option<Map<String, Value>>,
}

impl<'de> Deserialize<'de> for FeedItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RawFeedItem { position, at, session_id, session_ids, selector } =
            RawFeedItem::deserialize(deserializer)?;
        Ok(match (session_id, session_ids, selector) {
            (Some(session_id), None, None) => Self::Session(EndedSession { position, at, session_id }),
            (None, session_ids, Some(selector)) => {
                let selector = SelectorView::understood(&selector);
                Self::Selection(EndedSelection { position, at, selector, session_ids })
            }
            // A kind of revocation of a later version may be about any session.
            (Some(_) | None, Some(_) | None, Some(_) | None) => Self::everything(position, at),
        })
    }
}

impl FeedItem {
    /// Where it stands in the history.
    pub const fn position(&self) -> Position {
        match self {
            Self::Session(ended) => ended.position,
            Self::Selection(ended) => ended.position,
        }
    }

    /// When it was recorded.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Session(ended) => ended.at,
            Self::Selection(ended) => ended.at,
        }
    }

    fn everything(position: Position, at: Timestamp) -> Self {
        let selector = SelectorView { all: true, ..SelectorView::default() };
        Self::Selection(EndedSelection { position, at, selector, session_ids: None })
    }
}

impl SelectorView {
    /// Each member narrows the selection, so a member that a reader does not understand, or cannot judge by an access
    /// token, is passed over.
    fn understood(members: &Map<String, Value>) -> Self {
        let text = |name| members.get(name).and_then(Value::as_str);
        Self {
            all: members.get("all").and_then(Value::as_bool).unwrap_or(false),
            owner_id: text("ownerId").and_then(|id| id.parse().ok()),
            subject_id: text("subjectId").and_then(|id| id.parse().ok()),
            device_digest: None,
            except_session_id: text("exceptSessionId").and_then(|id| id.parse().ok()),
            issued_before: text("issuedBefore").and_then(Timestamp::parse),
            key_id: text("keyId").and_then(|id| id.parse().ok()),
        }
    }
}

/// How far, and until when, the reader of the feed's stream has heard everything.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedHead {
    /// The last position of the log that was taken into account.
    pub head: Position,
    /// The authority's time.
    pub now: Timestamp,
}
