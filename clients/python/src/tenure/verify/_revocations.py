"""What was revoked, as far as an access token that was signed before may still be shown.

A revocation of one session is exact. A selector may ask for what no access token says, such as an owner or a device; so
it is judged by when a token was signed, and taken for wider than it is: every token that could be meant is refused, if
it was signed before. A session that lives gets a new token from the authority, and that one is taken.

The memory is bounded twice. A revocation is forgotten when no token that was signed before it can be alive. And where
there are too many, the oldest is turned into a selector of everyone, which takes no room.
"""

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from ._claims import LONGEST_LIFE, AccessClaims

_SETTLING = timedelta(seconds=5)
"""A token that is signed while a selector is being recorded may bear a later time than it; by so much at most."""
REMEMBERED = LONGEST_LIFE + 2 * _SETTLING
"""A revocation is remembered for as long as a token may live that was signed before."""
_RULES_OF_A_SUBJECT = 8
"""A subject with more different rules is judged more coarsely."""


@dataclass(frozen=True, slots=True)
class OfSession:
    """One session is revoked."""

    session_id: str


@dataclass(frozen=True, slots=True)
class OfSubject:
    """Sessions of a subject are; all of them but the kept one, if there is one."""

    subject_id: str
    kept: str | None


@dataclass(frozen=True, slots=True)
class OfEveryone:
    """Sessions of anyone may be."""


Whom = OfSession | OfSubject | OfEveryone


class Revocations:
    """The revocations that may still meet a token."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._sessions: set[str] = set()
        self._subjects: dict[str, dict[str | None, datetime]] = {}
        self._everyone: datetime | None = None
        self._order: deque[tuple[datetime, OfSession | OfSubject]] = deque()

    def __len__(self) -> int:
        return len(self._order)

    def covers(self, claims: AccessClaims) -> bool:
        """Whether the session that these claims name has ended, or may have."""
        if claims.session_id in self._sessions:
            return True
        if self._everyone is not None and _was_signed_by(self._everyone, claims):
            return True
        rules = self._subjects.get(claims.subject_id, {})
        return any(kept != claims.session_id and _was_signed_by(at, claims) for kept, at in list(rules.items()))

    def learn(self, at: datetime, whom: Whom) -> None:
        """Take in a revocation. The same one twice is the same as once."""
        match whom:
            case OfSession(session_id):
                if session_id not in self._sessions:
                    self._sessions.add(session_id)
                    self._order.append((at, whom))
            case OfSubject(subject_id, kept):
                if self._learn_rule(subject_id, kept, at):
                    self._order.append((at, whom))
            case OfEveryone():
                self._cover_everyone(at)
        while len(self._order) > self._capacity:
            self._cover_everyone(self._forget_oldest())

    def refuse_signed_before(self, time: datetime) -> None:
        """Cover every token that was signed before this time, and none that was signed after it."""
        self._cover_everyone(time - _SETTLING)

    def forget_before(self, now: datetime) -> None:
        """Forget what no living token can meet."""
        while self._order and self._order[0][0] + REMEMBERED <= now:
            self._forget_oldest()
        if self._everyone is not None and self._everyone + REMEMBERED <= now:
            self._everyone = None

    def _cover_everyone(self, at: datetime) -> None:
        self._everyone = at if self._everyone is None else max(self._everyone, at)

    def _learn_rule(self, subject_id: str, kept: str | None, at: datetime) -> bool:
        rules = self._subjects.get(subject_id, {})
        if kept in rules:
            is_news = rules[kept] < at
            at = max(at, rules[kept])
        else:
            is_news = True
            if len(rules) == _RULES_OF_A_SUBJECT:
                rules, kept, at = {}, None, max(at, *rules.values())
        # A new mapping in one assignment: another thread may be judging by the old one.
        self._subjects[subject_id] = {**rules, kept: at}
        return is_news

    def _forget_oldest(self) -> datetime:
        at, whom = self._order.popleft()
        match whom:
            case OfSession(session_id):
                self._sessions.discard(session_id)
            case OfSubject(subject_id, _):
                rules = {kept: then for kept, then in self._subjects.get(subject_id, {}).items() if then > at}
                if rules:
                    self._subjects[subject_id] = rules
                else:
                    self._subjects.pop(subject_id, None)
        return at


def _was_signed_by(at: datetime, claims: AccessClaims) -> bool:
    return claims.issued_at <= at + _SETTLING
