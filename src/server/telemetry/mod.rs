//! What the authority says about itself while it runs: lines on standard error.
//!
//! No token, key or text about people is ever given to it; the types of secrets cannot be printed. What cannot be
//! written is lost, counted, and no reason to wait or to fail (`log_queue`).

mod log_queue;

use std::{
    any::Any,
    io,
    panic::{self, PanicHookInfo},
    sync::OnceLock,
    time::Duration,
};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt::MakeWriter, util::SubscriberInitExt};

use self::log_queue::LogQueue;

/// The queue of this process's lines, once it was set up.
static LINES: OnceLock<LogQueue> = OnceLock::new();
/// The last words of a process, or of a thread that panicked, have this time to be written.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The default log filter.
pub const DEFAULT_FILTER: &str = "info";

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineFormat {
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
    /// The system gives no thread for it.
    #[error("the log cannot be written: {0}")]
    Thread(#[from] io::Error),
}

/// Sets it up for the whole process. The filter is one of `tracing`, such as `info,tenure_log=debug`;
/// the caller has it from a flag or from `TENURE_LOG`.
///
/// A panic becomes a line like any other: the usual hook would wait for standard error, or end the process with a
/// second panic where that cannot be written.
pub fn init(filter: &str, form: LineFormat) -> Result<(), TelemetryError> {
    let lines = LogQueue::to(io::stderr())?;
    let writer = lines.clone();
    subscriber(filter, form, move || writer.clone())?.try_init().map_err(|_| TelemetryError::Twice)?;
    let lines = LINES.get_or_init(|| lines);
    panic::set_hook(Box::new(move |info| {
        lines.line(panicked(info, form).as_bytes());
        lines.flush(LAST_WORDS);
    }));
    Ok(())
}

/// Gives waiting lines some time to be written, before the process ends.
pub fn flush() {
    if let Some(lines) = LINES.get() {
        lines.flush(LAST_WORDS);
    }
}

/// How many lines could not be written since the start.
pub fn lost_lines() -> u64 {
    LINES.get().map_or(0, LogQueue::lost)
}

/// The line of a panic. It is made by hand: the thread may have panicked while it made a line.
fn panicked(info: &PanicHookInfo<'_>, form: LineFormat) -> String {
    let thread = std::thread::current();
    let (thread, why) = (thread.name().unwrap_or("?").to_owned(), payload(info.payload()));
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    match form {
        LineFormat::Text => format!("ERROR tenure: a thread panicked: {why} thread={thread} at={place}\n"),
        LineFormat::Json => {
            let line = serde_json::json!({
                "level": "ERROR", "target": "tenure", "message": format!("a thread panicked: {why}"),
                "thread": thread, "at": place,
            });
            format!("{line}\n")
        }
    }
}

fn payload(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no words)")
}

fn subscriber<W>(
    filter: &str,
    form: LineFormat,
    to: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let parsed = EnvFilter::builder().parse(filter);
    let parsed = parsed.map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(to).with_ansi(false);
    // What it cannot write it would say on standard error, by a macro that panics where that cannot be written.
    let lines = lines.log_internal_errors(false);
    Ok(match form {
        LineFormat::Text => Box::new(lines.compact().finish()),
        LineFormat::Json => Box::new(lines.json().flatten_event(true).finish()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use super::*;

    #[derive(Clone, Default)]
    struct CapturedLines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for CapturedLines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn said(filter: &str, form: LineFormat) -> String {
        let lines = CapturedLines::default();
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
        let text = said(DEFAULT_FILTER, LineFormat::Text);
        assert!(text.ends_with("stored position=7\n") && text.lines().count() == 1, "{text}");
        assert_eq!(said("tenure=debug", LineFormat::Text).lines().count(), 2);
        assert_eq!(said("off", LineFormat::Text), "");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = said(DEFAULT_FILTER, LineFormat::Json);
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!((&line["message"], &line["position"]), (&"stored".into(), &7.into()));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let Err(error) = subscriber("tenure=loud", LineFormat::Text, io::sink) else { panic!("accepted") };
        assert!(error.to_string().contains("\"tenure=loud\""), "{error}");
    }
}
