"""Machines that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from gasang.accel.soft.machine import SoftMachine
from support.machines import bare_machine


@pytest.fixture
def make_machine() -> Iterator[Callable[..., SoftMachine]]:
    """``make_machine(program, harts, memory)`` as `bare_machine`."""
    made: list[SoftMachine] = []

    def make(program: bytes = b"", harts: int = 1, memory: int = 1 << 20) -> SoftMachine:
        made.append(bare_machine(program, harts, memory))
        return made[-1]

    yield make
    for machine in made:
        machine.stop()
        machine.join()
        machine.close()
