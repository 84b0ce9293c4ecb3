"""How the one core meets the world: blocking, or on an asyncio event loop.

The core is plain `async` code against [`IO`][tenure._io.IO]. On an event loop it runs as it is. Blocking programs
drive the very same coroutines by [`run`][tenure._io.run]: every operation of `BlockingIO` is done when it returns, so
such a coroutine never suspends.
"""

import asyncio
import functools
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

import httpx2

T = TypeVar("T")
Core = TypeVar("Core")
P = ParamSpec("P")

_CONNECT = 5.0
"""How long a connection may take, in seconds."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it goes over the wire."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    read_timeout: float


@dataclass(frozen=True, slots=True)
class Received:
    """A reply whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Signal(Protocol):
    """Wakes those who wait for it. It stays set until it is cleared."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def is_set(self) -> bool: ...
    async def wait(self, timeout: float | None) -> bool:
        """Wait until it is set, at most so many seconds; tell whether it is."""
        ...


class Task(Protocol):
    """Work in the background."""

    async def stop(self) -> None:
        """End it, or leave it where it cannot be interrupted."""
        ...


class IO(Protocol):
    """What the core asks of the world."""

    def open(self, request: Sent) -> AbstractAsyncContextManager[Received]: ...
    async def sleep(self, seconds: float) -> None: ...
    def signal(self) -> Signal: ...
    def mutex(self) -> AbstractAsyncContextManager[None]:
        """Make a context manager that can be entered again and again, by one at a time."""
        ...

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], *, is_listener: bool = False) -> Task:
        """Begin work in the background; a listener waits for what others send, and is not waited for at its end."""
        ...

    @property
    def is_closed(self) -> bool: ...
    async def close(self) -> None: ...


def _settings(*, is_direct: bool) -> dict[str, Any]:
    # What is not encrypted is shown to no proxy. Trust is the system's, or that of SSL_CERT_FILE; a redirect is
    # never followed, for it would carry a credential to an address that was not named.
    return {
        "verify": ssl.create_default_context(),
        "trust_env": not is_direct,
        "follow_redirects": False,
        "limits": httpx2.Limits(max_connections=64, keepalive_expiry=30.0),
    }


def _timeout(request: Sent) -> httpx2.Timeout:
    return httpx2.Timeout(request.read_timeout, connect=_CONNECT)


class AsyncIO:
    """On an asyncio event loop."""

    def __init__(self, *, is_direct: bool) -> None:
        self._client = httpx2.AsyncClient(**_settings(is_direct=is_direct))

    @asynccontextmanager
    async def open(self, request: Sent) -> AsyncIterator[Received]:
        opened = self._client.stream(
            request.method,
            request.url,
            headers=request.headers,
            content=request.body,
            timeout=_timeout(request),
        )
        async with opened as response:
            yield Received(response.status_code, response.headers, response.aiter_bytes())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def signal(self) -> Signal:
        return _LoopSignal()

    def mutex(self) -> AbstractAsyncContextManager[None]:
        return asyncio.Lock()

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], *, is_listener: bool = False) -> Task:  # noqa: ARG002
        return _LoopTask(asyncio.create_task(work()))

    @property
    def is_closed(self) -> bool:
        return self._client.is_closed

    async def close(self) -> None:
        await self._client.aclose()


class _LoopSignal:
    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.set, self.clear, self.is_set = self._event.set, self._event.clear, self._event.is_set

    async def wait(self, timeout: float | None) -> bool:
        try:
            return await asyncio.wait_for(self._event.wait(), timeout)
        except TimeoutError:
            return False


class _LoopTask:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


class BlockingIO:
    """On the thread that asks."""

    def __init__(self, *, is_direct: bool) -> None:
        self._client = httpx2.Client(**_settings(is_direct=is_direct))

    @asynccontextmanager
    async def open(self, request: Sent) -> AsyncIterator[Received]:
        opened = self._client.stream(
            request.method,
            request.url,
            headers=request.headers,
            content=request.body,
            timeout=_timeout(request),
        )
        with opened as response:
            yield Received(response.status_code, response.headers, _each(response.iter_bytes()))

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def signal(self) -> Signal:
        return _ThreadSignal()

    def mutex(self) -> AbstractAsyncContextManager[None]:
        return _ThreadMutex()

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]], *, is_listener: bool = False) -> Task:
        return _ThreadTask(work, patience=0.0 if is_listener else 0.5)

    @property
    def is_closed(self) -> bool:
        return self._client.is_closed

    async def close(self) -> None:
        self._client.close()


class _ThreadSignal:
    def __init__(self) -> None:
        self._event = threading.Event()
        self.set, self.clear, self.is_set = self._event.set, self._event.clear, self._event.is_set

    async def wait(self, timeout: float | None) -> bool:
        return self._event.wait(timeout)


class _ThreadMutex:
    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


class _ThreadTask:
    """A daemon: no program waits for it at its end."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]], patience: float) -> None:
        self._patience = patience
        self._thread = threading.Thread(target=lambda: run(work()), name="tenure", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        # A request under way ends by its own timeout; what it does is safe to be left at any point.
        if self._thread is not threading.current_thread():
            self._thread.join(self._patience)


async def _each(items: Iterator[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


def run(work: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine over `BlockingIO` to its end, on this thread."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("blocking work must not suspend")


class Blocking(Generic[Core]):
    """A blocking face of a core whose IO is `BlockingIO`."""

    _core: Core


def blocking(
    method: Callable[Concatenate[Core, P], Awaitable[T]],
) -> Callable[Concatenate[Blocking[Core], P], T]:
    """Make the blocking twin of a method of the core, with its signature and documentation."""

    @functools.wraps(method)
    def call(self: Blocking[Core], /, *args: P.args, **kwargs: P.kwargs) -> T:
        async def work() -> T:
            return await method(self._core, *args, **kwargs)

        return run(work())

    return call
