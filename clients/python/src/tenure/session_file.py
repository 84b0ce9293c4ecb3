"""The session file: where the token of a session is kept, shared by any number of processes.

`tenure run`, `tenure session` and the Rust library read and write the same file, by the same rules. A reader finds
the old content or the new one, never half of it, also after a power cut: each content is written beside the file,
synced, and renamed into its place. Writers take turns by `flock` on `FILE.lock`, which goes with the session file; the
lock ends with its holder, however that ends. It is a lock of one machine: keep the file on a local file system.
"""

import contextlib
import fcntl
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

from ._wire import Secret, UnfitError, camel, decode, encode
from .errors import SessionFileError
from .models import CreatedSession, RenewedSession

__all__ = ["Grant", "LockedSessionFile", "SessionFile"]

_VERSION = 1
_LONGEST = 64 * 1024
"""A file of more bytes is something else."""
_LARGEST = 2**32 - 1

Stamp = tuple[int, int]
"""Tells contents apart without reading them."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A session as its holder knows it: all that a session file holds."""

    url: str
    session_id: str
    subject_id: str
    token: Secret
    ttl: int
    expires_at: datetime
    absolute_expires_at: datetime
    renew_at: datetime | None
    """When it is to be renewed; `None` if it can not be any more."""
    renewal_count: int
    max_renewals: int
    renewal_key: str | None
    """The idempotency key of a renewal of this token that was begun and whose answer is not known."""

    @classmethod
    def created(cls, url: str, created: CreatedSession) -> Self:
        """Make the grant of a session that this authority has just created."""
        # The first period is never cut: no session may ask for a lifetime shorter than its ttl.
        ttl = int((created.expires_at - created.created_at).total_seconds())
        shared = {f.name: getattr(created, f.name) for f in fields(cls) if hasattr(created, f.name)}
        return cls(url=url, ttl=ttl, renewal_key=None, **shared)

    @classmethod
    def read(cls, document: object) -> Self:
        """Read what stands in a file; the error says which member must be what, and quotes none."""
        if isinstance(document, dict) and document.get("version") != _VERSION:
            raise UnfitError(f"`version` must be {_VERSION}, which is all that this program knows")
        grant = decode(cls, document)
        for name, must_be, is_right in grant._checks():
            if not is_right:
                raise UnfitError(f"`{camel(name)}` must be {must_be}")
        return grant

    def _checks(self) -> Iterator[tuple[str, str, bool]]:
        yield "token", "a token that begins with tnr_sess_", self.token.startswith("tnr_sess_")
        yield "session_id", "a UUID", _is_uuid(self.session_id)
        yield "url", "an address", bool(self.url)
        yield "subject_id", "the id of a subject", bool(self.subject_id)
        yield "renewal_key", "a text", self.renewal_key != ""
        for name in ("ttl", "renewal_count", "max_renewals"):
            yield name, f"a whole number up to {_LARGEST}", 0 <= getattr(self, name) <= _LARGEST

    def document(self) -> dict[str, object]:
        """Write it as it stands in the file."""
        members = {field.name: getattr(self, field.name) for field in fields(self)}
        nulls = {camel(name): None for name, value in members.items() if value is None}
        return {"version": _VERSION, **encode(members), **nulls}

    def renewed(self, renewed: RenewedSession) -> Self:
        """Make the grant of the same session after a renewal."""
        return replace(
            self,
            token=renewed.token,
            expires_at=renewed.expires_at,
            absolute_expires_at=renewed.absolute_expires_at,
            renew_at=renewed.renew_at,
            renewal_count=renewed.renewal_count,
            max_renewals=renewed.max_renewals,
            renewal_key=None,
        )

    def is_due(self, now: datetime) -> bool:
        """Whether a renewal is to be asked for: it is time, or one was begun."""
        return self.renewal_key is not None or (self.renew_at is not None and now >= self.renew_at)

    @property
    def over_at(self) -> datetime:
        """When it is over if no answer comes any more.

        A renewal that was begun may have been granted before the end of the period, for one period more.
        """
        if self.renewal_key is None:
            return self.expires_at
        longest = self.expires_at + timedelta(seconds=self.ttl)
        return max(min(longest, self.absolute_expires_at), self.expires_at)


class SessionFile:
    """The place of a session file. A link is followed, so that its target is replaced and not the link."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        given = Path(path)
        try:
            self.path = given.resolve(strict=True)
        except OSError:
            self.path = given.absolute()

    def read(self) -> Grant:
        """Read what it holds."""
        return self.read_with_stamp()[0]

    def read_with_stamp(self) -> tuple[Grant, Stamp]:
        """Read what it holds, with what tells this content from others."""
        # Of one and the same open file, whatever takes its place meanwhile.
        with self._io_errors(), self.path.open("rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            self._check(status)
            text = file.read(_LONGEST)
        try:
            return Grant.read(json.loads(text)), _stamp(status)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise self._damaged(f"it is no JSON from {where} on") from None
        except UnicodeDecodeError:
            raise self._damaged("it is no text") from None
        except UnfitError as error:
            raise self._damaged(str(error)) from None

    def stamp(self) -> Stamp | None:
        """Return what marks the present content; `None` while there is none."""
        try:
            return _stamp(self.path.stat())
        except OSError:
            return None

    def touch(self) -> None:
        """Let the other processes know that something happened to the session; the content stays as it is."""
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def try_lock(self) -> "LockedSessionFile | None":
        """Take the lock of writers; `None` while another one has it."""
        with self._io_errors():
            path = self.beside(".lock")
            while True:
                lock = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(lock)
                    return None
                except BaseException:
                    os.close(lock)
                    raise
                # The lock's file goes with the session file: the one that was locked may not be there any more.
                if _is_at(lock, path):
                    return LockedSessionFile(self, lock)
                _unlock(lock)

    def beside(self, ending: str) -> Path:
        """Name a file beside it."""
        return self.path.with_name(self.path.name + ending)

    def _check(self, status: os.stat_result) -> None:
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise SessionFileError(
                f"{self.path} is open to others (mode {mode:04o}); its mode must be 0600: chmod 600 {self.path}, "
                "and revoke the session if others may have read its token"
            )
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LONGEST:
            raise self._damaged("it is no file, or too long for one")

    def _damaged(self, why: str) -> SessionFileError:
        return SessionFileError(
            f"{self.path} is no session file: {why}; it must be as Tenure wrote it, see docs/client.md"
        )

    @contextmanager
    def _io_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SessionFileError(f"{error.filename or self.path}: {error.strerror}") from error


class LockedSessionFile:
    """A session file to which no one else writes until this is closed."""

    def __init__(self, file: SessionFile, lock: int) -> None:
        self.file, self._lock = file, lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self) -> Grant:
        """Read what the file holds now."""
        return self.file.read()

    def write(self, grant: Grant) -> None:
        """Replace what the file holds, or make it; it is durable when this returns."""
        path = self.file.path
        with self.file._io_errors():
            beside = self._write_beside(json.dumps(grant.document(), indent=2, sort_keys=True) + "\n")
            beside.replace(path)
            _sync_directory(path.parent)

    def prepare(self) -> None:
        """Find out whether the file could be written, before something is asked for that must be kept."""
        with self.file._io_errors():
            if self.file.path.is_dir():
                raise IsADirectoryError(0, "is a directory", str(self.file.path))
            self._write_beside("").unlink()

    def close(self) -> None:
        """Let others write."""
        # Without a session file there is nothing to lock; a process that waits makes another lock file.
        path = self.file.beside(".lock")
        if not self.file.path.exists() and _is_at(self._lock, path):
            with contextlib.suppress(OSError):
                path.unlink()
        _unlock(self._lock)

    def _write_beside(self, text: str) -> Path:
        path = self.file.beside(".new")
        # What a crash left there may be open to others, or half of something.
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(text.encode())
            os.fsync(descriptor)
        return path


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_ctime_ns


def _unlock(lock: int) -> None:
    # A process forked meanwhile has the same lock open, and closing it here alone would leave it locked there.
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
