"""Guards in front of real applications: Starlette and FastAPI, with the real server behind them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from ground import Server, eventually
from tenure.asgi import Guard, caller
from tenure.fastapi import Require
from tenure.verify import AsyncIntrospector, AsyncVerifier, Caller, Judge


async def orders(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"the orders of {caller(request).subject_id}")


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(caller(socket).subject_id)
    await socket.close()


def application(judge: AsyncVerifier | AsyncIntrospector, scope: str) -> Guard:
    """An application whose verifier follows for as long as it runs."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with judge:
            if isinstance(judge, AsyncVerifier):
                await judge.ready()
            yield

    routes = [Route("/orders", orders), WebSocketRoute("/echo", echo)]
    return Guard(Starlette(routes=routes, lifespan=lifespan), judge, scopes=[scope])


@pytest.fixture
def token(server: Server) -> str:
    server.client.put_subject("agent-7")
    return server.client.create_session("agent-7", ttl=86_400, scopes=["orders:read"]).token


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_a_starlette_application_is_guarded_by_introspection(server: Server, token: str) -> None:
    app = application(AsyncIntrospector(server.url, server.key("verifier")), "orders:read")
    with TestClient(app) as http:
        passed = http.get("/orders", headers={"authorization": f"bearer {token}"})
        assert (passed.status_code, passed.text) == (200, "the orders of agent-7")

        nothing = http.get("/orders")
        assert (nothing.status_code, nothing.text) == (401, "")
        assert nothing.headers["www-authenticate"] == 'Bearer realm="tenure"'
        assert nothing.headers["cache-control"] == "no-store"
        wrong = http.get("/orders", headers=bearer("tnr_sess_x"))
        assert wrong.status_code == 401
        assert wrong.headers["www-authenticate"].startswith('Bearer realm="tenure", error="invalid_token"')
        twice = http.get("/orders", headers=[("authorization", f"Bearer {token}"), ("authorization", "Bearer x")])
        assert twice.status_code == 400

        server.client.revoke_session(server.client.sessions().items[0].session_id)
        revoked = http.get("/orders", headers=bearer(token))
        assert revoked.status_code == 401
        assert "its session was revoked" in revoked.headers["www-authenticate"]

        server.kill()
        away = http.get("/orders", headers=bearer(token))
        assert (away.status_code, away.headers["retry-after"]) == (503, "1")


def test_a_starlette_application_is_guarded_offline(server: Server, token: str) -> None:
    minted = server.client.with_credential(token).access_token(audience="orders")
    key = server.key("verifier")
    app = application(AsyncVerifier(server.url, key, audience="orders", poll=0.1), "orders:read")
    with TestClient(app) as http:
        assert http.get("/orders", headers=bearer(minted.access_token)).text == "the orders of agent-7"
        assert http.get("/orders", headers=bearer(token)).status_code == 401, "a session token is no access token"
        server.client.revoke_session(server.client.sessions().items[0].session_id)
        eventually(lambda: http.get("/orders", headers=bearer(minted.access_token)).status_code == 401, "it is refused")


def test_a_scope_that_is_missing_is_named(server: Server, token: str) -> None:
    app = application(AsyncIntrospector(server.url, server.key("verifier")), "orders:write")
    with TestClient(app) as http:
        denied = http.get("/orders", headers=bearer(token))
        challenge = 'Bearer realm="tenure", error="insufficient_scope", scope="orders:write"'
        assert (denied.status_code, denied.headers["www-authenticate"]) == (403, challenge)


def test_a_web_socket_is_guarded_too(server: Server, token: str) -> None:
    app = application(AsyncIntrospector(server.url, server.key("verifier")), "orders:read")
    with TestClient(app) as http:
        with http.websocket_connect("/echo", headers=bearer(token)) as socket:
            assert socket.receive_text() == "agent-7"
        with pytest.raises(WebSocketDisconnect), http.websocket_connect("/echo"):
            pass


def test_single_routes_of_fastapi_are_guarded(server: Server, token: str) -> None:
    introspector = AsyncIntrospector(server.url, server.key("verifier"))
    app = FastAPI()

    @app.get("/orders")
    async def orders(caller: Annotated[Caller, Depends(Require(introspector, "orders:read"))]) -> str:
        return caller.subject_id

    @app.get("/refunds")
    async def refunds(caller: Annotated[Caller, Depends(Require(introspector, "orders:write"))]) -> str:
        return caller.subject_id

    with TestClient(app) as http:
        assert http.get("/orders", headers=bearer(token)).json() == "agent-7"
        assert http.get("/orders").status_code == 401
        assert http.get("/refunds", headers=bearer(token)).status_code == 403
        assert http.get("/openapi.json").json()["paths"]["/orders"]["get"]["security"] == [{"tenure": []}]


@pytest.mark.parametrize("scope", ["", "a b", 'a"b', "ä"])
def test_a_scope_that_no_token_can_have_is_no_guard(scope: str) -> None:
    class Never:
        async def judge(self, token: str) -> Caller:  # noqa: ARG002
            raise AssertionError

    judge: Judge = Never()
    with pytest.raises(ValueError, match="scope"):
        Require(judge, scope)
