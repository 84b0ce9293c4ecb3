"""Keeps a verifier's knowledge fresh.

One *round* asks for the keys and reads the feed to its end. Only a whole round counts as news, and its age is counted
from the moment at which it was begun; so how fresh a verifier is depends on nothing that the authority pushes. Beside
the rounds a stream tells each revocation as it happens. What is learned either way counts at once: it can only take
tokens away, or name the keys as they are.

An authority that was put back from a backup goes on in another way. So from time to time, and after every silence, a
reading *looks back*: it begins one revocation before the last one, and expects to find that very revocation there.
Where it does not, all is read again.
"""

import json
import logging
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from .._backoff import backoff
from .._clock import Clock, since_boot
from .._http import Http, Request
from .._io import Signal
from .._sse import Event, events
from .._wire import Secret, UnfitError
from ..errors import RefusedError, TenureError, UnexpectedReplyError
from ._feed import START, FeedItem, FeedPage, Position, read_keys, write_position
from ._knowledge import Heard, Knowledge, Rules
from ._revocations import REMEMBERED

_PAGE = 1_000
_WHOLE = 4.0
_SILENCE = 10.0
"""The stream has a head at least every 2 s."""
_LONGEST = 5.0
_WITHOUT_STREAM = 300.0
_LOG = logging.getLogger("tenure.verify")


@dataclass(frozen=True, slots=True)
class _Reading:
    """Where the reading of the feed stands."""

    end: Position = START
    """Everything up to it was read."""
    last: tuple[Position, datetime] | None = None
    """The last revocation of the last reading that looked back: where, and when it was recorded."""

    @property
    def before_last(self) -> Position:
        if self.last is None:
            return START
        epoch, number = self.last[0]
        return epoch, max(number - 1, 0)

    @property
    def is_new(self) -> bool:
        return self == _Reading()

    def goes_on_with(self, page: FeedPage) -> bool:
        first = (page.items[0].position, page.items[0].at) if page.items else None
        return page.head >= self.end and (self.last is None or first == self.last)

    def after(self, page: FeedPage, *, looks_back: bool) -> "_Reading":
        if looks_back and page.items:
            return _Reading(page.next_after, (page.items[-1].position, page.items[-1].at))
        return _Reading(page.next_after, self.last)


class TimeOfReply:
    """Remembers what time the last reply was from; nothing here waits by it."""

    def __init__(self) -> None:
        self.last: datetime | None = None

    def now(self) -> datetime:
        raise NotImplementedError

    def heard(self, then: datetime) -> None:
        self.last = then

    async def until(self, moment: datetime, news: Signal) -> None:
        raise NotImplementedError


class Follower:
    """Asks for keys and revocations, again and again."""

    def __init__(self, http: Http, key: Secret, knowledge: Knowledge, rules: Rules) -> None:
        self._http, self._key, self._knowledge, self._rules = http, key, knowledge, rules
        self._reading = _Reading()
        self._etag: str | None = None
        self._failures = 0
        self._looked_back: float | None = None
        self._is_streaming = False
        self.wanted, self.ended_round, self.closing = (http.io.signal() for _ in range(3))
        self.round_begun: float | None = None
        """When the last round that has ended, well or not, was begun."""

    async def follow(self) -> None:
        """Follow until it is closed."""
        while not self.closing.is_set():
            begun = since_boot()
            self.wanted.clear()
            try:
                await self._round(begun)
            except (TenureError, UnfitError) as error:
                if self._failures == 0:
                    _LOG.warning("no news from the authority: %s", error)
                self._failures += 1
            else:
                if self._failures > 0:
                    _LOG.info("the authority answers again, after %d failures", self._failures)
                self._failures = 0
            self.round_begun = begun
            self.ended_round.set()
            await self.wanted.wait(max(self._rest() - (since_boot() - begun), 0.001))

    async def listen(self) -> None:
        """Hear of revocations as they happen, until it is closed; the rounds go on beside it."""
        failures = 0
        while not self.closing.is_set():
            if self._reading.is_new:
                # The first round reads what was; the stream tells what comes.
                await self.closing.wait(0.05)
                continue
            wait: float | None = None
            try:
                async with self._http.open(self._stream(), self._key) as received:
                    if not received.headers.get("content-type", "").startswith("text/event-stream"):
                        raise self._http.unexpected(received.status, "it sends no events")
                    async with aclosing(events(received.chunks)) as stream:
                        async for event in stream:
                            self._is_streaming, failures = True, 0
                            self._learn(event)
            except RefusedError as error:
                if error.problem.status in {400, 404, 405, 406}:
                    wait = _WITHOUT_STREAM
            except UnexpectedReplyError:
                wait = _WITHOUT_STREAM
            except (TenureError, UnfitError) as error:
                _LOG.debug("the stream of revocations ended: %s", error)
            self._is_streaming = False
            failures += 1
            await self.closing.wait(wait or backoff(failures, longest=_LONGEST))

    def _stream(self) -> Request:
        query = {"after": write_position(self._reading.end)}
        path = ("v1", "revocations", "feed")
        return Request("GET", path, query, accept="text/event-stream", read_timeout=_SILENCE)

    def _learn(self, event: Event) -> None:
        try:
            document = json.loads(event.data)
        except ValueError:
            raise UnfitError("must be JSON") from None
        match event.name:
            case "revocation":
                self._knowledge.learn_revocations([FeedItem.read(document)])
            case "keys":
                # A round compares by the tag of its own last answer, so it need not know of these.
                self._knowledge.learn_keys(read_keys(document))
                self._etag = None
            case _:
                pass

    def _rest(self) -> float:
        poll = self._rules.poll
        if self._failures > 0:
            return max(backoff(self._failures, longest=max(_LONGEST, poll)), poll / 2)
        # A stream tells all sooner; the rounds then only prove that it does.
        return max(poll, self._rules.staleness_bound / 4) if self._is_streaming else poll

    async def _round(self, asked: float) -> None:
        await self._learn_keys()
        last_asked, page = await self._read_feed(asked)
        self._knowledge.heard(Heard(asked, last_asked, page.now))

    async def _learn_keys(self) -> None:
        headers = {} if self._etag is None else {"if-none-match": self._etag}
        reply = await self._http.ask(Request("GET", ("v1", "keys"), headers=headers, read_timeout=_WHOLE), None)
        if reply.status == 304 and self._etag is not None:
            return
        self._knowledge.learn_keys(read_keys(reply.json()))
        self._etag = reply.headers.get("etag")

    async def _read_feed(self, now: float) -> tuple[float, FeedPage]:
        between_looks = self._rules.staleness_bound / 2
        is_time = self._looked_back is None or now - self._looked_back >= between_looks
        looks_back = self._failures > 0 or is_time
        asked, page = await self._first_page(looks_back=looks_back)
        looks_back = looks_back or self._reading.is_new
        if self._reading.is_new and not page.is_last:
            asked, page = await self._page(await self._first_that_matters(page))
        while True:
            self._reading = self._reading.after(page, looks_back=looks_back)
            self._knowledge.learn_revocations(page.items)
            if page.is_last:
                break
            asked, page = await self._page(page.next_after)
        if looks_back:
            self._looked_back = now
        return asked, page

    async def _first_page(self, *, looks_back: bool) -> tuple[float, FeedPage]:
        """Read the page with which to go on. If the history is another one than before, it is the first of all."""
        begin = self._reading.before_last if looks_back else self._reading.end
        try:
            asked, page = await self._page(begin)
            if not looks_back or self._reading.goes_on_with(page):
                return asked, page
        except RefusedError as error:
            if error.problem.status != 409 or begin == START:
                raise
            # Its log does not go that far. Which sessions it has ended in what was lost, no one can say; tokens that
            # were signed before may be of any of them.
            if (time := _time_of(self._http.clock)) is not None:
                self._knowledge.refuse_signed_before(time)
        _LOG.warning("the authority's history is another one than before; all revocations are read again")
        self._reading, self._looked_back = _Reading(), None
        return await self._page(START)

    async def _page(self, after: Position, limit: int = _PAGE) -> tuple[float, FeedPage]:
        asked = since_boot()
        query = {"after": write_position(after), "limit": limit}
        request = Request("GET", ("v1", "revocations", "feed"), query, read_timeout=_WHOLE)
        reply = await self._http.ask(request, self._key)
        return asked, FeedPage.read(reply.json(), after)

    async def _first_that_matters(self, first: FeedPage) -> Position:
        """Find where to begin so that all is read that may still matter, and one revocation before it.

        Recorded time never goes back, so the place is found by halving.
        """
        epoch, high = first.head
        low = 0
        while high - low > _PAGE:
            middle = low + (high - low) // 2
            _, page = await self._page((epoch, middle), 1)
            if page.items and page.items[0].at + REMEMBERED <= page.now:
                low = page.items[0].position[1]
            else:
                high = middle
        return (epoch, low - 1) if low > 1 else START


def _time_of(clock: Clock) -> datetime | None:
    return clock.last if isinstance(clock, TimeOfReply) else None
