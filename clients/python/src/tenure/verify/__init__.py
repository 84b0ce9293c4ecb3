"""Check Tenure tokens in a service.

|  | access tokens, by a `Verifier` | session tokens, by an `Introspector` |
|---|---|---|
| a check costs | a signature's verification, once for each token | a request to the authority |
| a revocation counts | as soon as the stream tells of it; within the poll without a stream | at the next request |
| the authority is away | all goes on for the staleness bound, then nothing passes | nothing passes |

Both **fail closed**: what cannot be judged does not pass. Needs `pip install tenure[verify]`.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Protocol, Self

from .._clock import since_boot
from .._http import Http, checked_address
from .._io import IO, AsyncIO, Blocking, BlockingIO, Task, blocking, run
from .._wire import Secret
from ..client import AsyncClient
from ..errors import TenureError
from ..models import DeadToken
from ._claims import AccessClaims
from ._follower import Follower, TimeOfReply
from ._knowledge import Knowledge, Rules, Verified, VerifierStatus, verify
from ._paseto import LONGEST, UntrustedToken
from ._rejection import Reason, RejectedError

__all__ = [
    "AccessClaims",
    "AsyncIntrospector",
    "AsyncVerifier",
    "Caller",
    "Introspector",
    "Judge",
    "Reason",
    "RejectedError",
    "Verifier",
    "VerifierStatus",
]

_NEWS_PATIENCE = 1.0
"""A token of an unknown key waits for news so many seconds at most."""
_LONGEST_SESSION_TOKEN = 2_048


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is: what access tokens and introspection both tell."""

    subject_id: str
    session_id: str
    owner_id: str | None
    """Who answers for the subject, if the authority was asked; access tokens do not tell."""
    scopes: tuple[str, ...]
    expires_at: datetime
    claims: AccessClaims | None = None

    def has_scopes(self, *wanted: str) -> bool:
        """Whether it has all of these scopes."""
        return set(wanted) <= set(self.scopes)


class Judge(Protocol):
    """Judges the token of a request; guards take one."""

    async def judge(self, token: str) -> Caller:
        """Return the holder of a token, or raise a `RejectedError`."""
        ...


class AsyncVerifier:
    """Checks access tokens offline, in a service on an asyncio event loop.

    ```python
    async with AsyncVerifier("https://tenure.example.com", key, audience="orders") as verifier:
        await verifier.ready()
        claims = verifier.check(token)
    ```

    `key` is an API key of the role `verifier`. `issuer` is the authority's `server.public_url`, exactly, or `tenure`
    where it has none. With an `audience` only tokens that were made for it are taken; without one only tokens that
    were made for no one in particular. Outside of the `async with` it hears nothing, and refuses every token.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        issuer: str = "tenure",
        audience: str | None = None,
        clock_skew: float = 5.0,
        poll: float = 1.0,
        staleness_bound: float = 10.0,
        push: bool = True,
        remembered_tokens: int = 10_000,
        remembered_revocations: int = 250_000,
        _io: Callable[..., IO] = AsyncIO,
    ) -> None:
        skew = timedelta(seconds=clock_skew)
        rules = Rules(issuer, audience, skew, poll, staleness_bound, remembered_tokens, remembered_revocations)
        base = checked_address(url, allow_plaintext=False)
        # Anyone who can change an answer on its way could hide a revocation: no proxy is asked.
        http = Http(base, _io(is_direct=True), TimeOfReply())
        self._rules, self._http, self._push = rules, http, push
        self._knowledge = Knowledge(rules)
        self._follower = Follower(http, Secret(key.strip()), self._knowledge, rules)
        self._memo = _Memo(rules.remembered_tokens)
        self._wanted_at: float | None = None
        self._tasks: list[Task] = []

    async def __aenter__(self) -> Self:
        self._tasks.append(self._http.io.spawn(self._follower.follow))
        if self._push:
            self._tasks.append(self._http.io.spawn(self._follower.listen, is_listener=True))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop following. Once the staleness bound has passed every token is refused."""
        for signal in (self._follower.closing, self._follower.wanted):
            signal.set()
        while self._tasks:
            await self._tasks.pop().stop()
        await self._http.io.close()

    async def ready(self, timeout: float = 30.0) -> bool:
        """Wait until tokens are judged: until there was a complete, recent answer."""
        deadline = since_boot() + timeout
        while not self.status.is_fresh and (left := deadline - since_boot()) > 0:
            self._follower.ended_round.clear()
            if not self.status.is_fresh:
                await self._follower.ended_round.wait(min(left, self._rules.poll))
        return self.status.is_fresh

    @property
    def status(self) -> VerifierStatus:
        """How it stands: for a health check, or to show."""
        return self._knowledge.status(since_boot())

    def check(self, token: str) -> AccessClaims:
        """Return the claims of this token if it counts now, by what is known; raise a `RejectedError` otherwise."""
        now = since_boot()
        self._knowledge.authority_time(now)
        if len(token) > LONGEST:
            raise RejectedError(Reason.MALFORMED)
        if (verified := self._memo.recall(token)) is None:
            verified = self._verify(token, now)
            self._memo.remember(token, verified)
        self._knowledge.judge(verified, now)
        return verified.claims

    async def check_with_news(self, token: str) -> AccessClaims:
        """Do the same; but a token that only news could let in makes the authority be asked, once in a poll."""
        try:
            return self.check(token)
        except RejectedError as rejected:
            if not rejected.wants_news or (wanted_at := self._want_news()) is None:
                raise
        await self._news_since(wanted_at)
        return self.check(token)

    async def judge(self, token: str) -> Caller:
        """Return the holder of an access token, for a guard."""
        claims = await self.check_with_news(token)
        return Caller(claims.subject_id, claims.session_id, None, claims.scopes, claims.expires_at, claims)

    def _verify(self, token: str, now: float) -> Verified:
        try:
            untrusted = UntrustedToken.parse(token)
        except (ValueError, RecursionError):
            raise RejectedError(Reason.MALFORMED) from None
        return verify(untrusted, self._knowledge.key_of(untrusted, now))

    def _want_news(self) -> float | None:
        """Ask for a round now; tell since when news are wanted. `None` if they came a moment ago."""
        now, wanted_at = since_boot(), self._wanted_at
        if wanted_at is not None and now - wanted_at < self._rules.poll:
            begun = self._follower.round_begun
            return wanted_at if begun is None or begun < wanted_at else None
        self._wanted_at = now
        self._follower.wanted.set()
        return now

    async def _news_since(self, wanted_at: float) -> None:
        deadline = since_boot() + _NEWS_PATIENCE
        while (left := deadline - since_boot()) > 0:
            if (begun := self._follower.round_begun) is not None and begun >= wanted_at:
                return
            self._follower.ended_round.clear()
            await self._follower.ended_round.wait(min(left, 0.05))


class _Memo:
    """Tokens whose signature was verified, by a keyed digest: the tokens themselves are not kept."""

    def __init__(self, capacity: int) -> None:
        self._capacity, self._secret = capacity, secrets.token_bytes(32)
        self._known: OrderedDict[bytes, Verified] = OrderedDict()

    def recall(self, token: str) -> Verified | None:
        return self._known.get(self._digest(token))

    def remember(self, token: str, verified: Verified) -> None:
        self._known[self._digest(token)] = verified
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode(), digest_size=32, key=self._secret).digest()


class Verifier(Blocking[AsyncVerifier]):
    """Checks access tokens offline, in a service of threads. See [`AsyncVerifier`][tenure.verify.AsyncVerifier]."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        issuer: str = "tenure",
        audience: str | None = None,
        poll: float = 1.0,
        staleness_bound: float = 10.0,
        push: bool = True,
    ) -> None:
        self._core = AsyncVerifier(
            url,
            key,
            issuer=issuer,
            audience=audience,
            poll=poll,
            staleness_bound=staleness_bound,
            push=push,
            _io=BlockingIO,
        )

    def __enter__(self) -> Self:
        run(self._core.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def status(self) -> VerifierStatus:
        """How it stands: for a health check, or to show."""
        return self._core.status

    def check(self, token: str) -> AccessClaims:
        """Return the claims of this token if it counts now, by what is known; raise a `RejectedError` otherwise."""
        return self._core.check(token)

    ready = blocking(AsyncVerifier.ready)
    check_with_news = blocking(AsyncVerifier.check_with_news)
    judge = blocking(AsyncVerifier.judge)
    close = blocking(AsyncVerifier.close)


_REASONS = {
    "SESSION_REVOKED": Reason.REVOKED,
    "SUBJECT_SUSPENDED": Reason.SUSPENDED,
    "TOKEN_SUPERSEDED": Reason.SUPERSEDED,
    "TOKEN_EXPIRED": Reason.EXPIRED,
    "SESSION_IDLE": Reason.IDLE,
}


class AsyncIntrospector:
    """Asks the authority about session tokens, each time. Nothing is remembered: a revocation counts at once."""

    def __init__(self, url: str, key: str, *, _io: Callable[..., IO] = AsyncIO) -> None:
        self._client = AsyncClient(url, key, patience=0, _io=_io)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def judge(self, token: str) -> Caller:
        """Return the holder of a session token if it counts now; raise a `RejectedError` otherwise."""
        if len(token) > _LONGEST_SESSION_TOKEN or not token.startswith("tnr_sess_"):
            raise RejectedError(Reason.MALFORMED)
        try:
            judged = await self._client.introspect(token)
        except TenureError as error:
            raise RejectedError(Reason.UNREACHABLE, retry_after=error.retry_after) from error
        if isinstance(judged, DeadToken):
            # A code of a later version is no reason to let a token in.
            raise RejectedError(_REASONS.get(judged.code, Reason.MALFORMED))
        return Caller(judged.subject_id, judged.session_id, judged.owner_id, judged.scopes, judged.expires_at)


class Introspector(Blocking[AsyncIntrospector]):
    """Asks the authority about session tokens, in a service of threads."""

    def __init__(self, url: str, key: str) -> None:
        self._core = AsyncIntrospector(url, key, _io=BlockingIO)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    judge = blocking(AsyncIntrospector.judge)
    close = blocking(AsyncIntrospector.close)
