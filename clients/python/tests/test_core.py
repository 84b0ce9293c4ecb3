"""The core without I/O: what is next, how long to wait, what time it is, what a stream says."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tenure import RefusedError, UnreachableError, _clock
from tenure._backoff import backoff
from tenure._clock import ServerClock, time_there
from tenure._http import Request, target
from tenure._io import run
from tenure._renewal import after_refusal
from tenure._sse import Event, events
from tenure._wire import decode, parse_time
from tenure.errors import Problem, TenureError
from tenure.hold import End, _Course, _Next
from test_session_file import GRANT

EARLY, DUE, END = (parse_time(f"2026-11-21T{at}Z") for at in ("01:00:00", "01:40:00", "02:00:00"))


def refused(code: str, status: int = 403, **members: object) -> RefusedError:
    return RefusedError(decode(Problem, {"code": code, "title": "", "status": status, **members}))


def test_a_holder_waits_for_its_renewal_and_then_renews() -> None:
    course = _Course(None)
    assert course.next(GRANT, EARLY) == (_Next.WAIT, DUE)
    assert course.next(GRANT, DUE)[0] is _Next.RENEW
    begun = replace(GRANT, renewal_key="k1")
    assert course.next(begun, EARLY)[0] is _Next.RENEW, "what was begun is finished at once"


def test_after_a_failure_it_waits_and_then_renews() -> None:
    course = _Course(None)
    course.failed(UnreachableError("no answer: refused"), DUE)
    what, at = course.next(GRANT, DUE)
    assert what is _Next.WAIT
    assert 0.5 <= (at - DUE).total_seconds() <= 1
    assert course.next(GRANT, at)[0] is _Next.RENEW
    assert course.trouble == "no answer: refused"
    course.went_well()
    assert course.next(GRANT, DUE)[0] is _Next.RENEW


def test_it_comes_back_when_the_authority_names_a_moment() -> None:
    course = _Course(None)
    grace = refused("SESSION_RENEWAL_MISMATCH", retryable=True, retryAt="2026-11-21T01:40:07Z")
    assert grace.is_transient
    course.failed(grace, DUE)
    assert course.next(GRANT, DUE) == (_Next.WAIT, DUE + timedelta(seconds=7))


def test_it_asks_now_and_then_whether_the_session_stands_and_a_renewal_comes_first() -> None:
    course = _Course(60)
    assert course.next(GRANT, EARLY)[0] is _Next.CHECK
    assert course.next(GRANT, DUE)[0] is _Next.RENEW
    course.checked(EARLY)
    assert course.next(GRANT, EARLY) == (_Next.WAIT, EARLY + timedelta(minutes=1))


def test_without_a_renewal_left_it_waits_for_the_end_of_the_period() -> None:
    last, course = replace(GRANT, renew_at=None), _Course(None)
    assert course.next(last, END - timedelta(milliseconds=1)) == (_Next.WAIT, END)
    assert course.next(last, END)[0] is _Next.END


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused("RENEWAL_TOO_EARLY", retryable=True, retryAt="2026-11-21T01:50:00Z"), {"renew_at": "01:50"}),
        (refused("RENEWAL_LIMIT_REACHED"), {"renew_at": None}),
        (refused("SESSION_ABSOLUTE_LIFETIME_EXCEEDED"), {"renew_at": None}),
        (refused("IDEMPOTENCY_KEY_REUSED", 422), {"renew_at": "01:40"}),
        (refused("SESSION_RENEWAL_MISMATCH"), None),
        (refused("SESSION_REVOKED", 401), None),
        (UnreachableError("gone"), None),
    ],
)
def test_what_a_refused_renewal_makes_of_a_grant(error: TenureError, expected: dict[str, str | None] | None) -> None:
    going_on = after_refusal(replace(GRANT, renewal_key="k1"), error)
    if expected is None:
        assert going_on is None
        return
    assert going_on is not None
    assert going_on.renewal_key is None
    at = expected["renew_at"]
    assert going_on.renew_at == (at and parse_time(f"2026-11-21T{at}:00Z"))


@pytest.mark.parametrize(
    ("error", "is_transient"),
    [
        (refused("OVERLOADED", 503, retryable=True), True),
        (refused("INTERNAL", 500), True),
        (refused("RATE_LIMITED", 429, retryable=True), True),
        (refused("SESSION_REVOKED", 401), False),
        (refused("SUBJECT_SUSPENDED", 401, retryAt="2026-11-21T01:50:00Z"), False),
        (UnreachableError("gone"), True),
    ],
)
def test_the_authoritys_own_word_says_what_is_worth_another_try(error: TenureError, is_transient: bool) -> None:
    assert error.is_transient is is_transient


def test_waits_double_up_to_twenty_seconds_and_are_spread_over_their_upper_half() -> None:
    for failures, longest in enumerate([1, 2, 4, 8, 16, 20, 20], start=1):
        waits = [backoff(failures) for _ in range(50)]
        assert longest / 2 <= min(waits) <= max(waits) <= longest
    assert backoff(1, 30) == 30
    assert backoff(1, 3_600) == 60, "a wish is granted within reason"
    assert backoff(9, 1) >= 10


class Machine:
    """A machine whose wall clock can be set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wall: datetime) -> None:
        self.wall, self.awake = wall, 1_000.0
        monkeypatch.setattr(_clock, "_machine", lambda: self.wall)
        monkeypatch.setattr(_clock, "since_boot", lambda: self.awake)


def test_clocks_that_nearly_agree_are_left_alone_and_others_follow_the_authority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for ahead, known in [(1.9, 0), (-1.9, 0), (60, 60), (-60, -60)]:
        Machine(monkeypatch, EARLY)
        clock = ServerClock()
        clock.heard(EARLY + timedelta(seconds=ahead))
        assert clock.now() == EARLY + timedelta(seconds=known)


def test_time_there_does_not_go_back_and_the_machines_clock_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    machine, clock = Machine(monkeypatch, EARLY), ServerClock()
    assert clock.now() == EARLY, "before any reply the machine is believed"
    clock.heard(DUE)
    clock.heard(DUE - timedelta(minutes=30))
    machine.wall -= timedelta(hours=5)
    machine.awake += 2
    assert clock.now() == DUE + timedelta(seconds=2)


def test_the_time_of_a_cached_reply_is_not_believed() -> None:
    told = {"x-tenure-time": "2026-11-21T01:00:00.000Z"}
    assert time_there(told) == EARLY
    assert time_there({**told, "age": "0"}) is None
    assert time_there({"x-tenure-time": "now"}) is None
    assert time_there({}) is None


def test_no_id_leaves_its_place_in_the_address() -> None:
    request = Request("GET", ("v1", "subjects", "a/../b?c=d#é"), {"device": "a b&c", "left": None})
    assert target("http://h/under", request) == (
        "http://h/under/v1/subjects/a%2F..%2Fb%3Fc%3Dd%23%C3%A9?device=a+b%26c"
    )


def test_a_stream_is_read_wherever_it_is_cut() -> None:
    text = b': hello\n\nid: 7\nevent: ended\ndata: {"a":\ndata: 1}\n\n\r\nevent: x\r\ndata:y\r\n\r\ndata: cut off'
    expected = [Event("ended", '{"a":\n1}', "7"), Event("x", "y", "7")]

    async def read(size: int) -> list[Event]:
        async def chunks() -> AsyncIterator[bytes]:
            for at in range(0, len(text), size):
                yield text[at : at + size]

        return [event async for event in events(chunks())]

    for size in range(1, len(text)):
        assert run(read(size)) == expected
    assert asyncio.run(read(5)) == expected


def test_blocking_work_must_not_suspend() -> None:
    async def suspend() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="suspend"):
        run(suspend())


def test_an_end_by_its_holder_reads_the_same_however_it_was_heard_of() -> None:
    told = Problem("SESSION_REVOKED", "The session was ended", 401, None, False, None, None, "self", None, None)
    assert str(End(told)) == str(End(None)) == "its holder ended it"
    assert not End(told).is_by_others
    assert str(End(replace(told, trigger="renewal_rejected"))) == "SESSION_REVOKED: its renewal was vetoed"
    assert str(End(replace(told, trigger="a later one"))) == "SESSION_REVOKED: The session was ended"
