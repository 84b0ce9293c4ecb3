//! The stages of a request, as spans below its own: what is known to take its time says so on the way.
//!
//! Where nothing is sent, or the trace is not kept, a stage costs one look at [`FOLLOWED`].

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use axum::http::HeaderValue;
use opentelemetry::{
    Context,
    trace::{Span as _, SpanContext, SpanKind, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::{SdkTracer, Span};
use tenure_protocol::clock::stopwatch;

use super::wall_times::WallTimes;

/// Whether this process sends spans at all.
static FOLLOWED: AtomicBool = AtomicBool::new(false);

tokio::task_local! {
    /// The span of which the stages of this task are parts.
    static CURRENT: CurrentSpan;
}

/// An open span, as its parts know it.
#[derive(Clone, Debug)]
pub(crate) struct CurrentSpan {
    pub(super) tracer: SdkTracer,
    pub(super) span: SpanContext,
    pub(super) moments: WallTimes,
}

/// A stage that lasts until it is dropped. A span is large, and most requests have none.
pub(crate) struct StageSpan(Option<Box<(Span, WallTimes)>>);

/// From now on there are spans to be parts of.
pub(super) fn follow() {
    FOLLOWED.store(true, Ordering::Relaxed);
}

impl CurrentSpan {
    /// Runs something whose stages are parts of this span.
    pub(crate) async fn around<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// Begins a part of this span.
    pub(super) fn stage(&self, name: &'static str) -> StageSpan {
        self.begin(SpanKind::Internal, name)
    }

    fn begin(&self, kind: SpanKind, name: &'static str) -> StageSpan {
        StageSpan(Some(Box::new((self.part(kind, name, stopwatch()), self.moments))))
    }

    fn part(&self, kind: SpanKind, name: &'static str, begun: Instant) -> Span {
        let parent = Context::new().with_remote_span_context(self.span.clone());
        let builder = self.tracer.span_builder(name).with_kind(kind);
        self.tracer.build_with_context(builder.with_start_time(self.moments.at(begun)), &parent)
    }
}

/// The span of which what this task does is a part.
pub(crate) fn current() -> Option<CurrentSpan> {
    if !FOLLOWED.load(Ordering::Relaxed) {
        return None;
    }
    CURRENT.try_with(Clone::clone).ok()
}

/// Whether what this task does is part of a trace.
pub(crate) fn is_followed() -> bool {
    FOLLOWED.load(Ordering::Relaxed) && CURRENT.try_with(|_| ()).is_ok()
}

/// Begins a stage.
pub(crate) fn stage(name: &'static str) -> StageSpan {
    begin(SpanKind::Internal, name)
}

/// Begins a request to another server.
pub(crate) fn outgoing(name: &'static str) -> StageSpan {
    begin(SpanKind::Client, name)
}

fn begin(kind: SpanKind, name: &'static str) -> StageSpan {
    current().map_or(StageSpan(None), |current| current.begin(kind, name))
}

/// Reports a finished stage.
pub(crate) fn note(name: &'static str, begun: Instant, ended: Instant) {
    if let Some(current) = current() {
        let mut span = current.part(SpanKind::Internal, name, begun);
        span.end_with_timestamp(current.moments.at(ended));
    }
}

impl StageSpan {
    /// The header by which another server makes its spans parts of this stage.
    pub(crate) fn traceparent(&self) -> Option<HeaderValue> {
        let (span, _) = self.0.as_deref()?;
        let context = span.span_context();
        let flags = context.trace_flags().to_u8();
        let text = format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id());
        HeaderValue::from_str(&text).ok()
    }
}

impl Drop for StageSpan {
    fn drop(&mut self) {
        if let Some((span, moments)) = self.0.as_deref_mut() {
            span.end_with_timestamp(moments.at(stopwatch()));
        }
    }
}
