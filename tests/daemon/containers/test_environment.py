"""A process's variables: expectations of dockerd 26.1 with runc."""

from __future__ import annotations

import pytest

from gasang.daemon.containers.names import now
from gasang.daemon.containers.oci import PATH, Surroundings, environment
from gasang.daemon.containers.record import Container
from gasang.daemon.containers.settings import config_of, host_config_of

AROUND = Surroundings(uid=0, gid=0, groups=(), home="/root", cgroup="", hostname="web")


@pytest.mark.parametrize(
    ("own", "more", "expected"),
    [
        ([], [], [PATH, "HOSTNAME=web", "HOME=/root"]),
        (["A=1", "PATH=/bin"], [], ["PATH=/bin", "HOSTNAME=web", "A=1", "HOME=/root"]),
        (["HOSTNAME=other", "HOME=/x"], [], [PATH, "HOSTNAME=other", "HOME=/x"]),
        (["HOME="], [], [PATH, "HOSTNAME=web", "HOME=/root"]),
        (["PATH"], [], ["HOSTNAME=web", "HOME=/root"]),
        (["B=2", "B"], [], [PATH, "HOSTNAME=web", "B=2", "HOME=/root"]),
        (["A=1", "A=2"], [], [PATH, "HOSTNAME=web", "A=2", "HOME=/root"]),
        (["A=1"], ["A"], [PATH, "HOSTNAME=web", "HOME=/root"]),
        (["A=1"], ["A=3", "C=4"], [PATH, "HOSTNAME=web", "A=3", "C=4", "HOME=/root"]),
    ],
)
def test_variables(own: list[str], more: list[str], expected: list[str]) -> None:
    container = Container("c" * 64, "web", now(), "image", "sha256:1", config_of({"Env": own}), host_config_of({}))
    assert environment(container, AROUND, False, more) == expected


def test_at_a_terminal() -> None:
    container = Container("c" * 64, "web", now(), "image", "sha256:1", config_of({"Env": []}), host_config_of({}))
    assert environment(container, AROUND, True, []) == [PATH, "HOSTNAME=web", "TERM=xterm", "HOME=/root"]
