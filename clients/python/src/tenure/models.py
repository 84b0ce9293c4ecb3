"""What the authority answers. Members that this version does not know are passed over."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar

from ._wire import Secret

__all__ = [
    "AccessToken",
    "CreatedSession",
    "DeadToken",
    "LiveToken",
    "OnReuse",
    "Page",
    "RenewedSession",
    "RevokedSession",
    "Secret",
    "Session",
    "Status",
    "Subject",
    "SubjectKind",
    "Suspension",
    "Usage",
]

T = TypeVar("T")

Status = Literal["ACTIVE", "EXPIRED", "REVOKED"]
OnReuse = Literal["reject", "revoke"]
SubjectKind = Literal["agent", "user", "service"]


@dataclass(frozen=True, slots=True)
class CreatedSession:
    """A new session, with its first token. No other reply shows that token."""

    session_id: str
    subject_id: str
    token: Secret
    created_at: datetime
    expires_at: datetime
    absolute_expires_at: datetime
    renew_at: datetime | None
    """When its holder should renew; `None` if a renewal would be refused."""
    renewal_count: int
    max_renewals: int


@dataclass(frozen=True, slots=True)
class RenewedSession:
    """A renewed session, with its new token. The earlier token is dead."""

    session_id: str
    token: Secret
    expires_at: datetime
    absolute_expires_at: datetime
    renew_at: datetime | None
    renewal_count: int
    max_renewals: int
    clamped_by: str | None
    """`absoluteLifetime` if the period was cut at the session's absolute end."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a session was used for."""

    transactions: int
    total_amount: Decimal
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Session:
    """A session as the authority tells of it."""

    session_id: str
    subject_id: str
    subject_name: str | None
    owner_id: str | None
    device: str | None
    status: Status
    ttl: int
    renewal_count: int
    max_renewals: int
    created_at: datetime
    expires_at: datetime
    absolute_expires_at: datetime
    renewed_at: datetime | None
    renew_at: datetime | None
    idle_timeout: int | None
    revoked_at: datetime | None
    revoked_trigger: str | None
    """What ended it, such as `renewal_rejected`."""
    revoked_reason: str | None
    on_reuse: str | None
    scopes: tuple[str, ...]
    metadata: Any
    constraints: Any
    usage: Usage


@dataclass(frozen=True, slots=True)
class RevokedSession:
    """A session that has ended."""

    session_id: str
    revoked_at: datetime
    trigger: str


@dataclass(frozen=True, slots=True)
class LiveToken:
    """An active token."""

    active: Literal[True]
    session_id: str
    subject_id: str
    owner_id: str | None
    device: str | None
    scopes: tuple[str, ...]
    expires_at: datetime
    absolute_expires_at: datetime
    renewal_count: int
    should_renew: bool
    """Whether its holder should have renewed it by now."""
    metadata: Any


@dataclass(frozen=True, slots=True)
class DeadToken:
    """A token that is not good."""

    active: Literal[False]
    code: str
    """Such as `SESSION_REVOKED`, `TOKEN_SUPERSEDED` or `INVALID_TOKEN`."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A short-lived token that services check offline."""

    access_token: Secret
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Suspension:
    """While it lasts, a subject gets no session and none of its tokens works."""

    at: datetime
    reason: str | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Subject:
    """Who holds sessions."""

    subject_id: str
    name: str | None
    kind: str | None
    owner_id: str | None
    active_sessions: int
    suspension: Suspension | None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list."""

    items: tuple[T, ...]
    next_cursor: str | None
    """Where the next part begins; `None` at the end."""
