"""Guard an ASGI application (Starlette, FastAPI, Quart, Litestar): requests reach it only with a token that counts.

```python
app = Guard(app, verifier, scopes=["orders:read"])
```

The application finds the [`Caller`][tenure.verify.Caller] by `caller(request)`. All others are answered as RFC 6750
says: 401 without a token or with one that is not taken, 400 with several, 403 if it lacks a scope, 503 while it cannot
be judged. It fails closed.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol

from ._bearer import DeniedError, admit, checked_scopes
from .verify import Caller, Judge

__all__ = ["Guard", "caller"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Connection(Protocol):
    """A request or web socket of Starlette and its relatives."""

    scope: Scope


class Guard:
    """Middleware that lets requests and web sockets through whose bearer token counts."""

    def __init__(self, app: Application, judge: Judge, *, scopes: Sequence[str] = ()) -> None:
        self._app, self._judge, self._scopes = app, judge, checked_scopes(scopes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            admitted = await admit(self._judge, scope["headers"], self._scopes)
        except DeniedError as denied:
            await (_close(send) if scope["type"] == "websocket" else _answer(send, denied))
            return
        await self._app({**scope, "tenure.caller": admitted}, receive, send)


def caller(connection: Connection) -> Caller:
    """Return the caller of this request, behind a guard; a `KeyError` says that no guard let it in."""
    admitted: Caller = connection.scope["tenure.caller"]
    return admitted


async def _answer(send: Send, denied: DeniedError) -> None:
    headers = [(name.encode(), value.encode()) for name, value in denied.headers.items()]
    start = {"type": "http.response.start", "status": denied.status, "headers": [*headers, (b"content-length", b"0")]}
    await send(start)
    await send({"type": "http.response.body", "body": b""})


async def _close(send: Send) -> None:
    # Before it is accepted, a web socket that is closed is answered with 403.
    await send({"type": "websocket.close", "code": 1008})
