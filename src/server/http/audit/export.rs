//! `GET /v1/audit/export`: the history, as a stream that proves itself.

use std::{
    io::{self, BufWriter, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;
use tokio::{runtime::Handle, sync::mpsc, time::timeout};

use tenure_audit::{
    HeadError, SignedHead,
    export::{ExportError, ExportSignatures, ExportSpan, export},
};
use tenure_log::waiting_for_disk;

use crate::http::{
    api::ApiContext,
    only_leader::ask_the_leader,
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{access::Caller, call::ApiCall},
};

/// A piece of this size goes out at a time.
const PIECE: usize = 64 * 1024;
/// How many pieces wait for a client slower than the log.
const WAITING: usize = 8;
/// How often the credential is checked: a stream ends within 5 s after it is no longer good.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A client that takes nothing for this time is let go.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Stream an export of the history, a file that can be verified without the server.
#[utoipa::path(get, path = "/v1/audit/export", tag = "audit", operation_id = "exportHistory",
    params(("from" = Option<u64>, Query, description = "The first position, by default 1; its commit comes whole."),
        ("to" = Option<u64>, Query, description = "The last position, by default the newest; its commit comes whole.")),
    responses((status = 200, description = "The export, under a head that is signed now. One that breaks off has no \
        last line.", body = String, content_type = "application/jsonl")))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(crate) async fn stream(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let from = query.whole("from", 1..=u64::MAX);
    let to = query.whole("to", 1..=u64::MAX);
    query.finish()?;
    let signatures = waiting_for_disk(|| signatures(&call.api))?;
    let wanted = to.unwrap_or_else(|| call.api.authority.live().position().0).max(from.unwrap_or(0));
    if signatures.last.0 < wanted && call.api.follows() {
        // It signs a head that covers this.
        ask_the_leader();
        return Err(ProblemCode::Stale.into());
    }
    let span = ExportSpan::new(from, to, signatures.last.0).map_err(|error| out_of_range(&error, from))?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let (api, caller) = (Arc::clone(&call.api), call.caller.clone());
    let outlet = ExportSink { sender, api: Arc::clone(&api), caller, runtime: Handle::current() };
    let exported = Arc::clone(&api);
    api.costly.export(&call.caller, move || run(&exported, span, &signatures, outlet))?;
    Ok(HttpReply::stream("application/jsonl", Body::new(ExportBody(receiver))))
}

/// The head of everything recorded by now, and those on the way there.
fn signatures(api: &ApiContext) -> Result<ExportSignatures, Problem> {
    let heads = api.evidence.keeper.heads();
    let sized = |head: SignedHead| (head.size, head.note().to_owned());
    let last = heads.sign().map(sized).map_err(unsigned)?;
    let earlier = heads.trail().map_err(unsigned)?.into_iter().map(sized).collect();
    Ok(ExportSignatures { verifier_key: heads.verifier().to_string(), last, earlier })
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
fn unsigned(error: HeadError) -> Problem {
    tracing::error!(%error, "an export lacks its heads");
    Problem::unavailable(&error.to_string())
}

fn out_of_range(error: &ExportError, from: Option<u64>) -> Problem {
    Problem::invalid(if from.is_some() { "from" } else { "to" }, error.to_string())
}

/// Gives back what keeps the reply open.
fn run(
    api: &ApiContext,
    span: ExportSpan,
    signatures: &ExportSignatures,
    outlet: ExportSink,
) -> mpsc::Sender<io::Result<Bytes>> {
    let sender = outlet.sender.clone();
    let out = BufWriter::with_capacity(PIECE, outlet);
    if let Err(error) = export(api.authority.log(), span, signatures, out) {
        tracing::warn!(%error, "an export broke off");
        // The client has gone, or else this ends the reply without its end: a client sees that it was cut.
        drop(sender.try_send(Err(io::Error::other(error.to_string()))));
    }
    sender
}

/// Where the export is written to: a client, as long as it reads and its credential stands.
struct ExportSink {
    sender: mpsc::Sender<io::Result<Bytes>>,
    api: Arc<ApiContext>,
    caller: Caller,
    runtime: Handle,
}

impl ExportSink {
    fn stands(&self) -> bool {
        match &self.caller {
            Caller::Key(key) => self.api.authority.is_still_good(key.id),
            Caller::Session(_) | Caller::Anyone => false,
        }
    }

    /// A place for the next piece.
    fn place(&self) -> io::Result<mpsc::Permit<'_, io::Result<Bytes>>> {
        let mut waited = Duration::ZERO;
        while waited < TIMEOUT {
            if !self.stands() {
                return Err(io::Error::other("the credential was revoked, or has ended"));
            }
            match self.runtime.block_on(async { timeout(LOOK_EVERY, self.sender.reserve()).await }) {
                Ok(Ok(permit)) => return Ok(permit),
                Ok(Err(_)) => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(_) => waited += LOOK_EVERY,
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Write for ExportSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.place()?.send(Ok(Bytes::copy_from_slice(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The pieces as the body of a reply.
struct ExportBody(mpsc::Receiver<io::Result<Bytes>>);

impl HttpBody for ExportBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
