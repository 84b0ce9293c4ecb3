"""The authority's answers as a verifier reads them; what it needs and does not find makes the whole answer unfit."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Self

from .._wire import UnfitError, parse_time
from ._claims import session_id
from ._paseto import PublicKey
from ._revocations import OfEveryone, OfSession, OfSubject, Whom

_MOST_KEYS = 256

Position = tuple[int, int]
"""Epoch, and position in it. Before the second epoch a position is written as its number alone.

The authority writes the epoch only in what is given back to it, such as `nextAfter`. What says where something stands
in the same history, such as the position of an item and `head`, is a number in every epoch.
"""
START: Position = (1, 0)


def read_position(value: object) -> Position:
    """Read `17` or `"2:17"`."""
    epoch, colon, number = str(value).rpartition(":")
    epoch = epoch if colon else str(START[0])
    if not (epoch.isdecimal() and number.isdecimal()):
        raise UnfitError("must be a position")
    return int(epoch), int(number)


def write_position(position: Position) -> str:
    """Write it as the authority does."""
    epoch, number = position
    return str(number) if epoch == 1 else f"{epoch}:{number}"


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key, and from when on it counts no more."""

    key: PublicKey
    retire_at: datetime | None


def read_keys(document: Any) -> dict[str, RingKey]:
    """Read the answer of `GET /v1/keys`, by the keys' ids. A key in an unknown state signs nothing."""
    keys = _member(document, "keys", list)
    if len(keys) > _MOST_KEYS:
        raise UnfitError("must have fewer keys")
    in_use = [_ring_key(item) for item in keys if _member(item, "state", str) in {"active", "retiring"}]
    return {key.key.id: key for key in in_use}


def _ring_key(item: Any) -> RingKey:
    try:
        key = PublicKey.from_paserk(_member(item, "paserk", str))
    except ValueError:
        raise UnfitError("`paserk` must be a k4.public key") from None
    if key.id != item.get("keyId"):
        raise UnfitError("`keyId` must be that of the key")
    retire_at = item.get("retireAt")
    return RingKey(key, None if retire_at is None else parse_time(_member(item, "retireAt", str)))


@dataclass(frozen=True, slots=True)
class FeedItem:
    """What was revoked at a position."""

    position: Position
    at: datetime
    whom: tuple[Whom, ...]

    @classmethod
    def read(cls, item: Any) -> Self:
        """Read an item of the feed, or of its stream."""
        position = read_position(_member(item, "position", (int, str)))
        return cls(position, parse_time(_member(item, "at", str)), tuple(_whom(item)))


def _whom(item: dict[str, Any]) -> Iterator[Whom]:
    one, many, selector = (item.get(name) for name in ("sessionId", "sessionIds", "selector"))
    if one is not None and many is None and selector is None:
        yield _of_session(one)
    elif one is None and isinstance(many, list) and isinstance(selector, dict):
        yield from map(_of_session, many)
    elif one is None and many is None and isinstance(selector, dict):
        yield _of_selector(selector)
    else:
        # A kind of revocation of a later version may be about anyone.
        yield OfEveryone()


def _of_session(value: object) -> Whom:
    found = session_id(value) if isinstance(value, str) else None
    if found is None:
        raise UnfitError("must name sessions by their ids")
    return OfSession(found)


def _of_selector(selector: dict[str, Any]) -> Whom:
    """All that a selector says narrows it, so what is not understood here, or not told by tokens, is passed over."""
    subject_id, kept = selector.get("subjectId"), selector.get("exceptSessionId")
    if not isinstance(subject_id, str):
        return OfEveryone()
    return OfSubject(subject_id, session_id(kept) if isinstance(kept, str) else None)


@dataclass(frozen=True, slots=True)
class FeedPage:
    """The answer of `GET /v1/revocations/feed`."""

    items: tuple[FeedItem, ...]
    next_after: Position
    head: Position
    now: datetime

    @classmethod
    def read(cls, document: Any, after: Position) -> Self:
        """Read the page after this position; unfit if it cannot be that page."""
        next_after = read_position(_member(document, "nextAfter", (int, str)))
        epoch, _ = next_after
        items = map(FeedItem.read, _member(document, "items", list))
        page = cls(
            tuple(replace(item, position=(epoch, item.position[1])) for item in items),
            next_after,
            (epoch, read_position(_member(document, "head", (int, str)))[1]),
            parse_time(_member(document, "now", str)),
        )
        if not page._continues((epoch, after[1])):
            raise UnfitError("must go on where it was asked to")
        return page

    @property
    def is_last(self) -> bool:
        """Whether there is nothing behind it."""
        return self.next_after >= self.head

    def _continues(self, after: Position) -> bool:
        positions = [after, *(item.position for item in self.items)]
        is_ordered = positions == sorted(positions)
        is_within = all(after < position <= self.next_after for position in positions[1:])
        return is_ordered and is_within and (self.is_last or self.next_after > after)


def _member(document: Any, name: str, kind: Any) -> Any:
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, kind):
        raise UnfitError(f"`{name}` is missing or of another type")
    return value
