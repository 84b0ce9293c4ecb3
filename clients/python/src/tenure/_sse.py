"""Server-sent events, read as they come (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from ._wire import UnfitError

_LONGEST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream."""

    name: str
    data: str
    id: str | None


async def events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[Event]:
    """Read the events of a stream; comments are passed over."""
    name, data, last_id = "message", list[str](), None
    async for line in _lines(chunks):
        if not line:
            if data:
                yield Event(name, "\n".join(data), last_id)
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                name = value
            case "data":
                data.append(value)
            case "id":
                last_id = value
            case _:
                pass


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LONGEST:
            raise UnfitError("must be events of a bounded length")
        for line in lines:
            yield line.removesuffix(b"\r").decode(errors="replace")
