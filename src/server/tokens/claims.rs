//! What a session token says, and how it is written inside.

use serde::Deserialize;

use tenure_core::{Generation, SessionId};

/// What a genuine session token says. Whether it is still true, the state decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenClaims {
    /// Whose token it is.
    pub session: SessionId,
    /// The generation that it was sealed for.
    pub generation: Generation,
    /// Which renewal granted the generation; `None` for the first one, and for tokens of an earlier version.
    pub grant: Option<u32>,
}

/// The payload as it is written. A field of a later version may restrict a token, so that a version which
/// does not know it must not accept the token: unknown fields are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenPayload<'a> {
    sid: &'a str,
    #[serde(rename = "gen")]
    generation: u32,
    #[serde(default)]
    by: Option<u32>,
}

impl TokenClaims {
    pub(super) fn to_payload(self) -> String {
        let Self { session, generation: Generation(generation), grant } = self;
        match grant {
            None => format!(r#"{{"sid":"{session}","gen":{generation}}}"#),
            Some(by) => format!(r#"{{"sid":"{session}","gen":{generation},"by":{by}}}"#),
        }
    }

    pub(super) fn from_payload(payload: &str) -> Option<Self> {
        let payload: TokenPayload<'_> = serde_json::from_str(payload).ok()?;
        let TokenPayload { sid, generation, by: grant } = payload;
        Some(Self { session: sid.parse().ok()?, generation: Generation(generation), grant })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_two_fields_of_json_or_three() {
        let session = SessionId::from_bytes([1; 16]);
        let renewed = TokenClaims { session, generation: Generation(3), grant: Some(907) };
        let payload = renewed.to_payload();
        assert_eq!(payload, r#"{"sid":"01010101-0101-0101-0101-010101010101","gen":3,"by":907}"#);
        assert_eq!(TokenClaims::from_payload(&payload), Some(renewed));
        let claims = TokenClaims { grant: None, ..renewed };
        let payload = claims.to_payload();
        assert_eq!(payload, r#"{"sid":"01010101-0101-0101-0101-010101010101","gen":3}"#);
        assert_eq!(TokenClaims::from_payload(&payload), Some(claims));
    }

    #[test]
    fn a_payload_that_says_more_or_less_is_none() {
        let sid = "01010101-0101-0101-0101-010101010101";
        for wrong in [
            format!(r#"{{"sid":"{sid}"}}"#),
            format!(r#"{{"sid":"{sid}","gen":3,"aud":"x"}}"#),
            format!(r#"{{"sid":"{sid}","gen":3,"gen":4}}"#),
            format!(r#"{{"sid":"{sid}","gen":-1}}"#),
            r#"{"sid":"me","gen":3}"#.to_owned(),
        ] {
            assert_eq!(TokenClaims::from_payload(&wrong), None, "{wrong}");
        }
    }
}
