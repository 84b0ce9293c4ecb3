"""The session file: the same as that of the command and of the Rust library."""

import json
import os
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ground import BINARY, Server, command_line, lock
from tenure import Grant, Secret, SessionFile, SessionFileError
from tenure._wire import parse_time

GRANT = Grant(
    url="http://127.0.0.1:7300",
    session_id="019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77",
    subject_id="agent-7",
    token=Secret("tnr_sess_first"),
    ttl=3_600,
    expires_at=parse_time("2026-11-21T02:00:00Z"),
    absolute_expires_at=parse_time("2026-11-28T01:00:00Z"),
    renew_at=parse_time("2026-11-21T01:40:00Z"),
    renewal_count=0,
    max_renewals=30,
    renewal_key=None,
)


@pytest.fixture
def file(tmp_path: Path) -> SessionFile:
    file = SessionFile(tmp_path / "agent.session")
    with lock(file) as locked:
        locked.write(GRANT)
    return file


def test_the_file_that_the_command_wrote_is_written_back_as_it_was(server: Server, tmp_path: Path) -> None:
    path, key = tmp_path / "agent.session", server.data / "admin.key"
    server.client.put_subject("agent-7")
    url = ("--url", server.url, "--key-file", key)
    command_line("session", "create", "agent-7", "--session-file", path, *url)
    by_command = json.loads(path.read_text())
    file = SessionFile(path)
    with lock(file) as locked:
        locked.write(locked.read())
    assert json.loads(path.read_text()) == by_command
    assert command_line("session", "token", "--session-file", path)["token"] == by_command["token"]


def test_a_file_is_its_owners_alone_and_read_back_as_it_was_written(file: SessionFile) -> None:
    begun = replace(GRANT, renewal_key="k1", renew_at=None)
    with lock(file) as locked:
        locked.write(begun)
    assert file.read() == begun
    found = {path.name: path.stat().st_mode & 0o777 for path in file.path.parent.iterdir()}
    assert found == {"agent.session": 0o600, "agent.session.lock": 0o600}
    assert "tnr_sess_" not in repr(file.read())


def test_a_file_that_others_may_read_is_refused_with_the_remedy(file: SessionFile) -> None:
    file.path.chmod(0o640)
    with pytest.raises(SessionFileError, match=r"mode 0640.*chmod 600") as refused:
        file.read()
    assert "tnr_sess_" not in str(refused.value)


@pytest.mark.parametrize(
    ("member", "value", "right"),
    [
        ("version", 2, "must be 1"),
        ("token", "secret", "begins with tnr_sess_"),
        ("token", ["tnr_sess_secret"], "must be a text"),
        ("expiresAt", "secret", "must be an RFC 3339 time"),
        ("expiresAt", "2026-13-41T00:00:00Z", "must be a time that exists"),
        ("sessionId", "secret", "must be a UUID"),
        ("ttl", -1, "must be a whole number"),
        ("ttl", True, "must be a whole number"),
        ("maxRenewals", 2**32, "must be a whole number"),
        ("renewAt", 7, "must be a text"),
        ("url", None, "must be a text"),
        ("renewalKey", "", "must be a text"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_and_not_quoted(
    file: SessionFile, member: str, value: Any, right: str
) -> None:
    file.path.write_text(json.dumps({**GRANT.document(), member: value}))
    with pytest.raises(SessionFileError, match=f"`{member}` .*{right}") as refused:
        file.read()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '"tnr_sess_x"', "\xff", " " * 70_000])
def test_what_is_no_session_file_is_refused(file: SessionFile, text: str) -> None:
    file.path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SessionFileError, match="is no session file"):
        file.read()


def test_the_command_and_this_library_take_turns_by_the_same_lock(file: SessionFile) -> None:
    holding = subprocess.Popen(
        [BINARY, "session", "lock", file.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holding.stdin is not None
    assert holding.stdout is not None
    assert holding.stdout.readline().startswith("locked ")
    assert file.try_lock() is None
    holding.communicate()
    lock(file).close()


def test_only_one_has_the_lock_and_it_goes_with_its_holder(file: SessionFile) -> None:
    mine = lock(file)
    assert file.try_lock() is None
    assert SessionFile(file.path).try_lock() is None
    mine.close()
    theirs = file.try_lock()
    assert theirs is not None
    theirs.close()


def test_the_lock_goes_with_the_file_and_those_who_wait_make_another(file: SessionFile) -> None:
    last = lock(file)
    file.path.unlink()
    last.close()
    assert list(file.path.parent.iterdir()) == []
    with lock(file) as locked:
        locked.write(GRANT)
    assert file.read() == GRANT


def test_what_a_crash_left_beside_the_file_is_replaced(file: SessionFile) -> None:
    left = file.path.with_name("agent.session.new")
    left.write_text("half of")
    left.chmod(0o644)
    with lock(file) as locked:
        locked.write(replace(GRANT, renewal_count=1))
    assert file.read().renewal_count == 1
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert not left.exists()


def test_a_link_is_followed(file: SessionFile) -> None:
    link = file.path.with_name("link.session")
    link.symlink_to(file.path)
    with lock(SessionFile(link)) as locked:
        locked.write(replace(GRANT, renewal_count=1))
    assert link.is_symlink()
    assert file.read().renewal_count == 1


def test_a_directory_that_cannot_be_written_to_is_found_out_before(file: SessionFile) -> None:
    with lock(SessionFile(file.path.parent)) as locked, pytest.raises(SessionFileError, match="directory"):
        locked.prepare()


def test_a_process_that_was_forked_meanwhile_keeps_no_lock(file: SessionFile) -> None:
    mine = lock(file)
    hold, release = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(release)
        os.read(hold, 1)
        os._exit(0)
    mine.close()
    lock(file).close()
    os.close(release)
    os.waitpid(child, 0)
    os.close(hold)


def test_a_process_that_dies_leaves_no_lock(file: SessionFile) -> None:
    child = os.fork()
    if child == 0:
        file.try_lock()
        os._exit(0)
    os.waitpid(child, 0)
    lock(file).close()


def test_a_renewal_that_was_begun_is_due_and_may_outlast_the_period_by_one() -> None:
    early = GRANT.expires_at - timedelta(minutes=30)
    assert not GRANT.is_due(early)
    assert GRANT.is_due(GRANT.expires_at - timedelta(minutes=20))
    assert GRANT.over_at == GRANT.expires_at
    begun = replace(GRANT, renewal_key="k1")
    assert begun.is_due(early)
    assert begun.over_at == GRANT.expires_at + timedelta(hours=1)
    last = replace(begun, absolute_expires_at=GRANT.expires_at + timedelta(minutes=30))
    assert last.over_at == last.absolute_expires_at
