"""An agent in a process of its own: `agent.py FILE URL VERIFIER_KEY blocking|asyncio`.

It holds the session of a file by a clock that its parent tells, and does what it is told, line by line.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tenure import AsyncClient, AsyncSessionHolder, TenureError
from tenure._io import AsyncIO, BlockingIO, Signal, run
from tenure.models import DeadToken

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Told:
    """A clock that stands still until it is told the time."""

    def __init__(self) -> None:
        self._now, self._news = _EPOCH, list[Signal]()
        self.at_rest_since: datetime | None = None

    def now(self) -> datetime:
        return self._now

    def heard(self, then: datetime) -> None: ...

    def tell(self, now: datetime) -> None:
        self.at_rest_since, self._now = None, now
        for news in self._news:
            news.set()

    async def until(self, moment: datetime, news: Signal) -> None:
        if news not in self._news:
            self._news.append(news)
        if self._now < moment:
            self.at_rest_since = self._now
            await news.wait(None)


class Agent:
    """The parent's end."""

    def __init__(self, file: Path, url: str, verifier: str, kind: str = "blocking") -> None:
        command = [sys.executable, __file__, str(file), url, verifier, kind]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )

    def tell(self, order: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self, order: str) -> str:
        self.tell(order)
        return self.answer()

    def kill(self) -> None:
        """Kill it without a warning, wherever it is."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def time_order(now: datetime) -> str:
    return f"time {(now - _EPOCH) // timedelta(milliseconds=1)}"


async def _obey(order: str, clock: Told, holder: AsyncSessionHolder, verifier: AsyncClient) -> str:
    match order.split():
        case ["time", millis]:
            clock.tell(_EPOCH + timedelta(milliseconds=int(millis)))
            while clock.at_rest_since != clock.now():
                if (end := await holder.wait(0.002)) is not None:
                    return f"ended: {end}"
            return f"live {holder.grant.renewal_count}"
        case ["use"]:
            return await _tried(lambda: _used(holder))
        case ["introspect"]:
            return await _tried(lambda: _judged(holder, verifier))
        case _:
            raise ValueError(order)


async def _tried(call: Callable[[], Awaitable[str]]) -> str:
    """Try again while it fails for the moment. No one waits: the clock stands still."""
    for _ in range(100):
        try:
            return await call()
        except TenureError as error:
            if not error.is_transient:
                return f"failed: {error}"
    return "failed a hundred times"


async def _used(holder: AsyncSessionHolder) -> str:
    await holder.session()
    return "used"


async def _judged(holder: AsyncSessionHolder, verifier: AsyncClient) -> str:
    """Tell what a service hears of this agent's token; if it is superseded, the agent shows the next one."""
    token = holder.token
    while True:
        judged = await verifier.introspect(token)
        if not isinstance(judged, DeadToken):
            return "live"
        following = await holder.token_instead_of(token)
        if following is None:
            return f"dead: {judged.code}"
        token = following


async def _live(file: str, url: str, key: str, kind: str) -> None:
    clock, io = Told(), AsyncIO if kind == "asyncio" else BlockingIO
    client = AsyncClient(url, patience=0, clock=clock, _io=io)
    verifier = client.with_credential(key)
    holder = AsyncSessionHolder(file, check_every=None, push=False, client=client)
    async with holder:
        while line := await (asyncio.to_thread(sys.stdin.readline) if kind == "asyncio" else _line()):
            print(await _obey(line, clock, holder, verifier), flush=True)


async def _line() -> str:
    return sys.stdin.readline()


def main() -> None:
    work = _live(*sys.argv[1:])
    if sys.argv[4] == "asyncio":
        asyncio.run(work)
    else:
        run(work)


if __name__ == "__main__":
    main()
