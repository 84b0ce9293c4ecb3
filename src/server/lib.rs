//! The server: an authority on a data directory, its HTTP API, and the notices that it sends.

pub mod admission;
pub mod authority;
pub mod backup;
pub mod checkpoint;
pub mod config;
mod console;
mod counters;
mod gate;
pub mod http;
pub mod node;
pub mod notify;
pub mod personal_data;
pub mod process;
pub mod projections;
pub mod serve;
pub mod telemetry;
pub mod tokens;
pub mod traces;
