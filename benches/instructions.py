#!/usr/bin/env python3
"""Counts the instructions that a server spends on an introspection over HTTP, under callgrind.

    RUSTFLAGS='--cfg rustix_use_libc' cargo build --release --target-dir target/counted
    benches/instructions.py target/counted/release/tenure [OTHER/tenure ...]

On a noisy machine instructions say what times cannot. valgrind has no vDSO where rustix looks for one, so rustix must go
through libc, in each of the programs compared. The count is the slope between two numbers of requests, so a start and
an end are not in it. Time in the kernel is not counted.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

FEW, MANY, TOKENS = 1_000, 3_000, 50


class Server:
    """A server under callgrind, and one connection to it."""

    def __init__(self, program, directory):
        self.counts = f"{directory}/counts"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.counts}", program, "serve"]
        command += ["--data", f"{directory}/data", "--listen", "127.0.0.1:21950", "--test-clock"]
        one_worker = dict(os.environ, TOKIO_WORKER_THREADS="1")
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=one_worker)
        self.connection = self.connected()
        with open(f"{directory}/data/admin.key", encoding="ascii") as key:
            self.headers = {"authorization": f"Bearer {key.read().strip()}", "content-type": "application/json"}

    def connected(self):
        """A connection, once the server listens."""
        for _ in range(600):
            connection = http.client.HTTPConnection("127.0.0.1", 21950, timeout=60)
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                return connection
            except OSError:
                time.sleep(0.1)
        sys.exit("the server does not listen")

    def ask(self, method, path, body, expected):
        """The document of a reply, which must have the status that is expected."""
        self.connection.request(method, path, json.dumps(body), self.headers)
        reply = self.connection.getresponse()
        text = reply.read()
        if reply.status != expected:
            sys.exit(f"{method} {path}: {reply.status} {text.decode()}")
        return json.loads(text)

    def ended(self):
        """The instructions of the whole run."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        with open(self.counts, encoding="utf-8") as counts:
            return int(re.search(r"^(?:totals|summary): (\d+)", counts.read(), re.MULTILINE).group(1))


def count(program, requests):
    """The instructions of a run with so many introspections."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server(program, directory)
        server.ask("PUT", "/v1/subjects/agent", {"maxSessions": TOKENS}, 201)
        new = {"subjectId": "agent", "ttl": 300}
        tokens = [server.ask("POST", "/v1/sessions", new, 201)["token"] for _ in range(TOKENS)]
        for number in range(requests):
            server.ask("POST", "/v1/introspect", {"token": tokens[number % TOKENS]}, 200)
        return server.ended()


if len(sys.argv) < 2:
    sys.exit(__doc__)
for path in sys.argv[1:]:
    slope = (count(path, MANY) - count(path, FEW)) / (MANY - FEW)
    print(f"{path}: {slope:,.0f} instructions an introspection", flush=True)
