//! Where a webhook's requests go and how they are signed. Both are secrets: anyone with a URL of Slack may write into
//! the channel, and anyone with the secret may speak for us. They are in `DATA/keys/webhooks` and nowhere else, are
//! read when they are needed, and cannot be printed.

use std::{
    fmt, fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use url::{Host, Url};
use zeroize::Zeroizing;

use tenure_core::{
    WebhookId,
    webhook::{Webhook, WebhookFormat},
};
use tenure_files::key_files::{self, KeyFileError, WriteHealth};
use tenure_protocol::entropy::{self, Entropy};

use super::{format, sending::ssrf_guard::is_global};

/// The longest URL of a webhook, in bytes.
pub const LONGEST_URL: usize = 2_048;
/// Secrets of 24 to 64 bytes: groups of four characters, each of three bytes, and what is left over.
pub const SECRET_PATTERN: &str = "^whsec_[A-Za-z0-9+/]{32}([A-Za-z0-9+/]{4}){0,12}(\
    ([A-Za-z0-9+/]{4})?[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/]{4})?$";
/// What a secret of Standard Webhooks starts with.
const PREFIX: &str = "whsec_";
const EXPECTED: &str = "a URL, a secret and their check, each on a line of its own";

/// Where a webhook's requests go, and how they are signed.
#[derive(Clone)]
pub struct WebhookDestination {
    url: Zeroizing<String>,
    parsed: Url,
    secret: Zeroizing<String>,
}

impl fmt::Debug for WebhookDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Destination(…)")
    }
}

/// What is wrong with a URL or a secret, and what would be right. It quotes neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnfitDestination {
    /// `url` or `secret`.
    pub field: &'static str,
    /// In words.
    pub why: String,
}

impl WebhookDestination {
    /// Checks a URL and a secret as a caller gives them.
    ///
    /// # Errors
    /// What is wrong with each.
    pub fn new(
        url: &str,
        secret: &str,
        format: WebhookFormat,
        allow_private: bool,
    ) -> Result<Self, Vec<UnfitDestination>> {
        let url_fault = |why: String| UnfitDestination { field: "url", why };
        let parsed = parse_url(url, allow_private).and_then(|url| match format::fault_of_url(format, &url) {
            None => Ok(url),
            Some(why) => Err(why.to_owned()),
        });
        let secret_fault = secret_bytes(secret).is_none().then(|| UnfitDestination {
            field: "secret",
            why: format!("must be {PREFIX} and 24 to 64 bytes in base64"),
        });
        match (parsed, secret_fault) {
            (Ok(parsed), None) => Ok(Self {
                url: Zeroizing::new(url.to_owned()),
                parsed,
                secret: Zeroizing::new(secret.to_owned()),
            }),
            (parsed, fault) => Err(parsed.err().map(url_fault).into_iter().chain(fault).collect()),
        }
    }

    /// The URL: for the reply that shows it and for the request that goes there.
    pub fn expose_url(&self) -> &str {
        &self.url
    }

    /// The secret: for the reply that shows it.
    pub fn expose_secret(&self) -> &str {
        &self.secret
    }

    /// Scheme and host, which anybody may see.
    pub fn host(&self) -> String {
        let host = self.parsed.host().map(|host| host.to_string()).unwrap_or_default();
        format!("{}://{host}", self.parsed.scheme())
    }

    pub(super) const fn parsed(&self) -> &Url {
        &self.parsed
    }

    /// Whether a request may be sent at all: what a name leads to is looked at when it is resolved.
    pub(super) fn is_allowed(&self, allow_private: bool) -> bool {
        allow_private || fault_of_place(&self.parsed).is_none()
    }

    /// By which a file is known to be the one that was written for this webhook.
    fn check(&self, id: WebhookId) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("tenure 2026 check of a webhook's file");
        hasher.update(id.as_bytes());
        for part in [self.url.as_bytes(), self.secret.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
        format!("check {}", hasher.finalize().to_hex())
    }

    /// The signature of Standard Webhooks: HMAC-SHA256 of id, time and body.
    pub(super) fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let key = secret_bytes(&self.secret).expect("it was checked when it was made");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of HMAC has any length");
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// A new secret of 256 random bits.
pub fn draw_secret(entropy: &dyn Entropy) -> Zeroizing<String> {
    let random = Zeroizing::new(entropy::bytes::<32>(entropy));
    let encoded = Zeroizing::new(STANDARD.encode(*random));
    Zeroizing::new([PREFIX, &encoded].concat())
}

fn secret_bytes(secret: &str) -> Option<Zeroizing<Vec<u8>>> {
    let encoded = secret.strip_prefix(PREFIX).filter(|encoded| encoded.len() <= 88)?;
    let bytes = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    (24..=64).contains(&bytes.len()).then_some(bytes)
}

fn parse_url(text: &str, allow_private: bool) -> Result<Url, String> {
    // The parser drops line ends and tabs wherever they stand; a file keeps a line each.
    if text.len() > LONGEST_URL || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(format!("must be a URL of at most {LONGEST_URL} bytes without white space"));
    }
    let url = Url::parse(text).map_err(|_| "must be a URL such as https://example.com/hook".to_owned())?;
    if !["https", "http"].contains(&url.scheme()) || url.host().is_none() {
        return Err("must begin with https:// and a host".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not have a user or a password; put a token into its path or query".into());
    }
    if url.fragment().is_some() {
        return Err("must not have a fragment: it would never be sent".into());
    }
    match fault_of_place(&url).filter(|_| !allow_private) {
        Some(why) => Err(why.to_owned()),
        None => Ok(url),
    }
}

/// What is wrong with where a URL leads, as far as the URL says it.
fn fault_of_place(url: &Url) -> Option<&'static str> {
    if url.scheme() != "https" {
        return Some("must begin with https://, unless webhooks.allow_private is set");
    }
    let is_inside = match url.host() {
        Some(Host::Ipv4(address)) => !is_global(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => !is_global(IpAddr::V6(address)),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
        None => true,
    };
    is_inside.then_some("must lead to a globally routable address, unless webhooks.allow_private is set")
}

/// The destinations of all webhooks: `DATA/keys/webhooks`, a file each.
#[derive(Debug)]
pub struct DestinationStore {
    directory: PathBuf,
    writes: WriteHealth,
}

impl DestinationStore {
    /// Below this data directory.
    pub fn of(data: &Path) -> Self {
        Self { directory: data.join("keys/webhooks"), writes: WriteHealth::of("keys/webhooks") }
    }

    /// How the writing of the files has been going.
    pub fn writes(&self) -> &WriteHealth {
        &self.writes
    }

    /// Keeps a destination, durably when this returns: before the event that admits the webhook, so that a crash
    /// between the two leaves an unused file, and never a webhook that leads nowhere.
    ///
    /// # Errors
    /// What the disk says.
    pub fn keep(&self, id: WebhookId, destination: &WebhookDestination) -> Result<(), KeyFileError> {
        let kept = self.try_keep(id, destination);
        self.writes.note(kept.as_ref().err().map(KeyFileError::cause));
        kept
    }

    fn try_keep(&self, id: WebhookId, destination: &WebhookDestination) -> Result<(), KeyFileError> {
        key_files::private_directory(&self.directory)?;
        let check = destination.check(id);
        let content =
            Zeroizing::new([&**destination.url, "\n", &**destination.secret, "\n", &check].concat());
        key_files::write_private(&self.path(id), &content)
    }

    /// The destination of a webhook; `None` when there is no file. A file of the time before checks gets one.
    ///
    /// # Errors
    /// The file cannot be read, is open to others, was damaged, or leads to another host than the log says.
    pub(super) fn load(&self, webhook: &Webhook) -> Result<Option<WebhookDestination>, KeyFileError> {
        let path = self.path(webhook.id());
        let Some(content) = key_files::read_private(&path, EXPECTED)? else { return Ok(None) };
        let damaged = || KeyFileError::damaged(&path, EXPECTED);
        let lines: Vec<_> = content.split('\n').collect();
        let (url, secret, check) = match lines[..] {
            [url, secret] => (url, secret, None),
            [url, secret, check] => (url, secret, Some(check)),
            _ => return Err(damaged()),
        };
        // What was allowed when it was made is looked at again when it is used; the form was checked then.
        let read =
            WebhookDestination::new(url, secret, WebhookFormat::Standard, true).map_err(|_| damaged())?;
        if check.is_some_and(|check| check != read.check(webhook.id())) {
            return Err(damaged());
        }
        if read.host() != webhook.asked.host {
            return Err(KeyFileError::Foreign { path, whose: "the host that the log records" });
        }
        if check.is_none() {
            self.keep(webhook.id(), &read)?;
        }
        Ok(Some(read))
    }

    /// Forgets a destination.
    ///
    /// # Errors
    /// What the disk says.
    pub fn forget(&self, id: WebhookId) -> Result<(), KeyFileError> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(KeyFileError::io(&path)(error)),
            Ok(()) => key_files::sync_directory(&self.directory),
        }
    }

    /// The webhooks that there are files of.
    pub(super) fn stored_ids(&self) -> Vec<WebhookId> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    fn path(&self, id: WebhookId) -> PathBuf {
        self.directory.join(id.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_core::{Position, Timestamp};
    use tenure_protocol::entropy::SeededEntropy;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn fault(url: &str) -> Option<String> {
        let made = WebhookDestination::new(url, SECRET, WebhookFormat::Standard, false);
        made.err().map(|faults| faults[0].why.clone())
    }

    #[test]
    fn a_url_leads_outside_by_https() {
        for right in ["https://example.com", "https://example.com:8443/a?b=c", "https://1.1.1.1/x"] {
            assert_eq!(fault(right), None, "{right}");
        }
        let wrong = [
            "",
            "example.com",
            "http://example.com",
            "ftp://example.com",
            "https://",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
            "https://[::ffff:10.0.0.1]/",
            "https://localhost/",
            "https://a.localhost./",
            "https://user@example.com/",
            "https://:pw@example.com/",
            "https://example.com/#top",
            "https://exam\nple.com/",
            "https://example.com/a b",
            "javascript:alert(1)",
        ];
        for wrong in wrong {
            assert!(fault(wrong).is_some(), "{wrong}");
        }
        assert!(fault(&format!("https://example.com/{}", "x".repeat(LONGEST_URL))).is_some());
    }

    #[test]
    fn inside_is_allowed_where_the_operator_says_so() {
        for url in ["http://127.0.0.1:9/a", "https://[::1]/", "http://localhost"] {
            let made = WebhookDestination::new(url, SECRET, WebhookFormat::Standard, true).unwrap();
            assert!(made.is_allowed(true) && !made.is_allowed(false), "{url}");
        }
    }

    #[test]
    fn a_secret_has_24_to_64_bytes() {
        let of = |bytes: usize| format!("{PREFIX}{}", STANDARD.encode(vec![7; bytes]));
        for (bytes, is_right) in [(23, false), (24, true), (64, true), (65, false)] {
            let made =
                WebhookDestination::new("https://example.com", &of(bytes), WebhookFormat::Standard, false);
            assert_eq!(made.is_ok(), is_right, "{bytes}");
        }
        let drawn = draw_secret(&SeededEntropy::new(1));
        assert_eq!(secret_bytes(&drawn).unwrap().len(), 32);
        for wrong in ["", "whsec_", "whsec_!", &of(32)[1..]] {
            let faults = WebhookDestination::new("x", wrong, WebhookFormat::Standard, false).unwrap_err();
            assert_eq!(faults.iter().map(|fault| fault.field).collect::<Vec<_>>(), ["url", "secret"]);
        }
    }

    /// The example of the specification's own libraries.
    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        let made =
            WebhookDestination::new("https://example.com", SECRET, WebhookFormat::Standard, false).unwrap();
        let signature = made.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_is_shown_is_scheme_and_host() {
        let url = "https://hooks.example.com:8443/services/T0/B0/secret?token=x";
        let made = WebhookDestination::new(url, SECRET, WebhookFormat::Slack, false).unwrap();
        assert_eq!(made.host(), "https://hooks.example.com");
        assert_eq!(format!("{made:?}"), "Destination(…)");
    }

    #[test]
    fn a_destination_is_kept_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let kept = DestinationStore::of(dir.path());
        let (id, other) = (WebhookId::from_bytes([1; 16]), WebhookId::from_bytes([2; 16]));
        let made =
            WebhookDestination::new("https://example.com/a", SECRET, WebhookFormat::Standard, false).unwrap();
        kept.keep(id, &made).unwrap();
        let of = |id| webhook(id, "https://example.com");
        let read = kept.load(&of(id)).unwrap().unwrap();
        assert_eq!((read.expose_url(), read.expose_secret()), ("https://example.com/a", SECRET));
        assert!(kept.load(&of(other)).unwrap().is_none());
        assert_eq!(kept.stored_ids(), [id]);
        kept.forget(id).unwrap();
        kept.forget(id).unwrap();
        assert!(kept.stored_ids().is_empty());
        key_files::write_private(&kept.path(other), "only one line").unwrap();
        assert!(kept.load(&of(other)).unwrap_err().to_string().contains("is damaged"));
    }

    fn webhook(webhook_id: WebhookId, host: &str) -> Webhook {
        let (format, host) = (WebhookFormat::Standard, host.to_owned());
        let (owner_id, kinds, name) = (None, None, None);
        let asked = tenure_core::webhook::WebhookCreated { webhook_id, owner_id, kinds, format, host, name };
        Webhook { asked, created: Position(1), created_at: Timestamp::ZERO }
    }

    /// A changed secret once signed requests that no receiver believed, and a changed host was followed though the log
    /// records another.
    #[test]
    fn a_file_with_any_byte_changed_is_refused_and_so_is_one_of_another_webhook() {
        let dir = tempfile::tempdir().unwrap();
        let kept = DestinationStore::of(dir.path());
        let (id, other) = (WebhookId::from_bytes([1; 16]), WebhookId::from_bytes([2; 16]));
        let made =
            WebhookDestination::new("https://example.com/a", SECRET, WebhookFormat::Standard, false).unwrap();
        kept.keep(id, &made).unwrap();
        let of = |id| webhook(id, "https://example.com");
        let whole = fs::read(kept.path(id)).unwrap();
        for place in 0..whole.len() - 1 {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(kept.path(id), changed).unwrap();
            let said = kept.load(&of(id)).unwrap_err().to_string();
            assert!(said.contains(&id.to_string()), "byte {place}: {said}");
        }
        fs::write(kept.path(id), whole).unwrap();
        fs::copy(kept.path(id), kept.path(other)).unwrap();
        assert!(kept.load(&of(other)).is_err());
        let said = kept.load(&webhook(id, "https://example.org")).unwrap_err().to_string();
        assert!(said.contains("the host that the log records"), "{said}");
    }

    #[test]
    fn a_file_of_the_time_before_checks_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let kept = DestinationStore::of(dir.path());
        let id = WebhookId::from_bytes([1; 16]);
        let made =
            WebhookDestination::new("https://example.com/a", SECRET, WebhookFormat::Standard, false).unwrap();
        kept.keep(id, &made).unwrap();
        key_files::write_private(&kept.path(id), &format!("https://example.com/a\n{SECRET}")).unwrap();
        assert!(kept.load(&webhook(id, "https://example.com")).unwrap().is_some());
        assert!(fs::read_to_string(kept.path(id)).unwrap().contains("\ncheck "));
    }
}
