"""A process that is killed in the middle of a renewal loses nothing: the next one finishes it."""

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import Agent, time_order
from ground import PATIENCE, Server, command_line, eventually
from lossy import Fate, Network

KINDS = ["blocking", "asyncio"]


class Ground:
    """A session that is due for renewal, and a network that keeps its first renewal from being answered."""

    def __init__(self, server: Server, directory: Path, fate: Fate) -> None:
        self.server, self.verifier = server, server.key("verifier")
        self.renewals: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._first_fate: Fate | None = fate
        self.network = Network(server.address, self._fate)
        self.file = server.session_file(directory, self.network.url)
        server.advance(3_000)
        self.agents: list[Agent] = []

    def _fate(self, first: str) -> Fate:
        if not first.startswith("PUT "):
            return Fate.PASS
        fate, self._first_fate = self._first_fate or Fate.PASS, None
        self.renewals.put(first)
        return fate

    def agent(self, kind: str) -> Agent:
        """Start an agent and tell it the time; what it answers is still to be read."""
        agent = Agent(self.file.path, self.network.url, self.verifier, kind)
        self.agents.append(agent)
        agent.tell(time_order(self.server.now()))
        return agent

    def renewed(self) -> int:
        return len(self.server.events("SessionRenewed"))

    def close(self) -> None:
        for agent in self.agents:
            agent.kill()
        self.network.close()


@pytest.fixture
def ground(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Ground]:
    made = Ground(server, tmp_path, request.param)
    yield made
    made.close()


def where_the_first_renewal_meets(fate: Fate) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("ground", [fate], indirect=True)


@pytest.mark.parametrize("kind", KINDS)
@where_the_first_renewal_meets(Fate.HOLD_REQUEST)
def test_killed_before_the_request_arrived_the_next_renews_under_the_key_in_the_file(ground: Ground, kind: str) -> None:
    first = ground.agent(kind)
    ground.renewals.get(timeout=PATIENCE)
    assert ground.file.read().renewal_key is not None, "the key is on disk before the request leaves"
    first.kill()
    assert ground.renewed() == 0

    second = ground.agent(kind)
    assert second.answer() == "live 1"
    assert (second.ask("introspect"), ground.renewed()) == ("live", 1)


@pytest.mark.parametrize("kind", KINDS)
@where_the_first_renewal_meets(Fate.HOLD_REPLY)
def test_killed_between_the_grant_and_the_file_the_next_gets_the_same_renewal_again(ground: Ground, kind: str) -> None:
    first = ground.agent(kind)
    eventually(lambda: ground.renewed() == 1, "the renewal is granted")
    first.kill()
    assert ground.file.read().renewal_count == 0, "the reply never came"

    second = ground.agent(kind)
    assert second.answer() == "live 1"
    assert (second.ask("introspect"), ground.renewed()) == ("live", 1)
    grant = ground.file.read()
    assert (grant.renewal_count, grant.renewal_key) == (1, None)


@where_the_first_renewal_meets(Fate.HOLD_REPLY)
def test_the_command_finishes_what_a_killed_process_began(ground: Ground) -> None:
    first = ground.agent("blocking")
    eventually(lambda: ground.renewed() == 1, "the renewal is granted")
    first.kill()
    command_line("session", "renew", "--session-file", ground.file.path)
    grant = ground.file.read()
    assert (grant.renewal_count, grant.renewal_key, ground.renewed()) == (1, None, 1)
    assert ground.agent("asyncio").answer() == "live 1"


@where_the_first_renewal_meets(Fate.HOLD_REPLY)
def test_processes_that_wait_for_one_that_is_killed_take_over(ground: Ground) -> None:
    first = ground.agent("blocking")
    eventually(lambda: ground.renewed() == 1, "the renewal is granted")
    others = [ground.agent(kind) for kind in ("blocking", "asyncio", "blocking")]
    # Superseded by a renewal whose reply no one has: its user waits for the lock, too.
    for other in others:
        other.tell("use")
    first.kill()
    for other in others:
        assert (other.answer(), other.answer()) == ("live 1", "used")
    assert ground.renewed() == 1


@where_the_first_renewal_meets(Fate.HOLD_REPLY)
def test_long_after_the_old_period_the_next_process_still_gets_the_answer(ground: Ground) -> None:
    first = ground.agent("asyncio")
    eventually(lambda: ground.renewed() == 1, "the renewal is granted")
    first.kill()
    # The old period ended at 3 600 s; the one that was granted is due for renewal at 4 800 s, and ends at 6 600 s.
    ground.server.advance(1_000)
    second = ground.agent("asyncio")
    assert second.answer() == "live 1"
    assert second.ask("use") == "used"


@where_the_first_renewal_meets(Fate.LOSE_REPLY)
def test_a_server_that_is_killed_after_the_grant_still_answers_the_repeat(ground: Ground) -> None:
    agent = ground.agent("blocking")
    assert agent.answer() == "live 0", "the reply was lost, and the clock that would bring the next try stands still"
    ground.server.kill()
    ground.server.start_again()
    ground.server.advance(60)
    agent.tell(time_order(ground.server.now()))
    assert agent.answer() == "live 1"
    assert (agent.ask("use"), ground.renewed()) == ("used", 1)
