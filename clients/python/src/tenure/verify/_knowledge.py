"""What a verifier knows, and how it judges by it. Pure: no I/O, and time is an argument.

Time here is that of the machine since it was started, in seconds. What time it is at the authority follows from its
last complete answer; the wall clock of this machine is never asked, and may be wrong.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ._claims import AccessClaims
from ._feed import FeedItem, RingKey
from ._paseto import PublicKey, UntrustedToken
from ._rejection import Reason, RejectedError
from ._revocations import Revocations


@dataclass(frozen=True, slots=True)
class Rules:
    """What a verifier takes, and how long it may be without news."""

    issuer: str
    audience: str | None
    clock_skew: timedelta
    poll: float
    staleness_bound: float
    remembered_tokens: int
    remembered_revocations: int

    def __post_init__(self) -> None:
        if self.poll < 0.01:
            raise ValueError("poll must be at least 0.01 s")
        if self.staleness_bound < 2 * self.poll:
            raise ValueError("staleness_bound must be at least twice poll")


@dataclass(frozen=True, slots=True)
class Heard:
    """The last complete answer of the authority: its keys, and its revocations up to the end of the feed."""

    asked: float
    """When it was asked for. What was recorded before is known."""
    last_asked: float
    """When its last page was asked for."""
    authority_time: datetime
    """What time it was at the authority when it gave that page."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A token whose signature was verified: what it says, and the key that signed it."""

    claims: AccessClaims
    key_id: str


@dataclass(frozen=True, slots=True)
class VerifierStatus:
    """How a verifier stands, for a health check."""

    age: float | None
    """How many seconds ago the last complete answer was asked for; `None` before the first."""
    is_fresh: bool
    """Whether tokens are judged, and not all refused."""
    keys: int
    revocations: int


class Knowledge:
    """What a verifier knows. At first that is nothing, and everything is refused."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._keys: dict[str, RingKey] = {}
        self._revocations = Revocations(rules.remembered_revocations)
        self._heard: Heard | None = None
        self._writing = threading.Lock()

    def key_of(self, token: UntrustedToken, now: float) -> PublicKey:
        """Choose the key that a token says it was signed with, if it is one of the authority's."""
        return self._key(token.key_id, self.authority_time(now))

    def judge(self, token: Verified, now: float) -> None:
        """Judge what a genuine token says, now."""
        time = self.authority_time(now)
        self._key(token.key_id, time)
        self._judge_claims(token.claims, time)
        if self._revocations.covers(token.claims):
            raise RejectedError(Reason.REVOKED)

    def authority_time(self, now: float) -> datetime:
        """Return the time at the authority, if tokens may be judged; rather too late than too early."""
        if (heard := self._heard) is None:
            raise RejectedError(Reason.NOT_READY)
        if now - heard.asked >= self._rules.staleness_bound:
            raise RejectedError(Reason.STALE)
        return heard.authority_time + timedelta(seconds=now - heard.last_asked)

    def status(self, now: float) -> VerifierStatus:
        """Return how it stands."""
        age = None if self._heard is None else now - self._heard.asked
        is_fresh = age is not None and age < self._rules.staleness_bound
        return VerifierStatus(age, is_fresh, len(self._keys), len(self._revocations))

    def learn_keys(self, keys: dict[str, RingKey]) -> None:
        """Take in all keys of the authority: what is not among them counts no more."""
        self._keys = keys

    def learn_revocations(self, items: Iterable[FeedItem]) -> None:
        """Take in revocations. They count at once, whether the rest is known or not."""
        with self._writing:
            for item in items:
                for whom in item.whom:
                    self._revocations.learn(item.at, whom)

    def refuse_signed_before(self, time: datetime) -> None:
        """Let no token pass any more that was signed before this time."""
        with self._writing:
            self._revocations.refuse_signed_before(time)

    def heard(self, heard: Heard) -> None:
        """Note a complete answer of the authority."""
        self._heard = heard
        with self._writing:
            self._revocations.forget_before(heard.authority_time)

    def _key(self, key_id: str, time: datetime) -> PublicKey:
        found = self._keys.get(key_id)
        if found is None or (found.retire_at is not None and time >= found.retire_at):
            raise RejectedError(Reason.UNKNOWN_KEY)
        return found.key

    def _judge_claims(self, claims: AccessClaims, time: datetime) -> None:
        if claims.issuer != self._rules.issuer:
            raise RejectedError(Reason.WRONG_ISSUER)
        if claims.audience != self._rules.audience:
            raise RejectedError(Reason.WRONG_AUDIENCE)
        if time >= claims.expires_at:
            raise RejectedError(Reason.EXPIRED)
        latest = time + self._rules.clock_skew
        if claims.not_before > latest or claims.issued_at > latest:
            raise RejectedError(Reason.NOT_YET_VALID)


def verify(token: UntrustedToken, key: PublicKey) -> Verified:
    """Verify a token's signature with the key that was chosen for it."""
    try:
        payload = token.open(key)
    except ValueError:
        raise RejectedError(Reason.BAD_SIGNATURE) from None
    return Verified(AccessClaims.from_payload(payload), key.id)
