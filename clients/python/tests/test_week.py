"""A week in which many processes share one session file, and every tenth reply is lost.

Eight processes by default; `TENURE_PROCESSES=64` is the long form. Half of them are blocking, half of them run on
asyncio, and the `tenure` command renews the same file in between.
"""

import os
import random
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from agent import Agent, time_order
from ground import BINARY, Server
from lossy import Fate, Network

PROCESSES = int(os.environ.get("TENURE_PROCESSES", "8"))
SEED = 0x7E0075
TTL = 14_400
"""Four hours: 100 renewals at most are enough for a week, at 50 % of the period each."""
STEP = timedelta(minutes=10)
"""So far the clock moves at a time; between a `renewAt` and the end of the period are 48 minutes at least."""
WEEK = timedelta(days=7)


def losing(lost: list[str]) -> Callable[[str], Fate]:
    chance = random.Random(SEED)

    def fate(first: str) -> Fate:
        if chance.random() >= 0.1:
            return Fate.PASS
        lost.append(first)
        return Fate.LOSE_REPLY

    return fate


def test_processes_share_a_session_for_a_week_and_lose_every_tenth_reply(server: Server, tmp_path: Path) -> None:
    verifier, lost = server.key("verifier"), list[str]()
    network = Network(server.address, losing(lost))
    file = server.session_file(tmp_path, network.url, ttl=TTL, absolute_lifetime=2_592_000)
    kinds = ["blocking", "asyncio"]
    agents = [Agent(file.path, network.url, verifier, kinds[number % 2]) for number in range(PROCESSES)]
    chance, by_command = random.Random(SEED), 0
    try:
        start = now = server.now()
        while now <= start + WEEK:
            server.http.put("/v1/clock", json={"to": now.isoformat()}).raise_for_status()
            if chance.random() < 0.05:
                by_command += the_command_renews(file.path)
            all_work_at(agents, now, chance)
            now += STEP

        # No one was signed out, and every process has a token that works.
        for agent in agents:
            assert agent.ask("introspect") == "live"
    finally:
        for agent in agents:
            agent.kill()
        network.close()

    renewals = file.read().renewal_count
    assert len(server.events("SessionRenewed")) == renewals, "a renewal that no holder knows of"
    assert not server.events("SessionRevoked,SessionExpired")
    # The command asks too early now and then, which is refused; nothing else is.
    assert {event["data"]["code"] for event in server.events("RenewalRejected")} <= {"RENEWAL_TOO_EARLY"}
    assert WEEK.total_seconds() / (TTL * 0.8 + 1_200) <= renewals <= WEEK.total_seconds() / (TTL / 2)
    print(f"{renewals} renewals in a week, {by_command} by the command; {len(lost)} replies lost")
    assert by_command > 0, "the command renewed nothing"
    assert len(lost) > 20, f"only {len(lost)} replies were lost"


def the_command_renews(file: Path) -> bool:
    command = [BINARY, "session", "renew", "--session-file", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # Too early is refused; a lost reply is left to the others: the key is in the file.
    assert done.returncode in {0, 2, 3}, done.stderr
    return done.returncode == 0


def all_work_at(agents: list[Agent], now: datetime, chance: random.Random) -> None:
    """Tell all what time it is, while some use the session: before they know that it is time to renew it, or after."""
    time = time_order(now)
    orders = [chance.choice([["use", time], [time, "use"], [time, "introspect"], *[[time]] * 13]) for _ in agents]
    for agent, its_orders in zip(agents, orders, strict=True):
        for order in its_orders:
            agent.tell(order)
    for agent, its_orders in zip(agents, orders, strict=True):
        for order in its_orders:
            right = {"use": "used", "introspect": "live"}.get(order, "live ")
            said = agent.answer()
            assert said.startswith(right), f"{order} at {now}: {said}"
