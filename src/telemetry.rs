//! What the authority says about itself while it runs: lines on standard error.
//!
//! No token, key or text about people is ever given to it; the types of secrets cannot be printed.

use std::io;

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt::MakeWriter, util::SubscriberInitExt};

/// What is said when nobody asks for more or less.
pub const DEFAULT_FILTER: &str = "info";

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error("the log filter {filter:?} cannot be read: {source}")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Someone set it up before.
    #[error("the log was set up before")]
    Twice,
}

/// Sets it up for the whole process. The filter is one of `tracing`, such as `info,tenure::log=debug`;
/// whoever calls has it from a flag or from `TENURE_LOG`.
pub fn init(filter: &str, form: Form) -> Result<(), TelemetryError> {
    subscriber(filter, form, io::stderr)?.try_init().map_err(|_| TelemetryError::Twice)
}

fn subscriber<W>(filter: &str, form: Form, to: W) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let parsed = EnvFilter::builder().parse(filter);
    let parsed = parsed.map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(to).with_ansi(false);
    Ok(match form {
        Form::Text => Box::new(lines.compact().finish()),
        Form::Json => Box::new(lines.json().flatten_event(true).finish()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn said(filter: &str, form: Form) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(filter, form, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(position = 7, "stored");
            tracing::debug!("detail");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_the_filter_lets_through_is_said_on_one_line() {
        let text = said(DEFAULT_FILTER, Form::Text);
        assert!(text.ends_with("stored position=7\n") && text.lines().count() == 1, "{text}");
        assert_eq!(said("tenure=debug", Form::Text).lines().count(), 2);
        assert_eq!(said("off", Form::Text), "");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = said(DEFAULT_FILTER, Form::Json);
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&line["message"], &line["position"]), (&"stored".into(), &7.into()));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let Err(error) = subscriber("tenure=loud", Form::Text, io::sink) else { panic!("accepted") };
        assert!(error.to_string().contains("\"tenure=loud\""), "{error}");
    }
}
