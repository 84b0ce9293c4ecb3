//! What the broker answers, read as far as the log needs it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::BrokerError;

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredMessage {
    /// Its place in its stream.
    pub(super) sequence: u64,
    pub(super) subject: String,
    /// Its headers, as they are on the wire.
    pub(super) headers: String,
    pub(super) data: Vec<u8>,
}

impl StoredMessage {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }
}

/// What became of a message that was published with an expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublishAck {
    /// It is stored.
    Stored {
        /// Where.
        sequence: u64,
    },
    /// It is not stored: the last message of the subject is another one than was expected.
    OtherLast {
        /// Which, if the broker says so.
        actual: u64,
    },
    /// It is not stored: the stream is full, or the message too large.
    Full(String),
    /// Unknown.
    Unknown(String),
}

/// The stream's last sequence of the subject is another one.
const WRONG_LAST: u64 = 10_071;
/// No such message, and no such stream.
const NO_MESSAGE: u64 = 10_037;
const NO_STREAM: u64 = 10_059;
/// The stream has its most bytes; the message is larger than it takes; the account or the disk has no room.
const FULL: [u64; 3] = [10_077, 10_054, 10_047];

/// The JSON of an answer without an error in it.
pub(super) fn value(what: &str, bytes: &[u8]) -> Result<Value, BrokerError> {
    let strange = |why: String| BrokerError::Strange { what: what.to_owned(), why };
    let value: Value = serde_json::from_slice(bytes).map_err(|error| strange(error.to_string()))?;
    let Some(error) = value.get("error") else { return Ok(value) };
    let (code, why) = error_of(error);
    match code {
        NO_STREAM => {
            Err(BrokerError::NoStream { stream: what.rsplit('.').next().unwrap_or(what).to_owned() })
        }
        // Raised while a leader is being elected, or has too much to do.
        10_008 | 10_003 | 10_004 | 10_023 => Err(BrokerError::NoAnswer { what: what.to_owned(), why }),
        _ => Err(BrokerError::Said { what: what.to_owned(), why: format!("{why} ({code})") }),
    }
}

fn error_of(error: &Value) -> (u64, String) {
    let code = error["err_code"].as_u64().unwrap_or(0);
    (code, error["description"].as_str().unwrap_or_default().to_owned())
}

/// The message of an answer to MSG.GET; `None` when there is none.
pub(super) fn message(what: &str, bytes: &[u8]) -> Result<Option<StoredMessage>, BrokerError> {
    let strange = |why: &str| BrokerError::Strange { what: what.to_owned(), why: why.to_owned() };
    let raw: Value = serde_json::from_slice(bytes).map_err(|error| strange(&error.to_string()))?;
    if raw["error"]["err_code"].as_u64() == Some(NO_MESSAGE) {
        return Ok(None);
    }
    let value = value(what, bytes)?;
    let message = &value["message"];
    let text = |field: &str| {
        let encoded = message[field].as_str().unwrap_or_default();
        STANDARD.decode(encoded).map_err(|_| strange("it is no base64"))
    };
    let sequence = message["seq"].as_u64().ok_or_else(|| strange("it has no sequence"))?;
    let headers = String::from_utf8_lossy(&text("hdrs")?).into_owned();
    let subject = message["subject"].as_str().unwrap_or_default().to_owned();
    Ok(Some(StoredMessage { sequence, subject, headers, data: text("data")? }))
}

/// What an acknowledgement says.
pub(super) fn acknowledged(bytes: &[u8]) -> PublishAck {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return PublishAck::Unknown("an acknowledgement that cannot be read".to_owned());
    };
    if let Some(error) = value.get("error") {
        let (code, why) = error_of(error);
        return match code {
            WRONG_LAST => last_of(&why),
            code if FULL.contains(&code) => PublishAck::Full(format!("{why} ({code})")),
            _ => PublishAck::Unknown(format!("{why} ({code})")),
        };
    }
    let stored = value["seq"].as_u64().map(|sequence| PublishAck::Stored { sequence });
    stored.unwrap_or_else(|| PublishAck::Unknown("an acknowledgement without a sequence".to_owned()))
}

/// `wrong last sequence: 7`
fn last_of(why: &str) -> PublishAck {
    let actual = why.rsplit(' ').next().and_then(|number| number.parse().ok());
    actual.map_or_else(|| PublishAck::Unknown(why.to_owned()), |actual| PublishAck::OtherLast { actual })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_are_read_as_the_broker_writes_them() {
        let read = |text: &str| acknowledged(text.as_bytes());
        let stored = r#"{"stream":"TENURE_LOG_1","seq":7,"duplicate":true}"#;
        assert_eq!(read(stored), PublishAck::Stored { sequence: 7 });
        let error = |code: u64, why: &str| {
            format!(
                r#"{{"error":{{"code":400,"err_code":{code},"description":"{why}"}},"stream":"X","seq":0}}"#
            )
        };
        assert_eq!(read(&error(10_071, "wrong last sequence: 12")), PublishAck::OtherLast { actual: 12 });
        assert!(matches!(read(&error(10_077, "maximum bytes exceeded")), PublishAck::Full(_)));
        // Seen of brokers that change their leader: no conflict at all.
        for spurious in [10_164, 10_158, 10_008] {
            assert!(matches!(read(&error(spurious, "last sequence mismatch")), PublishAck::Unknown(_)));
        }
        assert!(matches!(read("+OK"), PublishAck::Unknown(_)));
        assert!(matches!(read("{}"), PublishAck::Unknown(_)));
    }
}
