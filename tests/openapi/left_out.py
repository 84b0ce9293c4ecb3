"""What schemathesis is not to take for a fault: requests that are as described, and that no schema can judge.

The check below stands in for the tool's own, which knows the status alone: a request that is as described may be
refused as malformed only for one of these fields.
"""

import schemathesis

NO_SCHEMA_SAYS = {
    # Right only for the history that is there, or at the time that it is.
    *("cursor", "after", "since", "asOf", "asOfPosition", "minPosition", "position", "size", "from", "to", "until"),
    "selector.issuedBefore",
    # A veto is of a session that was renewed.
    "rejectRenewal",
    # Not below the ttl, which may be the general setting.
    *("absoluteLifetime", "ttl"),
    # Counted in bytes, and in depth.
    *("metadata", "constraints", "selector", "scopes"),
    # Of a host, and of the host that the format of the webhook is for.
    "url",
    # It has a checksum, and goes without its alternative.
    "recipient",
}


def is_written_with_a_point(body, field):
    """`300.0` is a whole number for JSON Schema, and none here: what is recorded has one spelling."""
    for name in field.split("."):
        body = body.get(name) if isinstance(body, dict) else None
    return isinstance(body, float)


@schemathesis.check
def what_is_as_described_is_refused_for_nothing_that_could_be_described(ctx, response, case):
    if response.status_code != 400 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    named = [error for error in response.json()["errors"] if error["field"] not in NO_SCHEMA_SAYS]
    refused = [error for error in named if not is_written_with_a_point(case.body, error["field"])]
    # A setting that is missing is no matter of the document.
    refused = [error for error in refused if not error["message"].startswith("backup.dir is not set")]
    assert not refused, f"as described, and refused: {refused}"


@schemathesis.check
def nothing_is_unavailable_but_what_is_yet_to_come(ctx, response, case):
    """Nobody writes up to the position that a read waits for; a check of the live state may be under way already."""
    if response.status_code >= 500:
        code = response.json()["code"]
        assert code in ("POSITION_NOT_REACHED", "OVERLOADED"), code
