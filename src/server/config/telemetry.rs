//! What is sent to a collector of traces.

use super::Fraction;

/// `telemetry.*`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// `telemetry.otlp_endpoint`, without a slash at its end.
    pub otlp_endpoint: Option<String>,
    /// `telemetry.sample`
    pub sample: Fraction,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { otlp_endpoint: None, sample: Fraction::millionths(1_000_000) }
    }
}
