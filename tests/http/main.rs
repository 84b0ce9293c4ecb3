//! The HTTP API as its callers meet it: the real binary, a real socket, and the public contract to the letter.
//!
//! What happens in order is told by the stories in `fixtures/stories`; what happens at once, at a boundary, or
//! by somebody's malice is here, a file per route or topic.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access_tokens;
mod audit;
mod bounds;
mod causes;
mod conventions;
mod costly;
mod create;
mod credentials;
mod described;
mod erase;
mod faults;
mod followed;
mod fuzz;
mod idempotency;
mod idle_past;
mod indexed;
mod kept;
mod keys;
mod lists;
mod malformed;
mod notices;
mod operation;
mod owner_events;
mod past;
mod plain;
mod process;
mod put_back;
mod races;
mod refusals;
mod renew;
mod resume;
mod revocations;
mod revocations_by_key;
mod routes;
mod secrets;
mod story;
mod streams;
mod suspension;
mod theft;
mod throttle;
mod tls;
mod traces;
mod untouched;
mod usage;

use tenure_testing::server;
