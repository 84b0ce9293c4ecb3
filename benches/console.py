#!/usr/bin/env python3
"""Measures the console beside a history of its own making: the server's time for each page, the slider's answer, and
what 50 open consoles cost the checks beside them.

    benches/console.py target/release/tenure                                   1 M sessions, 10 M events
    benches/console.py --sessions 2000 --events 6000 --pairs 1 target/debug/tenure
    benches/console.py --data DIR target/release/tenure                        a directory that was filled before
    benches/console.py --keep DIR target/release/tenure                        leave the filled directory there
    benches/console.py --only beside --data DIR target/release/tenure          pages, events or beside alone

The history is made over HTTP by several processes: subjects with five sessions each, and recorded uses until there are
as many events. Of the 50 consoles, of ten auditors, two of five are at Overview and two at Agents, which their module
asks for again every five seconds, and one of five at the live log. Bounds: a page 20 ms of server time at the 95th
percentile, the slider 100 ms (Agents 1 s), checks beside consoles a 99th percentile within 1.3 times and a throughput
within 3 %, each the median of nine pairs. A bound that is not kept ends it with status 1; with fewer sessions than a
million nothing is held against the bounds.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import pathlib
import re
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

PER_SUBJECT, CONSOLES, WORKERS = 5, 50, 8
# An open page of Agents or Overview is asked for again after so many seconds (assets/live.js).
EVERY = 5
# A directory that was measured before has their sessions already.
ROOM = {"onLimit": "evict_oldest"}
PAGE_MS, SLIDER_MS, AGENTS_SLIDER_MS, P99_RATIO, RATE_RATIO = 20, 100, 1_000, 1.3, 0.97


class Server:
    """A server on a data directory."""

    def __init__(self, program, data):
        self.log = tempfile.NamedTemporaryFile("w+", suffix=".log")
        command = [program, "serve", "--data", data, "--listen", "127.0.0.1:0"]
        for setting in ["usage.per_second=1000000", "usage.burst=1000000"]:
            command += ["--set", setting]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.auditors = []
        self.port = self.listening()
        self.key = pathlib.Path(data, "admin.key").read_text(encoding="ascii").strip()

    def listening(self):
        """The port, once the server listens."""
        while self.process.poll() is None:
            text = pathlib.Path(self.log.name).read_text(encoding="utf-8", errors="replace")
            found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", text)
            if found:
                return int(found.group(1))
            time.sleep(0.1)
        sys.exit(pathlib.Path(self.log.name).read_text(encoding="utf-8", errors="replace"))

    def processor(self):
        """The processor time that it has taken, in seconds."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        """Stops it in order."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def connect(port):
    """A connection that is kept."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=120)


def ask(connection, key, method, path, body=None):
    """The document of a reply, which must be a good one."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    reply = connection.getresponse()
    text = reply.read()
    if reply.status >= 300:
        sys.exit(f"{method} {path}: {reply.status} {text.decode()}")
    return json.loads(text) if text else None


def fill_part(port, key, part, subjects, uses):
    """Makes every subject whose turn it is, its sessions, and their uses."""
    connection = connect(port)
    for number in range(part, subjects, WORKERS):
        ask(connection, key, "PUT", f"/v1/subjects/agent-{number}", {"name": f"Agent {number}"})
        for _ in range(PER_SUBJECT):
            made = ask(connection, key, "POST", "/v1/sessions", {"subjectId": f"agent-{number}"})
            for _ in range(uses):
                ask(connection, key, "POST", f"/v1/sessions/{made['sessionId']}/usage", {"operation": "read"})


def fill(server, sessions, events):
    """Makes the history, and says how long that took."""
    subjects = max(1, sessions // PER_SUBJECT)
    uses = max(0, (events - subjects) // (subjects * PER_SUBJECT) - 1)
    begun = time.monotonic()
    parts = [
        multiprocessing.Process(target=fill_part, args=(server.port, server.key, part, subjects, uses))
        for part in range(WORKERS)
    ]
    for part in parts:
        part.start()
    for part in parts:
        part.join()
        if part.exitcode != 0:
            sys.exit("the history could not be made")
    print(f"{subjects * PER_SUBJECT} sessions and their events were made in {time.monotonic() - begun:.0f} s")


def sign_in(server, key):
    """The cookie of a sign-in with a key."""
    connection = connect(server.port)
    headers = {
        "host": "localhost",
        "origin": "http://localhost",
        "sec-fetch-site": "same-origin",
        "content-type": "application/x-www-form-urlencoded",
    }
    connection.request("POST", "/console/sign-in", urllib.parse.urlencode({"key": key}), headers)
    reply = connection.getresponse()
    reply.read()
    if reply.status != 303:
        sys.exit(f"the sign-in was answered {reply.status}")
    return reply.getheader("set-cookie").split(";")[0]


def page(connection, cookie, path, more=()):
    """The server's time for a page, in milliseconds, and its length."""
    headers = {"host": "localhost", "cookie": cookie, "accept": "text/html", **dict(more)}
    connection.request("GET", path, headers=headers)
    reply = connection.getresponse()
    text = reply.read()
    if reply.status != 200:
        sys.exit(f"{path}: {reply.status}")
    return float(re.search(r"dur=([\d.]+)", reply.getheader("server-timing")).group(1)), len(text)


def percentile(values, percent):
    """Of some values."""
    values = sorted(values)
    return values[(len(values) - 1) * percent // 100]


def head(server):
    """The newest position."""
    return ask(connect(server.port), server.key, "GET", "/v1/audit/head")["size"]


def pages(server, cookie):
    """Each page and the slider on those that have it, with the bound of each."""
    connection = connect(server.port)
    found = ask(connection, server.key, "GET", "/v1/subjects?limit=50")["items"]
    subject = next(item["subjectId"] for item in found if item["subjectId"].startswith("agent-"))
    # It was there at each of the moments below.
    session = ask(connection, server.key, "GET", f"/v1/sessions?subjectId={subject}")["items"][0]["sessionId"]
    size = head(server)
    own = {"session": f"/console/sessions/{session}", "subject": f"/console/subjects/{subject}"}
    names = ["", "/agents", "/log", "/audit", "/webhooks", "/what-if", "/keys", "/settings"]
    for path in [*("/console" + name for name in names), *own.values()]:
        yield path, [path], PAGE_MS
    for path, bound in [
        ("/console/agents", AGENTS_SLIDER_MS),
        ("/console/log", SLIDER_MS),
        (own["session"], SLIDER_MS),
        (own["subject"], SLIDER_MS),
    ]:
        # Those that are asked about a session before it began say so; these moments are of its life.
        moments = [size - step for step in range(0, max(1, min(size // 2, 1_000)), 7)]
        if path in own.values():
            moments = [size - step for step in range(5)]
        yield f"{path} as of", [f"{path}?asOf={moment}" for moment in moments], bound


def checks(server, token, seconds):
    """How many checks a second some connections get, and the 99th percentile in milliseconds."""
    took, until = [], time.monotonic() + seconds

    def check():
        connection = connect(server.port)
        while time.monotonic() < until:
            begun = time.monotonic()
            ask(connection, server.key, "POST", "/v1/introspect", {"token": token})
            took.append((time.monotonic() - begun) * 1e3)

    callers = [threading.Thread(target=check) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return len(took) / seconds, percentile(took, 99)


def consoles(port, cookies, stop):
    """Consoles that are open, in a process of their own. They do what the pages' modules do: two of five are at
    Overview and two at Agents, which are asked for again every five seconds, and one of five at the log, which is
    live."""
    tails = selectors.DefaultSelector()

    def open_one(number):
        reading = connect(port)
        path, cookie = ["/console", "/console/agents"][number % 2], cookies[number % len(cookies)]
        page(reading, cookie, path)
        wait = EVERY * (number + 1) / CONSOLES
        while not stop.wait(wait):
            page(reading, cookie, path, {"x-tenure-live": "1"})
            wait = EVERY

    def listen(cookie):
        tail = socket.create_connection(("127.0.0.1", port))
        asked = f"GET /console/log/stream?after=latest HTTP/1.1\r\nhost: localhost\r\ncookie: {cookie}\r\n\r\n"
        tail.sendall(asked.encode())
        tails.register(tail, selectors.EVENT_READ)

    for number in range(CONSOLES):
        if number % 5 == 4:
            listen(cookies[number % len(cookies)])
    readers = [threading.Thread(target=open_one, args=(number,)) for number in range(CONSOLES) if number % 5 != 4]
    for reader in readers:
        reader.start()
    while not stop.is_set():
        for ready, _ in tails.select(timeout=0.2):
            if not ready.fileobj.recv(1 << 20):
                sys.exit("a live log has ended")
    for reader in readers:
        reader.join()


def auditors(server):
    """The cookies of ten auditors, who are made once."""
    if server.auditors:
        return server.auditors
    connection = connect(server.port)
    keys = [ask(connection, server.key, "POST", "/v1/credentials", {"role": "auditor"})["key"] for _ in range(10)]
    server.auditors = [sign_in(server, key) for key in keys]
    return server.auditors


class OpenConsoles:
    """Consoles that are open for as long as the block goes on."""

    def __init__(self, server):
        self.stop = multiprocessing.Event()
        arguments = (server.port, auditors(server), self.stop)
        self.process = multiprocessing.Process(target=consoles, args=arguments)

    def __enter__(self):
        self.process.start()
        # All of them have loaded their first page.
        time.sleep(3)

    def __exit__(self, *_):
        self.stop.set()
        self.process.join()
        if self.process.exitcode != 0:
            sys.exit("a console could not be kept open")


def record(server, session, count):
    """Records this many uses of a session from some connections; how long that took."""

    def use(part):
        connection = connect(server.port)
        for _ in range(part):
            ask(connection, server.key, "POST", f"/v1/sessions/{session}/usage", {"operation": "read"})

    begun = time.monotonic()
    callers = [threading.Thread(target=use, args=(count // 4,)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return time.monotonic() - begun


def per_event(server, events):
    """What an event costs the server beyond its own record while consoles are open, in microseconds of processor
    time."""
    ask(connect(server.port), server.key, "PUT", "/v1/subjects/recorded", ROOM)
    session = ask(connect(server.port), server.key, "POST", "/v1/sessions", {"subjectId": "recorded"})["sessionId"]

    def idle():
        """The part of a core that the server takes when nothing is asked of it."""
        begun, since = server.processor(), time.monotonic()
        time.sleep(10)
        return (server.processor() - begun) / (time.monotonic() - since)

    without = idle()
    begun = server.processor()
    record(server, session, events)
    alone = server.processor() - begun
    with OpenConsoles(server):
        beside_them = idle()
        begun = server.processor()
        took = record(server, session, events)
        both = server.processor() - begun
    print(f"while nothing happens the server takes {without * 100:.1f} % of a core, and {beside_them * 100:.1f} % with "
          f"{CONSOLES} consoles open; an event takes {alone / events * 1e6:.0f} µs, and {both / events * 1e6:.0f} µs "
          f"beside them at {events / took:.0f} a second")


def beside(server, pairs, seconds):
    """The median ratios of checks beside consoles to those without: of the 99th percentile, and of the throughput."""
    made = ask(connect(server.port), server.key, "PUT", "/v1/subjects/checked", ROOM)
    assert made is not None
    token = ask(connect(server.port), server.key, "POST", "/v1/sessions", {"subjectId": "checked"})["token"]
    slower, rates = [], []
    for _ in range(pairs):
        rate, p99 = checks(server, token, seconds)
        with OpenConsoles(server):
            rate_beside, p99_beside = checks(server, token, seconds)
        print(f"checks: {rate:8.0f}/s, p99 {p99:6.2f} ms; beside {CONSOLES} consoles {rate_beside:8.0f}/s, "
              f"p99 {p99_beside:6.2f} ms")
        slower.append(p99_beside / p99)
        rates.append(rate_beside / rate)
    return statistics.median(slower), statistics.median(rates)


def measured(server, arguments):
    """Prints everything; the bounds that were not kept."""
    cookie, missed, connection = sign_in(server, server.key), [], connect(server.port)
    for name, paths, bound in pages(server, cookie) if arguments.only in (None, "pages") else ():
        loads = [page(connection, cookie, paths[turn % len(paths)]) for turn in range(arguments.loads)]
        took = [milliseconds for milliseconds, _ in loads]
        p95, weight = percentile(took, 95), max(length for _, length in loads)
        shown = re.sub(r"[0-9a-f-]{36}|agent-\d+", "{id}", name)
        print(f"{shown:40} p50 {percentile(took, 50):8.2f} ms  p95 {p95:8.2f} ms  bound {bound} ms  "
              f"{weight / 1e3:6.1f} KB")
        if p95 > bound:
            missed.append(f"{shown}: {p95:.1f} ms, and {bound} is the bound")
    if arguments.only in (None, "events"):
        per_event(server, 5_000)
    if arguments.only in (None, "beside"):
        slower, rate = beside(server, arguments.pairs, arguments.seconds)
        print(f"medians of {arguments.pairs} pairs: p99 {slower:.2f} times, throughput {rate:.3f} times")
        if slower > P99_RATIO or rate < RATE_RATIO:
            missed.append(f"checks beside consoles: p99 {slower:.2f} times, throughput {rate:.3f} times")
    return missed


def main():
    """Fills, measures, compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--loads", type=int, default=100, help="how often each page is loaded")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=5, help="how long each half of a pair takes")
    parser.add_argument("--only", choices=["pages", "events", "beside"], help="measure nothing else")
    parser.add_argument("--data", help="a directory that was filled before")
    parser.add_argument("--keep", help="where to leave the filled directory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as scratch:
        data = arguments.data or arguments.keep or os.path.join(scratch, "data")
        server = Server(arguments.program, data)
        try:
            if not arguments.data:
                fill(server, arguments.sessions, arguments.events)
            missed = measured(server, arguments)
        finally:
            server.stop()
    if arguments.data or arguments.sessions >= 1_000_000:
        sys.exit("\n".join(missed) or 0)


if __name__ == "__main__":
    main()
