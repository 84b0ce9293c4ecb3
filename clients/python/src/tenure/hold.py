"""Hold a session: keep it renewed, hand out its current token, and say when and why it is over.

What is promised of a session in a file:

- **No renewal is lost.** The idempotency key of a renewal is on disk before the request leaves, and the new token is on
  disk before anyone uses it. The next process after a crash, at whatever moment, repeats the same renewal.
- **One renewal, however many processes.** Reading, renewing and writing is one step under the lock of the file, which
  `tenure run`, the `tenure` command and the Rust library take too.
- **An old token is no end.** A holder whose token was superseded looks into the file, and finishes the renewal that was
  begun there, before it gives up.
- **Only the authority ends a session**, or the end of its period. All else is tried again.
"""

import contextlib
import copy
import os
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx2

from ._backoff import backoff
from ._clock import since_boot
from ._io import IO, AsyncIO, Blocking, BlockingIO, Task, blocking, run
from ._renewal import Want, after_refusal, locked, step
from ._wire import Secret, UnfitError
from .client import AsyncClient, Client, SessionTerms, fresh_key
from .errors import Problem, RefusedError, SessionFileError, TenureError
from .models import AccessToken, OnReuse, RevokedSession, Session, Usage
from .session_file import Grant, SessionFile, Stamp

__all__ = ["AsyncSessionHolder", "End", "Live", "SessionHolder"]

T = TypeVar("T")

CHECK_EVERY = 15.0
"""So often, in seconds, the authority is asked whether the session stands, in addition to the stream."""
_PAUSE = timedelta(seconds=10)
"""So long a session is left alone that is over by our clock and not by the authority's."""
_LONGEST_SILENCE = 60.0
"""A stream that ends again and again is opened again after so many seconds at most."""
_GLANCE = 0.5
"""So often, in seconds, it is looked whether another process has touched the file."""
_WITHOUT_STREAM = 300.0
"""An authority of an earlier version, which has no stream, is asked for one again after so many seconds."""
_NOT_BY_OTHERS = {"self", "evicted", "restore"}
_ENDS = {
    "manual_revoke": "an admin, an issuer or its owner ended it",
    "renewal_rejected": "its renewal was vetoed",
    "evicted": "a newer session needed its place",
    "token_reuse": "a replaced token came back",
    "subject_revoked": "all sessions of its subject were ended, or all on its device",
    "bulk": "it was one of many that were ended at once",
    "restore": "the authority was restored from a backup that may lack events",
}
"""What ended a session, in words."""


@dataclass(frozen=True, slots=True)
class Live:
    """The session is not known to have ended."""

    expires_at: datetime
    renew_at: datetime | None
    trouble: str | None
    """What is wrong at present and tried again: the authority cannot be reached, the file cannot be written."""


@dataclass(frozen=True, slots=True)
class End:
    """Why a session is over."""

    problem: Problem | None
    """The authority's word."""
    trouble: str | None = None
    """Without it: what kept the session from being renewed before its period ended by the local clock."""

    @property
    def code(self) -> str | None:
        """What the authority calls it, such as `SESSION_REVOKED`."""
        return self.problem.code if self.problem else None

    @property
    def trigger(self) -> str | None:
        """What ended the session, such as `renewal_rejected`; `None` if it ended by itself."""
        return self.problem.trigger if self.problem else "self" if self.trouble is None else None

    @property
    def is_by_others(self) -> bool:
        """Whether people ended it: it was revoked or vetoed, or its subject is suspended.

        A supervisor must not simply begin a new session then. Evictions and restores are no one's verdict.
        """
        return self.code == "SUBJECT_SUSPENDED" or (
            self.code == "SESSION_REVOKED" and self.trigger not in _NOT_BY_OTHERS
        )

    def __str__(self) -> str:
        # Whoever ends a session may hear of it from the authority first.
        if self.trigger == "self":
            return "its holder ended it"
        if self.problem is not None:
            words = _ENDS.get(self.trigger or "")
            return f"{self.code}: {words}" if words else str(self.problem)
        return f"its period has ended before it could be renewed: {self.trouble}"


class _Next(Enum):
    RENEW = auto()
    CHECK = auto()
    WAIT = auto()
    END = auto()


class _Course:
    """How the background gets on, and what it does next."""

    def __init__(self, check_every: float | None) -> None:
        self._check_every = None if check_every is None else timedelta(seconds=check_every)
        self._checked: datetime | None = None
        self._failures = 0
        self.not_before: datetime | None = None
        self.trouble: str | None = None

    def next(self, grant: Grant, now: datetime) -> tuple[_Next, datetime]:
        """Return what to do, or until when to wait."""
        if now >= grant.over_at:
            return _Next.END, now
        renewal = now if grant.renewal_key is not None else grant.renew_at
        if renewal is not None:
            renewal = max(renewal, self.not_before or renewal)
            if renewal <= now:
                return _Next.RENEW, now
        check = self._next_check(now)
        if check is not None and check <= now:
            return _Next.CHECK, now
        return _Next.WAIT, min(moment for moment in (renewal, check, grant.over_at) if moment is not None)

    def _next_check(self, now: datetime) -> datetime | None:
        if self._check_every is None:
            return None
        return now if self._checked is None else self._checked + self._check_every

    def checked(self, now: datetime) -> None:
        self._checked = now

    def went_well(self) -> None:
        self._failures, self.not_before, self.trouble = 0, None, None

    def failed(self, error: TenureError, now: datetime) -> None:
        self._failures += 1
        backed_off = now + timedelta(seconds=backoff(self._failures, error.retry_after))
        self.not_before = max(backed_off, error.asks_once_more_at or backed_off)
        self.trouble = str(error)


class AsyncSessionHolder:
    """Holds the session in a file, on an asyncio event loop.

    Any number of holders, in any number of processes, may hold the same one.

    ```python
    async with AsyncSessionHolder("agent-7.session") as session:
        await session.record_usage("pay", amount="12.50")
        end = await session.wait()
    ```

    `check_every` is how often the authority is asked whether the session stands; it also tells an end at once where it
    has [streams](https://html.spec.whatwg.org/multipage/server-sent-events.html), unless `push` is false. `client`
    replaces the client of the authority that the file names, and stays open.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        check_every: float | None = CHECK_EVERY,
        push: bool = True,
        client: AsyncClient | None = None,
        _io: Callable[..., IO] = AsyncIO,
    ) -> None:
        self._file = SessionFile(path)
        self._known: tuple[Grant, Stamp | None] = self._file.read_with_stamp()
        self._owns_client = client is None
        self._client = client or AsyncClient(self._known[0].url, _io=_io)
        self._once = self._client.with_patience(0)
        self._course = _Course(check_every)
        self._push = push
        io = self._client.io
        self._flight = io.mutex()
        self._news, self._over, self._closing = io.signal(), io.signal(), io.signal()
        self._wants_check = False
        self._end: End | None = None
        self._end_guard = threading.Lock()
        self._tasks: list[Task] = []

    @classmethod
    async def create(
        cls,
        client: AsyncClient,
        path: str | os.PathLike[str],
        subject_id: str,
        *,
        on_reuse: OnReuse | None = "revoke",
        **terms: Unpack[SessionTerms],
    ) -> Self:
        """Create a session by a client that may (admin, issuer), write it to this file, and hold it from there."""
        await _create_file(client, SessionFile(path), subject_id, on_reuse, terms)
        holder = cls(path, client=client._apart())
        holder._owns_client = True
        return holder

    async def __aenter__(self) -> Self:
        self._tasks.append(self._client.io.spawn(self._keep))
        if self._push:
            self._tasks.append(self._client.io.spawn(self._listen, is_listener=True))
            self._tasks.append(self._client.io.spawn(self._glance))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop holding it; the session goes on. A renewal under way is left as it is: the file knows of it."""
        self._closing.set()
        for signal in (self._news, self._over):
            signal.set()
        while self._tasks:
            await self._tasks.pop().stop()
        if self._owns_client:
            await self._client.close()

    @property
    def grant(self) -> Grant:
        """What is known of the session."""
        self._look()
        return self._known[0]

    @property
    def token(self) -> Secret:
        """The token of this moment. Ask for it at each use: a renewal, by whatever process, makes it void."""
        return self.grant.token

    @property
    def auth(self) -> httpx2.Auth:
        """Shows the token of the moment with every request: `httpx2.AsyncClient(auth=session.auth)`."""
        return _Auth(lambda: self.token)

    @property
    def state(self) -> Live | End:
        """How the session stands."""
        if self._end is not None:
            return self._end
        grant = self._known[0]
        return Live(grant.expires_at, grant.renew_at, self._course.trouble)

    async def wait(self, timeout: float | None = None) -> End | None:
        """Wait until the session is over; `None` if this holder was closed, or so many seconds passed, before."""
        await self._over.wait(timeout)
        return self._end

    async def call(self, call: Callable[[AsyncClient], Awaitable[T]]) -> T:
        """Call the authority with the session's token; where that was superseded, again with the next one.

        What `call` changes may have been done before it is called again: draw an idempotency key outside of it.
        """
        return await self._call(self._client, call)

    async def session(self) -> Session:
        """Read the session."""
        return await self._read(self._client)

    async def record_usage(
        self, operation: str, *, amount: Decimal | str | None = None, destination: str | None = None
    ) -> Usage:
        """Record a use of the session if its constraints allow it."""
        key = fresh_key()

        async def record(client: AsyncClient) -> Usage:
            return await client.record_usage(
                self._id, operation, amount=amount, destination=destination, idempotency_key=key
            )

        return await self.call(record)

    async def access_token(self, *, ttl: int | None = None, audience: str | None = None) -> AccessToken:
        """Mint an access token, which services check offline."""
        return await self.call(lambda client: client.access_token(ttl=ttl, audience=audience))

    async def revoke(self, reason: str | None = None) -> RevokedSession:
        """End the session. The file stays."""
        revoked = await self.call(lambda client: client.revoke_session(self._id, reason))
        self._ended(End(None))
        return revoked

    async def token_instead_of(self, refused: str) -> Secret | None:
        """Get the token in place of one that a service refused as superseded; `None` if there is none at present."""
        try:
            grant = await self._step(refused, Want.SETTLED)
        except TenureError:
            return None
        return grant.token if grant.token != refused else None

    @property
    def _id(self) -> str:
        return self._known[0].session_id

    @property
    def _is_done(self) -> bool:
        return self._end is not None or self._closing.is_set()

    def _look(self) -> None:
        """Read the file if it is another one than was read last; while it cannot be read, the last one counts."""
        if self._file.stamp() == self._known[1]:
            return
        try:
            self._known = self._file.read_with_stamp()
        except SessionFileError:
            return

    async def _step(self, seen: str, want: Want) -> Grant:
        async with self._flight:
            try:
                return await step(self._client, self._file, seen, want)
            finally:
                self._look()

    async def _call(self, client: AsyncClient, call: Callable[[AsyncClient], Awaitable[T]]) -> T:
        while True:
            token = self.token
            try:
                return await call(client.with_credential(token))
            except RefusedError as error:
                # Each further round has another token.
                if error.problem.status != 401 or not await self._is_replaced(token, error.problem):
                    raise

    async def _is_replaced(self, refused: str, problem: Problem) -> bool:
        """Return whether there is another token in place of a refused one. If there is none, the refusal is the end."""
        if problem.code == "SESSION_REVOKED":
            self._ended(End(problem))
            return False
        want = Want.REPLACED if problem.code == "TOKEN_SUPERSEDED" else Want.SETTLED
        try:
            grant = await self._step(refused, want)
        except SessionFileError:
            # Nothing can be said while the file cannot be read.
            return False
        except TenureError as error:
            if error.is_transient:
                self._news.set()
                # While the newer token may still turn up, that this one was superseded says more.
                if error.asks_once_more_at is not None:
                    return False
                raise
            if error.code != "SESSION_RENEWAL_MISMATCH":
                self._judge(error)
                raise
        else:
            if grant.token != refused:
                return True
        self._ended(End(problem))
        return False

    def _judge(self, error: TenureError) -> None:
        """Note the end, if this error of a renewal is one."""
        goes_on = error.is_transient or after_refusal(self._known[0], error) is not None
        if isinstance(error, RefusedError) and not goes_on:
            self._ended(End(error.problem))

    def _ended(self, end: End) -> None:
        with self._end_guard:
            if self._end is None:
                self._end = end
        for signal in (self._over, self._news, self._closing):
            signal.set()

    async def _read(self, client: AsyncClient) -> Session:
        return await self._call(client, lambda client: client.session(self._id))

    async def _keep(self) -> None:
        try:
            await self._work()
        except Exception as defect:
            # A session that is not renewed any more must not look as if it were.
            self._ended(End(None, f"the holder failed: {defect!r}"))
            raise

    async def _work(self) -> None:
        """Do what is next until the session is over."""
        clock = self._client.clock
        while not self._is_done:
            self._news.clear()
            self._look()
            grant = self._known[0]
            what, until = self._course.next(grant, clock.now())
            if what is _Next.WAIT and self._wants_check:
                what = _Next.CHECK
            match what:
                case _Next.RENEW:
                    await self._renew(grant)
                case _Next.CHECK:
                    await self._check()
                case _Next.WAIT:
                    await clock.until(until, self._news)
                case _Next.END:
                    await self._question(grant)

    async def _renew(self, grant: Grant) -> None:
        try:
            await self._step(grant.token, Want.DUE)
        except TenureError as error:
            self._judge(error)
            self._course.failed(error, self._client.clock.now())
        else:
            self._course.went_well()

    async def _check(self) -> None:
        self._wants_check = False
        # That it could not be asked is no trouble yet, and an end was noted.
        with contextlib.suppress(TenureError):
            await self._read(self._once)
        self._course.checked(self._client.clock.now())

    async def _question(self, grant: Grant) -> None:
        """Ask the authority about a session that is over by our clock: it knows better."""
        try:
            await self.session()
        except TenureError as error:
            if isinstance(error, RefusedError) and not error.is_transient:
                self._ended(End(error.problem))
            else:
                self._ended(End(None, self._course.trouble or str(error)))
            return
        await self._renew(grant)
        later = self._client.clock.now() + _PAUSE
        await self._client.clock.until(min(self._course.not_before or later, later), self._news)

    async def _listen(self) -> None:
        """Hear of the end as it happens. Whatever the stream says, the authority is asked what it means."""
        failures = 0
        while not self._is_done:
            begun = since_boot()
            wish = await self._hear()
            failures = 1 if since_boot() - begun >= _LONGEST_SILENCE else failures + 1
            if wish != _WITHOUT_STREAM:
                self._check_now()
            await self._closing.wait(max(backoff(failures, longest=_LONGEST_SILENCE), wish))

    async def _hear(self) -> float:
        """Listen to one stream until it ends; tell how many seconds to leave the authority alone."""
        client = self._client.with_credential(self.token)
        try:
            async with aclosing(client.session_events(self._id)) as events:
                async for _ in events:
                    self._check_now()
                    self._file.touch()
        except RefusedError as error:
            is_missing = error.problem.status in {404, 405, 406}
            return _WITHOUT_STREAM if is_missing else error.retry_after or 0.0
        except (TenureError, UnfitError):
            pass
        return 0.0

    async def _glance(self) -> None:
        """Hear of what another process on this machine heard: it has touched the file, and left the content as it is.

        The authority takes four streams for one session, and more processes may share it.
        """
        seen, grant = self._file.stamp(), self.grant
        while not self._is_done:
            await self._closing.wait(_GLANCE)
            if (stamp := self._file.stamp()) == seen:
                continue
            seen, before, grant = stamp, grant, self.grant
            if grant == before:
                self._check_now()

    def _check_now(self) -> None:
        self._wants_check = True
        self._news.set()


async def _create_file(
    client: AsyncClient, file: SessionFile, subject_id: str, on_reuse: OnReuse | None, terms: SessionTerms
) -> None:
    with await locked(client.io, file) as lock:
        lock.prepare()
        created = await client.create_session(subject_id, on_reuse=on_reuse, **terms)
        lock.write(Grant.created(client.url, created))


class _Auth(httpx2.Auth):
    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["authorization"] = f"Bearer {self._token()}"
        yield request


class SessionHolder(Blocking[AsyncSessionHolder]):
    """The same as [`AsyncSessionHolder`][tenure.hold.AsyncSessionHolder], with its background on two daemon threads.

    ```python
    with SessionHolder("agent-7.session") as session:
        session.record_usage("pay", amount="12.50")
        end = session.wait()
    ```
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        check_every: float | None = CHECK_EVERY,
        push: bool = True,
        client: Client | None = None,
    ) -> None:
        self._core = AsyncSessionHolder(
            path,
            check_every=check_every,
            push=push,
            client=client._core if client else None,
            _io=BlockingIO,
        )

    @classmethod
    def create(
        cls,
        client: Client,
        path: str | os.PathLike[str],
        subject_id: str,
        *,
        on_reuse: OnReuse | None = "revoke",
        **terms: Unpack[SessionTerms],
    ) -> Self:
        """Create a session by a client that may (admin, issuer), write it to this file, and hold it from there."""
        run(_create_file(client._core, SessionFile(path), subject_id, on_reuse, terms))
        apart = copy.copy(client)
        apart._core = client._core._apart()
        holder = cls(path, client=apart)
        holder._core._owns_client = True
        return holder

    def __enter__(self) -> Self:
        run(self._core.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def grant(self) -> Grant:
        """What is known of the session."""
        return self._core.grant

    @property
    def token(self) -> Secret:
        """The token of this moment. Ask for it at each use: a renewal, by whatever process, makes it void."""
        return self._core.token

    @property
    def auth(self) -> httpx2.Auth:
        """Shows the token of the moment with every request: `httpx2.Client(auth=session.auth)`."""
        return self._core.auth

    @property
    def state(self) -> Live | End:
        """How the session stands."""
        return self._core.state

    wait = blocking(AsyncSessionHolder.wait)
    session = blocking(AsyncSessionHolder.session)
    record_usage = blocking(AsyncSessionHolder.record_usage)
    access_token = blocking(AsyncSessionHolder.access_token)
    revoke = blocking(AsyncSessionHolder.revoke)
    token_instead_of = blocking(AsyncSessionHolder.token_instead_of)
    close = blocking(AsyncSessionHolder.close)
