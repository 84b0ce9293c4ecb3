"""How a call can fail, and whether it is worth another try."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

__all__ = [
    "FieldFault",
    "Problem",
    "RefusedError",
    "SessionFileError",
    "TenureError",
    "UnexpectedReplyError",
    "UnreachableError",
]


class TenureError(Exception):
    """Everything that goes wrong between this program and the authority."""

    @property
    def is_transient(self) -> bool:
        """Whether the same request, with the same idempotency key, may succeed later without anyone's help."""
        return False

    @property
    def code(self) -> str | None:
        """What the authority calls its refusal, such as `TOKEN_SUPERSEDED`."""
        return None

    @property
    def retry_at(self) -> datetime | None:
        """When the same request could succeed, if the authority names a moment."""
        return None

    @property
    def retry_after(self) -> float | None:
        """How many seconds the authority asks to be left alone."""
        return None

    @property
    def asks_once_more_at(self) -> datetime | None:
        """See [`Problem.asks_once_more_at`][tenure.errors.Problem.asks_once_more_at]."""
        return None


@dataclass(frozen=True, slots=True)
class FieldFault:
    """What is wrong with one field of a request."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal in the authority's words (RFC 9457, with Tenure's members)."""

    code: str
    title: str
    status: int
    detail: str | None
    retryable: bool | None
    retry_at: datetime | None
    caused_by: Any
    """The position of the event that decided it."""
    trigger: str | None
    """What ended the session whose token was refused; `None` if it ended by itself."""
    request_id: str | None
    errors: tuple[FieldFault, ...] | None

    def __str__(self) -> str:
        return f"{self.code}: {self.detail or self.title}"

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later: the authority's own word decides, and 5xx passes."""
        return bool(self.retryable) or self.status >= 500

    @property
    def asks_once_more_at(self) -> datetime | None:
        """When to ask once more for a renewal that was refused because another one replaced the token just now.

        By then the session file may hold the newer token. If not, that attempt shows the authority that someone
        else has it.
        """
        is_in_grace = self.code == "SESSION_RENEWAL_MISMATCH" and bool(self.retryable)
        return self.retry_at if is_in_grace else None


class RefusedError(TenureError):
    """The authority said no."""

    def __init__(
        self, problem: Problem, document: dict[str, Any] | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.document = document or {}
        """All members of the problem document as they came."""
        self._retry_after = retry_after

    @property
    def is_transient(self) -> bool:
        return self.problem.is_transient

    @property
    def code(self) -> str:
        return self.problem.code

    @property
    def retry_at(self) -> datetime | None:
        return self.problem.retry_at

    @property
    def retry_after(self) -> float | None:
        return self._retry_after

    @property
    def asks_once_more_at(self) -> datetime | None:
        return self.problem.asks_once_more_at


class UnreachableError(TenureError):
    """No answer came. What was asked for may have been done all the same."""

    @property
    def is_transient(self) -> bool:
        return True


class UnexpectedReplyError(TenureError):
    """An answer came that the authority does not give: a proxy's, probably."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_transient(self) -> bool:
        return True


class SessionFileError(TenureError):
    """A session file cannot be used. The message names the file and the remedy, and quotes no content."""
