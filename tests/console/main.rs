//! The console as the people at a browser meet it: the real binary, its pages over plain HTTP, and, in `browser`, a real
//! Chromium.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod attacks;
mod browser;
mod finding;
mod form_client;
mod glance;
mod live;
mod pages;
mod past;
mod rights;
mod sign_in;
mod veto;

use tenure_testing::{server, surroundings};
