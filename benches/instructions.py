#!/usr/bin/env python3
"""Counts the instructions of an introspection and of a durable renewal over HTTP, under callgrind, and how many of them
are the authority's own, as where it is embedded.

    benches/instructions.py target/release/tenure [OTHER/tenure ...]     both counts of each
    benches/instructions.py --stages target/release/tenure               by stage of the work
    benches/instructions.py --callers 16 target/release/tenure           renewals of 16 callers share batches
    benches/instructions.py --write target/debug/tenure                  into instructions.json
    benches/instructions.py --check target/debug/tenure                  against what is written there

On a noisy machine instructions say what times cannot. A server is started with one worker and nothing is counted
until its sessions exist and each route has been warmed up; then a fixed number of requests is counted, all threads
included. Time in the kernel is not counted, nor is waiting. valgrind has no SHA instructions, so the tree of SHA-256
counts about ten times what it costs on a processor that has them.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import stages  # noqa: E402

INTROSPECTIONS, RENEWALS, WARM = 2_000, 1_024, 256
SESSIONS = RENEWALS + WARM
OF_EACH, HALF_PERIOD = 4, 150
WRITTEN_DOWN = pathlib.Path(__file__).with_suffix(".json")
# What is called in process; none of these functions calls another of them. The last is the sequencer's thread.
IN_PROCESS = {
    "introspection": [r"Authority>::introspect_at$"],
    "renewal": [
        r"Authority>::any_holder$",
        r"http::sessions::renew::renew::\{\{closure\}\}$",
        r"Sequencer::run|__rust_begin_short_backtrace",
    ],
}
# Runs of one program differ by less than one hundredth.
MARGIN = 0.05


class Server:
    """A server under callgrind that counts only when it is told to, and connections to it."""

    def __init__(self, program, directory, callers):
        self.directory = directory
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={directory}/counts"]
        command += [program, "serve", "--data", f"{directory}/data", "--listen", "127.0.0.1:0", "--test-clock"]
        one_worker = dict(os.environ, TOKIO_WORKER_THREADS="1")
        with open(f"{directory}/log", "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=one_worker)
        self.port = self.listening()
        self.connection, self.number_of_callers = self.connect(), callers
        with open(f"{directory}/data/admin.key", encoding="ascii") as key:
            self.key = key.read().strip()

    def connect(self):
        """A connection, on which something must be asked soon."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=120)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def listening(self):
        """The port, once the server listens."""
        for _ in range(600):
            with open(f"{self.directory}/log", encoding="utf-8", errors="replace") as log:
                text = log.read()
            found = re.search(r"127\.0\.0\.1:(\d+)", text.replace("127.0.0.1:0", ""))
            if found:
                return int(found.group(1))
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        sys.exit(f"the server does not listen:\n{text}")

    def ask(self, method, path, body, expected=200):
        """The document of a reply to an administrator, which must have the status that is expected."""
        send(self.connection, self.key, method, path, body)
        return receive(self.connection, expected)

    def tell_valgrind(self, *words):
        """Has callgrind do something."""
        subprocess.run(["vgdb", f"--pid={self.process.pid}", *words], check=True, capture_output=True)

    def counted(self, work):
        """The file with the counts of some work."""
        self.tell_valgrind("instrumentation", "on")
        self.tell_valgrind("zero")
        work()
        self.tell_valgrind("dump")
        self.tell_valgrind("instrumentation", "off")
        return max(pathlib.Path(self.directory).glob("counts.*"), key=lambda path: int(path.suffix[1:]))


def send(connection, bearer, method, path, body=None):
    """Sends a request in one piece, as most clients do."""
    body = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {bearer}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def receive(connection, expected=200):
    """The document of a reply, which must have the status that is expected."""
    reply = http.client.HTTPResponse(connection)
    reply.begin()
    text = reply.read()
    if reply.status != expected:
        sys.exit(f"{reply.status} {text.decode()}")
    return json.loads(text)


class Sessions:
    """Sessions on a server, to be checked and renewed in turn."""

    def __init__(self, server):
        self.server = server
        self.tokens, self.due, self.callers = {}, [], []
        for subject in range(SESSIONS // OF_EACH):
            server.ask("PUT", f"/v1/subjects/agent-{subject}", {}, 201)
            new = {"subjectId": f"agent-{subject}", "ttl": 2 * HALF_PERIOD, "maxRenewals": 100}
            for _ in range(OF_EACH):
                session = server.ask("POST", "/v1/sessions", new, 201)
                self.tokens[session["sessionId"]] = session["token"]

    def introspect(self, times):
        """Checks tokens in turn, one after the other, on a connection for that alone."""
        tokens = list(self.tokens.values())
        connection, key = self.server.connect(), self.server.key
        for number in range(times):
            send(connection, key, "POST", "/v1/introspect", {"token": tokens[number % SESSIONS]})
            receive(connection)

    def may_be_renewed(self):
        """Moves the clock by half a period, and waits for the tree's head, which is then due, to be signed."""
        self.server.ask("PUT", "/v1/clock", {"advance": HALF_PERIOD})
        time.sleep(1)
        self.due = list(self.tokens)

    def renew(self, times):
        """Renews so many sessions that are due; as many at once as there are callers."""
        self.callers = self.callers or [self.server.connect() for _ in range(self.server.number_of_callers)]
        renewed, self.due = self.due[:times], self.due[times:]
        for first in range(0, times, len(self.callers)):
            together = list(zip(self.callers, renewed[first:]))
            for caller, session in together:
                send(caller, self.tokens[session], "PUT", f"/v1/sessions/{session}/renew")
            for caller, session in together:
                self.tokens[session] = receive(caller)["token"]


def measure(program, callers):
    """Both measures of a program: for each what it is called, its number, and the file of its counts."""
    with tempfile.TemporaryDirectory() as directory, Server(program, directory, callers) as server:
        sessions = Sessions(server)
        sessions.may_be_renewed()
        for name, times, work in (
            ("introspection", INTROSPECTIONS, sessions.introspect),
            ("renewal", RENEWALS, sessions.renew),
        ):
            work(WARM)
            yield name, times, server.counted(lambda: work(times))


def counted(program, callers):
    """By name: how many instructions one takes, over HTTP and in process."""
    for name, times, counts in measure(program, callers):
        yield name, total(counts) / times
        yield f"{name} in process", stages.of_functions(counts, IN_PROCESS[name]) / times


def total(counts):
    """The instructions in a file of counts."""
    return int(re.search(r"^(?:totals|summary): (\d+)", counts.read_text(), re.MULTILINE).group(1))


def write(program):
    """Writes down what a request costs now. The build must be the one that is checked later."""
    known = {name: round(count) for name, count in counted(program, callers=1)}
    WRITTEN_DOWN.write_text(json.dumps(known, indent=2) + "\n")
    print(f"{WRITTEN_DOWN}: {known}")


def check(program):
    """Fails when a request costs more than what is written down, by more than the margin."""
    if not WRITTEN_DOWN.exists():
        sys.exit(f"nothing is written down yet: `{sys.argv[0]} --write {program}`")
    if not is_comparable() or not has_valgrind():
        return
    known = json.loads(WRITTEN_DOWN.read_text())
    fails = False
    for name, count in counted(program, callers=1):
        before = known[name]
        change = count / before - 1
        print(f"instructions a {name}: {count:,.0f}, written down {before:,}, {change:+.1%}", flush=True)
        fails = fails or change > MARGIN
        if change < -MARGIN:
            print(f"  so much less is worth keeping: write it into {WRITTEN_DOWN.name}")
    if fails:
        sys.exit(f"more than {MARGIN:.0%} above what is written down: see `{sys.argv[0]} --stages {program}`")


def is_comparable():
    """Whether hashes are computed as they were where the counts were written down, by the processor's AVX2."""
    known = pathlib.Path("/proc/cpuinfo")
    if known.exists() and re.search(r"^flags\s*:.*\bavx2\b", known.read_text(), re.MULTILINE):
        return True
    print("the instructions of busy requests were not counted: this processor has no AVX2, and needs more of them")
    return False


def has_valgrind():
    """Whether it is here, or can be installed; that it is not fails under CI."""
    apt = shutil.which("apt-get") if os.geteuid() == 0 else None
    if not shutil.which("vgdb") and apt:
        print("installing valgrind, which only this uses", flush=True)
        quiet = {"check": False, "stdout": subprocess.DEVNULL, "env": dict(os.environ, DEBIAN_FRONTEND="noninteractive")}
        subprocess.run([apt, "update", "-qq"], **quiet)
        subprocess.run([apt, "install", "-y", "-qq", "valgrind"], **quiet)
    if shutil.which("vgdb"):
        return True
    print("the instructions of busy requests were not counted: there is no valgrind")
    if os.environ.get("CI"):
        sys.exit(1)
    return False


def main():
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="+")
    parser.add_argument("--callers", type=int, default=1, help="who renew at once")
    parser.add_argument("--stages", action="store_true", help="by stage of the work")
    parser.add_argument("--write", action="store_true", help="write down what they are")
    parser.add_argument("--check", action="store_true", help="fail when they are more than is written down")
    asked = parser.parse_args()
    for program in asked.programs:
        if asked.write or asked.check:
            (write if asked.write else check)(program)
            continue
        for name, times, counts in measure(program, asked.callers):
            print(f"{program}: {total(counts) / times:,.0f} instructions a {name}", flush=True)
            if asked.stages:
                stages.report(counts, times)


if __name__ == "__main__":
    main()
