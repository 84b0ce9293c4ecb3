"""What an access token says.

A claim that is missing, repeated or of the wrong type makes a token unfit. Claims of a later version are ignored, but
a claim that *restricts* who may use a token must not be: `crit` names what must be understood (as in RFC 7515), `cnf`
asks for a proof of possession (RFC 7800). This version understands neither and refuses both.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from .._wire import UnfitError, parse_time
from ._paseto import object_of
from ._rejection import Reason, RejectedError

LONGEST_LIFE = timedelta(seconds=1_800)
"""After that time revocations are forgotten."""
_SUBJECT = re.compile(r"[A-Za-z0-9._:@-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What a genuine access token says. Whether it still counts is judged each time."""

    issuer: str
    subject_id: str
    session_id: str
    audience: str | None
    scopes: tuple[str, ...]
    issued_at: datetime
    not_before: datetime
    expires_at: datetime
    token_id: str

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """Read the payload of a token whose signature was verified."""
        try:
            members = object_of(payload)
        except (ValueError, RecursionError):
            raise RejectedError(Reason.UNFIT_CLAIM, "(all)") from None
        for name in ("crit", "cnf"):
            if name in members:
                raise RejectedError(Reason.UNFIT_CLAIM, name)
        claims = cls(
            issuer=_text(members, "iss"),
            subject_id=_subject(members),
            session_id=session_id(_text(members, "sid")) or _unfit("sid"),
            audience=None if members.get("aud") is None else _text(members, "aud"),
            scopes=_texts(members, "scopes"),
            issued_at=_time(members, "iat"),
            not_before=_time(members, "nbf"),
            expires_at=_time(members, "exp"),
            token_id=_text(members, "jti"),
        )
        return claims if claims.expires_at <= claims.issued_at + LONGEST_LIFE else _unfit("exp")


def session_id(text: str) -> str | None:
    """Write a session's id in the one way in which it is compared; `None` if it is none."""
    try:
        return str(UUID(text))
    except ValueError:
        return None


def _unfit(name: str) -> Any:
    raise RejectedError(Reason.UNFIT_CLAIM, name)


def _text(members: dict[str, Any], name: str) -> str:
    value = members.get(name)
    return value if isinstance(value, str) else _unfit(name)


def _texts(members: dict[str, Any], name: str) -> tuple[str, ...]:
    value = members.get(name)
    is_fit = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return tuple(value) if is_fit and isinstance(value, list) else _unfit(name)


def _subject(members: dict[str, Any]) -> str:
    text = _text(members, "sub")
    return text if _SUBJECT.fullmatch(text) else _unfit("sub")


def _time(members: dict[str, Any], name: str) -> datetime:
    try:
        return parse_time(_text(members, name))
    except UnfitError:
        raise RejectedError(Reason.UNFIT_CLAIM, name) from None
