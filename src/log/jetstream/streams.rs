//! The streams of a log: how they are made, and how a node sees that they are as they must be.
//!
//! A node may not change them; the operator makes them with another identity. One wrong setting and the broker forgets
//! what it has acknowledged, whatever the others say, so each is looked at.

use serde_json::{Map, Value, json};

use super::{BrokerConnection, BrokerError, StreamNames};

/// The least that the log's stream must take in one message: a frame and its headers.
const LEAST_MESSAGE: i64 = 128 * 1024;
/// What it is made to take.
const MESSAGE: i64 = 512 * 1024;

/// How the streams are to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// How many servers keep each message: 3, or 1 where there is one server only.
    pub replicas: u8,
    /// The most bytes that the log may have: of a new stream 10 GiB unless it is said, and that of an old one is raised to it.
    pub max_bytes: Option<i64>,
}

/// The most bytes of a log of which nothing is said.
const MOST_BYTES: i64 = 10 << 30;

/// What became of a stream that was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamCreation {
    /// It is new.
    Now,
    /// It was there, and is as it must be.
    Before,
    /// It was there, and may be larger now.
    Raised,
}

/// What is known of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamStatus {
    /// Its name.
    pub stream: String,
    /// How many servers keep it.
    pub replicas: u64,
    /// The server that leads it; none during an election, or where it is not said.
    pub leader: Option<String>,
    /// Followers that are there and have all of it.
    pub current: u64,
    /// Its last message.
    pub last: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// How many it may have; -1 for no limit.
    pub max_bytes: i64,
}

/// A setting, by the broker's name, and what it must be.
type RequiredSetting = (&'static str, Value);

/// What is common to all of them: nothing expires, nothing is refused or rewritten behind our back.
fn common() -> Vec<RequiredSetting> {
    vec![
        ("retention", json!("limits")),
        ("storage", json!("file")),
        ("max_msgs", json!(-1)),
        ("max_age", json!(0)),
        ("no_ack", json!(false)),
        ("sealed", json!(false)),
        ("mirror", Value::Null),
        ("sources", Value::Null),
        ("subject_transform", Value::Null),
        ("persist_mode", Value::Null),
        ("allow_direct", json!(false)),
        ("allow_msg_counter", json!(false)),
        ("allow_msg_schedules", json!(false)),
    ]
}

/// The stream of the frames, which forgets nothing.
fn log_rules(names: &StreamNames) -> Vec<RequiredSetting> {
    let mut rules = common();
    rules.extend([
        ("subjects", json!([names.log()])),
        ("discard", json!("new")),
        ("max_msgs_per_subject", json!(-1)),
        ("deny_delete", json!(true)),
        ("deny_purge", json!(true)),
        ("allow_rollup_hdrs", json!(false)),
        ("allow_msg_ttl", json!(false)),
        ("republish", json!({ "src": names.log(), "dest": names.tail() })),
    ]);
    rules
}

/// The stream of the lease, which keeps the last claim and forgets it in time.
fn lease_rules(names: &StreamNames) -> Vec<RequiredSetting> {
    let mut rules = common();
    rules.extend([
        ("subjects", json!([names.lease()])),
        ("discard", json!("old")),
        ("max_msgs_per_subject", json!(1)),
        ("allow_msg_ttl", json!(true)),
        ("subject_delete_marker_ttl", json!(10_000_000_000_i64)),
        ("republish", json!({ "src": names.lease(), "dest": names.pulse() })),
    ]);
    rules
}

/// The stream of sealed secrets. What is replaced there is erased one by one, so nothing goes by itself.
fn secret_rules(names: &StreamNames) -> Vec<RequiredSetting> {
    let mut rules = common();
    rules.extend([
        ("subjects", json!([format!("{}.>", names.secret())])),
        ("discard", json!("new")),
        ("max_msgs_per_subject", json!(-1)),
        ("deny_delete", json!(false)),
        ("deny_purge", json!(true)),
        ("allow_rollup_hdrs", json!(false)),
        ("allow_msg_ttl", json!(false)),
        ("republish", Value::Null),
    ]);
    rules
}

/// The stream of signed heads. The newest ones matter; the oldest make room for them.
fn head_rules(names: &StreamNames) -> Vec<RequiredSetting> {
    let mut rules = common();
    rules.retain(|(setting, _)| *setting != "max_msgs");
    rules.extend([
        ("subjects", json!([names.heads()])),
        ("discard", json!("old")),
        ("max_msgs", json!(100_000)),
        ("max_msgs_per_subject", json!(-1)),
        ("deny_delete", json!(true)),
        ("deny_purge", json!(true)),
        ("allow_rollup_hdrs", json!(false)),
        ("allow_msg_ttl", json!(false)),
        ("republish", Value::Null),
    ]);
    rules
}

/// The stream in which nodes say that they are there: the last word of each, for a while.
fn node_rules(names: &StreamNames) -> Vec<RequiredSetting> {
    let mut rules = common();
    rules.extend([
        ("subjects", json!([names.node("*")])),
        ("discard", json!("old")),
        ("max_msgs_per_subject", json!(1)),
        ("allow_msg_ttl", json!(true)),
        ("republish", Value::Null),
    ]);
    rules
}

/// Each stream, with what it must be.
fn all(names: &StreamNames) -> [(String, Vec<RequiredSetting>); 5] {
    [
        (names.log_stream(), log_rules(names)),
        (names.lease_stream(), lease_rules(names)),
        (names.secret_stream(), secret_rules(names)),
        (names.head_stream(), head_rules(names)),
        (names.node_stream(), node_rules(names)),
    ]
}

/// Makes the streams that are missing, and looks at the others. For the operator's identity.
///
/// # Errors
/// The broker does not make one, or an existing one has other settings.
pub fn init(
    connection: &BrokerConnection,
    names: &StreamNames,
    making: StreamSettings,
) -> Result<Vec<(String, StreamCreation)>, BrokerError> {
    let made = all(names).into_iter().map(|(stream, rules)| match config_of(connection, &stream) {
        Ok(config) => {
            check_rules(&stream, &rules, &config)?;
            let more = making.max_bytes.filter(|_| stream == names.log_stream());
            let made = raise(connection, &stream, config, more)?;
            Ok((stream, made))
        }
        Err(BrokerError::NoStream { .. }) => {
            make(connection, names, &stream, &rules, making)?;
            check_rules(&stream, &rules, &config_of(connection, &stream)?)?;
            Ok((stream, StreamCreation::Now))
        }
        Err(error) => Err(error),
    });
    made.collect()
}

/// Lets a stream have more bytes, if it may have fewer.
fn raise(
    connection: &BrokerConnection,
    stream: &str,
    mut config: Value,
    more: Option<i64>,
) -> Result<StreamCreation, BrokerError> {
    let now = config["max_bytes"].as_i64().filter(|now| *now >= 0);
    let Some((more, _)) = more.zip(now).filter(|(more, now)| more > now) else {
        return Ok(StreamCreation::Before);
    };
    config["max_bytes"] = json!(more);
    connection.ask_patiently(&format!("$JS.API.STREAM.UPDATE.{stream}"), &config)?;
    Ok(StreamCreation::Raised)
}

fn make(
    connection: &BrokerConnection,
    names: &StreamNames,
    stream: &str,
    rules: &[RequiredSetting],
    making: StreamSettings,
) -> Result<(), BrokerError> {
    let mut config = Map::new();
    config.insert("name".to_owned(), json!(stream));
    config.insert("num_replicas".to_owned(), json!(making.replicas));
    config.insert("duplicate_window".to_owned(), json!(120_000_000_000_i64));
    for (setting, value) in rules.iter().filter(|(_, value)| !value.is_null()) {
        config.insert((*setting).to_owned(), value.clone());
    }
    if stream == names.log_stream() {
        config.insert("max_bytes".to_owned(), json!(making.max_bytes.unwrap_or(MOST_BYTES)));
        config.insert("max_msg_size".to_owned(), json!(MESSAGE));
    }
    let subject = format!("$JS.API.STREAM.CREATE.{stream}");
    connection.ask_patiently(&subject, &Value::Object(config)).map(drop)
}

/// Looks whether the streams are there and safe.
///
/// # Errors
/// [`BrokerError::Unsafe`] names the first wrong setting.
pub(super) fn check(connection: &BrokerConnection, names: &StreamNames) -> Result<(), BrokerError> {
    for (stream, rules) in all(names) {
        let config = config_of(connection, &stream)?;
        check_rules(&stream, &rules, &config)?;
        if config["num_replicas"].as_u64().unwrap_or(0) < 3 {
            tracing::warn!(stream, "the stream is on fewer than three servers: the loss of one may lose it");
        }
    }
    Ok(())
}

fn config_of(connection: &BrokerConnection, stream: &str) -> Result<Value, BrokerError> {
    let mut info = connection.ask(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({}))?;
    Ok(info["config"].take())
}

fn check_rules(stream: &str, rules: &[RequiredSetting], config: &Value) -> Result<(), BrokerError> {
    let found = |setting: &str| config.get(setting).cloned().unwrap_or(Value::Null);
    let no = |setting, is: &Value, must: String| BrokerError::Unsafe {
        stream: stream.to_owned(),
        setting,
        is: is.to_string(),
        must,
    };
    for (setting, must) in rules {
        let is = found(setting);
        if !is_same(&is, must) {
            return Err(no(setting, &is, must.to_string()));
        }
    }
    let size = found("max_msg_size");
    if !size.as_i64().is_some_and(|size| size == -1 || size >= LEAST_MESSAGE) {
        return Err(no("max_msg_size", &size, format!("{LEAST_MESSAGE} or more")));
    }
    Ok(())
}

/// The broker leaves out what is off.
fn is_same(is: &Value, must: &Value) -> bool {
    let off = [Value::Null, json!(false), json!(0), json!("")];
    if let Value::Object(must) = must {
        return must.iter().all(|(name, must)| is_same(&is[name], must));
    }
    is == must || (off.contains(is) && off.contains(must))
}

/// What each stream is like now.
///
/// # Errors
/// See [`BrokerError`].
pub fn status(connection: &BrokerConnection, names: &StreamNames) -> Result<Vec<StreamStatus>, BrokerError> {
    let told = all(names).map(|(stream, rules)| {
        let info = connection.ask(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({}))?;
        check_rules(&stream, &rules, &info["config"])?;
        let replicas = info["cluster"]["replicas"].as_array();
        let current = replicas.map_or(0, |replicas| {
            let is_current = |it: &&Value| it["current"] == json!(true) && it["offline"] != json!(true);
            replicas.iter().filter(is_current).count() as u64
        });
        Ok(StreamStatus {
            stream,
            replicas: info["config"]["num_replicas"].as_u64().unwrap_or(0),
            leader: info["cluster"]["leader"].as_str().map(str::to_owned),
            current,
            last: info["state"]["last_seq"].as_u64().unwrap_or(0),
            bytes: info["state"]["bytes"].as_u64().unwrap_or(0),
            max_bytes: info["config"]["max_bytes"].as_i64().unwrap_or(-1),
        })
    });
    told.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rules: &[RequiredSetting]) -> Value {
        let mut config: Map<String, Value> =
            rules.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        config.insert("max_msg_size".to_owned(), json!(-1));
        Value::Object(config)
    }

    /// Each of these lets the broker forget, or store twice, what it has acknowledged.
    #[test]
    fn each_unsafe_setting_is_refused_by_its_name() {
        let names = StreamNames::default();
        let rules = log_rules(&names);
        check_rules("S", &rules, &config(&rules)).unwrap();
        for (setting, other) in [
            ("discard", json!("old")),
            ("max_msgs_per_subject", json!(1)),
            ("max_age", json!(3_600)),
            ("max_msgs", json!(1_000)),
            ("storage", json!("memory")),
            ("retention", json!("workqueue")),
            ("deny_delete", json!(false)),
            ("deny_purge", Value::Null),
            ("allow_rollup_hdrs", json!(true)),
            ("allow_direct", json!(true)),
            ("allow_msg_ttl", json!(true)),
            ("no_ack", json!(true)),
            ("persist_mode", json!("async")),
            ("subjects", json!(["tenure.v1.log", "other"])),
            ("republish", json!({ "src": "tenure.v1.log", "dest": "elsewhere" })),
            ("max_msg_size", json!(1_024)),
        ] {
            let mut config = config(&rules);
            config[setting] = other.clone();
            let refused = check_rules("S", &rules, &config).unwrap_err();
            let BrokerError::Unsafe { setting: said, is, .. } = refused else { panic!("{refused}") };
            assert_eq!((said, is), (setting, other.to_string()));
        }
    }
}
