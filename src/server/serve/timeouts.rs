//! How long a connection is waited for, apart from each other: for the head of a request, which protects against slow
//! senders and is short, and for the next request on an idle connection. The latter must be longer than the proxies in
//! front keep theirs: the side that opened a connection should close it, or else requests meet one just being closed.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::admission::{ConnectionSeat, ConnectionState, HeldBytes};

/// A client may end its side of the connection when it has sent its request, and wait for the answer. One that has gone
/// looks the same: what takes longer than this until there is something to write ends.
const ENDED_TIMEOUT: Duration = Duration::from_secs(1);

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionTimeouts {
    /// For the head of a request to be complete; on a new connection from its beginning.
    pub(super) head: Duration,
    /// For the next request to begin.
    pub(super) idle: Duration,
}

impl ConnectionTimeouts {
    /// Until when the head of the first request is waited for on a connection that begins now.
    pub(super) fn for_the_first(self, seat: &ConnectionSeat) -> Instant {
        Instant::now() + seat.patience(self.head)
    }
}

/// The requests of one connection.
#[derive(Clone)]
pub(super) struct ConnectionRequests(Arc<ConnectionCounts>);

struct ConnectionCounts {
    begun: AtomicU64,
    done: AtomicU64,
    seat: Arc<ConnectionSeat>,
}

impl ConnectionRequests {
    /// Of a connection in this place.
    pub(super) fn on(seat: Arc<ConnectionSeat>) -> Self {
        Self(Arc::new(ConnectionCounts { begun: AtomicU64::new(0), done: AtomicU64::new(0), seat }))
    }

    /// A request has come. It is under way until what is given back is dropped.
    pub(super) fn begin(&self) -> RequestGuard {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        RequestGuard(self.clone())
    }

    fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Counts bytes as held for the client until what is given back is dropped.
    pub(super) fn hold(&self, bytes: u64) -> Option<HeldBytes> {
        HeldBytes::on(&self.0.seat, usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    fn are_done(&self) -> bool {
        self.begun() == self.0.done.load(Ordering::Relaxed)
    }
}

/// An unanswered request.
pub(super) struct RequestGuard(ConnectionRequests);

impl RequestGuard {
    /// It is under way until all of this response has been sent, or given up.
    pub(super) fn until_sent(self, response: Response) -> Response<SentBody> {
        response.map(|body| {
            let held = body.size_hint().exact().and_then(|size| self.0.hold(size));
            SentBody { body, held, under_way: self }
        })
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.0.done.fetch_add(1, Ordering::Relaxed);
    }
}

/// A body that ends a request when it is dropped. What is held of it for the client is counted, also that which waits
/// in the connection's buffers then.
pub(super) struct SentBody {
    body: Body,
    /// Of a body that is there as a whole, all of it.
    held: Option<HeldBytes>,
    under_way: RequestGuard,
}

/// A piece of a body, counted until it has been written.
struct HeldPiece {
    bytes: Bytes,
    _held: HeldBytes,
}

impl AsRef<[u8]> for HeldPiece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl SentBody {
    fn counted(&mut self, bytes: Bytes) -> Bytes {
        match self.held.take().or_else(|| self.under_way.0.hold(bytes.len() as u64)) {
            Some(held) => Bytes::from_owner(HeldPiece { bytes, _held: held }),
            None => bytes,
        }
    }
}

impl HttpBody for SentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| self.counted(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection given up when it lets one wait for too long.
pub(super) struct TimeoutConnection<S> {
    stream: S,
    requests: ConnectionRequests,
    timeouts: ConnectionTimeouts,
    /// The requests that had begun when `waiting` was last right.
    begun: u64,
    waiting: ConnectionState,
    /// Whether the client takes nothing of what is written.
    is_blocked: bool,
    /// Since when a client that ended its side has taken nothing.
    ended: Option<Instant>,
    /// Until when it is waited for.
    due: Instant,
    /// Set to that moment only when there is nothing to do but wait: most heads come in one piece.
    alarm: Pin<Box<Sleep>>,
    /// What was read and put back, to be read again first.
    unread: Vec<u8>,
    /// How many bytes have come since the connection was last idle, and what counts them when they are many.
    come: usize,
    held: Option<HeldBytes>,
}

impl<S> TimeoutConnection<S> {
    /// The head of the first request is waited for until `due`.
    pub(super) fn new(
        stream: S,
        requests: ConnectionRequests,
        timeouts: ConnectionTimeouts,
        due: Instant,
    ) -> Self {
        Self {
            stream,
            requests,
            timeouts,
            begun: 0,
            waiting: ConnectionState::Head,
            is_blocked: false,
            ended: None,
            due,
            alarm: Box::pin(sleep_until(due)),
            unread: Vec::new(),
            come: 0,
            held: None,
        }
    }

    /// Lets this be read again, before what comes.
    pub(super) fn put_back(&mut self, unread: Vec<u8>) {
        self.unread = unread;
    }

    fn read_again(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..length]);
        self.unread.drain(..length);
        if self.unread.is_empty() {
            self.unread = Vec::new();
        }
    }

    fn wait_for(&mut self, waiting: ConnectionState) {
        let (now, seat) = (Instant::now(), &self.requests.0.seat);
        self.waiting = waiting;
        seat.stands(waiting, now.into_std());
        match waiting {
            ConnectionState::Head => self.due = now + seat.patience(self.timeouts.head),
            ConnectionState::Idle => {
                self.due = now + self.timeouts.idle;
                (self.come, self.held) = (0, None);
            }
            ConnectionState::Answered | ConnectionState::Blocked => {}
        }
    }

    fn is_answered(&mut self) {
        if self.waiting != ConnectionState::Answered {
            self.wait_for(ConnectionState::Answered);
        }
    }

    /// Notes how many bytes have come: of an idle connection, those of a head.
    fn has_come(&mut self, count: usize) {
        self.look();
        if self.waiting == ConnectionState::Idle {
            self.wait_for(ConnectionState::Head);
        }
        self.come += count;
        match &mut self.held {
            Some(held) => held.grow(self.come),
            None => self.held = self.requests.hold(self.come as u64),
        }
    }

    /// An error when the connection is over, whatever it does.
    fn goes_on(&self) -> io::Result<()> {
        if self.requests.0.seat.must_end() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// Sees what became of the requests meanwhile.
    fn look(&mut self) {
        let begun = self.requests.begun();
        if !self.requests.are_done() || self.is_blocked {
            self.is_answered();
        } else if begun != self.begun || self.waiting == ConnectionState::Answered {
            self.wait_for(ConnectionState::Idle);
        }
        self.begun = begun;
    }

    /// Notes whether the client took something of what was written; an error when it was waited for long enough.
    fn has_written(&mut self, is_blocked: bool, context: &mut Context<'_>) -> io::Result<()> {
        if is_blocked != self.is_blocked {
            self.is_answered();
            let standing = if is_blocked { ConnectionState::Blocked } else { ConnectionState::Answered };
            self.requests.0.seat.stands(standing, Instant::now().into_std());
            self.is_blocked = is_blocked;
        }
        if !is_blocked {
            self.ended = self.ended.map(|_| Instant::now());
            return Ok(());
        }
        self.requests.0.seat.register(context.waker());
        self.goes_on()?;
        if self.requests.0.seat.gives_way() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// Whether the wait was long enough. Wakes the reader then.
    fn poll_overdue(&mut self, context: &mut Context<'_>) -> Poll<ConnectionState> {
        self.requests.0.seat.register(context.waker());
        if self.requests.0.seat.must_end() {
            return Poll::Ready(ConnectionState::Head);
        }
        self.look();
        if self.waiting == ConnectionState::Answered {
            return Poll::Pending;
        }
        if !self.requests.0.seat.gives_way() {
            ready!(self.poll_due(context));
        }
        Poll::Ready(self.waiting)
    }

    fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.alarm.deadline() != self.due {
            self.alarm.as_mut().reset(self.due);
        }
        self.alarm.as_mut().poll(context)
    }

    /// Notes that all of an answer was written, behind which the next request is waited for. The reader waits already
    /// and would not be asked again.
    fn has_flushed(&mut self, context: &mut Context<'_>) {
        let before = self.waiting;
        self.look();
        let waits_again = self.waiting == ConnectionState::Idle && before != ConnectionState::Idle;
        if waits_again && (self.ended.is_some() || self.poll_due(context).is_ready()) {
            context.waker().wake_by_ref();
        }
    }

    /// Resolves when there is nothing left to do for a client that has ended its side.
    fn poll_ended(&mut self, ended: Instant, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.requests.0.seat.register(context.waker());
        self.goes_on()?;
        self.look();
        if self.waiting == ConnectionState::Answered {
            self.due = ended + ENDED_TIMEOUT;
            ready!(self.poll_due(context));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimeoutConnection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            self.read_again(buffer);
            return Poll::Ready(Ok(()));
        }
        if let Some(ended) = self.ended {
            return self.poll_ended(ended, context);
        }
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            let count = buffer.filled().len() - before;
            self.has_come(count);
            if count > 0 || buffer.remaining() == 0 {
                return Poll::Ready(read);
            }
            read?;
            let ended = *self.ended.insert(Instant::now());
            return self.poll_ended(ended, context);
        }
        match ready!(self.poll_overdue(context)) {
            ConnectionState::Head => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            // As if the client had closed it.
            ConnectionState::Idle | ConnectionState::Answered | ConnectionState::Blocked => {
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimeoutConnection<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.goes_on()?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.has_written(written.is_pending(), context)?;
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.goes_on()?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.has_written(written.is_pending(), context)?;
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.has_flushed(context);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
