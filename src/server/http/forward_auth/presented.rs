//! What the request of an end user presents, as a proxy passes it on: a bearer, or cookies of one name.
//!
//! Anyone who can set a cookie for a domain above the application's, or for a longer path, can put one of their own in
//! front of the user's (RFC 6265, section 5.4). So the order of cookies means nothing: all are taken together.

use axum::http::{HeaderMap, header};

use crate::tokens::SessionToken;

/// A browser sends a few cookies of one name at most; beyond this number someone else planted them.
const MOST_COOKIES: usize = 8;

/// The tokens that count in a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PresentedCredentials<'a> {
    /// A bearer that looks like a session token. Cookies beside it are not judged.
    Bearer {
        token: &'a str,
        /// No other cookie of the name came with it, so a refreshed one replaces nothing.
        may_set_cookie: bool,
    },
    /// Every cookie of the name, in the order in which they were sent; at least one.
    Cookies(Vec<&'a str>),
    /// More tokens than a client has reason to send. They are not judged.
    TooMany,
    Nothing,
}

impl<'a> PresentedCredentials<'a> {
    /// Those that are judged.
    pub(crate) fn tokens(&self) -> &[&'a str] {
        match self {
            Self::Bearer { token, .. } => std::slice::from_ref(token),
            Self::Cookies(cookies) => cookies,
            Self::TooMany | Self::Nothing => &[],
        }
    }

    pub(crate) fn of(headers: &'a HeaderMap, cookie_name: &str) -> Self {
        let mut bearers = bearers(headers);
        let first = bearers.next();
        match first {
            Some(_) if bearers.next().is_some() => Self::TooMany,
            Some(token) => {
                let may_set_cookie = cookies(headers, cookie_name).all(|cookie| cookie == token);
                Self::Bearer { token, may_set_cookie }
            }
            None => Self::of_cookies(cookies(headers, cookie_name).take(MOST_COOKIES + 1).collect()),
        }
    }

    fn of_cookies(cookies: Vec<&'a str>) -> Self {
        match cookies.len() {
            0 => Self::Nothing,
            1..=MOST_COOKIES => Self::Cookies(cookies),
            _ => Self::TooMany,
        }
    }
}

/// The bearers that look like session tokens; any other is the application's own matter.
fn bearers(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::AUTHORIZATION).iter().filter_map(|line| line.to_str().ok());
    let bearers = lines.filter_map(|line| {
        let (scheme, token) = line.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    bearers.filter(|token| token.starts_with(SessionToken::PREFIX))
}

/// The values of all cookies of a name, in all lines; empty for a value other than text. Other cookies may have any
/// bytes.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let own =
        pairs.filter_map(move |pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    own.map(|value| str::from_utf8(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn found(lines: &[&str]) -> Vec<String> {
        let lines: Vec<_> = lines.iter().map(|line| (header::COOKIE, *line)).collect();
        cookies(&headers(&lines), "session").map(str::to_owned).collect()
    }

    #[test]
    fn every_cookie_of_the_name_is_found_among_others_and_in_any_line() {
        for line in ["session=t", "a=b; session=t; c=d", "x;session=t", " session=t "] {
            assert_eq!(found(&[line]), ["t"], "{line}");
        }
        assert_eq!(found(&["session=1; a=b; session=2", "a=b", "session=3"]), ["1", "2", "3"]);
        for line in ["sessions=t", "xsession=t", "session", "SESSION=t", "__Host-session=t", ""] {
            assert!(found(&[line]).is_empty(), "{line}");
        }
    }

    #[test]
    fn what_others_put_into_their_cookies_is_no_matter() {
        let of = |line: &[u8]| {
            let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::from_bytes(line).unwrap())]);
            cookies(&headers, "session").map(str::to_owned).collect::<Vec<_>>()
        };
        for line in [&b"name=J\xf6rg; session=t"[..], b"session=t; \xff", "é=ü;session=t".as_bytes()] {
            assert_eq!(of(line), ["t"], "{line:?}");
        }
        // One of our cookies with a value other than text was sent all the same, and is invalid.
        assert_eq!(of(b"session=\xf6"), [""]);
    }

    #[test]
    fn only_a_bearer_of_ours_is_a_token_here() {
        let of = |line: &str| {
            bearers(&headers(&[(header::AUTHORIZATION, line)])).map(str::to_owned).collect::<Vec<_>>()
        };
        for line in ["Bearer tnr_sess_x", "bearer tnr_sess_x", "BEARER  tnr_sess_x"] {
            assert_eq!(of(line), ["tnr_sess_x"], "{line}");
        }
        for line in ["Bearer eyJ", "Basic tnr_sess_x", "tnr_sess_x", "Bearer"] {
            assert!(of(line).is_empty(), "{line}");
        }
    }

    #[test]
    fn eight_cookies_are_judged_and_nine_are_not() {
        let of = |number: usize| {
            let line = vec!["session=t"; number].join("; ");
            let headers = headers(&[(header::COOKIE, &line)]);
            match PresentedCredentials::of(&headers, "session") {
                PresentedCredentials::Cookies(cookies) => Some(cookies.len()),
                PresentedCredentials::TooMany
                | PresentedCredentials::Nothing
                | PresentedCredentials::Bearer { .. } => None,
            }
        };
        assert_eq!((of(1), of(8), of(9), of(500)), (Some(1), Some(8), None, None));
    }

    #[test]
    fn a_bearer_wins_and_two_of_ours_are_one_too_many() {
        let bearer = (header::AUTHORIZATION, "Bearer tnr_sess_x");
        let of = |lines: &[(HeaderName, &str)]| {
            let headers = headers(lines);
            match PresentedCredentials::of(&headers, "session") {
                PresentedCredentials::Bearer { may_set_cookie, .. } => Some(may_set_cookie),
                PresentedCredentials::Cookies(_)
                | PresentedCredentials::TooMany
                | PresentedCredentials::Nothing => None,
            }
        };
        assert_eq!(of(std::slice::from_ref(&bearer)), Some(true));
        assert_eq!(of(&[bearer.clone(), (header::COOKIE, "session=tnr_sess_x")]), Some(true));
        assert_eq!(of(&[bearer.clone(), (header::COOKIE, "session=tnr_sess_y")]), Some(false));
        assert_eq!(of(&[bearer.clone(), (header::AUTHORIZATION, "Bearer eyJ")]), Some(true));
        assert_eq!(of(&[bearer.clone(), bearer]), None);
        assert_eq!(PresentedCredentials::of(&headers(&[]), "session"), PresentedCredentials::Nothing);
    }
}
