//! `POST /v1/introspect`.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::value::RawValue;

use super::OpenWord;
use crate::{OwnerId, Position, Secret, SessionId, SubjectId, Timestamp};

/// The tokens to judge: one, or a batch.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = IntrospectBody))]
pub struct IntrospectRequest {
    /// One token.
    #[serde(serialize_with = "exposed")]
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<String>))]
    pub token: Option<Secret>,
    /// Or 1 to 100 tokens.
    #[serde(serialize_with = "all_exposed")]
    #[cfg_attr(feature = "utoipa", schema(value_type = Option<Vec<String>>))]
    pub tokens: Option<Vec<Secret>>,
    /// `["metadata"]` adds the session's metadata; only with `token`.
    pub include: Option<Vec<String>>,
    /// `strict`: answered only by what is certain to be the newest state of all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "utoipa", schema(required = false))]
    pub consistency: Option<String>,
}

impl IntrospectRequest {
    /// For one token.
    pub const fn of(token: Secret) -> Self {
        Self { token: Some(token), tokens: None, include: None, consistency: None }
    }

    /// For 1 to 100 tokens.
    pub const fn of_all(tokens: Vec<Secret>) -> Self {
        Self { token: None, tokens: Some(tokens), include: None, consistency: None }
    }
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn exposed<S: serde::Serializer>(token: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    token.as_ref().map(Secret::expose).serialize(serializer)
}

#[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
fn all_exposed<S: serde::Serializer>(tokens: &Option<Vec<Secret>>, serializer: S) -> Result<S::Ok, S::Error> {
    let exposed: Option<Vec<_>> = tokens.as_ref().map(|all| all.iter().map(Secret::expose).collect());
    exposed.serialize(serializer)
}

/// What a token is.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = Judgement))]
pub enum TokenStatus {
    /// It is good now.
    Live(Box<LiveToken>),
    /// It is not active; nothing more is said about it.
    Dead(DeadToken),
}

/// An active token.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct LiveToken {
    /// Always true.
    pub active: bool,
    /// The session that it proves.
    pub session_id: SessionId,
    /// Who holds it.
    pub subject_id: SubjectId,
    /// Who answers for its subject.
    pub owner_id: Option<OwnerId>,
    /// The name of the device that it belongs to.
    pub device: Option<String>,
    /// What it is good for.
    pub scopes: Vec<String>,
    /// When its period ends.
    pub expires_at: Timestamp,
    /// When the session ends however often it is renewed.
    pub absolute_expires_at: Timestamp,
    /// How often the session was renewed.
    pub renewal_count: u32,
    /// When its holder should renew; null if no further renewal is possible.
    pub renew_at: Option<Timestamp>,
    /// Whether `renewAt` has come.
    pub should_renew: bool,
    /// The position that this reflects.
    pub as_of_position: Position,
    /// Only when it was asked for; null when the session has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "utoipa", schema(value_type = Object, required = false))]
    pub metadata: Option<Box<RawValue>>,
}

/// An inactive token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct DeadToken {
    /// Always false.
    pub active: bool,
    /// `INVALID_TOKEN`, `SESSION_REVOKED`, `TOKEN_SUPERSEDED`, `TOKEN_EXPIRED` or `SESSION_IDLE`.
    #[cfg_attr(feature = "utoipa", schema(value_type = String))]
    pub code: OpenWord,
}

/// The judgement of one token, or those of a batch.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub enum IntrospectReply {
    /// Of `token`.
    One(TokenStatus),
    /// Of `tokens`.
    Many(TokenStatuses),
}

/// The judgements of a batch, in its order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema), schema(as = Judgements))]
pub struct TokenStatuses {
    /// One of each token.
    pub results: Vec<TokenStatus>,
}

/// A judgement as it comes: `active` says which members there are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawToken {
    active: bool,
    code: Option<String>,
    session_id: Option<SessionId>,
    subject_id: Option<SubjectId>,
    owner_id: Option<OwnerId>,
    device: Option<String>,
    scopes: Option<Vec<String>>,
    expires_at: Option<Timestamp>,
    absolute_expires_at: Option<Timestamp>,
    renewal_count: Option<u32>,
    renew_at: Option<Timestamp>,
    should_renew: Option<bool>,
    as_of_position: Option<Position>,
    metadata: Option<Box<RawValue>>,
}

impl<'de> Deserialize<'de> for TokenStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let token = RawToken::deserialize(deserializer)?;
        if !token.active {
            return Ok(Self::Dead(DeadToken { active: false, code: token.code.unwrap_or_default().into() }));
        }
        let live = token.live().ok_or_else(|| de::Error::custom("a live token lacks what it must have"))?;
        Ok(Self::Live(Box::new(live)))
    }
}

impl RawToken {
    fn live(self) -> Option<LiveToken> {
        Some(LiveToken {
            active: true,
            session_id: self.session_id?,
            subject_id: self.subject_id?,
            owner_id: self.owner_id,
            device: self.device,
            scopes: self.scopes?,
            expires_at: self.expires_at?,
            absolute_expires_at: self.absolute_expires_at?,
            renewal_count: self.renewal_count?,
            renew_at: self.renew_at,
            should_renew: self.should_renew?,
            as_of_position: self.as_of_position?,
            metadata: self.metadata,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_judgement_is_live_only_when_it_says_all() {
        let session = "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77";
        let time = "2026-11-21T10:00:00.000Z";
        let live = json!({ "active": true, "sessionId": session, "subjectId": "a", "ownerId": null, "device": null,
            "scopes": [], "expiresAt": time, "absoluteExpiresAt": time, "renewalCount": 0, "renewAt": null,
            "shouldRenew": false, "asOfPosition": 7 });
        let read = |document: &serde_json::Value| serde_json::from_str::<TokenStatus>(&document.to_string());
        assert!(matches!(read(&live), Ok(TokenStatus::Live(_))));
        for name in ["active", "sessionId", "subjectId", "scopes", "expiresAt"] {
            let mut less = live.clone();
            less.as_object_mut().unwrap().remove(name);
            assert!(read(&less).is_err(), "{name}");
        }
        let mut not_live = live;
        not_live["active"] = false.into();
        not_live["code"] = "SESSION_REVOKED".into();
        for dead in [not_live, json!({ "active": false, "code": "SESSION_REVOKED" })] {
            let Ok(TokenStatus::Dead(token)) = read(&dead) else { panic!("{dead}") };
            assert_eq!(token, DeadToken { active: false, code: "SESSION_REVOKED".into() });
        }
    }
}
