"""Single calls against the real server."""

import socket
import threading
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ground import Server
from tenure import AsyncClient, Client, RefusedError, TenureError, UnexpectedReplyError, UnreachableError
from tenure.models import DeadToken, LiveToken


def test_a_session_is_created_read_used_renewed_and_ended(server: Server) -> None:
    client = server.client
    client.put_subject("agent-7", name="Agent 7", kind="agent", owner_id="alice")
    created = client.create_session(
        "agent-7", ttl=3_600, scopes=["pay"], metadata={"run": 1}, constraints={"maxTotalAmount": "20"}
    )
    assert (created.renewal_count, created.expires_at - created.created_at) == (0, timedelta(hours=1))
    assert "tnr_sess_" not in repr(created)

    own = client.with_credential(created.token)
    session = own.session(created.session_id)
    assert (session.status, session.owner_id, session.scopes, session.on_reuse) == (
        "ACTIVE",
        "alice",
        ("pay",),
        "revoke",
    )
    assert own.record_usage(created.session_id, "pay", amount="12.50").total_amount == Decimal("12.5")
    with pytest.raises(RefusedError, match="CONSTRAINT_VIOLATED") as refused:
        own.record_usage(created.session_id, "pay", amount="12.50")
    assert refused.value.document["constraint"] == "maxTotalAmount"
    assert not refused.value.is_transient

    server.advance(1_801)
    renewed = own.renew_session(created.session_id, "k1")
    again = own.renew_session(created.session_id, "k1")
    assert renewed.renewal_count == again.renewal_count == 1
    new = client.with_credential(again.token)
    assert new.access_token(ttl=60, audience="shop").access_token.startswith("v4.public.")

    judged = client.introspect(again.token, with_metadata=True)
    assert isinstance(judged, LiveToken)
    assert (judged.subject_id, judged.metadata) == ("agent-7", {"run": 1})
    assert client.introspect(created.token) == DeadToken(active=False, code="TOKEN_SUPERSEDED")
    assert [item.session_id for item in client.sessions(subject_id="agent-7").items] == [created.session_id]

    assert client.revoke_session(created.session_id, "done").trigger == "renewal_rejected"
    with pytest.raises(RefusedError, match="SESSION_REVOKED") as ended:
        new.session(created.session_id)
    assert ended.value.problem.trigger == "renewal_rejected"


ALERT = b"\x15\x03\x03\x00\x02\x02\x32"
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nHTTPS"


@pytest.mark.parametrize(("answer", "error"), [(ALERT, UnreachableError), (BAD_REQUEST, UnexpectedReplyError)])
def test_an_http_address_of_a_tls_server_is_told_the_right_one(answer: bytes, error: type[TenureError]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"

        def answers() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4_096)
                connection.sendall(answer)

        answering = threading.Thread(target=answers)
        answering.start()
        with Client(f"http://{address}", "tnr_key_x", patience=0) as client, pytest.raises(error) as told:
            client.sessions()
        answering.join()
    assert f"try https://{address}" in str(told.value)


def test_an_https_address_of_a_plain_server_is_told_the_right_one(server: Server) -> None:
    with (
        Client(f"https://{server.address}", server.admin, patience=0) as client,
        pytest.raises(UnreachableError, match=f"try {server.url}$"),
    ):
        client.sessions()


def test_a_subject_is_suspended_and_resumed(server: Server) -> None:
    server.client.put_subject("agent-7")
    suspended = server.client.suspend_subject("agent-7", "odd orders", until=server.now() + timedelta(hours=1))
    assert suspended.suspension is not None
    assert suspended.suspension.reason == "odd orders"
    with pytest.raises(RefusedError, match="SUBJECT_SUSPENDED"):
        server.client.create_session("agent-7")
    assert server.client.resume_subject("agent-7").suspension is None
    assert server.client.subject("agent-7").active_sessions == 0


async def _asynchronously(server: Server) -> None:
    async with AsyncClient(server.url, server.admin) as client:
        await client.put_subject("agent-8")
        created = await client.create_session("agent-8")
        assert (await client.session(created.session_id)).subject_id == "agent-8"


def test_the_same_calls_work_on_an_event_loop(server: Server) -> None:
    import asyncio

    asyncio.run(_asynchronously(server))


def test_the_servers_time_is_known_from_its_replies(server: Server) -> None:
    server.advance(7 * 86_400)
    server.client.sessions()
    assert abs(server.client._core.clock.now() - server.now()) < timedelta(seconds=5)


def test_what_does_not_answer_is_worth_another_try(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:1", "tnr_key_x", patience=0) as client:
        with pytest.raises(UnreachableError) as gone:
            client.sessions()
        assert gone.value.is_transient
        assert "tnr_key_x" not in str(gone.value)


@pytest.mark.parametrize(
    "url", ["tenure.example", "ftp://h", "http://h?a=b", "http://name:word@localhost", "http://h", "http://10.0.0.1"]
)
def test_an_address_that_could_leak_a_key_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"authority|must be|https"):
        Client(url, "tnr_key_x")
