//! Messages to the service manager, by systemd's `sd_notify` protocol: ready, alive, stopping.
//!
//! Without `NOTIFY_SOCKET` in the environment nothing is sent. A message that cannot be sent is a warning in the log: the
//! manager acts on its absence, and the server serves on.

use std::{net::SocketAddr, time::Duration};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

/// The server answers requests. From here on the watchdog is fed, if the manager has one.
pub(super) fn ready(address: SocketAddr) {
    send(&[NotifyState::Ready, NotifyState::Status(&format!("listening on {address}"))]);
    if let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) {
        tokio::spawn(feed(limit));
    }
}

/// The server accepts no more connections.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("finishing the requests in flight")]);
}

/// A task of the runtime that serves requests, so that a runtime that hangs is noticed and restarted.
async fn feed(limit: Duration) {
    let mut beats = interval(limit / 3);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        send(&[NotifyState::Watchdog]);
    }
}

fn send(messages: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(messages) {
        tracing::warn!(%error, "the service manager cannot be reached");
    }
}
