"""The pages are gone through: what they say to do is done, and what they show is what is said.

A `sh` block is run, in one shell for a page. A `text` block behind it is what it said. Time stands still but where a
comment says how much of it passes: `<!-- 3000 s pass -->`.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ground import ROOT, Server

PIECE = re.compile(r"^```(\w+)\n(.*?)^```$|^<!-- (\d+) s pass -->$", re.MULTILINE | re.DOTALL)
SAID = "--- said"
JUDGES = ["AsyncVerifier", "AsyncIntrospector"]


def pieces(page: Path) -> Iterator[tuple[str, str]]:
    for found in PIECE.finditer(page.read_text()):
        yield ("pass", found[3]) if found[3] else (found[1], found[2])


@pytest.mark.skipif(
    "CI" not in os.environ and not all(map(shutil.which, ["curl", "jq"])), reason="curl or jq is missing"
)
def test_seven_requests_are_all_that_an_agent_needs(server: Server, tmp_path: Path) -> None:
    shell = subprocess.Popen(
        ["bash", "-e", "-o", "pipefail"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "URL": server.url, "KEY": server.key("issuer")},
    )
    assert shell.stdin is not None
    assert shell.stdout is not None
    said, runs = "", 0
    for kind, text in pieces(ROOT / "docs" / "hold-a-session.md"):
        match kind:
            case "sh":
                shell.stdin.write(f"{text}\necho '{SAID}'\n")
                shell.stdin.flush()
                said = "".join(iter(shell.stdout.readline, f"{SAID}\n"))
                assert shell.poll() is None, f"{text}\n{said}"
                runs += text.count("curl ")
            case "text":
                assert said == text
            case "pass":
                server.advance(int(text))
            case _:
                raise AssertionError(kind)
    shell.communicate()
    assert (runs, shell.returncode) == (7, 0)


README = ROOT / "clients" / "python" / "README.md"


def example(number: int, *replaced: tuple[str, str]) -> str:
    """An example of the README, with what only the reader knows in place of what stands there."""
    text = [text for kind, text in pieces(README) if kind == "python"][number]
    for there, here in replaced:
        assert there in text
        text = text.replace(there, here)
    return text


def test_the_package_installs_as_the_readme_says(tmp_path: Path) -> None:
    line = next(text for kind, text in pieces(README) if kind == "sh")
    assert line.startswith("pip install ")
    # What it needs is here, and nothing is fetched.
    offline = ["-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(tmp_path)]
    install = [sys.executable, "-m", "pip", *shlex.split(line)[1:], *offline]
    subprocess.run(install, cwd=ROOT, check=True)
    assert (tmp_path / "tenure" / "py.typed").exists()
    metadata = next(tmp_path.glob("tenure-*.dist-info")) / "METADATA"
    extras = re.findall(r"^Provides-Extra: (\w+)$", metadata.read_text(), re.MULTILINE)
    assert sorted(extras) == ["fastapi", "verify"]
    assert "[verify,fastapi]" in line


def test_the_quickstart_of_the_readme_runs(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = server.session_file(tmp_path)
    file.path.rename(tmp_path / "agent-7.session")
    # The shop is the authority's own page of health, which takes no order: what counts is that it is asked.
    shop = ("https://shop.example.com/orders", f"{server.url}/healthz")
    quickstart = example(0, shop, ("session.wait()", "session.revoke() and session.wait()"))
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    exec(compile(quickstart, "README.md", "exec"), {"print": said.append})
    assert said == ["over: its holder ended it; by others: False"]


def test_the_single_calls_of_the_readme_run(server: Server) -> None:
    server.client.put_subject("agent-7")
    exec(compile(example(1, ("http://127.0.0.1:7300", server.url)), "README.md", "exec"), {"key": server.admin})
    assert server.client.sessions(status="revoked").items[0].revoked_reason == "no longer needed"


def test_the_guarded_service_of_the_readme_runs() -> None:
    with Server("--test-clock", "--set", "server.public_url=https://tenure.example.com") as server:
        server.client.put_subject("agent-7", owner_id="alice")
        token = server.client.create_session("agent-7", scopes=["orders:read", "payments"]).token
        minted = server.client.with_credential(token).access_token(audience="orders").access_token
        asked = [(f'{name}("https://tenure.example.com"', f'{name}("{server.url}"') for name in JUDGES]
        known = {"key": server.key("verifier")}
        exec(compile(example(2, *asked), "README.md", "exec"), known)
        with TestClient(known["app"]) as http:  # type: ignore[arg-type]
            orders = http.get("/orders", headers={"authorization": f"Bearer {minted}"})
            assert orders.json() == "the orders of agent-7"
            paid = http.post("/payments", headers={"authorization": f"Bearer {token}"})
            assert paid.json() == "paid by agent-7, for whom alice answers"
            assert http.post("/payments", headers={"authorization": f"Bearer {minted}"}).status_code == 401
