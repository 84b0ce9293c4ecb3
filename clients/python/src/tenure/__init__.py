"""Tenure for Python: hold a session, make single calls, check tokens in a service.

- [`SessionHolder`][tenure.hold.SessionHolder] and `AsyncSessionHolder` hold a session in a file.
- [`Client`][tenure.client.Client] and `AsyncClient` make single calls.
- `tenure.verify` checks access tokens offline, and session tokens by asking; `tenure.asgi` and `tenure.fastapi` guard
  applications with it.
- `tenure.webhooks` checks the signature of a notice.
"""

from ._version import __version__
from .client import AsyncClient, Client
from .errors import (
    Problem,
    RefusedError,
    SessionFileError,
    TenureError,
    UnexpectedReplyError,
    UnreachableError,
)
from .hold import AsyncSessionHolder, End, Live, SessionHolder
from .models import Secret
from .session_file import Grant, SessionFile

__all__ = [
    "AsyncClient",
    "AsyncSessionHolder",
    "Client",
    "End",
    "Grant",
    "Live",
    "Problem",
    "RefusedError",
    "Secret",
    "SessionFile",
    "SessionFileError",
    "SessionHolder",
    "TenureError",
    "UnexpectedReplyError",
    "UnreachableError",
    "__version__",
]
