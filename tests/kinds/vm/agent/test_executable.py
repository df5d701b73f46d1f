"""The program is there for each architecture that has machines."""

from __future__ import annotations

import struct
from contextlib import AbstractContextManager

import pytest

from gasang.core.errors import UnsupportedError
from gasang.core.progress import Silent, Step
from gasang.kinds.vm.agent.executable import agent_program, prepare_agent
from gasang.native.relocate import MACHINES


def test_each_architecture_has_its_own() -> None:
    assert agent_program("amd64") == agent_program("x86_64")
    for family in ("x86_64", "riscv64"):
        image = agent_program(family)
        assert struct.unpack_from("<H", image, 18) == (MACHINES[family],)
        assert len(image) < 64 << 10


def test_another_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="architecture vax"):
        agent_program("vax")


class Seen(Silent):
    """Which steps were begun."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def step(self, title: str, total: int | None = None, unit: str = "") -> AbstractContextManager[Step]:
        """Note it."""
        self.titles.append(title)
        return super().step(title, total, unit)


def test_who_waits_for_it_sees_what_for() -> None:
    seen = Seen()
    prepare_agent("riscv64", seen)
    assert seen.titles == ["compiling the guest's agent"]
