//! What is asked again: a read, of a busy server, when that said to come back; and a change of which it is not known
//! whether it was done.

use std::time::Duration;

use crate::cli::{failure::CommandError, output};
use tenure_client::backoff;
use tenure_protocol::clock::{pause, stopwatch};

/// Number of retries.
const TIMES: u32 = 3;
/// A server that asks for more than this is left to the user.
const LONGEST: Duration = Duration::from_secs(10);

/// Asks until the server has room, or does not get any for too long.
pub(in crate::cli) fn patiently<T>(ask: impl Fn() -> Result<T, CommandError>) -> Result<T, CommandError> {
    let mut refused = 0;
    loop {
        let failure = match ask() {
            Err(failure) if refused < TIMES => failure,
            answer => return answer,
        };
        let Some(wish) = wish(&failure) else { return Err(failure) };
        refused += 1;
        let wait = backoff::wait(refused, Some(wish));
        output::aside(&format!("{failure}; trying again in {:.0} s", wait.as_secs_f64()));
        pause(wait);
    }
}

/// Asks for a change that carries an idempotency key, again for so long while it may or may not have been done.
pub(in crate::cli) fn until_known<T>(
    within: Duration,
    ask: impl Fn() -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let (begun, mut failures) = (stopwatch(), 0);
    loop {
        let failure = match ask() {
            Err(failure) if failure.leaves_it_open() => failure,
            answer => return answer,
        };
        failures += 1;
        let wait = backoff::wait(failures, failure.problem().and_then(|problem| problem.retry_after));
        if begun.elapsed() + wait > within {
            return Err(failure);
        }
        output::aside(&format!("{failure}; trying again in {:.0} s", wait.as_secs_f64()));
        pause(wait);
    }
}

/// How long to wait, if the server refuses only because it is busy and the wait is short.
fn wish(failure: &CommandError) -> Option<Duration> {
    let CommandError::Problem(problem) = failure else { return None };
    let is_busy = ["RATE_LIMITED", "OVERLOADED"].contains(&problem.code.as_str());
    problem.retry_after.filter(|wish| is_busy && *wish <= LONGEST)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::{
        connection::{
            client::{ApiClient, ApiRequest},
            fake_server::{Answer, answering},
        },
        files::secret::Secret,
    };
    use tenure_http_client::outbound::PlaintextPolicy;

    const BUSY: Answer = Some((
        "429 Too Many Requests\r\nretry-after: 1\r\ncontent-type: application/problem+json",
        r#"{"type":"about:blank","title":"Busy","status":429,"code":"RATE_LIMITED","errors":[]}"#,
    ));
    const LATER: Answer = Some((
        "503 Service Unavailable\r\nretry-after: 60\r\ncontent-type: application/problem+json",
        r#"{"type":"about:blank","title":"Busy","status":503,"code":"OVERLOADED","errors":[]}"#,
    ));
    const FREE: Answer = Some(("200 OK", "{\"here\":1}"));

    fn client(answers: Vec<Answer>) -> (ApiClient, std::thread::JoinHandle<Vec<String>>) {
        let (url, asked) = answering(answers);
        (ApiClient::new(&url, Some(Secret::new("tnr_key_test")), PlaintextPolicy::Refused).unwrap(), asked)
    }

    /// Of three commands at once that read the history, the refused ones gave up, though the reply said when to
    /// come back.
    #[test]
    fn a_read_comes_back_when_the_server_said() {
        let begun = stopwatch();
        let (client, asked) = client(vec![BUSY, FREE]);
        assert_eq!(client.send(&ApiRequest::get(&["v1", "sessions"])).unwrap().body, json!({"here": 1}));
        assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(asked.join().unwrap().len(), 2);
    }

    #[test]
    fn an_export_comes_back_too() {
        let (client, _asked) = client(vec![BUSY, FREE]);
        let mut text = String::new();
        let mut export = client.export(&ApiRequest::get(&["v1", "audit", "export"])).unwrap();
        std::io::Read::read_to_string(&mut export, &mut text).unwrap();
        assert_eq!(text, "{\"here\":1}");
    }

    #[test]
    fn neither_a_change_nor_a_read_that_would_wait_for_long_comes_back() {
        let (changing, asked) = client(vec![BUSY]);
        let failure = changing.send(&ApiRequest::post(&["v1", "sessions"], json!({}))).unwrap_err();
        assert!(failure.to_string().contains("Busy"), "{failure}");
        assert_eq!(asked.join().unwrap().len(), 1);
        let (reading, asked) = client(vec![LATER]);
        reading.send(&ApiRequest::get(&["v1", "sessions"])).unwrap_err();
        assert_eq!(asked.join().unwrap().len(), 1);
    }
}
