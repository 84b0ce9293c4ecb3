"""Check that a notice came from your authority ([Standard Webhooks](https://www.standardwebhooks.com)).

```python
notice = webhooks.verified(secret, request.headers, await request.body())
```

The same notice may be delivered again under the same `webhook-id`: keep the ids that you have seen for three days.
"""

import hashlib
import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

__all__ = ["ForgedError", "verified"]

_TOLERANCE = 300


class ForgedError(ValueError):
    """A request is not one of your authority's, or it is an old one that someone replays."""


def verified(secret: str, headers: Mapping[str, str], body: bytes, *, now: float | None = None) -> Any:
    """Return the document of a request whose signature and time are right; raise a `ForgedError` otherwise.

    `secret` is `whsec_…`, as the creation of the webhook showed it. `headers` may be of any framework.
    """
    by_name = {name.lower(): value for name, value in headers.items()}
    try:
        name, at, signatures = (by_name[f"webhook-{part}"] for part in ("id", "timestamp", "signature"))
        age = (time.time() if now is None else now) - int(at)
    except (KeyError, ValueError):
        raise ForgedError("the headers of a webhook are missing") from None
    if abs(age) > _TOLERANCE:
        raise ForgedError("it was sent too long ago, or in the future")
    key = b64decode(secret.removeprefix("whsec_"))
    signed = f"{name}.{at}.".encode() + body
    right = "v1," + b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    if not any(hmac.compare_digest(right.encode(), one.encode()) for one in signatures.split()):
        raise ForgedError("the signature is wrong")
    return json.loads(body)
