//! Traces: a span for each request and each attempt of a delivery, with its stages below it, sent by OTLP over HTTP to
//! a collector. Nothing of it is there unless `telemetry.otlp_endpoint` is set.
//!
//! A span says what the access log says too, and a stage its name and times; no text and no token. Spans wait in a
//! queue of bounded length for a thread of the exporter. A slow or unreachable collector costs spans, and no caller
//! waits.

mod sender;
mod stage;
pub(crate) mod trace_parent;
mod traced_request;
mod wall_times;

use std::time::Duration;

use axum::http::Method;
use opentelemetry::{
    Context, KeyValue, Value,
    trace::{Span, SpanContext, SpanKind, Status, TraceContextExt, TraceId, Tracer, TracerProvider},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan},
};
use url::Url;

use self::stage::current;
use self::{
    sender::{CollectorClient, TIMEOUT},
    wall_times::WallTimes,
};
pub(crate) use self::{
    stage::{CurrentSpan, StageSpan, is_followed, note, outgoing, stage},
    traced_request::TracedRequest,
};
use crate::config::{Fraction, TelemetryConfig};
use tenure_protocol::clock::stopwatch;

/// Where OTLP is taken, below the configured address.
const PATH: &str = "/v1/traces";
/// What waits leaves so often.
const EVERY: Duration = Duration::from_secs(1);
/// How long the queued spans have at a stop.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// Spans cannot be sent there.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.otlp_endpoint: {0}")]
pub struct TraceSetupError(String);

/// Sends spans.
#[derive(Clone, Debug)]
pub struct TraceExporter {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// The span of a request, or of an attempt to deliver something, until it is over.
#[derive(Debug)]
pub(crate) struct OpenSpan {
    span: SdkSpan,
    tracer: SdkTracer,
    moments: WallTimes,
}

/// What there is to say of a request when it has been answered.
pub(crate) struct AnsweredRequest<'a> {
    pub(crate) method: &'static str,
    /// The path of the route, as the table has it.
    pub(crate) route: &'a str,
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    /// The id recorded with what it appends.
    pub(crate) correlation_id: Option<String>,
    pub(crate) credential: Option<String>,
}

impl TraceExporter {
    /// To the configured collector; none without one. Needs the server's runtime.
    pub(crate) fn of(telemetry: &TelemetryConfig) -> Result<Option<Self>, TraceSetupError> {
        let Some(endpoint) = &telemetry.otlp_endpoint else { return Ok(None) };
        Self::to(endpoint, telemetry.sample).map(Some).map_err(TraceSetupError)
    }

    fn to(endpoint: &str, sample: Fraction) -> Result<Self, String> {
        let address = format!("{}{PATH}", endpoint.trim_end_matches('/'));
        let collector = Url::parse(&address).map_err(|error| error.to_string())?;
        let sender = CollectorClient::to(&collector).map_err(|error| error.to_string())?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(sender)
            .with_endpoint(address)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(TIMEOUT)
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
        stage::follow();
        Ok(Self { tracer: provider.tracer("tenure"), provider })
    }

    /// Begins the span of a request that has arrived. Inside of another request of this process it is a part of that
    /// one, or else of what the caller says.
    pub(crate) fn request(&self, parent: Option<&SpanContext>, name: String) -> OpenSpan {
        match current() {
            Some(outer) => self.begin(Some(&outer.span), SpanKind::Internal, name),
            None => self.begin(parent, SpanKind::Server, name),
        }
    }

    /// Begins the span of something sent to another server, for a request or of the authority's own accord.
    pub(crate) fn sending(&self, name: &'static str) -> OpenSpan {
        let outer = current().map(|outer| outer.span);
        self.begin(outer.as_ref(), SpanKind::Client, name.to_owned())
    }

    fn begin(&self, parent: Option<&SpanContext>, kind: SpanKind, name: String) -> OpenSpan {
        let moments = WallTimes::now();
        let context = parent
            .map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent.clone()));
        let builder = self.tracer.span_builder(name).with_kind(kind).with_start_time(moments.at(stopwatch()));
        let span = self.tracer.build_with_context(builder, &context);
        OpenSpan { span, tracer: self.tracer.clone(), moments }
    }

    /// Sends what waits, and nothing more. It may take a moment: not for a thread of the runtime.
    pub(crate) fn stop(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(LAST_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

impl OpenSpan {
    /// The trace that it is in.
    pub(crate) fn trace(&self) -> TraceId {
        self.span.span_context().trace_id()
    }

    /// For those who do parts of it; `None` if the trace is not kept.
    pub(crate) fn current(&self) -> Option<CurrentSpan> {
        let (tracer, span) = (self.tracer.clone(), self.span.span_context().clone());
        self.span.is_recording().then_some(CurrentSpan { tracer, span, moments: self.moments })
    }

    /// Begins a part of it.
    pub(crate) fn stage(&self, name: &'static str) -> Option<StageSpan> {
        Some(self.current()?.stage(name))
    }

    /// Ends it with what became of the request.
    pub(crate) fn answered(self, request: AnsweredRequest<'_>) {
        let failure = (request.status >= 500).then_some(request.code);
        self.end(failure, attributes(request));
    }

    /// Ends it, as a failure if there is a reason.
    pub(crate) fn end(mut self, failure: Option<&'static str>, about: impl Iterator<Item = KeyValue>) {
        if self.span.is_recording() {
            if let Some(reason) = failure {
                self.span.set_status(Status::error(reason));
            }
            self.span.set_attributes(about);
        }
        self.span.end_with_timestamp(self.moments.at(stopwatch()));
    }
}

/// A method by its name; one of a caller's own making is not repeated.
pub(crate) fn method_name(method: &Method) -> &'static str {
    const KNOWN: [(Method, &str); 8] = [
        (Method::GET, "GET"),
        (Method::POST, "POST"),
        (Method::PUT, "PUT"),
        (Method::PATCH, "PATCH"),
        (Method::DELETE, "DELETE"),
        (Method::HEAD, "HEAD"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::TRACE, "TRACE"),
    ];
    KNOWN.iter().find(|(known, _)| known == method).map_or("_OTHER", |(_, name)| name)
}

/// A text attribute of a span.
pub(crate) fn about(name: &'static str, value: impl Into<Value>) -> KeyValue {
    KeyValue::new(name, value)
}

/// What is said of a request: nothing that names a person, and no address.
fn attributes(request: AnsweredRequest<'_>) -> impl Iterator<Item = KeyValue> {
    let always = [
        KeyValue::new("http.request.method", request.method),
        about("http.route", request.route.to_owned()),
        KeyValue::new("http.response.status_code", i64::from(request.status)),
        KeyValue::new("tenure.code", request.code),
    ];
    let recorded = request.correlation_id.map(|id| about("tenure.correlation_id", id));
    always.into_iter().chain(recorded).chain(request.credential.map(|id| about("tenure.credential_id", id)))
}
