"""JSON documents of the authority, read into frozen dataclasses.

A field `renew_at: datetime | None` is read from the member `renewAt`. Members that this version does not know are
passed over; a member that is missing or of another type makes the whole document unfit.
"""

import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_MILLISECOND = timedelta(milliseconds=1)


class Secret(str):
    """A token or key: a text like any other, but no traceback, log line or debugger shows it by `repr`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('…')"


class UnfitError(ValueError):
    """A document has not the form that it must have. The message names the member and never quotes its value."""


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time, as UTC with whole milliseconds."""
    if not _RFC3339.fullmatch(text):
        raise UnfitError("must be an RFC 3339 time, such as 2026-11-21T01:35:00.000Z")
    try:
        moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UnfitError("must be a time that exists") from error
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def format_time(moment: datetime) -> str:
    """Write a time as the authority does: UTC, with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(span: timedelta) -> int:
    """Whole milliseconds of a span."""
    return span // _MILLISECOND


def camel(name: str) -> str:
    """`renew_at` is `renewAt` on the wire."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def encode(members: Mapping[str, object]) -> dict[str, Any]:
    """Write keyword arguments as the members of a JSON object; an argument that is `None` is left out."""
    return {camel(name): _encoded(value) for name, value in members.items() if value is not None}


def _encoded(value: object) -> object:
    match value:
        case datetime():
            return format_time(value)
        case Decimal():
            return format(value, "f")
        case tuple():
            return list(value)
        case _:
            return value


def decode(kind: type[T], document: object) -> T:
    """Read a JSON object into a dataclass of this kind."""
    if not isinstance(document, dict):
        raise UnfitError("must be a JSON object")
    return kind(**dict(_members(kind, document)))


def _members(kind: type, document: dict[str, object]) -> Iterator[tuple[str, object]]:
    for name, read in _readers(kind):
        try:
            yield name, read(document.get(camel(name)))
        except UnfitError as error:
            raise UnfitError(f"`{camel(name)}` {error}") from None


@cache
def _readers(kind: type) -> tuple[tuple[str, Callable[[object], object]], ...]:
    hints = get_type_hints(kind)
    return tuple((field.name, _reader(hints[field.name])) for field in fields(kind) if field.init)


def _reader(hint: Any) -> Callable[[object], object]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {types.UnionType, Union}:
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return _or_null(_reader(inner))
    if origin is tuple:
        return _list_of(_reader(arguments[0]))
    if origin is Literal:
        return _one_of(arguments)
    if is_dataclass(hint):
        return lambda value: decode(cast("type[object]", hint), value)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if hint in {Any, object}:
        return lambda value: value
    raise TypeError(f"no document holds a {hint}")


def _or_null(read: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value is None else read(value)


def _list_of(read: Callable[[object], object]) -> Callable[[object], object]:
    def read_all(value: object) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise UnfitError("must be a list")
        return tuple(map(read, value))

    return read_all


def _one_of(right: tuple[object, ...]) -> Callable[[object], object]:
    def read(value: object) -> object:
        if value not in right:
            raise UnfitError(f"must be one of {', '.join(map(str, right))}")
        return value

    return read


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise UnfitError("must be a text")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise UnfitError("must be a whole number")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise UnfitError("must be true or false")
    return value


def _amount(value: object) -> Decimal:
    try:
        return Decimal(_text(value))
    except InvalidOperation:
        raise UnfitError("must be a decimal number") from None


_SCALARS: dict[object, Callable[[object], object]] = {
    str: _text,
    Secret: lambda value: Secret(_text(value)),
    int: _whole,
    bool: _truth,
    Decimal: _amount,
    datetime: lambda value: parse_time(_text(value)),
}
