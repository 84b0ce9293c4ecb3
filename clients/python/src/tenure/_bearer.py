"""What a guarded service asks of a request, and says to the callers it does not let in (RFC 6750).

Everything is in the headers; nothing of what was shown is repeated.
"""

import re
from collections.abc import Iterable, Sequence

from .verify import Caller, Judge, RejectedError

_CHALLENGE = 'Bearer realm="tenure"'
_SCOPE = re.compile(r"[!#-\[\]-~]+", re.ASCII)


class DeniedError(Exception):
    """A request is not let in."""

    def __init__(self, status: int, header: str, value: str) -> None:
        super().__init__(f"{status} {header}: {value}")
        self.status = status
        self.headers = {header: value, "cache-control": "no-store"}


def checked_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """Check that a token can have these scopes (RFC 6749, section 3.3)."""
    if not all(_SCOPE.fullmatch(scope) for scope in scopes):
        raise ValueError('a scope is one or more visible ASCII characters without " and \\')
    return tuple(scopes)


async def admit(judge: Judge, headers: Iterable[tuple[bytes, bytes]], scopes: tuple[str, ...]) -> Caller:
    """Return the caller by the request's one bearer token; raise a `DeniedError` if it may not pass."""
    token = _token([value for name, value in headers if name.lower() == b"authorization"])
    try:
        caller = await judge.judge(token)
    except RejectedError as rejected:
        raise _denied(rejected) from None
    if not caller.has_scopes(*scopes):
        wanted = " ".join(scopes)
        raise _challenged(403, f'error="insufficient_scope", scope="{wanted}"')
    return caller


def _token(shown: list[bytes]) -> str:
    if len(shown) > 1:
        raise _challenged(400, 'error="invalid_request", error_description="more than one credential"')
    scheme, _, token = (shown[0] if shown else b"").partition(b" ")
    if scheme.lower() != b"bearer":
        # A caller without a bearer token gets no error code (RFC 6750, section 3.1).
        raise DeniedError(401, "www-authenticate", _CHALLENGE)
    return token.decode("latin-1").strip(" ")


def _denied(rejected: RejectedError) -> DeniedError:
    if rejected.is_transient:
        return DeniedError(503, "retry-after", str(int(rejected.retry_after or 1)))
    return _challenged(401, f'error="invalid_token", error_description="{rejected}"')


def _challenged(status: int, why: str) -> DeniedError:
    return DeniedError(status, "www-authenticate", f"{_CHALLENGE}, {why}")
