//! Requests to elsewhere: whom they trust, and how much of an answer is believed. All that asks by HTTP asks so.
//!
//! No redirect is followed: it would carry a credential, or a notice, to an address that was not given. Nothing is
//! repeated by itself: the caller knows whether a second time does harm. A host without trusted certificates is found
//! out before a request.

use std::{collections::BTreeMap, error::Error as _, net::IpAddr, sync::Arc};

use reqwest::{
    ClientBuilder, Response,
    header::{AGE, HeaderMap, RETRY_AFTER},
    redirect,
};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use serde_json::{Value, value::RawValue};
use url::{Host, Url};

/// No host can be reached by `https://`, because no certificate would be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the system trusts no certificates: install its root certificates, or name a file of them by SSL_CERT_FILE"
)]
pub struct NoRootCertificates;

/// Whom the system trusts, or those in `SSL_CERT_FILE`.
pub fn roots() -> Result<RootCertStore, NoRootCertificates> {
    trusting(rustls_native_certs::load_native_certs().certs)
}

/// The same for requests to this URL; empty if the connection is not encrypted.
pub fn roots_for(url: &Url) -> Result<RootCertStore, NoRootCertificates> {
    if url.scheme() == "https" { roots() } else { Ok(RootCertStore::empty()) }
}

fn trusting(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, NoRootCertificates> {
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(certificates);
    if trusted == 0 { Err(NoRootCertificates) } else { Ok(roots) }
}

/// A client that trusts these. How long it waits, and whether it asks a proxy, is its owner's business.
pub fn client(roots: RootCertStore) -> ClientBuilder {
    client_with(tls(roots))
}

/// The same, for several clients that share what they trust.
pub fn client_with(tls: ClientConfig) -> ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
}

/// TLS that trusts these.
pub fn tls(roots: RootCertStore) -> ClientConfig {
    trust_in(roots).with_no_client_auth()
}

/// The same, of a client that shows a certificate when asked for one.
///
/// # Errors
/// The key is another certificate's, or of an unsupported kind.
pub fn tls_showing(
    roots: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    trust_in(roots).with_client_auth_cert(chain, key)
}

fn trust_in(roots: RootCertStore) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
}

/// Whether an address leads to this host, past any proxy. `localhost` does (RFC 6761, section 6.3); another name does
/// not, whatever it looks like.
pub fn leads_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// Whether keys and tokens may be sent where others could read them on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlaintextPolicy {
    /// They may not.
    #[default]
    Refused,
    /// The operator, who knows the network, allowed it.
    Allowed,
}

/// What is sent there is not encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("keys and tokens are sent by https://, or by http:// to this host only")]
pub struct UnencryptedUrl;

impl PlaintextPolicy {
    /// Whether a key or token may be sent to this address.
    pub fn permits(self, url: &Url) -> Result<(), UnencryptedUrl> {
        match self {
            Self::Allowed => Ok(()),
            Self::Refused if url.scheme() == "https" || leads_here(url) => Ok(()),
            Self::Refused => Err(UnencryptedUrl),
        }
    }
}

/// A client for what is asked at this address. What is not encrypted is shown to no proxy that the environment names; of
/// what is, a proxy sees where it goes.
pub fn client_for(url: &Url) -> Result<ClientBuilder, NoRootCertificates> {
    let builder = client(roots_for(url)?);
    let is_direct = url.scheme() != "https" || leads_here(url);
    Ok(if is_direct { builder.no_proxy() } else { builder })
}

/// Why the body of an answer was not read to its end.
#[derive(Debug)]
pub enum BodyError {
    /// It is longer than any answer should be.
    TooLong,
    /// The connection failed on the way.
    CutOff(reqwest::Error),
}

/// The body of an answer, at most `longest` bytes; a longer one is an error.
pub async fn body(mut response: Response, longest: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::CutOff)? {
        if body.len() + chunk.len() > longest {
            return Err(BodyError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// For how many seconds an answer asks to be left alone. A date there is passed over: ours have none.
pub fn retry_after(headers: &HeaderMap) -> Option<u32> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

/// What time an answer says that it is there (RFC 3339). A cache's answer (`Age`) says what time it was.
pub fn time_there(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-tenure-time").filter(|_| !headers.contains_key(AGE))?.to_str().ok()
}

/// Why there is no answer. The innermost cause says what happened; the outer ones say that something did.
pub fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut innermost = error.source();
    while let Some(deeper) = innermost.and_then(std::error::Error::source) {
        innermost = Some(deeper);
    }
    innermost.map_or_else(|| error.to_string(), ToString::to_string)
}

/// Levels of a document that are read one by one if a part of it is nested too deeply.
const LEVELS: usize = 32;

/// A document. What is nested too deeply to be read as a value stands in it as its text, so that one such item does not
/// make a whole list unreadable.
pub fn document(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok().or_else(|| shallow(serde_json::from_str(text).ok()?, LEVELS))
}

fn shallow(raw: &RawValue, levels: usize) -> Option<Value> {
    let text = raw.get();
    if let Ok(whole) = serde_json::from_str(text) {
        return Some(whole);
    }
    match text.as_bytes().first() {
        Some(b'{') if levels > 0 => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            let read = |(name, raw)| Some((name, shallow(raw, levels - 1)?));
            members.into_iter().map(read).collect::<Option<_>>().map(Value::Object)
        }
        Some(b'[') if levels > 0 => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            items.into_iter().map(|raw| shallow(raw, levels - 1)).collect::<Option<_>>().map(Value::Array)
        }
        Some(_) | None => Some(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_name_that_looks_like_an_address_of_this_host_leads_elsewhere() {
        for here in ["http://localhost:1", "http://127.0.0.1", "http://127.9.9.9", "https://[::1]:7300"] {
            assert!(leads_here(&url(here)), "{here}");
        }
        for elsewhere in [
            "http://127.evil.example",
            "http://127.0.0.1.example",
            "http://localhost.evil.example",
            "http://[::2]",
            "http://128.0.0.1",
            "unix:/x",
        ] {
            assert!(!leads_here(&url(elsewhere)), "{elsewhere}");
        }
    }

    #[test]
    fn a_key_leaves_by_https_or_stays_on_this_host() {
        for right in ["https://tenure.example", "http://localhost:7300", "http://127.0.0.1", "http://[::1]"] {
            assert_eq!(PlaintextPolicy::Refused.permits(&url(right)), Ok(()), "{right}");
        }
        for wrong in ["http://tenure.internal:7300", "http://10.0.0.7", "http://0.0.0.0:7300"] {
            assert_eq!(PlaintextPolicy::Refused.permits(&url(wrong)), Err(UnencryptedUrl), "{wrong}");
            assert_eq!(PlaintextPolicy::Allowed.permits(&url(wrong)), Ok(()), "{wrong}");
        }
    }

    #[test]
    fn who_trusts_nobody_says_so_and_only_where_trust_is_needed() {
        assert_eq!(trusting(vec![]).err(), Some(NoRootCertificates));
        assert_eq!(
            trusting(vec![CertificateDer::from_slice(b"no certificate")]).err(),
            Some(NoRootCertificates)
        );
        assert!(roots_for(&url("http://127.0.0.1")).unwrap().is_empty());
    }

    #[test]
    fn a_wish_to_be_left_alone_is_in_seconds() {
        let said =
            |value: &'static str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]));
        assert_eq!(["7", " 0 ", "-1", "1.5", ""].map(said), [Some(7), Some(0), None, None, None]);
        assert_eq!(said("Sat, 21 Nov 2026 10:00:00 GMT"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn a_part_that_is_nested_too_deeply_is_read_as_its_text() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let text =
            format!(r#"{{"items":[{{"id":1,"metadata":{{"a":{deep}}}}},{{"id":2}}],"nextCursor":null}}"#);
        let read = document(&text).unwrap();
        assert_eq!((&read["items"][0]["id"], &read["items"][1]["id"]), (&1.into(), &2.into()));
        assert!(read["items"][0]["metadata"].to_string().contains("[[["), "{read}");
        assert_eq!(document("nginx"), None);
        assert_eq!(document(r#"{"a":1"#), None);
    }
}
