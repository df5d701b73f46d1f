"""What the floating-point instructions share: reserved rounding modes, memory, and agreement with plain Python."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.cpus.riscv64.mmu import tlb_index
from gasang.cpus.riscv64.state import PAGE_MASK, PAGE_SIZE, RESERVATION_SLOTS, Shared
from gasang.cpus.riscv64.trap import ILLEGAL_INSTRUCTION
from support.float_golden import corners
from support.float_instructions import BOXED, FAULTED, FD, FS1, FS2, FS3, INSTRUCTIONS, NUMBERS, RD, RS1, Cpu, execute, raised_by

ROUNDED = [instruction.name for instruction in INSTRUCTIONS if "rm" in instruction.pattern.operands]
IN_MEMORY = ("flw", "fsw", "fld", "fsd")


def state(cpu: ctypes.Structure) -> tuple[list[int], list[int], int]:
    """What an instruction may change."""
    return list(cpu.x), list(cpu.f), cpu.fs


@pytest.mark.parametrize("name", ROUNDED)
def test_reserved_rounding_modes_are_illegal(name: str) -> None:
    cpu = Cpu.ctype()
    cpu.f[FS1], cpu.f[FS2], cpu.f[FS3], cpu.x[RS1], cpu.fs = BOXED, BOXED, BOXED, 1, 1
    before = state(cpu)
    for rm, frm in ((5, 0), (6, 6), (7, 5), (7, 6), (7, 7), (5, 5)):
        cpu.frm, cpu.cause = frm, 0
        assert raised_by(cpu, NUMBERS[name], rm) == FAULTED, (rm, frm)
        assert cpu.cause == ILLEGAL_INSTRUCTION
        assert state(cpu) == before
    cpu.frm = 7
    assert raised_by(cpu, NUMBERS[name], 0) != FAULTED, "a static rounding mode does not look at frm"


@pytest.mark.parametrize("name", IN_MEMORY)
def test_loads_and_stores(name: str) -> None:
    buffer = ctypes.create_string_buffer(3 * PAGE_SIZE)
    page = (ctypes.addressof(buffer) + PAGE_SIZE) & PAGE_MASK
    place = ctypes.c_uint64.from_address(page + 16)
    cpu = Cpu.ctype()
    entry = cpu.tlb[tlb_index(page)]
    entry.read_tag = entry.write_tag = page
    cpu.x[RS1], cpu.fs = page + 16, 1
    place.value, cpu.f[FS2] = 0x8899AABBCCDDEEFF, 0x1122334455667788
    if name in ("fsw", "fsd"):
        counts = (ctypes.c_uint32 * RESERVATION_SLOTS)()  # looked at before a store
        shared = Shared.ctype()
        shared.reservation_counts = ctypes.addressof(counts)
        cpu.shared = ctypes.addressof(shared)
    assert not execute(cpu, NUMBERS[name], 0)
    expected = {"flw": 0xFFFFFFFFCCDDEEFF, "fld": 0x8899AABBCCDDEEFF, "fsw": 0x8899AABB55667788, "fsd": 0x1122334455667788}
    assert (cpu.f[FD] if name.startswith("fl") else place.value) == expected[name]
    assert cpu.fs == (3 if name.startswith("fl") else 1)


registers = st.sampled_from([*corners(64), *(bits | BOXED for bits in corners(32))]) | st.integers(0, 2**64 - 1)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from([name for name in NUMBERS if name not in IN_MEMORY]), st.sampled_from([0, 1, 2, 3, 4, 7]), *[registers] * 4)
def test_plain_python_agrees_with_compiled_code(name: str, rm: int, a: int, b: int, c: int, x: int) -> None:
    found = []
    for call in (execute, execute.python):
        cpu = Cpu.ctype()
        cpu.f[FS1], cpu.f[FS2], cpu.f[FS3], cpu.x[RS1], cpu.fs = a, b, c, x, 1
        assert not call(cpu, NUMBERS[name], rm)
        found.append((cpu.f[FD], cpu.x[RD], cpu.fs))
    assert found[0] == found[1]
