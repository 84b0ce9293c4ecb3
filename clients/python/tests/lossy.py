"""A network that loses: it stands between clients and the server, and decides the fate of each request."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from enum import Enum, auto


class Fate(Enum):
    PASS = auto()
    LOSE_REPLY = auto()
    """The server answers, and the answer is lost: the connection ends instead."""
    HOLD_REPLY = auto()
    """The server answers, and the client waits for the answer as long as it lives."""
    HOLD_REQUEST = auto()
    """The server never hears of it, and the client waits."""


class Network:
    """Listens on an address of its own. Each request has a connection of its own."""

    def __init__(self, address: str, fate_of: Callable[[str], Fate]) -> None:
        host, _, port = address.rpartition(":")
        self._server, self._fate_of = (host, int(port)), fate_of
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._held: list[socket.socket] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for connection in (self._listener, *self._held):
            connection.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(connection,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            request = _request(client)
            if request is None:
                return
            fate = self._fate_of(request.split(b"\r\n", 1)[0].decode())
            if fate is Fate.HOLD_REQUEST:
                self._hold(client)
                return
            with socket.create_connection(self._server) as server:
                server.sendall(request)
                while chunk := server.recv(65_536):
                    if fate is Fate.PASS:
                        client.sendall(chunk)
            if fate is Fate.HOLD_REPLY:
                self._hold(client)

    def _hold(self, client: socket.socket) -> None:
        self._held.append(client.dup())


def _request(client: socket.socket) -> bytes | None:
    """Read one whole request; the server is told to close the connection after its reply, and so passes that on."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (chunk := client.recv(65_536)):
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    while length and len(body) < int(length[1]):
        body += client.recv(65_536)
    head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head)
    return head + b"\r\nconnection: close\r\n\r\n" + body
