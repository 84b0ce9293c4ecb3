//! How often a webhook may be tested: what anyone sends to a host of their choice must stay little.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use tenure_core::WebhookId;

/// Tests of one webhook in [`WINDOW`].
const MOST: usize = 10;
const WINDOW: Duration = Duration::from_mins(1);
/// While a test is on its way another may begin soon: none takes long.
const SOON: u64 = 1;
/// No caller is sent away for longer.
const LONGEST: u64 = 3_600;

/// The same cannot be done again yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestTooSoon {
    /// Seconds until it may be asked for again.
    pub retry_after: u32,
}

impl TestTooSoon {
    pub(super) fn after(seconds: u64) -> Self {
        Self { retry_after: u32::try_from(seconds.clamp(SOON, LONGEST)).unwrap_or(u32::MAX) }
    }
}

/// The tests of all webhooks.
#[derive(Debug, Default)]
pub(super) struct WebhookTests {
    of_webhooks: Mutex<BTreeMap<WebhookId, TestCounts>>,
}

/// The tests of a webhook.
#[derive(Debug, Default)]
struct TestCounts {
    /// When those of the last minute began, oldest first.
    at: VecDeque<Instant>,
    is_away: bool,
}

/// A test on its way, also when its caller goes: then it is over.
#[derive(Debug)]
pub(super) struct TestTurn<'a> {
    tests: &'a WebhookTests,
    webhook: WebhookId,
}

impl WebhookTests {
    /// Begins a test, if it may begin now.
    pub(super) fn begin(&self, webhook: WebhookId, now: Instant) -> Result<TestTurn<'_>, TestTooSoon> {
        let mut all = self.of_webhooks.lock();
        let begun = all.entry(webhook).or_default();
        if begun.is_away {
            return Err(TestTooSoon::after(SOON));
        }
        while begun.at.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            begun.at.pop_front();
        }
        if begun.at.len() >= MOST
            && let Some(oldest) = begun.at.front()
        {
            // Rounded up: a second too early would be refused again.
            return Err(TestTooSoon::after(WINDOW.saturating_sub(now.duration_since(*oldest)).as_secs() + 1));
        }
        begun.at.push_back(now);
        begun.is_away = true;
        Ok(TestTurn { tests: self, webhook })
    }

    /// Forgets a deleted webhook.
    pub(super) fn forget(&self, webhook: WebhookId) {
        self.of_webhooks.lock().remove(&webhook);
    }
}

impl Drop for TestTurn<'_> {
    fn drop(&mut self) {
        if let Some(begun) = self.tests.of_webhooks.lock().get_mut(&self.webhook) {
            begun.is_away = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tests_a_minute_begin_one_after_another_and_the_eleventh_waits_for_the_first_to_be_a_minute_old() {
        let (tests, start) = (WebhookTests::default(), tenure_protocol::clock::stopwatch());
        let (one, other) = (WebhookId::from_bytes([1; 16]), WebhookId::from_bytes([2; 16]));
        let begin = |webhook, second| tests.begin(webhook, start + Duration::from_secs(second));
        for second in 0..10 {
            drop(begin(one, second).unwrap());
        }
        assert_eq!(begin(one, 10).err(), Some(TestTooSoon { retry_after: 51 }));
        assert_eq!(begin(one, 59).err(), Some(TestTooSoon { retry_after: 2 }));
        drop(begin(other, 10).unwrap());
        drop(begin(one, 60).unwrap());
        assert!(begin(one, 60).is_err());
    }

    #[test]
    fn one_test_at_a_time_is_on_its_way() {
        let (tests, now) = (WebhookTests::default(), tenure_protocol::clock::stopwatch());
        let webhook = WebhookId::from_bytes([1; 16]);
        let turn = tests.begin(webhook, now).unwrap();
        assert_eq!(tests.begin(webhook, now).err(), Some(TestTooSoon { retry_after: 1 }));
        drop(turn);
        assert!(tests.begin(webhook, now).is_ok());
    }
}
