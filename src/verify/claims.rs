//! What an access token says.
//!
//! A missing, repeated or mistyped claim makes a token unfit. Claims of a later version are ignored,
//! so that a verifier need not be replaced before the authority; but a claim that *restricts* who may use a token
//! must not be ignored. Such a token says so: by `crit`, which names what must be understood (as in RFC 7515,
//! section 4.1.11), or by `cnf`, which asks for a proof of possession (RFC 7800). This version understands neither
//! and refuses both.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::Rejection;
use tenure_protocol::{SessionId, SubjectId, Timestamp, token::LONGEST_ACCESS};

/// Claims that restrict a token in a way unknown here.
const RESTRICTING: [&str; 2] = ["crit", "cnf"];

/// What a genuine access token says. Whether it still counts is judged each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// Which authority signed it (`iss`).
    pub issuer: String,
    /// Who holds the session (`sub`).
    pub subject: SubjectId,
    /// The session that it stands for (`sid`).
    pub session: SessionId,
    /// Whom it was made for (`aud`), if for someone.
    pub audience: Option<String>,
    /// What its session may be used for (`scopes`).
    pub scopes: Arc<[String]>,
    /// When it was signed (`iat`).
    pub issued_at: Timestamp,
    /// From when on it counts (`nbf`).
    pub not_before: Timestamp,
    /// When it stops counting (`exp`).
    pub expires_at: Timestamp,
    /// Its own id (`jti`).
    pub token_id: String,
}

impl AccessClaims {
    /// Reads the payload of a token whose signature was verified.
    pub fn from_payload(payload: &str) -> Result<Self, Rejection> {
        let members: JsonMembers<'_> =
            serde_json::from_str(payload).map_err(|_| Rejection::UnfitClaim("(all)"))?;
        if let Some(name) = RESTRICTING.into_iter().find(|name| members.get(name).is_some()) {
            return Err(Rejection::UnfitClaim(name));
        }
        let claims = Self {
            issuer: members.read("iss")?,
            subject: members.parse("sub")?,
            session: members.parse("sid")?,
            audience: members.get("aud").map(|_| members.read("aud")).transpose()?.flatten(),
            scopes: members.read::<Vec<String>>("scopes")?.into(),
            issued_at: members.time("iat")?,
            not_before: members.time("nbf")?,
            expires_at: members.time("exp")?,
            token_id: members.read("jti")?,
        };
        let is_short = claims.expires_at <= claims.issued_at.plus(LONGEST_ACCESS);
        if is_short { Ok(claims) } else { Err(Rejection::UnfitClaim("exp")) }
    }
}

/// The members of a JSON object, each once.
struct JsonMembers<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> JsonMembers<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    fn read<T: DeserializeOwned>(&self, name: &'static str) -> Result<T, Rejection> {
        let value = self.get(name).and_then(|value| serde_json::from_str(value.get()).ok());
        value.ok_or(Rejection::UnfitClaim(name))
    }

    fn parse<T: FromStr>(&self, name: &'static str) -> Result<T, Rejection> {
        self.read::<String>(name)?.parse().map_err(|_| Rejection::UnfitClaim(name))
    }

    fn time(&self, name: &'static str) -> Result<Timestamp, Rejection> {
        Timestamp::parse(&self.read::<String>(name)?).ok_or(Rejection::UnfitClaim(name))
    }
}

impl<'de> Deserialize<'de> for JsonMembers<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = JsonMembers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object that names each member once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonMembers<'de>, A::Error> {
        let mut members = JsonMembers(Vec::new());
        while let Some((MemberName(name), value)) = map.next_entry::<MemberName<'de>, &'de RawValue>()? {
            if members.get(&name).is_some() {
                return Err(serde::de::Error::custom("a member is named twice"));
            }
            members.0.push((name, value));
        }
        Ok(members)
    }
}

/// A name, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct MemberName<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn payload() -> Value {
        json!({
            "iss": "tenure", "sub": "agent-7", "sid": "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77", "aud": "orders",
            "scopes": ["orders:read"], "iat": "2026-11-21T10:00:00.000Z", "nbf": "2026-11-21T10:00:00.000Z",
            "exp": "2026-11-21T10:10:00.000Z", "jti": "x",
        })
    }

    fn with(name: &str, value: Value) -> Result<AccessClaims, Rejection> {
        let mut payload = payload();
        payload[name] = value;
        AccessClaims::from_payload(&payload.to_string())
    }

    #[test]
    fn a_payload_is_read() {
        let claims = AccessClaims::from_payload(&payload().to_string()).unwrap();
        assert_eq!((claims.issuer.as_str(), claims.subject.as_str()), ("tenure", "agent-7"));
        assert_eq!(claims.expires_at.to_string(), "2026-11-21T10:10:00.000Z");
        assert_eq!(*claims.scopes, ["orders:read"]);
    }

    #[test]
    fn an_absent_and_a_null_audience_are_none() {
        assert_eq!(with("aud", Value::Null).unwrap().audience, None);
        let mut payload = payload();
        payload.as_object_mut().unwrap().remove("aud");
        assert_eq!(AccessClaims::from_payload(&payload.to_string()).unwrap().audience, None);
    }

    #[test]
    fn a_claim_that_is_missing_or_of_the_wrong_type_is_named() {
        for name in ["iss", "sub", "sid", "scopes", "iat", "nbf", "exp", "jti"] {
            let mut less = payload();
            less.as_object_mut().unwrap().remove(name);
            assert_eq!(AccessClaims::from_payload(&less.to_string()), Err(Rejection::UnfitClaim(name)));
            assert_eq!(with(name, json!(7)), Err(Rejection::UnfitClaim(name)));
        }
        assert_eq!(with("aud", json!(["orders", "others"])), Err(Rejection::UnfitClaim("aud")));
        assert_eq!(with("exp", json!("tomorrow")), Err(Rejection::UnfitClaim("exp")));
        assert_eq!(with("sid", json!("me")), Err(Rejection::UnfitClaim("sid")));
    }

    #[test]
    fn a_claim_that_is_named_twice_makes_all_unfit_whether_known_or_not() {
        let text = payload().to_string();
        for twice in [r#""iss":"tenure""#, r#""new":1,"new":1"#, r#""new":1,"n\u0065w":1"#] {
            let payload = format!("{},{twice}}}", text.strip_suffix('}').unwrap());
            assert_eq!(AccessClaims::from_payload(&payload), Err(Rejection::UnfitClaim("(all)")), "{twice}");
        }
    }

    #[test]
    fn a_later_claim_is_ignored_unless_it_restricts() {
        assert!(with("level", json!({ "of": ["assurance"] })).is_ok());
        assert_eq!(with("crit", json!(["level"])), Err(Rejection::UnfitClaim("crit")));
        assert_eq!(with("cnf", json!({ "jkt": "x" })), Err(Rejection::UnfitClaim("cnf")));
    }

    #[test]
    fn a_token_lives_half_an_hour_at_most() {
        assert!(with("exp", json!("2026-11-21T10:30:00.000Z")).is_ok());
        assert_eq!(with("exp", json!("2026-11-21T10:30:00.001Z")), Err(Rejection::UnfitClaim("exp")));
    }
}
