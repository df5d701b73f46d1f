"""The agent's program as one command: `agent run ROOT USER DIRECTORY PROGRAM …`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gasang.kinds.vm.agent.executable import agent_program

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or os.uname().machine != "x86_64", reason="needs root, and an x86-64 processor")
PATH = {"PATH": "/usr/bin:/bin"}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("once") / "agent"
    path.write_bytes(agent_program("x86_64"))
    path.chmod(0o755)
    return path


def run(program: Path, *words: str, environment: dict[str, str] | None = None, data: bytes = b"") -> tuple[int, str, str]:
    done = subprocess.run([program, "run", *words], env=environment or PATH, input=data, capture_output=True, check=False, timeout=20)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_it_becomes_the_program(program: Path) -> None:
    script, given = 'id -u; pwd; cat; echo "$0 $1 $A"; exit 5', {**PATH, "A": "b"}
    found = run(program, "/", "", "", "sh", "-c", script, "x", "y", environment=given, data=b"in\n")
    assert found == (5, "0\n/\nin\nx y b\n", "")


def test_variables_are_its_own_and_home_the_users(program: Path) -> None:
    found = run(program, "/", "nobody", "/tmp", "env", environment={**PATH, "A": "b"})[1]
    assert found.split() == ["PATH=/usr/bin:/bin", "A=b", "HOME=/nonexistent"]
    found = run(program, "/", "", "", "env", environment={**PATH, "HOME": "/own"})[1]
    assert found.split() == ["PATH=/usr/bin:/bin", "HOME=/own"]


@pytest.mark.parametrize(("user", "said"), [("nobody", "65534 65534"), ("1234:5", "1234 5"), ("1234", "1234 0"), ("", "0 0")])
def test_users(program: Path, user: str, said: str) -> None:
    assert run(program, "/", user, "", "sh", "-c", "echo $(id -u) $(id -g); echo x >/dev/stdout") == (0, f"{said}\nx\n", "")


def test_a_root_without_anything_else(program: Path, tmp_path: Path) -> None:
    (tmp_path / "only").write_bytes(program.read_bytes())
    (tmp_path / "only").chmod(0o755)
    assert run(program, str(tmp_path), "5:6", "", "/only") == (126, "", "gasang: cannot run /\n"), "the user may not even be there"
    tmp_path.chmod(0o755)
    assert run(program, str(tmp_path), "5:6", "", "/only", "run", "/", "", "") == (126, "", "")


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("/", "", "", "nosuch"), 127, "nosuch"),
        (("/", "", "/nowhere", "sh"), 127, "/nowhere"),
        (("/", "nobody-here", "", "sh"), 127, "nobody-here"),
        (("/", "", "", "/etc/passwd"), 126, "/etc/passwd"),
        (("/nowhere", "", "", "sh"), 127, "/nowhere"),
    ],
)
def test_what_cannot_be_run_is_told(program: Path, words: tuple[str, ...], code: int, named: str) -> None:
    assert run(program, *words) == (code, "", f"gasang: cannot run {named}\n")
