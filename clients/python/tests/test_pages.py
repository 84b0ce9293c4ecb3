"""The pages are gone through: what they say to do is done, and what they show is what is said.

A `sh` block is run, in one shell for a page. A `text` block behind it is what it said. Time stands still but where a
comment says how much of it passes: `<!-- 3000 s pass -->`.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ground import ROOT, Server

PIECE = re.compile(r"^```(\w+)\n(.*?)^```$|^<!-- (\d+) s pass -->$", re.MULTILINE | re.DOTALL)
SAID = "--- said"


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


def test_every_example_of_the_readme_is_python_that_runs_or_at_least_compiles() -> None:
    examples = [text for kind, text in pieces(ROOT / "clients" / "python" / "README.md") if kind == "python"]
    assert len(examples) == 3
    for example in examples:
        compile(example, "README.md", "exec")


def test_the_quickstart_of_the_readme_runs(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quickstart = next(text for kind, text in pieces(ROOT / "clients" / "python" / "README.md") if kind == "python")
    file = server.session_file(tmp_path)
    file.path.rename(tmp_path / "agent-7.session")
    # The shop is the authority's own page of health, which takes no order: what counts is that it is asked.
    quickstart = quickstart.replace("https://shop.example.com/orders", f"{server.url}/healthz")
    quickstart = quickstart.replace("session.wait()", "session.revoke() and session.wait()")
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    exec(compile(quickstart, "README.md", "exec"), {"print": said.append})
    assert said == ["over: its holder ended it; by others: False"]
