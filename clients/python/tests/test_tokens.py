"""What a verifier makes of tokens, claims, feeds and revocations, without I/O."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tenure._wire import UnfitError, parse_time
from tenure.verify import Reason, RejectedError
from tenure.verify._claims import AccessClaims
from tenure.verify._feed import FeedItem, FeedPage, read_keys, read_position, write_position
from tenure.verify._follower import _Reading
from tenure.verify._knowledge import Heard, Knowledge, Rules, Verified
from tenure.verify._paseto import PublicKey, UntrustedToken
from tenure.verify._revocations import REMEMBERED, OfEveryone, OfSession, OfSubject, Revocations, Whom

START = parse_time("2026-11-21T10:00:00Z")
PAYLOAD = {
    "iss": "tenure",
    "sub": "agent-7",
    "sid": "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77",
    "aud": "orders",
    "scopes": ["orders:read"],
    "iat": "2026-11-21T10:00:00.000Z",
    "nbf": "2026-11-21T10:00:00.000Z",
    "exp": "2026-11-21T10:10:00.000Z",
    "jti": "x",
}
# The key and the second v4.public vector of the PASETO test vectors.
KEY = "k4.public.Hrnbu7wEfAP9cGBOAHHwmH4Wsot1ciXBHwBBXQ4gsaI"
VECTOR = (
    "v4.public.eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIiwiZXhwIjoiMjAyMi0wMS0wMVQwMDowMDowMCswMDowMCJ9"
    "v3Jt8mx_TdM2ceTGoqwrh4yDFn0XsHvvV_D0DtwQxVrJEBMl0F2caAdgnpKlt4p7xBnx1HcO-SPo8FPp214HDw"
    ".eyJraWQiOiJ6VmhNaVBCUDlmUmYyc25FY1Q3Z0ZUaW9lQTlDT2NOeTlEZmdMMVc2MGhhTiJ9"
)


def at(seconds: float) -> Any:
    return START + timedelta(seconds=seconds)


def payload(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in {**PAYLOAD, **changes}.items() if value != "missing"}).encode()


def claims(issued: float = 0, **changes: Any) -> AccessClaims:
    times = {"iat": at(issued).isoformat(), "nbf": at(issued).isoformat(), "exp": at(issued + 600).isoformat()}
    return AccessClaims.from_payload(payload(**times, **changes))


def session(number: int) -> str:
    return f"019375c1-6a3e-7c52-9d5e-{number:012x}"


def test_a_token_of_the_standards_vectors_is_opened() -> None:
    token = UntrustedToken.parse(VECTOR)
    assert json.loads(token.open(PublicKey.from_paserk(KEY)))["data"] == "this is a signed message"


@pytest.mark.parametrize("name", ["iss", "sub", "sid", "scopes", "iat", "nbf", "exp", "jti"])
def test_a_claim_that_is_missing_or_of_the_wrong_type_is_named(name: str) -> None:
    for value in ("missing", 7, ["x", 7]):
        with pytest.raises(RejectedError, match=f"its claim {name} ") as rejected:
            AccessClaims.from_payload(payload(**{name: value}))
        assert rejected.value.reason is Reason.UNFIT_CLAIM


def test_a_claim_that_is_named_twice_makes_all_unfit_whether_known_or_not() -> None:
    for twice in ('"iss":"tenure"', '"new":1,"new":1', '"new":1,"n\\u0065w":1'):
        text = payload().decode().removesuffix("}") + f",{twice}}}"
        with pytest.raises(RejectedError, match=r"\(all\)"):
            AccessClaims.from_payload(text.encode())


def test_a_later_claim_is_ignored_unless_it_restricts() -> None:
    assert AccessClaims.from_payload(payload(level={"of": ["assurance"]})).subject_id == "agent-7"
    for name in ("crit", "cnf"):
        with pytest.raises(RejectedError, match=name):
            AccessClaims.from_payload(payload(**{name: {}}))


def test_a_token_lives_half_an_hour_at_most() -> None:
    assert AccessClaims.from_payload(payload(exp="2026-11-21T10:30:00.000Z"))
    with pytest.raises(RejectedError, match="exp"):
        AccessClaims.from_payload(payload(exp="2026-11-21T10:30:00.001Z"))


def after(*revocations: tuple[float, Whom], capacity: int = 100) -> Revocations:
    revoked = Revocations(capacity)
    for seconds, whom in revocations:
        revoked.learn(at(seconds), whom)
    return revoked


def test_a_session_is_met_by_its_id_and_no_other() -> None:
    revoked = after((10, OfSession(session(1))))
    assert revoked.covers(claims(99, sid=session(1)))
    assert not revoked.covers(claims(0, sid=session(2)))


def test_a_selector_meets_what_was_signed_up_to_five_seconds_after_it() -> None:
    for whom in (OfEveryone(), OfSubject("agent-7", None)):
        revoked = after((10, whom))
        assert revoked.covers(claims(15))
        assert not revoked.covers(claims(15.001))
    kept = after((10, OfSubject("agent-7", session(1))))
    assert kept.covers(claims(0, sid=session(2)))
    assert not kept.covers(claims(0, sid=session(1)))
    assert not kept.covers(claims(0, sub="agent-8"))


def test_a_revocation_is_forgotten_when_no_token_from_before_can_live() -> None:
    revoked = after((10, OfSubject("agent-7", None)), (20, OfSession(session(1))), (5, OfEveryone()))
    revoked.forget_before(at(10) + REMEMBERED - timedelta(milliseconds=1))
    assert len(revoked) == 2
    revoked.forget_before(at(10) + REMEMBERED)
    assert len(revoked) == 1
    assert not revoked.covers(claims(0))
    revoked.forget_before(at(20) + REMEMBERED)
    assert len(revoked) == 0


def test_the_same_revocation_twice_takes_the_room_of_one() -> None:
    twice = [(10.0, OfSession(session(1)))] * 2 + [(10.0, OfSubject("a", None))] * 2
    assert len(after(*twice)) == 2


def test_a_flood_is_bounded_and_lets_no_one_in() -> None:
    revoked = after(*((number / 100, OfSession(session(number))) for number in range(5_000)), capacity=1_000)
    assert len(revoked) == 1_000
    assert revoked.covers(claims(-5, sid=session(0)))
    assert not revoked.covers(claims(45, sid=session(9_999))), "signed after all that was widened"


def test_a_subject_of_many_rules_is_judged_more_coarsely() -> None:
    revoked = after(*((10.0 + number, OfSubject("agent-7", session(number))) for number in range(9)))
    assert all(revoked.covers(claims(5, sid=session(number))) for number in range(9))


def test_an_item_of_the_feed_names_sessions_a_subject_or_everyone() -> None:
    def whom(**members: Any) -> tuple[Whom, ...]:
        return FeedItem.read({"position": 7, "at": "2026-11-21T10:00:00Z", **members}).whom

    assert whom(sessionId=session(1)) == (OfSession(session(1)),)
    both = (OfSession(session(1)), OfSession(session(2)))
    assert whom(selector={"ownerId": "a"}, sessionIds=[session(1), session(2)]) == both
    assert whom(selector={"ownerId": "a"}, sessionIds=None) == (OfEveryone(),)
    assert whom(selector={"subjectId": "a", "exceptSessionId": session(1)}) == (OfSubject("a", session(1)),)
    assert whom(kind="of a later version") == (OfEveryone(),)
    with pytest.raises(UnfitError):
        whom(sessionId="x")


def page(items: list[Any], head: Any, after: Any = (1, 0), next_after: Any = None) -> FeedPage:
    read = [{"position": position, "at": "2026-11-21T10:00:00Z", "sessionId": session(1)} for position in items]
    document = {"items": read, "nextAfter": next_after or head, "head": head, "now": "2026-11-21T10:00:00Z"}
    return FeedPage.read(document, after)


def test_positions_have_an_epoch_from_the_second_one_on() -> None:
    for text in ("0", "17", "2:17"):
        assert write_position(read_position(text)) == text
    assert read_position(17) == (1, 17)
    assert read_position("2:1") > read_position(1_000)
    for wrong in ("", "x", ":", "2:", "-1", True, 1.5):
        with pytest.raises(UnfitError):
            read_position(wrong)
    # Numbers stand in the history that `nextAfter` names.
    later = page([3, 7], 9, (1, 2), "2:7")
    assert ([item.position for item in later.items], later.head, later.is_last) == ([(2, 3), (2, 7)], (2, 9), False)
    assert page([8], 9, (2, 7), "2:9").is_last
    reading = _Reading().after(later, looks_back=True)
    assert (reading.before_last, reading.goes_on_with(page([7], 9, (2, 6), "2:9"))) == ((2, 6), True)


@pytest.mark.parametrize(
    ("items", "head", "after", "next_after"),
    [([7, 3], 9, (1, 0), None), ([3], 9, (1, 3), None), ([7], 9, (1, 0), 5), ([], 9, (1, 4), 4)],
)
def test_a_page_that_does_not_lead_on_is_none(items: list[int], head: int, after: Any, next_after: Any) -> None:
    with pytest.raises(UnfitError):
        page(items, head, after, next_after)


def test_a_reading_notices_a_history_that_was_put_back() -> None:
    reading = _Reading()
    assert reading.is_new
    assert reading.goes_on_with(page([], 5))
    reading = reading.after(page([3, 7], 9), looks_back=True)
    assert (reading.before_last, reading.end) == ((1, 6), (1, 9))
    assert reading.goes_on_with(page([7, 11], 12))
    for other in (page([], 9), page([8], 9), page([7], 8)):
        assert not reading.goes_on_with(other)


def test_a_key_under_another_keys_name_makes_the_answer_unfit() -> None:
    right = {"keyId": PublicKey.from_paserk(KEY).id, "paserk": KEY, "state": "active", "retireAt": None}
    assert len(read_keys({"keys": [right]})) == 1
    assert read_keys({"keys": [{**right, "state": "of a later version"}]}) == {}
    for wrong in ({**right, "keyId": "k4.pid.x"}, {**right, "paserk": "k4.public.x"}, {**right, "retireAt": "soon"}):
        with pytest.raises(UnfitError):
            read_keys({"keys": [wrong]})


def test_nothing_passes_before_all_was_heard_at_the_bound_or_once_the_key_retired() -> None:
    rules = Rules("tenure", "orders", timedelta(seconds=5), 1, 10, 10, 10)
    knowledge, token = Knowledge(rules), Verified(claims(), PublicKey.from_paserk(KEY).id)

    def reason(now: float) -> Reason | None:
        try:
            knowledge.judge(token, now)
        except RejectedError as rejected:
            return rejected.reason
        return None

    key = {"keyId": token.key_id, "paserk": KEY, "state": "retiring", "retireAt": at(8).isoformat()}
    knowledge.learn_keys(read_keys({"keys": [key]}))
    assert reason(1_000) is Reason.NOT_READY
    knowledge.heard(Heard(1_000, 1_000, at(0)))
    assert reason(1_007.999) is None
    assert reason(1_008) is Reason.UNKNOWN_KEY
    assert reason(1_010) is Reason.STALE
    knowledge.heard(Heard(1_010, 1_010, at(-6)))
    assert reason(1_010) is Reason.NOT_YET_VALID
    knowledge.heard(Heard(1_010, 1_010, at(-5)))
    assert reason(1_010) is None


@pytest.mark.parametrize(("poll", "bound"), [(0.001, 10), (6, 10)])
def test_rules_that_cannot_be_followed_are_refused(poll: float, bound: float) -> None:
    with pytest.raises(ValueError, match="at least"):
        Rules("tenure", None, timedelta(), poll, bound, 1, 1)
