//! Sliding sessions behind a real nginx, on the configuration that `docs/forward-auth.md` gives: a browser with a
//! cookie, an application that is told who is there, and time in the test's hands. `direct` is the proxy itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod application;
mod browser;
mod cookies;
mod direct;
mod nginx;
mod proxied;
mod sliding;

use tenure_testing::{server, surroundings};
