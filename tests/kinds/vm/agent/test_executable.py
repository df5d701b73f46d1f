"""The program is there for each architecture that has machines."""

from __future__ import annotations

import struct

import pytest

from gasang.core.errors import UnsupportedError
from gasang.kinds.vm.agent.executable import agent_program
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
