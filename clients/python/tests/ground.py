"""The real server on a data directory of its own, its keys, and session files."""

import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import httpx2

from tenure import Client, Grant, SessionFile
from tenure._wire import parse_time
from tenure.session_file import LockedSessionFile

ROOT = Path(__file__).resolve().parents[3]
BINARY = os.environ.get("TENURE_BIN", str(ROOT / "target" / "debug" / "tenure"))
PATIENCE = 30.0
"""So many seconds a test waits for anything that is to happen in real time."""


class Server:
    """A running server, killed at the end."""

    def __init__(self, *arguments: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="tenure-")
        self.data = Path(self._directory.name) / "data"
        self._arguments = arguments
        self.address = "127.0.0.1:0"
        self._start()
        self.admin = (self.data / "admin.key").read_text().strip()
        self.client = Client(self.url, self.admin)
        self.http = httpx2.Client(base_url=self.url, headers={"authorization": f"Bearer {self.admin}"})

    def _start(self) -> None:
        command = [BINARY, "serve", "--data", str(self.data), "--listen", self.address, *self._arguments]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if found := re.search(r"listening on http://(\S+)", line):
                self.address = found[1]
                break
        else:
            raise AssertionError("the server did not start: " + "".join(said))
        threading.Thread(target=self._process.stderr.read, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def start_again(self) -> None:
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.http.close()
        self.kill()
        self._directory.cleanup()

    def now(self) -> datetime:
        return parse_time(self.http.get("/v1/clock").raise_for_status().json()["now"])

    def advance(self, seconds: float) -> None:
        self.http.put("/v1/clock", json={"advance": int(seconds)}).raise_for_status()

    def key(self, role: str) -> str:
        reply = self.http.post("/v1/credentials", json={"role": role}).raise_for_status()
        key: str = reply.json()["key"]
        return key

    def events(self, kinds: str) -> list[dict[str, Any]]:
        reply = self.http.get("/v1/events", params={"kinds": kinds, "limit": 200}).raise_for_status()
        items: list[dict[str, Any]] = reply.json()["items"]
        return items

    def session_file(self, directory: Path, url: str | None = None, **terms: Any) -> SessionFile:
        """Make a session of a subject that is registered for it, in a file."""
        self.client.put_subject("agent-7", owner_id="alice")
        created = self.client.create_session("agent-7", **{"ttl": 3_600, "max_renewals": 100, **terms})
        file = SessionFile(directory / "agent.session")
        with lock(file) as locked:
            locked.write(Grant.created(url or self.url, created))
        return file


def lock(file: SessionFile) -> LockedSessionFile:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if (locked := file.try_lock()) is not None:
            return locked
        time.sleep(0.005)
    raise AssertionError("the lock was not free in time")


def command_line(*arguments: str | Path) -> Any:
    """Run the `tenure` command, and read what it prints."""
    done = subprocess.run([BINARY, *map(str, arguments), "-o", "json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    took = time.monotonic() - begun
    assert took <= seconds, f"{what} took {took:.2f} s"


def eventually(is_so: Any, what: str) -> None:
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until, f"{what} in {PATIENCE} s"
        time.sleep(0.01)
