"""One try of one renewal of a session in a file, in an order that loses nothing wherever it is cut off.

1. Take the lock. 2. Read the file: the process before may have renewed. 3. Write the idempotency key, unless one is
there: a renewal was begun, and this is its repeat. 4. Ask. 5. Write the new token. 6. Only now use it.

Cut off before 4, the key is repeated and nothing was granted yet. Cut off after it, the key and the old token are in
the file, and no one used a token of the new generation: the repeat is answered with one.
"""

from dataclasses import replace
from enum import Enum, auto

from ._io import IO
from .client import AsyncClient, fresh_key
from .errors import TenureError
from .session_file import Grant, LockedSessionFile, SessionFile

_SHORTEST, _LONGEST = 0.002, 0.1
"""The waits between two looks at the lock, in seconds."""


class Want(Enum):
    """When to ask for a renewal."""

    DUE = auto()
    """When it is time."""
    SETTLED = auto()
    """When one was begun, to get its answer."""
    REPLACED = auto()
    """In any case, if the file still has a token that was replaced.

    If nothing was begun there, someone else renewed the session, and asking is how the authority hears of the second
    holder.
    """


async def locked(io: IO, file: SessionFile) -> LockedSessionFile:
    """Wait for the lock of a file.

    It is looked for again and again, not waited for in a thread: so the wait can be cancelled without leaving a lock
    behind that no one knows of.
    """
    wait = _SHORTEST
    while (lock := file.try_lock()) is None:
        await io.sleep(wait)
        wait = min(2 * wait, _LONGEST)
    return lock


async def step(client: AsyncClient, file: SessionFile, seen: str, want: Want) -> Grant:
    """Return what the file holds after this process, or another one before it, did what was wanted.

    `seen` is the token that this process has: another one in the file is news enough.
    """
    with await locked(client.io, file) as lock:
        grant = lock.read()
        if grant.token != seen or not _is_wanted(want, grant, client):
            return grant
        return await _attempt(client, lock, grant)


async def renew_file(client: AsyncClient, file: SessionFile) -> Grant:
    """Renew the session in a file now, or finish the renewal that was begun there.

    If someone else renewed it a moment ago, this waits until the moment that the authority names, and looks once more.
    """
    with await locked(client.io, file) as lock:
        grant = lock.read()
        try:
            return await _attempt(client, lock, grant)
        except TenureError as error:
            if (again_at := error.asks_once_more_at) is None:
                raise
    await client.clock.until(again_at, client.io.signal())
    return await step(client, file, grant.token, Want.REPLACED)


def _is_wanted(want: Want, grant: Grant, client: AsyncClient) -> bool:
    match want:
        case Want.DUE:
            return grant.is_due(client.clock.now())
        case Want.SETTLED:
            return grant.renewal_key is not None
        case Want.REPLACED:
            return True


async def _attempt(client: AsyncClient, lock: LockedSessionFile, grant: Grant) -> Grant:
    if grant.renewal_key is None:
        grant = replace(grant, renewal_key=fresh_key())
        lock.write(grant)
    assert grant.renewal_key is not None  # noqa: S101 -- for the type checker
    try:
        renewed = await client.with_credential(grant.token).renew_session(grant.session_id, grant.renewal_key)
    except TenureError as error:
        if (going_on := after_refusal(grant, error)) is not None:
            lock.write(going_on)
        raise
    # Writing blocks an event loop for the moment of an fsync. Were it left to a thread, a cancelled task would let go
    # of the lock while the file is being replaced.
    new = grant.renewed(renewed)
    lock.write(new)
    return new


def after_refusal(grant: Grant, error: TenureError) -> Grant | None:
    """Return what a refusal makes of a grant whose session goes on; `None` if it does not, or that is not known."""
    match error.code:
        case "RENEWAL_TOO_EARLY":
            return replace(grant, renewal_key=None, renew_at=error.retry_at or grant.renew_at)
        case "RENEWAL_LIMIT_REACHED" | "SESSION_ABSOLUTE_LIFETIME_EXCEEDED":
            return replace(grant, renewal_key=None, renew_at=None)
        case "IDEMPOTENCY_KEY_REUSED":
            # The key belongs to an earlier renewal: the file was put back from a backup. The next try has a fresh one.
            return replace(grant, renewal_key=None)
        case _:
            return None
