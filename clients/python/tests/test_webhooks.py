"""The signature of a notice that the real server sent."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ground import Server
from tenure.webhooks import ForgedError, verified

Delivery = tuple[dict[str, str], bytes]


def delivered() -> tuple[str, Delivery]:
    """Have the server send a test message; give back the webhook's secret, and what came."""
    came: list[Delivery] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append((dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Receiver) as receiver, Server("--set", "webhooks.allow_private=true") as server:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{receiver.server_port}/notices"
        created = server.http.post("/v1/webhooks", json={"url": url}).raise_for_status().json()
        server.http.post(f"/v1/webhooks/{created['webhookId']}/test").raise_for_status()
        receiver.shutdown()
    return created["secret"], came[0]


def test_a_notice_of_the_real_server_is_taken_and_a_forged_one_is_not() -> None:
    secret, (headers, body) = delivered()
    assert isinstance(verified(secret, headers, body), dict)
    other_secret = "whsec_" + "A" * 32
    for forged_secret, forged_headers, forged_body in [
        (other_secret, headers, body),
        (secret, {**headers, "webhook-id": "msg_other"}, body),
        (secret, headers, body + b" "),
        (secret, {}, body),
    ]:
        with pytest.raises(ForgedError):
            verified(forged_secret, forged_headers, forged_body)
    with pytest.raises(ForgedError, match="too long ago"):
        verified(secret, headers, body, now=time.time() + 301)
