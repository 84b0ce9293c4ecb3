"""Why a token is not taken."""

from enum import Enum

from ..errors import TenureError


class Reason(Enum):
    """Why a token is not taken. The value is for people."""

    NOT_READY = "the verifier has not heard the authority yet"
    STALE = "the verifier has not heard the authority for too long"
    UNREACHABLE = "the authority gives no answer"
    MALFORMED = "it is no token of this kind"
    UNKNOWN_KEY = "it is signed with a key that the authority does not have"
    BAD_SIGNATURE = "its signature is wrong"
    UNFIT_CLAIM = "a claim is missing or not understood"
    WRONG_ISSUER = "its issuer is another one"
    WRONG_AUDIENCE = "it is meant for another audience"
    NOT_YET_VALID = "it is not valid yet"
    EXPIRED = "it has expired"
    REVOKED = "its session was revoked"
    SUSPENDED = "its subject is suspended"
    SUPERSEDED = "a newer token replaced it"
    IDLE = "its session was idle for too long"


_TEMPORARY = {Reason.NOT_READY, Reason.STALE, Reason.UNREACHABLE}
_WANTS_NEWS = {Reason.UNKNOWN_KEY, Reason.NOT_YET_VALID}


class RejectedError(TenureError):
    """A token is not taken. Neither the message nor the error holds the token."""

    def __init__(self, reason: Reason, claim: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(reason.value if claim is None else f"its claim {claim} is missing or not understood")
        self.reason = reason
        self._retry_after = retry_after

    @property
    def is_transient(self) -> bool:
        """Whether it says something about the verifier and nothing about the token."""
        return self.reason in _TEMPORARY

    @property
    def wants_news(self) -> bool:
        """Whether news from the authority might change the answer."""
        return self.reason in _WANTS_NEWS

    @property
    def retry_after(self) -> float | None:
        return self._retry_after
