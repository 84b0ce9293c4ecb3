"""What time it is at the authority, and how to wait for a moment there."""

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ._io import Signal
from ._wire import UnfitError, parse_time

AGREE = timedelta(seconds=2)
"""Clocks that differ by no more are taken to agree: a reply takes its time."""
NAP = 10.0
"""So many seconds are slept at a time, so that a machine that was suspended finds out soon."""


class Clock(Protocol):
    """Knows what time it is at the authority. A test whose clock stands still brings its own."""

    def now(self) -> datetime: ...
    def heard(self, then: datetime) -> None:
        """Take in that a reply, which has just arrived, says that it is this time there."""
        ...

    async def until(self, moment: datetime, news: Signal) -> None:
        """Wait until `moment` has come or `news` is set."""
        ...


def since_boot() -> float:
    """Return the seconds since the machine was started, asleep or awake; no one can set that clock."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _machine() -> datetime:
    return datetime.now(UTC)


class ServerClock:
    """Counts on from the authority's last reply. Before the first one the machine's clock is believed."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._heard: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """Return the time there."""
        heard = self._heard
        if heard is None:
            return _machine()
        then, at = heard
        return then + timedelta(seconds=since_boot() - at)

    def heard(self, then: datetime) -> None:
        """Take in what a reply says. Replies overtake each other; time there never goes back."""
        local = _machine()
        if abs(then - local) <= AGREE:
            then = local
        with self._guard:
            if self._heard is not None:
                then = max(then, self.now())
            self._heard = (then, since_boot())

    async def until(self, moment: datetime, news: Signal) -> None:
        """Wait, looking at the time again every few seconds."""
        while (left := (moment - self.now()).total_seconds()) > 0:
            if await news.wait(min(left, NAP)):
                return


def time_there(headers: Mapping[str, str]) -> datetime | None:
    """Read the authority's time off a reply. A cache's answer, which has an `Age`, tells what time it was."""
    text = headers.get("x-tenure-time")
    if text is None or "age" in headers:
        return None
    try:
        return parse_time(text)
    except UnfitError:
        return None
