//! What a protected service says to whom it does not let in: RFC 6750, section 3.
//!
//! Everything is in the headers; the body is empty. Nothing of what was shown is repeated.

use std::sync::Arc;

use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::Rejection;

/// Seconds to come back after, by default.
const COME_BACK: u32 = 1;

/// The scheme has at least one parameter (RFC 6750, section 3).
const CHALLENGE: &str = r#"Bearer realm="tenure""#;

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AuthChallenge {
    /// It shows no bearer token. Such a caller gets no error code (RFC 6750, section 3.1).
    NoToken,
    /// It shows more than one.
    ManyTokens,
    /// The token is not taken, or cannot be judged now.
    Rejected(Rejection),
    /// The token is good and not for this: these scopes are needed.
    MissingScope(Arc<[String]>),
}

impl AuthChallenge {
    pub(super) fn response<B: Default>(&self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        } else {
            let challenge = HeaderValue::try_from(self.challenge());
            headers.insert(WWW_AUTHENTICATE, challenge.expect("our words and scopes are visible ASCII"));
        }
        response
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::ManyTokens => StatusCode::BAD_REQUEST,
            Self::Rejected(why) if why.is_temporary() => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoToken | Self::Rejected(_) => StatusCode::UNAUTHORIZED,
            Self::MissingScope(_) => StatusCode::FORBIDDEN,
        }
    }

    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Rejected(Rejection::Unreachable { retry_after }) => Some(retry_after.unwrap_or(COME_BACK)),
            Self::Rejected(why) => why.is_temporary().then_some(COME_BACK),
            Self::NoToken | Self::ManyTokens | Self::MissingScope(_) => None,
        }
    }

    fn challenge(&self) -> String {
        match self {
            Self::NoToken => CHALLENGE.to_owned(),
            Self::ManyTokens => {
                format!(
                    r#"{CHALLENGE}, error="invalid_request", error_description="more than one credential""#
                )
            }
            Self::Rejected(why) => {
                format!(r#"{CHALLENGE}, error="invalid_token", error_description="{why}""#)
            }
            Self::MissingScope(scopes) => {
                format!(r#"{CHALLENGE}, error="insufficient_scope", scope="{}""#, scopes.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(denial: &AuthChallenge) -> (u16, String) {
        let response = denial.response::<String>();
        let challenge = response.headers().get(WWW_AUTHENTICATE);
        let retry = response.headers().get(RETRY_AFTER);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        (response.status().as_u16(), challenge.or(retry).unwrap().to_str().unwrap().to_owned())
    }

    /// The challenge to a request without a token was the bare scheme, which RFC 6750 does not allow.
    #[test]
    fn each_denial_has_its_status_and_its_challenge() {
        assert_eq!(said(&AuthChallenge::NoToken), (401, r#"Bearer realm="tenure""#.to_owned()));
        let (status, challenge) = said(&AuthChallenge::Rejected(Rejection::Expired));
        assert_eq!(status, 401);
        assert_eq!(
            challenge,
            r#"Bearer realm="tenure", error="invalid_token", error_description="it has expired""#
        );
        let scopes = AuthChallenge::MissingScope(["a:b".to_owned(), "c".to_owned()].into());
        let challenge = r#"Bearer realm="tenure", error="insufficient_scope", scope="a:b c""#;
        assert_eq!(said(&scopes), (403, challenge.to_owned()));
        let (status, challenge) = said(&AuthChallenge::ManyTokens);
        assert_eq!(status, 400);
        assert!(challenge.starts_with(r#"Bearer realm="tenure", error="invalid_request""#), "{challenge}");
    }

    #[test]
    fn what_says_nothing_of_the_token_is_to_be_tried_again() {
        let age = std::time::Duration::from_secs(11);
        for why in
            [Rejection::NotReady, Rejection::Stale { age }, Rejection::Unreachable { retry_after: None }]
        {
            assert_eq!(said(&AuthChallenge::Rejected(why)), (503, "1".to_owned()));
        }
        let busy = Rejection::Unreachable { retry_after: Some(7) };
        assert_eq!(said(&AuthChallenge::Rejected(busy)), (503, "7".to_owned()));
    }
}
