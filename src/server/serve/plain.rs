//! Connections on which plain requests come, answered without the machinery for the rest of HTTP: a check or a renewal
//! costs less than half of what it costs by way of hyper and the router.
//!
//! Plain is a request of HTTP/1.1 to one of the hot routes, with a length if it has a body, and without anything that
//! would have to be negotiated. At the first request that is not, the connection goes to hyper, with all that has come
//! and is not answered, and stays there. So what is unusual, too large, too slow or malformed is judged in one place,
//! and not here. From the head on both go the same way.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::http::HeaderValue;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
    time::timeout,
};

use super::{
    reply_bytes::complete,
    request_head::{NotPlain, RequestHead},
    timeouts::{ConnectionRequests, TimeoutConnection},
};
use crate::http::{ApiContext, PeerAddress};

/// Bytes per read; most requests are much shorter.
const PIECE: usize = 4 * 1024;
/// A request with more bytes is not for here, nor is more read ahead.
const MOST: usize = 64 * 1024;
/// A body comes with its head, or right behind it.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// What answers plain requests.
#[derive(Clone)]
pub(super) struct PlainServer {
    api: Arc<ApiContext>,
    /// What every answer says to browsers.
    hsts: Option<HeaderValue>,
}

/// A connection, and what was read of it and is not answered.
struct PlainConnection<S> {
    stream: TimeoutConnection<S>,
    read: Vec<u8>,
}

/// That no more is answered here.
struct AnswerEnd {
    /// Whether the connection is: the client has gone, or the server stops. Otherwise what comes next is not plain.
    is_over: bool,
}

impl AnswerEnd {
    const OVER: Self = Self { is_over: true };
    const NOT_PLAIN: Self = Self { is_over: false };
}

impl From<NotPlain> for AnswerEnd {
    fn from(_: NotPlain) -> Self {
        Self::NOT_PLAIN
    }
}

impl From<io::Error> for AnswerEnd {
    /// No one is left to report it to.
    fn from(_: io::Error) -> Self {
        Self::OVER
    }
}

impl PlainServer {
    /// For this API.
    pub(super) fn new(api: &Arc<ApiContext>, hsts: Option<HeaderValue>) -> Self {
        Self { api: Arc::clone(api), hsts }
    }

    /// Answers plain requests. Gives back the connection when there is one that is not; `None` when the connection is
    /// over, because the client has gone or because `stops` was closed.
    pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: TimeoutConnection<S>,
        requests: &ConnectionRequests,
        peer: &PeerAddress,
        stops: watch::Receiver<()>,
    ) -> Option<TimeoutConnection<S>> {
        let mut reading = PlainConnection { stream, read: Vec::with_capacity(PIECE) };
        let AnswerEnd { is_over } = self.answer_all(&mut reading, requests, peer, stops).await;
        let PlainConnection { mut stream, read } = reading;
        if is_over {
            drop(stream.shutdown().await);
            return None;
        }
        stream.put_back(read);
        Some(stream)
    }

    async fn answer_all<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        reading: &mut PlainConnection<S>,
        requests: &ConnectionRequests,
        peer: &PeerAddress,
        stops: watch::Receiver<()>,
    ) -> AnswerEnd {
        let mut stopped = stops.clone();
        // Nothing is ever sent there.
        let mut stopped = pin!(async move { drop(stopped.changed().await) });
        let is_stopping = || stops.has_changed().is_err();
        let mut written = Vec::new();
        loop {
            let head = match reading.head(is_stopping, stopped.as_mut()).await {
                Ok(head) => head,
                Err(end) => return end,
            };
            if let Err(end) = self.answer(head, reading, requests, peer, is_stopping, &mut written).await {
                return end;
            }
        }
    }

    /// Answers the request with this head, which was read.
    async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        RequestHead { request, headers, length, body, is_last }: RequestHead,
        reading: &mut PlainConnection<S>,
        requests: &ConnectionRequests,
        peer: &PeerAddress,
        is_stopping: impl Fn() -> bool,
        written: &mut Vec<u8>,
    ) -> Result<(), AnswerEnd> {
        if length.saturating_add(body) > MOST {
            return Err(AnswerEnd::NOT_PLAIN);
        }
        let under_way = requests.begin();
        reading.read_up_to(length + body).await?;
        let body = reading.take(length, body);
        written.clear();
        let body = {
            let answering = pin!(self.api.answer(request, peer, headers, body, written));
            reading.unless_gone(answering).await?
        };
        let is_last = is_last || is_stopping();
        complete(written, &body, self.hsts.as_ref(), is_last);
        let held = requests.hold(written.len() as u64);
        reading.stream.write_all(written).await?;
        drop((under_way, held));
        // A connection that rests holds no more than others.
        written.clear();
        written.shrink_to(PIECE);
        reading.stream.flush().await?;
        if is_last { Err(AnswerEnd::OVER) } else { Ok(()) }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> PlainConnection<S> {
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), AnswerEnd>> {
        match ready!(pin!(self.stream.read_buf(&mut self.read)).poll(context)) {
            Ok(0) | Err(_) => Poll::Ready(Err(AnswerEnd::OVER)),
            Ok(_) => Poll::Ready(Ok(())),
        }
    }

    /// The next head.
    async fn head(
        &mut self,
        is_stopping: impl Fn() -> bool,
        mut stopped: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<RequestHead, AnswerEnd> {
        loop {
            if let Some(head) = RequestHead::of(&self.read)? {
                return Ok(head);
            }
            if self.read.len() >= PIECE {
                return Err(AnswerEnd::NOT_PLAIN);
            }
            let rests = self.read.is_empty();
            let heard = poll_fn(|context| {
                if rests && is_stopping() {
                    return Poll::Ready(Err(AnswerEnd::OVER));
                }
                let read = self.poll_read(context);
                // It is asked only where it can wake: a head that has begun is read to its end.
                if rests && read.is_pending() && stopped.as_mut().poll(context).is_ready() {
                    return Poll::Ready(Err(AnswerEnd::OVER));
                }
                read
            });
            heard.await?;
        }
    }

    /// Waits until `length` bytes have been read.
    async fn read_up_to(&mut self, length: usize) -> Result<(), AnswerEnd> {
        while self.read.len() < length {
            self.read.reserve(length - self.read.len());
            let read = timeout(BODY_TIMEOUT, poll_fn(|context| self.poll_read(context)));
            read.await.unwrap_or(Err(AnswerEnd::NOT_PLAIN))?;
        }
        Ok(())
    }

    /// The body behind a head of this length. What was read behind it is of the next request.
    fn take(&mut self, length: usize, body: usize) -> Vec<u8> {
        let taken = self.read[length..length + body].to_vec();
        self.read.drain(..length + body);
        self.read.shrink_to(PIECE);
        taken
    }

    /// Waits for something, as long as the client does.
    async fn unless_gone<T>(
        &mut self,
        mut awaited: Pin<&mut impl Future<Output = T>>,
    ) -> Result<T, AnswerEnd> {
        let answered = poll_fn(|context| {
            if let Poll::Ready(answer) = awaited.as_mut().poll(context) {
                return Poll::Ready(Ok(answer));
            }
            while self.read.len() < PIECE {
                ready!(self.poll_read(context))?;
            }
            Poll::Pending
        });
        answered.await
    }
}
