//! What all nodes must have and no log may hold for ever: small sealed values under names, each replaced as a whole.
//!
//! A value is written with the expectation of the one before it, and says in which term; a value that was replaced is
//! erased. What is in it is no matter of this module.

use std::{collections::BTreeMap, ops::Range, slice, time::Duration};

use async_nats::HeaderMap;
use serde_json::json;
use tenure_protocol::clock::{pause, stopwatch};

use super::{
    BrokerAccess, BrokerConnection, BrokerError, KeyHolder, StreamNames,
    broker_reply::{self, PublishAck, StoredMessage},
    standby::last_of,
};

const TERM: &str = "Tenure-Term";
/// How long a value is tried to be put.
const PATIENCE: Duration = Duration::from_secs(15);
const TRY: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(25);
/// Parts of the stream that are read at once.
const PARTS: u64 = 16;

/// The values at the broker.
#[derive(Debug)]
pub struct BrokerSecrets {
    connection: BrokerConnection,
    names: StreamNames,
}

/// A stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its place.
    pub sequence: u64,
    /// The leadership in which it was written.
    pub term: u64,
    /// The sealed value.
    pub data: Vec<u8>,
}

/// All values, and those that are replaced and not erased yet.
pub type AllSecrets = (BTreeMap<String, StoredSecret>, Vec<u64>);

impl BrokerSecrets {
    /// Connects.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn open(access: &BrokerAccess, names: &StreamNames, node: &str) -> Result<Self, BrokerError> {
        let connection = BrokerConnection::open(access, &format!("{node}_secrets"))?;
        Ok(Self { connection, names: names.clone() })
    }

    /// Notes that this node has keys from now on, before it has any.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn held_by(&self, node: &str, address: &str) -> Result<(), BrokerError> {
        let known = KeyHolder::of(&self.connection, &self.names, node)?;
        if known.as_ref().is_some_and(|known| known.address == address) {
            return Ok(());
        }
        let erased_through = known.map_or(0, |known| known.erased_through);
        KeyHolder::now(node, address, erased_through).say(&self.connection, &self.names)
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn all(&self) -> Result<AllSecrets, BrokerError> {
        let last = last_of(&self.connection, &self.names.secret_stream())?;
        let mut values = self.between(&parts_of(last))?;
        // What was replaced meanwhile, and erased before it was read, is behind all of that. So this is read afterwards,
        // one by one.
        values.extend(self.since(last)?);
        let (mut kept, mut replaced) = (BTreeMap::new(), Vec::new());
        for (name, value) in values {
            replaced.extend(kept.insert(name, value).map(|before: StoredSecret| before.sequence));
        }
        Ok((kept, replaced))
    }

    /// Reads those behind this place, in their order. What was replaced may be among them.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn since(&self, after: u64) -> Result<Vec<(String, StoredSecret)>, BrokerError> {
        self.between(slice::from_ref(&(after + 1..u64::MAX)))
    }

    /// Reads what is in these parts of the stream, which are in their order: the next one of each at once.
    fn between(&self, parts: &[Range<u64>]) -> Result<Vec<(String, StoredSecret)>, BrokerError> {
        let (stream, all) = (self.names.secret_stream(), format!("{}.>", self.names.secret()));
        let (mut found_all, mut parts) = (BTreeMap::new(), parts.to_vec());
        while !parts.is_empty() {
            let questions = parts.iter().map(|part| json!({ "seq": part.start, "next_by_subj": all }));
            let found = self.connection.messages_for(&stream, questions)?;
            let next = parts.into_iter().zip(found).filter_map(|(part, found)| {
                let found = found.filter(|found| part.contains(&found.sequence))?;
                let rest = found.sequence + 1..part.end;
                found_all.insert(found.sequence, found);
                Some(rest)
            });
            parts = next.collect();
        }
        let beginning = format!("{}.", self.names.secret());
        let named = found_all.into_values().filter_map(|found| {
            let name = found.subject.strip_prefix(&beginning)?.to_owned();
            let value = StoredSecret { sequence: found.sequence, term: term_of(&found), data: found.data };
            Some((name, value))
        });
        Ok(named.collect())
    }

    /// Puts a value in the place of the one at this sequence (0: of none), and gives back its own. Replaces what
    /// another node has put there meanwhile, unless it has a later term.
    ///
    /// # Errors
    /// [`BrokerError::Led`] if another node leads by now; see there for the rest.
    pub fn put(&self, name: &str, data: &[u8], term: u64, expect: u64) -> Result<u64, BrokerError> {
        let (begun, mut expect) = (stopwatch(), expect);
        loop {
            let why = match self.publish(name, data, term, expect) {
                PublishAck::Stored { sequence } => return Ok(sequence),
                PublishAck::OtherLast { .. } => match self.last(name)? {
                    Some(found) if found.data == data => return Ok(found.sequence),
                    Some(found) if term_of(&found) > term => {
                        return Err(BrokerError::Led { term: term_of(&found) });
                    }
                    Some(found) => {
                        expect = found.sequence;
                        continue;
                    }
                    None => {
                        expect = 0;
                        continue;
                    }
                },
                PublishAck::Full(why) | PublishAck::Unknown(why) => why,
            };
            if begun.elapsed() >= PATIENCE {
                return Err(BrokerError::NoAnswer { what: name.to_owned(), why });
            }
            pause(PAUSE);
        }
    }

    fn publish(&self, name: &str, data: &[u8], term: u64, expect: u64) -> PublishAck {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expect.to_string());
        headers.insert(TERM, term.to_string());
        let subject = format!("{}.{name}", self.names.secret());
        let answered = self.connection.request(&subject, headers, data.to_vec(), TRY);
        answered.map_or_else(
            |error| PublishAck::Unknown(error.to_string()),
            |bytes| broker_reply::acknowledged(&bytes),
        )
    }

    fn last(&self, name: &str) -> Result<Option<StoredMessage>, BrokerError> {
        let question = json!({ "last_by_subj": format!("{}.{name}", self.names.secret()) });
        self.connection.message(&self.names.secret_stream(), &question)
    }

    /// Overwrites the value at this place in the broker's files. A missing one is no error.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn erase(&self, sequence: u64) -> Result<(), BrokerError> {
        let subject = format!("$JS.API.STREAM.MSG.DELETE.{}", self.names.secret_stream());
        match self.connection.ask(&subject, &json!({ "seq": sequence, "no_erase": false })) {
            Ok(_) | Err(BrokerError::Said { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The stream up to this place, in parts of about the same length.
fn parts_of(last: u64) -> Vec<Range<u64>> {
    let length = last.div_ceil(PARTS).max(1);
    (0..PARTS)
        .map(|part| part * length + 1..last.min((part + 1) * length) + 1)
        .filter(|part| !part.is_empty())
        .collect()
}

fn term_of(message: &StoredMessage) -> u64 {
    message.header(TERM).and_then(|term| term.parse().ok()).unwrap_or(0)
}
