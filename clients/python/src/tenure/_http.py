"""One request over HTTP: a credential in its header and nowhere else, every failure a `TenureError`."""

import ipaddress
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import httpx2

from ._clock import Clock, time_there
from ._io import IO, Received, Sent
from ._version import __version__
from ._wire import UnfitError, decode
from .errors import Problem, RefusedError, UnexpectedReplyError, UnreachableError

WHOLE: Final = 10.0
"""How many seconds a request may take; a renewal holds the lock of its file about so long at most."""
LONGEST_REPLY: Final = 16 * 1024 * 1024
"""The most bytes of a reply that are read: 200 sessions with all that may be kept with them are below it."""
AGENT: Final = f"tenure-python/{__version__}"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the authority."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, object] = field(default_factory=dict)
    json: object = None
    idempotency_key: str | None = None
    accept: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    read_timeout: float = WHOLE


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply of success, or 304."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the document; no error quotes it."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise UnfitError("must be JSON") from None


def leads_here(url: str) -> bool:
    """Return whether an address leads to this machine, past any proxy."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_direct(url: str) -> bool:
    """Return whether no proxy is asked: what is not encrypted is shown to none."""
    return not url.startswith("https://") or leads_here(url)


def checked_address(url: str, *, allow_plaintext: bool) -> str:
    """Check the authority's address; keys and tokens are sent unencrypted to this machine only."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError("the authority's address must not hold a name or password")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url} must be http(s)://HOST[:PORT][/PATH]")
    if parts.scheme == "http" and not (allow_plaintext or leads_here(url)):
        raise ValueError(f"{url}: keys and tokens are sent by https://, or by http:// to this host only")
    return url.rstrip("/")


_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
"""What OpenSSL says of an answer that is not TLS."""
_NOT_HTTP: Final = ("illegal status line", "illegal request line")
"""What h11 says of an answer that is not HTTP, such as the alert of a TLS server."""


def doubt(base: str, *, why: str = "", status: int = 0) -> str:
    """Say what may be wrong with the scheme of an address; a port for TLS answers what is not encrypted with 400."""
    if base.startswith("https:") and any(sign in why for sign in _NOT_TLS):
        if leads_here(base):
            return f"; it seems to speak plain HTTP: try http{base.removeprefix('https')}"
        return "; it seems to speak plain HTTP, which keys and tokens are not sent by: it needs TLS"
    if base.startswith("http:") and (status == 400 or any(sign in why for sign in _NOT_HTTP)):
        return f"; it seems to speak TLS: try https{base.removeprefix('http')}"
    return ""


def target(base: str, request: Request) -> str:
    """Make the URL of a request; no id leaves its place in it."""
    path = "/".join(quote(segment, safe="") for segment in request.path)
    query = {name: _text(value) for name, value in request.query.items() if value is not None}
    return f"{base}/{path}" + (f"?{urlencode(query)}" if query else "")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Http:
    """Requests to one authority."""

    def __init__(self, base: str, io: IO, clock: Clock) -> None:
        self.base, self.io, self.clock = base, io, clock

    async def ask(self, request: Request, credential: str | None) -> Reply:
        """Ask once, and read the whole reply. What is neither a success nor a 304 is raised."""
        async with self.open(request, credential) as received:
            return Reply(received.status, received.headers, await self._body(received))

    @asynccontextmanager
    async def open(self, request: Request, credential: str | None) -> AsyncIterator[Received]:
        """Ask once; the reader reads the body as it comes."""
        try:
            async with self.io.open(self._sent(request, credential)) as received:
                if (then := time_there(received.headers)) is not None:
                    self.clock.heard(then)
                if received.status != 304 and not 200 <= received.status < 300:
                    raise self._refusal(received, await self._body(received))
                yield received
        except (httpx2.HTTPError, OSError) as error:
            why = str(error) or type(error).__name__
            raise UnreachableError(f"no answer from {self.base}: {why}{doubt(self.base, why=why)}") from error
        except RuntimeError as error:
            # Work in the background that comes upon connections which were closed meanwhile.
            if not self.io.is_closed:
                raise
            raise UnreachableError(f"no answer from {self.base}: the client was closed") from error

    async def _body(self, received: Received) -> bytes:
        body, deadline = bytearray(), time.monotonic() + WHOLE
        async for chunk in received.chunks:
            body += chunk
            if len(body) > LONGEST_REPLY:
                raise self.unexpected(received.status, "the reply does not end")
            if time.monotonic() > deadline:
                raise UnreachableError(f"no answer from {self.base}: it took too long")
        return bytes(body)

    def _sent(self, request: Request, credential: str | None) -> Sent:
        headers = {"user-agent": AGENT, "accept-encoding": "identity", **request.headers}
        if credential is not None:
            headers["authorization"] = f"Bearer {credential}"
        if request.idempotency_key is not None:
            headers["idempotency-key"] = request.idempotency_key
        if request.accept is not None:
            headers["accept"] = request.accept
        body = None
        if request.json is not None:
            headers["content-type"] = "application/json"
            body = json.dumps(request.json, allow_nan=False).encode()
        return Sent(request.method, target(self.base, request), headers, body, request.read_timeout)

    def _refusal(self, received: Received, body: bytes) -> Exception:
        try:
            document = json.loads(body)
            problem = decode(Problem, document)
        except (ValueError, RecursionError):
            status = received.status
            return self.unexpected(status, f"its error is no problem document{doubt(self.base, status=status)}")
        return RefusedError(problem, document, _seconds(received.headers.get("retry-after")))

    def unexpected(self, status: int, why: str) -> UnexpectedReplyError:
        """Make the error for a reply that the authority does not give."""
        said = f"unexpected reply from {self.base} (status {status}): {why}; is it a Tenure server?"
        return UnexpectedReplyError(said, status)


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.strip().isdecimal() else None
