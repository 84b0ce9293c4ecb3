//! What the holder of a session knows of it: all that a session file holds.

use serde_json::{Map, Value, json};

use tenure_protocol::{
    Seconds, Secret, SessionId, SubjectId, Timestamp,
    token::SESSION_TOKEN_PREFIX,
    wire::{CreatedSession, RenewedSession},
};

/// The form of the file; another one has another number.
const VERSION: u64 = 1;

/// A session as its holder has it. In a file it is a JSON object with the same fields, in camelCase.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionGrant {
    /// The authority's address.
    pub url: String,
    /// The session.
    pub session_id: SessionId,
    /// Whose it is.
    pub subject_id: SubjectId,
    /// Its current token, as far as is known.
    pub token: Secret,
    /// The length of every period.
    pub ttl: Seconds,
    /// When the period ends.
    pub expires_at: Timestamp,
    /// When it ends however often it is renewed.
    pub absolute_expires_at: Timestamp,
    /// When it is to be renewed; `None` if every further renewal would be refused.
    pub renew_at: Option<Timestamp>,
    /// How often it was renewed.
    pub renewal_count: u32,
    /// How often it may be.
    pub max_renewals: u32,
    /// The idempotency key of a renewal of this token that was begun and whose answer is not known.
    pub renewal_key: Option<String>,
}

impl SessionGrant {
    /// Of a session that this authority has just created.
    pub fn created(url: &str, created: &CreatedSession) -> Self {
        // The first period is never cut: no session may ask for a lifetime shorter than its ttl.
        let ttl = created.expires_at.seconds_since(created.created_at);
        Self {
            url: url.to_owned(),
            session_id: created.session_id,
            subject_id: created.subject_id.clone(),
            token: created.token.clone(),
            ttl: Seconds(u32::try_from(ttl).unwrap_or(u32::MAX)),
            expires_at: created.expires_at,
            absolute_expires_at: created.absolute_expires_at,
            renew_at: created.renew_at,
            renewal_count: created.renewal_count,
            max_renewals: created.max_renewals,
            renewal_key: None,
        }
    }

    /// The same session after a renewal.
    pub(super) fn renewed(&self, renewed: &RenewedSession) -> Self {
        Self {
            token: renewed.token.clone(),
            expires_at: renewed.expires_at,
            absolute_expires_at: renewed.absolute_expires_at,
            renew_at: renewed.renew_at,
            renewal_count: renewed.renewal_count,
            max_renewals: renewed.max_renewals,
            renewal_key: None,
            ..self.clone()
        }
    }

    /// Whether a renewal is to be asked for at `now`: it is time, or one was begun.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.renewal_key.is_some() || self.renew_at.is_some_and(|renew_at| now >= renew_at)
    }

    /// When it is over if no answer comes any more. A renewal that was begun may have been granted, and then it was
    /// before the end of the period, for one period more.
    pub(super) fn over_at(&self) -> Timestamp {
        match self.renewal_key {
            None => self.expires_at,
            Some(_) => self.expires_at.plus(self.ttl).min(self.absolute_expires_at).max(self.expires_at),
        }
    }

    /// As it stands in the file.
    pub(super) fn document(&self) -> Value {
        json!({
            "version": VERSION,
            "url": self.url,
            "sessionId": self.session_id,
            "subjectId": self.subject_id,
            "token": self.token.expose(),
            "ttl": self.ttl,
            "expiresAt": self.expires_at,
            "absoluteExpiresAt": self.absolute_expires_at,
            "renewAt": self.renew_at,
            "renewalCount": self.renewal_count,
            "maxRenewals": self.max_renewals,
            "renewalKey": self.renewal_key,
        })
    }

    /// Reads what stands in a file; the error says which field must be what, and quotes none.
    pub(super) fn read(document: &Value) -> Result<Self, String> {
        let fields = JsonFields(document.as_object().ok_or("it must be a JSON object")?);
        let version = fields.whole("version")?;
        if version != VERSION {
            return Err(format!("`version` must be {VERSION}, which is all that this program knows"));
        }
        Ok(Self {
            url: fields.text("url")?.to_owned(),
            session_id: fields.parsed("sessionId", "a UUID")?,
            subject_id: fields.parsed("subjectId", "the id of a subject")?,
            token: fields.token()?,
            ttl: Seconds(fields.small("ttl")?),
            expires_at: fields.moment("expiresAt")?,
            absolute_expires_at: fields.moment("absoluteExpiresAt")?,
            renew_at: fields.unless_null("renewAt", JsonFields::moment)?,
            renewal_count: fields.small("renewalCount")?,
            max_renewals: fields.small("maxRenewals")?,
            renewal_key: fields
                .unless_null("renewalKey", |fields, name| fields.text(name).map(str::to_owned))?,
        })
    }
}

/// The fields of a document, read by name.
struct JsonFields<'a>(&'a Map<String, Value>);

impl<'a> JsonFields<'a> {
    fn value(&self, name: &str) -> &'a Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    fn unless_null<T>(
        &self,
        name: &str,
        read: impl Fn(&Self, &str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        if self.value(name).is_null() { Ok(None) } else { read(self, name).map(Some) }
    }

    fn text(&self, name: &str) -> Result<&'a str, String> {
        let text = self.value(name).as_str().filter(|text| !text.is_empty());
        text.ok_or_else(|| format!("`{name}` must be a text"))
    }

    fn whole(&self, name: &str) -> Result<u64, String> {
        self.value(name).as_u64().ok_or_else(|| format!("`{name}` must be a whole number"))
    }

    fn small(&self, name: &str) -> Result<u32, String> {
        u32::try_from(self.whole(name)?).map_err(|_| format!("`{name}` must be at most {}", u32::MAX))
    }

    fn moment(&self, name: &str) -> Result<Timestamp, String> {
        let moment = Timestamp::parse(self.text(name)?);
        moment.ok_or_else(|| format!("`{name}` must be an RFC 3339 time, such as 2026-11-21T01:35:00.000Z"))
    }

    fn parsed<T: std::str::FromStr>(&self, name: &str, what: &str) -> Result<T, String> {
        self.text(name)?.parse().map_err(|_| format!("`{name}` must be {what}"))
    }

    fn token(&self) -> Result<Secret, String> {
        let token = Some(self.text("token")?).filter(|token| token.starts_with(SESSION_TOKEN_PREFIX));
        token.map(Secret::new).ok_or_else(|| format!("`token` must begin with {SESSION_TOKEN_PREFIX}"))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn moment(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    pub(crate) fn grant() -> SessionGrant {
        SessionGrant {
            url: "http://127.0.0.1:7300".to_owned(),
            session_id: "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77".parse().unwrap(),
            subject_id: "agent-7".parse().unwrap(),
            token: Secret::new("tnr_sess_first"),
            ttl: Seconds(3_600),
            expires_at: moment("2026-11-21T02:00:00Z"),
            absolute_expires_at: moment("2026-11-28T01:00:00Z"),
            renew_at: Some(moment("2026-11-21T01:40:00Z")),
            renewal_count: 0,
            max_renewals: 30,
            renewal_key: None,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let begun = SessionGrant { renewal_key: Some("k1".to_owned()), renew_at: None, ..grant() };
        for grant in [grant(), begun] {
            assert_eq!(SessionGrant::read(&grant.document()).unwrap(), grant);
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_not_quoted() {
        for (field, value, right) in [
            ("version", json!(2), "must be 1"),
            ("token", json!("secret"), "must begin with tnr_sess_"),
            ("token", json!(["tnr_sess_secret"]), "must be a text"),
            ("expiresAt", json!("secret"), "must be an RFC 3339 time"),
            ("sessionId", json!("secret"), "must be a UUID"),
            ("ttl", json!(-1), "must be a whole number"),
            ("maxRenewals", json!(u64::MAX), "must be at most"),
            ("renewAt", json!(7), "must be a text"),
            ("url", Value::Null, "must be a text"),
        ] {
            let mut document = grant().document();
            document[field] = value;
            let said = SessionGrant::read(&document).unwrap_err();
            assert!(said.contains(&format!("`{field}`")) && said.contains(right), "{said}");
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn a_renewal_that_was_begun_is_due_and_may_outlast_the_period_by_one() {
        let early = moment("2026-11-21T01:39:59Z");
        assert!(!grant().is_due(early) && grant().is_due(moment("2026-11-21T01:40:00Z")));
        assert_eq!(grant().over_at(), moment("2026-11-21T02:00:00Z"));
        let begun = SessionGrant { renewal_key: Some("k1".to_owned()), ..grant() };
        assert!(begun.is_due(early));
        assert_eq!(begun.over_at(), moment("2026-11-21T03:00:00Z"));
        let last = SessionGrant { absolute_expires_at: moment("2026-11-21T02:30:00Z"), ..begun };
        assert_eq!(last.over_at(), moment("2026-11-21T02:30:00Z"));
    }
}
