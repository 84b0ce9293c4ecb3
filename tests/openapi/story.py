"""The life of a session, told through a client that was generated from the OpenAPI document."""

import sys

from tenure_client import AuthenticatedClient
from tenure_client.api.notices import list_notices
from tenure_client.api.operation import set_clock
from tenure_client.api.sessions import (
    create_session,
    get_session,
    introspect,
    list_sessions,
    renew_session,
    revoke_session,
)
from tenure_client.models import (
    ClockBody,
    CreatedSession,
    DeadToken,
    IntrospectBody,
    LiveToken,
    NewSessionBody,
    Problem,
    RenewedSession,
    SessionView,
)

url, key = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=key)


def introspected(token):
    return introspect.sync(client=client, body=IntrospectBody(token=token))


body = NewSessionBody.from_dict({"subjectId": "python-agent", "ttl": 600, "metadata": {"team": "a", "deep": {"n": [1]}}})
created = create_session.sync(client=client, body=body)
assert isinstance(created, CreatedSession), created

clock = set_clock.sync_detailed(client=client, body=ClockBody(advance=300))
assert clock.status_code == 200, clock

holder = AuthenticatedClient(base_url=url, token=created.token)
renewed = renew_session.sync(created.session_id, client=holder, idempotency_key="one")
assert isinstance(renewed, RenewedSession) and renewed.renewal_count == 1, renewed
assert renewed.token != created.token

live = introspected(renewed.token)
assert isinstance(live, LiveToken) and live.active and live.subject_id == "python-agent", live

read = get_session.sync(created.session_id, client=client)
assert isinstance(read, SessionView) and read.metadata["team"] == "a", read
page = list_sessions.sync(client=client, subject_id="python-agent", limit=200)
assert [type(item) for item in page.items] == [SessionView], "an item of a list is of the class of a single one"
assert page.items[0].session_id == created.session_id

ended = revoke_session.sync(created.session_id, client=client, reason="over")
assert ended.status == "REVOKED", ended
dead = introspected(renewed.token)
assert isinstance(dead, DeadToken) and not dead.active and dead.code == "SESSION_REVOKED", dead

notices = list_notices.sync(client=client, session_id=str(created.session_id))
assert "SESSION_RENEWED" in [notice.kind for notice in notices.items], notices

refused = create_session.sync(client=client, body=NewSessionBody(subject_id="nobody-knows-it"))
assert isinstance(refused, Problem) and refused.code == "SUBJECT_NOT_FOUND", refused
print("the story is told")
