"""The holder against the real server."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

from agent import ENVIRONMENT
from ground import PATIENCE, Server, command_line, eventually
from lossy import Fate, Network
from tenure import AsyncSessionHolder, Client, Live, RefusedError, SessionFile, SessionHolder, UnreachableError

HOLD = Path(__file__).resolve().parents[1] / "examples" / "hold.py"


def test_a_holder_renews_when_the_servers_clock_says_so(server: Server, tmp_path: Path) -> None:
    file = server.session_file(tmp_path)
    with SessionHolder(file.path, check_every=0.2) as session:
        before = session.token
        server.advance(3_000)
        eventually(lambda: session.token != before, "the token is renewed")
        assert session.grant.renewal_count == 1
        assert session.session().renewal_count == 1
        assert isinstance(session.state, Live)
        assert session.record_usage("work").transactions == 1
        assert session.access_token(ttl=60).access_token.startswith("v4.public.")
    assert SessionFile(file.path).read().renewal_key is None


def test_the_command_renews_and_the_holder_uses_its_token(server: Server, tmp_path: Path) -> None:
    file = server.session_file(tmp_path)
    with SessionHolder(file.path, check_every=None, push=False) as session:
        server.advance(2_000)
        command_line("session", "renew", "--session-file", file.path)
        assert session.grant.renewal_count == 1
        assert session.session().status == "ACTIVE"


def test_a_use_whose_reply_was_lost_before_a_renewal_counts_once(server: Server, tmp_path: Path) -> None:
    asked = list[str]()

    def fate(first: str) -> Fate:
        if "/usage" not in first:
            return Fate.PASS
        asked.append(first)
        if len(asked) == 1:
            return Fate.LOSE_REPLY
        if len(asked) == 2:
            server.advance(200)
            command_line("session", "renew", "--session-file", tmp_path / "agent.session")
        return Fate.PASS

    network = Network(server.address, fate)
    file = server.session_file(tmp_path, network.url, ttl=300)
    with SessionHolder(file.path, check_every=None, push=False) as session:
        assert session.record_usage("work").transactions == 1
        assert session.session().usage.transactions == 1
    assert len(asked) == 3
    network.close()


def test_a_holder_is_created_as_its_client_was_made(server: Server, tmp_path: Path) -> None:
    server.client.put_subject("agent-8")
    path = tmp_path / "agent-8.session"
    # A client of its own: the caller's is closed by then.
    with Client(server.url, server.admin, patience=3) as client:
        session = SessionHolder.create(client, path, "agent-8")
    with session:
        assert session.session().subject_id == "agent-8"
        assert session._core._client._patience == 3


def test_a_call_after_the_end_of_a_client_fails_at_once(server: Server) -> None:
    client = Client(server.url, server.admin)
    client.close()
    begun = time.monotonic()
    with pytest.raises(UnreachableError, match="closed"):
        client.subject("agent-7")
    assert time.monotonic() - begun < 10


def test_the_auth_of_a_holder_shows_the_token_of_the_moment(server: Server, tmp_path: Path) -> None:
    file = server.session_file(tmp_path)
    url = f"{server.url}/v1/sessions/{file.read().session_id}"
    with SessionHolder(file.path, check_every=None, push=False) as session, httpx2.Client(auth=session.auth) as http:
        assert http.get(url).json()["renewalCount"] == 0
        server.advance(2_000)
        command_line("session", "renew", "--session-file", file.path)
        assert http.get(url).json()["renewalCount"] == 1


def test_a_veto_ends_a_holder_on_a_thread(server: Server, tmp_path: Path) -> None:
    file = server.session_file(tmp_path)
    with SessionHolder(file.path, check_every=0.2) as session:
        server.client.revoke_session(session.grant.session_id, "it buys what no one ordered")
        end = session.wait(PATIENCE)
        assert end is not None
        assert (end.code, end.trigger, end.is_by_others) == ("SESSION_REVOKED", "manual_revoke", True)
        assert session.state == end
        with pytest.raises(RefusedError, match="SESSION_REVOKED"):
            session.session()
    assert file.path.exists(), "the file stays, as the mark of it"


def test_a_suspension_ends_a_holder_on_an_event_loop(server: Server, tmp_path: Path) -> None:
    file = server.session_file(tmp_path)

    async def hold() -> None:
        async with AsyncSessionHolder(file.path, check_every=0.2) as session:
            await asyncio.to_thread(server.client.suspend_subject, "agent-7")
            end = await session.wait(PATIENCE)
            assert end is not None
            assert (end.code, end.is_by_others) == ("SUBJECT_SUSPENDED", True)

    asyncio.run(hold())


def test_a_session_whose_period_ended_unrenewed_is_over_and_no_one_did_it(server: Server, tmp_path: Path) -> None:
    file = server.session_file(tmp_path, max_renewals=0)
    with SessionHolder(file.path, check_every=0.2) as session:
        assert session.grant.renew_at is None
        server.advance(3_601)
        end = session.wait(PATIENCE)
    assert end is not None
    assert (end.code, end.is_by_others) == ("TOKEN_EXPIRED", False)


def test_a_holder_ends_its_session_and_closing_one_does_not(server: Server, tmp_path: Path) -> None:
    file = server.session_file(tmp_path)
    with SessionHolder(file.path) as session:
        threading.Timer(0.1, session.close).start()
        assert session.wait(PATIENCE) is None
    assert server.client.session(file.read().session_id).status == "ACTIVE"
    with SessionHolder(file.path) as session:
        session.revoke("done")
        end = session.wait(0)
    assert end is not None
    assert (end.trigger, end.is_by_others) == ("self", False)
    assert server.client.session(file.read().session_id).revoked_trigger == "self"


def test_a_session_is_created_into_a_file_and_held(server: Server, tmp_path: Path) -> None:
    server.client.put_subject("agent-9")
    place = tmp_path / "agent-9.session"
    with SessionHolder.create(server.client, place, "agent-9", ttl=600) as session:
        assert (session.grant.ttl, session.session().on_reuse) == (600, "revoke")
    assert place.stat().st_mode & 0o777 == 0o600


def test_an_outage_is_trouble_and_no_end(server: Server, tmp_path: Path) -> None:
    file = server.session_file(tmp_path)
    with SessionHolder(file.path, check_every=0.2) as session:
        server.advance(3_000)
        eventually(lambda: session.grant.renewal_count == 1, "the session is renewed")
        server.kill()
        time.sleep(0.5)
        assert isinstance(session.state, Live)
        server.start_again()
        assert session.session().status == "ACTIVE"


def test_another_holder_without_the_file_ends_the_session(server: Server, tmp_path: Path) -> None:
    """A copy of the token, used beside the file, is what rotation and `onReuse: revoke` are for."""
    file = server.session_file(tmp_path)
    (tmp_path / "thief").mkdir()
    copy = SessionFile(tmp_path / "thief" / "agent.session")
    copy.path.write_bytes(file.path.read_bytes())
    copy.path.chmod(0o600)
    with SessionHolder(file.path, check_every=0.2) as session, SessionHolder(copy.path, check_every=0.2) as thief:
        server.advance(3_000)

        def both_hear_of_it() -> bool:
            server.advance(11)
            return session.wait(0.3) is not None and thief.wait(0.3) is not None

        eventually(both_hear_of_it, "both holders end")
    assert server.client.session(file.read().session_id).revoked_trigger == "token_reuse"


class Example:
    """`examples/hold.py` in a process of its own."""

    def __init__(self, file: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HOLD), str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
        )
        assert self._process.stdout is not None
        self.said = self._process.stdout.readline().decode()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        self._process.communicate(timeout=PATIENCE)
        return self._process.returncode


def test_the_example_ends_with_0_at_sigterm_and_the_session_goes_on(server: Server, tmp_path: Path) -> None:
    file = server.session_file(tmp_path)
    example = Example(file.path)
    assert example.said == f"holding {file.read().session_id}\n"
    example.signal(signal.SIGTERM)
    assert example.end() == 0
    assert server.client.session(file.read().session_id).status == "ACTIVE"


def test_the_example_ends_with_3_when_others_ended_the_session(server: Server, tmp_path: Path) -> None:
    file = server.session_file(tmp_path)
    example = Example(file.path)
    server.client.revoke_session(file.read().session_id)
    assert example.end() == 3


def test_the_example_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    missing = subprocess.run(
        [sys.executable, HOLD, tmp_path / "none"], capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert missing.returncode == 2
    assert "none: No such file" in missing.stderr


def test_a_superseded_holder_asks_so_that_the_authority_hears_of_the_second_one(server: Server, tmp_path: Path) -> None:
    file = server.session_file(tmp_path)
    copied = server.client.with_credential(file.read().token)
    server.advance(1_800)
    stolen = copied.renew_session(file.read().session_id, "stolen")
    with SessionHolder(file.path, check_every=0.2) as session:
        with pytest.raises(RefusedError, match="TOKEN_SUPERSEDED"):
            session.session()
        assert session.wait(1) is None, "within the grace the newer token may still turn up in the file"
        server.advance(11)
        asked = lambda: any(event["data"].get("contested") for event in server.events("RenewalRejected"))  # noqa: E731
        eventually(asked, "the holder has asked once more")
        with pytest.raises(RefusedError, match="SESSION_REVOKED"):
            server.client.with_credential(stolen.token).record_usage(stolen.session_id, "buy")
        assert session.wait(PATIENCE) is not None
    assert server.client.session(stolen.session_id).revoked_trigger == "token_reuse"
