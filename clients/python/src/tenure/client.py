"""Single calls to an authority, typed both ways.

What fails for the moment is tried again until the client's patience is over. A call that changes something carries an
idempotency key, the same on every try, so that it has one effect even if replies are lost or the authority cannot say
whether it was done (`OUTCOME_UNKNOWN`).
"""

import copy
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack

from ._backoff import backoff
from ._clock import Clock, ServerClock
from ._http import Http, Reply, Request, checked_address, is_direct
from ._io import IO, AsyncIO, Blocking, BlockingIO, blocking
from ._sse import Event, events
from ._wire import Secret, UnfitError, decode, encode
from .errors import TenureError
from .models import (
    AccessToken,
    CreatedSession,
    DeadToken,
    LiveToken,
    OnReuse,
    Page,
    RenewedSession,
    RevokedSession,
    Session,
    Subject,
    SubjectKind,
    Usage,
)

__all__ = ["AsyncClient", "Client", "SessionTerms", "SubjectTerms"]

T = TypeVar("T")

PATIENCE = 20.0
"""So many seconds a call is tried again, unless the client is made otherwise."""
_STREAM_SILENCE = 40.0
"""A stream sends a comment every 15 s; one that is silent for longer is broken."""


class SessionTerms(TypedDict, total=False):
    """What a new session may be given. What is left out is the authority's default."""

    ttl: int
    max_renewals: int
    absolute_lifetime: int
    renewal_reject_window: int
    idle_timeout: int
    device: str
    scopes: Sequence[str]
    metadata: Mapping[str, Any]
    constraints: Mapping[str, Any]


class SubjectTerms(TypedDict, total=False):
    """What a subject may be given."""

    name: str
    kind: SubjectKind
    owner_id: str
    max_sessions: int
    max_sessions_per_device: int
    on_limit: Literal["reject", "evict_oldest"]
    on_device_limit: Literal["reject", "evict_oldest"]


def fresh_key() -> str:
    """Make an idempotency key that no one else has."""
    return secrets.token_hex(16)


class AsyncClient:
    """Calls one authority with one credential: an API key, or a session's token.

    `url` is `https://…`, or `http://…` on this host; `allow_plaintext` sends keys and tokens unencrypted elsewhere too.
    `patience` is for how many seconds a call is tried again while it fails for the moment; 0 is one try.
    """

    def __init__(
        self,
        url: str,
        credential: str | None = None,
        *,
        patience: float = PATIENCE,
        allow_plaintext: bool = False,
        clock: Clock | None = None,
        _io: Callable[..., IO] = AsyncIO,
    ) -> None:
        base = checked_address(url, allow_plaintext=allow_plaintext)
        self._make_io = _io
        self._http = Http(base, _io(is_direct=is_direct(base)), clock or ServerClock())
        self._credential = None if credential is None else Secret(credential.strip())
        self._patience = patience

    @property
    def url(self) -> str:
        """The authority's address."""
        return self._http.base

    @property
    def io(self) -> IO:
        """How this client meets the world."""
        return self._http.io

    @property
    def clock(self) -> Clock:
        """What time it is at the authority."""
        return self._http.clock

    def with_credential(self, credential: str) -> Self:
        """Make a client with this API key or token, over the same connections."""
        other = copy.copy(self)
        other._credential = Secret(credential.strip())
        return other

    def with_patience(self, seconds: float) -> Self:
        """Make a client that tries again for so long, over the same connections; 0 is one try."""
        other = copy.copy(self)
        other._patience = seconds
        return other

    async def close(self) -> None:
        """Close the connections."""
        await self._http.io.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def create_session(
        self,
        subject_id: str,
        *,
        on_reuse: OnReuse | None = "revoke",
        idempotency_key: str | None = None,
        **terms: Unpack[SessionTerms],
    ) -> CreatedSession:
        """Create a session (admin, issuer).

        With `on_reuse="revoke"` it ends once two holders have shown themselves who do not share it. A holder of this
        package loses no session by that. The same `idempotency_key` gives the same session.
        """
        body = encode({"subject_id": subject_id, "on_reuse": on_reuse, **terms})
        key = idempotency_key or fresh_key()
        return await self._call(_post(("sessions",), body, key), CreatedSession)

    async def session(self, session_id: str) -> Session:
        """Read a session (API keys; its own token)."""
        return await self._call(Request("GET", ("v1", "sessions", session_id)), Session)

    async def sessions(
        self,
        *,
        subject_id: str | None = None,
        owner_id: str | None = None,
        device: str | None = None,
        status: Literal["active", "expired", "revoked", "all"] = "active",
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Session]:
        """List sessions, newest first; go on with `cursor=page.next_cursor`."""
        query = {
            "subjectId": subject_id,
            "ownerId": owner_id,
            "device": device,
            "status": status,
            "limit": limit,
            "cursor": cursor,
        }
        return await self._ask(Request("GET", ("v1", "sessions"), query), _page)

    async def introspect(self, token: str, *, with_metadata: bool = False) -> LiveToken | DeadToken:
        """Judge a session token (admin, issuer, verifier). That a token is not good is an answer, no error."""
        body = encode({"token": str(token), "include": ["metadata"] if with_metadata else None})
        return await self._ask(Request("POST", ("v1", "introspect"), json=body), _judgement)

    async def renew_session(self, session_id: str, idempotency_key: str) -> RenewedSession:
        """Ask once for a renewal; the credential is the session's own token.

        When this fails for the moment, the renewal may have been granted: repeat it with the same token and the same
        key, and use no token in between. A session holder does all that.
        """
        path = ("v1", "sessions", session_id, "renew")
        request = Request("PUT", path, idempotency_key=idempotency_key)
        reply = await self._http.ask(request, self._credential)
        return self._read(reply, lambda document: decode(RenewedSession, document))

    async def revoke_session(self, session_id: str, reason: str | None = None) -> RevokedSession:
        """End a session (admin, issuer, its own token). Its owner's call is the veto. Again: the same reply."""
        path = ("v1", "sessions", session_id)
        request = Request("DELETE", path, {"reason": reason}, idempotency_key=fresh_key())
        return await self._call(request, RevokedSession)

    async def record_usage(
        self,
        session_id: str,
        operation: str,
        *,
        amount: Decimal | str | None = None,
        destination: str | None = None,
        idempotency_key: str | None = None,
    ) -> Usage:
        """Record a use of a session if its constraints allow it; judged and recorded in one step.

        The same `idempotency_key` is the same use.
        """
        given = None if amount is None else Decimal(amount)
        body = encode({"operation": operation, "amount": given, "destination": destination})
        request = _post(("sessions", session_id, "usage"), body, idempotency_key or fresh_key())
        return await self._ask(request, lambda document: decode(Usage, _object(document).get("usage")))

    async def access_token(self, *, ttl: int | None = None, audience: str | None = None) -> AccessToken:
        """Mint an access token; the credential is a session's token."""
        body = encode({"ttl": ttl, "audience": audience})
        return await self._call(Request("POST", ("v1", "access-tokens"), json=body), AccessToken)

    async def put_subject(self, subject_id: str, **terms: Unpack[SubjectTerms]) -> Subject:
        """Create a subject, or replace the whole of it (admin, issuer)."""
        request = Request("PUT", ("v1", "subjects", subject_id), json=encode(terms))
        return await self._call(request, Subject)

    async def subject(self, subject_id: str) -> Subject:
        """Read a subject."""
        return await self._call(Request("GET", ("v1", "subjects", subject_id)), Subject)

    async def suspend_subject(
        self, subject_id: str, reason: str | None = None, *, until: datetime | None = None
    ) -> Subject:
        """Suspend a subject (admin, issuer, its owner): no session begins, and none of its tokens works."""
        body = encode({"reason": reason, "until": until})
        return await self._call(_post(("subjects", subject_id, "suspend"), body, fresh_key()), Subject)

    async def resume_subject(self, subject_id: str, reason: str | None = None) -> Subject:
        """End a subject's suspension (admin, its owner)."""
        body = encode({"reason": reason})
        return await self._call(_post(("subjects", subject_id, "resume"), body, fresh_key()), Subject)

    async def session_events(
        self, session_id: str, on_open: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[Event]:
        """Follow a session's own end, by its own token: `suspended`, `resumed`, `ended`, as they happen."""
        request = Request(
            "GET",
            ("v1", "sessions", session_id, "events"),
            accept="text/event-stream",
            read_timeout=_STREAM_SILENCE,
        )
        async with self._http.open(request, self._credential) as received:
            if not received.headers.get("content-type", "").startswith("text/event-stream"):
                raise self._http.unexpected(received.status, "it sends no events")
            on_open()
            async with aclosing(events(received.chunks)) as stream:
                async for event in stream:
                    yield event

    def _apart(self) -> Self:
        """Make a client of the same kind with connections of its own, and without a credential."""
        other = copy.copy(self)
        other._http = Http(self.url, self._make_io(is_direct=is_direct(self.url)), self.clock)
        other._credential = None
        return other

    async def _call(self, request: Request, kind: type[T]) -> T:
        return await self._ask(request, lambda document: decode(kind, document))

    async def _ask(self, request: Request, read: Callable[[object], T]) -> T:
        """Ask until there is an answer that lasts, patience is over, or the client was closed."""
        begun, failures = time.monotonic(), 0
        while True:
            try:
                return self._read(await self._http.ask(request, self._credential), read)
            except TenureError as error:
                failures += 1
                wait = backoff(failures, error.retry_after)
                is_over = self.io.is_closed or time.monotonic() - begun + wait > self._patience
                if not error.is_transient or error.retry_at is not None or is_over:
                    raise
            await self.io.sleep(wait)

    def _read(self, reply: Reply, read: Callable[[object], T]) -> T:
        try:
            return read(reply.json())
        except UnfitError as error:
            raise self._http.unexpected(reply.status, f"its document {error}") from None


def _post(path: tuple[str, ...], body: object, key: str) -> Request:
    return Request("POST", ("v1", *path), json=body, idempotency_key=key)


def _object(document: object) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise UnfitError("must be a JSON object")
    return document


def _page(document: object) -> Page[Session]:
    items, cursor = _object(document).get("items"), _object(document).get("nextCursor")
    if not isinstance(items, list) or not (cursor is None or isinstance(cursor, str)):
        raise UnfitError("must be a page of a list")
    return Page(tuple(decode(Session, item) for item in items), cursor)


def _judgement(document: object) -> LiveToken | DeadToken:
    # Only a plain `true` is live: anything else must not let a token in.
    is_live = _object(document).get("active") is True
    return decode(LiveToken, document) if is_live else decode(DeadToken, document)


class Client(Blocking[AsyncClient]):
    """[`AsyncClient`][tenure.client.AsyncClient] for programs without an event loop. Threads may share it."""

    def __init__(
        self,
        url: str,
        credential: str | None = None,
        *,
        patience: float = PATIENCE,
        allow_plaintext: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._core = AsyncClient(
            url, credential, patience=patience, allow_plaintext=allow_plaintext, clock=clock, _io=BlockingIO
        )

    @property
    def url(self) -> str:
        """The authority's address."""
        return self._core.url

    def with_credential(self, credential: str) -> Self:
        """Make a client with this API key or token, over the same connections."""
        other = copy.copy(self)
        other._core = self._core.with_credential(credential)
        return other

    def with_patience(self, seconds: float) -> Self:
        """Make a client that tries again for so long, over the same connections; 0 is one try."""
        other = copy.copy(self)
        other._core = self._core.with_patience(seconds)
        return other

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    create_session = blocking(AsyncClient.create_session)
    session = blocking(AsyncClient.session)
    sessions = blocking(AsyncClient.sessions)
    introspect = blocking(AsyncClient.introspect)
    renew_session = blocking(AsyncClient.renew_session)
    revoke_session = blocking(AsyncClient.revoke_session)
    record_usage = blocking(AsyncClient.record_usage)
    access_token = blocking(AsyncClient.access_token)
    put_subject = blocking(AsyncClient.put_subject)
    subject = blocking(AsyncClient.subject)
    suspend_subject = blocking(AsyncClient.suspend_subject)
    resume_subject = blocking(AsyncClient.resume_subject)
    close = blocking(AsyncClient.close)
