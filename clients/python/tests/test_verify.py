"""Access tokens checked offline, against the real server."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ground import PATIENCE, Server, command_line, eventually
from lossy import Fate, Network
from tenure import Client
from tenure.verify import AsyncIntrospector, AsyncVerifier, Introspector, Reason, RejectedError, Verifier


@pytest.fixture
def holder(server: Server) -> Client:
    """A client with the token of a session."""
    server.client.put_subject("agent-7", owner_id="alice")
    created = server.client.create_session("agent-7", ttl=86_400, scopes=["orders:read"])
    return server.client.with_credential(created.token)


@pytest.fixture
def verifier(server: Server) -> Iterator[Verifier]:
    with Verifier(server.url, server.key("verifier"), audience="orders", poll=0.1, staleness_bound=1) as verifier:
        assert verifier.ready(PATIENCE)
        yield verifier


def mint(holder: Client, audience: str | None = "orders", ttl: int = 600) -> str:
    return holder.access_token(audience=audience, ttl=ttl).access_token


def why_not(verifier: Verifier, token: str) -> Reason | None:
    try:
        verifier.check_with_news(token)
    except RejectedError as rejected:
        assert not token or token not in repr(rejected)  # noqa: PT017
        return rejected.reason
    return None


def test_a_token_is_read_and_only_for_its_audience(holder: Client, verifier: Verifier) -> None:
    claims = verifier.check(mint(holder))
    assert (claims.subject_id, claims.scopes, claims.audience) == ("agent-7", ("orders:read",), "orders")
    assert why_not(verifier, mint(holder, "shop")) is Reason.WRONG_AUDIENCE
    assert why_not(verifier, mint(holder, None)) is Reason.WRONG_AUDIENCE
    caller = verifier.judge(mint(holder))
    assert (caller.subject_id, caller.has_scopes("orders:read")) == ("agent-7", True)
    assert not caller.has_scopes("orders:read", "orders:write")


def test_a_token_that_was_touched_is_refused(holder: Client, verifier: Verifier) -> None:
    token = mint(holder)
    head, body, footer = token[:10], *token[10:].split(".")
    swapped = "B" if body[40] != "B" else "C"
    for touched, reason in [
        (f"{head}{body[:40]}{swapped}{body[41:]}.{footer}", Reason.BAD_SIGNATURE),
        (f"{head}{body}", Reason.MALFORMED),
        (f"{head}{body}.{footer}x", Reason.MALFORMED),
        (f"{head}{body}.{footer}=", Reason.MALFORMED),
        (f"{head}{body}.eyJraWQiOiJrNC5waWQueCJ9", Reason.UNKNOWN_KEY),
        ("v4.local." + token[10:], Reason.MALFORMED),
        (token + "." * 20_000, Reason.MALFORMED),
        ("", Reason.MALFORMED),
    ]:
        assert why_not(verifier, touched) is reason, touched


def test_a_token_ends_to_the_millisecond_by_the_authoritys_time(
    server: Server, holder: Client, verifier: Verifier
) -> None:
    token = mint(holder, ttl=60)
    assert why_not(verifier, token) is None
    server.advance(60)
    eventually(lambda: why_not(verifier, token) is Reason.EXPIRED, "it expires")


def test_a_revocation_and_a_suspension_are_heard_of(server: Server, holder: Client, verifier: Verifier) -> None:
    token = mint(holder)
    other = server.client.create_session("agent-7")
    server.client.revoke_session(other.session_id)
    assert why_not(verifier, token) is None
    server.client.suspend_subject("agent-7")
    eventually(lambda: why_not(verifier, token) is Reason.REVOKED, "the suspension is heard of")
    server.client.resume_subject("agent-7")
    server.advance(6)
    assert why_not(verifier, mint(holder)) is None, "signed after the resumption"
    assert why_not(verifier, token) is Reason.REVOKED
    revoked = mint(holder)
    server.client.revoke_session(verifier.check(revoked).session_id)
    eventually(lambda: why_not(verifier, revoked) is Reason.REVOKED, "the revocation is heard of")


def test_a_rotation_without_overlap_ends_all_tokens_of_the_old_key(
    server: Server, holder: Client, verifier: Verifier
) -> None:
    token = mint(holder)
    assert why_not(verifier, token) is None
    server.http.post("/v1/keys/rotate", json={"which": "access", "retire": "now"}).raise_for_status()
    assert why_not(verifier, mint(holder)) is None, "a new key is asked for at once"
    eventually(lambda: why_not(verifier, token) is Reason.UNKNOWN_KEY, "the old key is gone")


def test_without_news_nothing_passes_at_the_bound_and_everything_again_after_news(
    server: Server, holder: Client, verifier: Verifier
) -> None:
    token = mint(holder)
    assert why_not(verifier, token) is None
    server.kill()
    killed = time.monotonic()
    eventually(lambda: why_not(verifier, token) is Reason.STALE, "the verifier is stale")
    assert time.monotonic() - killed < 3
    assert not verifier.status.is_fresh
    server.start_again()
    eventually(lambda: why_not(verifier, token) is None, "the verifier is fresh again")


def test_a_verifier_that_does_not_follow_refuses_everything(server: Server, holder: Client) -> None:
    verifier = Verifier(server.url, server.key("verifier"), audience="orders")
    with pytest.raises(RejectedError) as rejected:
        verifier.check(mint(holder))
    assert (rejected.value.reason, rejected.value.is_transient) == (Reason.NOT_READY, True)
    verifier.close()


def test_a_network_that_loses_every_second_reply_delays_and_lets_no_one_in(
    server: Server, holder: Client, tmp_path: Path
) -> None:
    count = iter(range(1_000_000))
    network = Network(server.address, lambda _: Fate.LOSE_REPLY if next(count) % 4 == 1 else Fate.PASS)
    with Verifier(network.url, server.key("verifier"), audience="orders", poll=0.05, staleness_bound=5) as verifier:
        assert verifier.ready(PATIENCE)
        token = mint(holder)
        eventually(lambda: why_not(verifier, token) is None, "the token passes")
        server.client.revoke_session(verifier.check(token).session_id)
        eventually(lambda: why_not(verifier, token) in {Reason.REVOKED, Reason.STALE}, "it is refused")
    network.close()


def test_the_same_on_an_event_loop(server: Server, holder: Client) -> None:
    async def check() -> None:
        async with AsyncVerifier(server.url, server.key("verifier"), audience="orders", poll=0.1) as verifier:
            assert await verifier.ready(PATIENCE)
            assert (await verifier.judge(mint(holder))).subject_id == "agent-7"

    asyncio.run(check())


def test_a_session_token_is_introspected_each_time(server: Server, holder: Client) -> None:
    token = server.client.create_session("agent-7", scopes=["pay"]).token
    with Introspector(server.url, server.key("verifier")) as introspector:
        caller = introspector.judge(token)
        assert (caller.owner_id, caller.scopes) == ("alice", ("pay",))
        server.client.revoke_session(caller.session_id)
        with pytest.raises(RejectedError) as rejected:
            introspector.judge(token)
        assert rejected.value.reason is Reason.REVOKED
        server.kill()
        with pytest.raises(RejectedError) as gone:
            introspector.judge(token)
        assert gone.value.reason is Reason.UNREACHABLE


def test_what_is_no_session_token_is_not_sent_on() -> None:
    async def judge(token: str) -> None:
        async with AsyncIntrospector("http://127.0.0.1:1", "tnr_key_x") as introspector:
            await introspector.judge(token)

    for token in ("", "tnr_key_x", "tnr_sess_" + "x" * 2_048):
        with pytest.raises(RejectedError) as rejected:
            asyncio.run(judge(token))
        assert rejected.value.reason is Reason.MALFORMED


def test_a_restored_authority_is_followed_in_its_second_epoch(
    server: Server, holder: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last page was taken to be the first one, and each look back for one beyond its end."""
    monkeypatch.setattr("tenure.verify._follower._PAGE", 2)
    server.kill()
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    command_line("backup", backup, "--data", server.data, "--without-keys")
    keys = ("--keys", server.data / "keys", "--keep-credentials")
    command_line("restore", backup, "--data", restored, "--accept-loss", *keys)
    server.data = restored
    server.start_again()
    # What was signed about when all sessions ended may be of any of them.
    server.advance(10)
    created = [server.client.create_session("agent-7", ttl=86_400) for _ in range(5)]
    tokens = [mint(holder.with_credential(one.token)) for one in created]
    for one in created[:3]:
        server.client.revoke_session(one.session_id)
    key = server.key("verifier")
    with Verifier(server.url, key, audience="orders", poll=0.1, staleness_bound=4) as verifier:
        assert verifier.ready(PATIENCE)
        assert [why_not(verifier, token) for token in tokens] == [Reason.REVOKED] * 3 + [None] * 2
        server.client.revoke_session(created[3].session_id)
        eventually(lambda: why_not(verifier, tokens[3]) is Reason.REVOKED, "the end is heard of")
        until = time.monotonic() + 3
        while time.monotonic() < until:
            assert why_not(verifier, tokens[4]) in {None, Reason.STALE}
            time.sleep(0.05)
        eventually(lambda: why_not(verifier, tokens[4]) is None, "it goes on")
