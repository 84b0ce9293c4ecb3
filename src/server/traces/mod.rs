//! Traces: a span for each answered request, sent by OTLP over HTTP to a collector. Nothing of it is there unless
//! `telemetry.otlp_endpoint` is set.
//!
//! A span is made when the request has been answered, of what the access log says too; so what a request does on its way
//! costs nothing more. Spans wait in a queue of bounded length for a thread of the exporter. A collector that is slow or
//! down costs spans, and no caller waits.

pub(crate) mod parent;
mod sender;

use std::time::{Duration, SystemTime};

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{Span, SpanContext, SpanKind, Status, TraceContextExt, TraceId, Tracer, TracerProvider},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider},
};
use url::Url;

use self::sender::{PATIENCE, Sender};
use crate::config::{Fraction, Telemetry};
use tenure_protocol::clock::wall_time;

/// Where OTLP is taken, below the address that is configured.
const PATH: &str = "/v1/traces";
/// What waits leaves so often.
const EVERY: Duration = Duration::from_secs(1);
/// At a stop, what waits has so long to leave.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

/// Spans cannot be sent there.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.otlp_endpoint: {0}")]
pub struct NoTraces(String);

/// Sends spans.
#[derive(Clone, Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// An answered request.
pub(crate) struct AnsweredRequest<'a> {
    pub(crate) method: &'a str,
    /// The path of the route, as the table has it.
    pub(crate) route: &'static str,
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    /// The id that is recorded with what it appends.
    pub(crate) correlation_id: String,
    pub(crate) credential: Option<String>,
    pub(crate) took: Duration,
}

impl Traces {
    /// To the collector that is configured; none without one. Needs the server's runtime.
    pub(crate) fn of(telemetry: &Telemetry) -> Result<Option<Self>, NoTraces> {
        let Some(endpoint) = &telemetry.otlp_endpoint else { return Ok(None) };
        Self::to(endpoint, telemetry.sample).map(Some).map_err(NoTraces)
    }

    fn to(endpoint: &str, sample: Fraction) -> Result<Self, String> {
        let address = format!("{}{PATH}", endpoint.trim_end_matches('/'));
        let collector = Url::parse(&address).map_err(|error| error.to_string())?;
        let sender = Sender::to(&collector).map_err(|error| error.to_string())?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(sender)
            .with_endpoint(address)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(PATIENCE)
            .build()
            .map_err(|error| error.to_string())?;
        let about = [KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
        let resource = Resource::builder_empty().with_service_name("tenure").with_attributes(about).build();
        // Who asks with a trace has decided whether it is kept.
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample.of_one())));
        let batches = BatchConfigBuilder::default().with_scheduled_delay(EVERY).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_resource(resource)
            .with_sampler(sampler)
            .build();
        Ok(Self { tracer: provider.tracer("tenure"), provider })
    }

    /// Tells of a request that was answered just now. Gives the trace that it is in.
    pub(crate) fn tell(&self, parent: Option<&SpanContext>, request: AnsweredRequest<'_>) -> TraceId {
        let ended = SystemTime::UNIX_EPOCH + Duration::from_millis(wall_time().as_millis().unsigned_abs());
        let begun = ended.checked_sub(request.took).unwrap_or(ended);
        let context = parent
            .map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent.clone()));
        let builder = self.tracer.span_builder(format!("{} {}", request.method, request.route));
        let builder = builder.with_kind(SpanKind::Server).with_start_time(begun);
        let mut span = self.tracer.build_with_context(builder, &context);
        let trace = span.span_context().trace_id();
        if span.is_recording() {
            if request.status >= 500 {
                span.set_status(Status::error(request.code));
            }
            span.set_attributes(attributes(request));
        }
        span.end_with_timestamp(ended);
        trace
    }

    /// Sends what waits, and nothing more. It may take a moment: not for a thread of the runtime.
    pub(crate) fn stop(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_PATIENCE) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// What is said of a request: nothing that names a person, and no address.
fn attributes(request: AnsweredRequest<'_>) -> impl Iterator<Item = KeyValue> {
    let text = |name: &'static str, value: String| KeyValue::new(name, Value::from(value));
    let always = [
        text("http.request.method", request.method.to_owned()),
        KeyValue::new("http.route", request.route),
        KeyValue::new("http.response.status_code", i64::from(request.status)),
        KeyValue::new("tenure.code", request.code),
        text("tenure.correlation_id", request.correlation_id),
    ];
    always.into_iter().chain(request.credential.map(|id| text("tenure.credential_id", id)))
}
