"""Where indirect jumps lead, noted for a while where code is about to be compiled.

The interpreter's handlers of such jumps are exchanged for others that note the targets. Code that nobody is about to compile pays nothing.
"""

from __future__ import annotations

from gasang.cpus.riscv64.block import RECORDS
from gasang.cpus.riscv64.code import block_at, code_place
from gasang.cpus.riscv64.fusion import part
from gasang.cpus.riscv64.returns import is_return
from gasang.cpus.riscv64.state import Cpu
from gasang.native import native, ptr, ref, u64

MIX = 0x9E3779B97F4A7C15
JUMP_SHIFT = 56
"""Of a mixed word: what is left is a number of eight bits."""


@native(inline=True)
def note_jump(cpu: ptr[Cpu], pc: u64, target: u64) -> None:
    """The jump at `pc` leads to `target`. One that shares their place is forgotten."""
    place = ref(cpu.jumps[(((pc << 1) + target) * u64(MIX)) >> JUMP_SHIFT])
    place.pc = pc
    place.target = target


@native
def watch_near(cpu: ptr[Cpu], address: u64, reach: u64, noting: ptr[u64], count: u64, watched: u64) -> u64:
    """Have the jumps on a virtual page and `reach` to each side noted, or no more; how many records that concerns."""
    found: u64 = 0
    for step in range(2 * reach + 1):
        number = code_place(cpu, address + (step << 12) - (reach << 12))
        if number != 0:
            found += watch_jumps(cpu, number, noting, count, watched)
    return found


@native
def watch_jumps(cpu: ptr[Cpu], number: u64, noting: ptr[u64], count: u64, watched: u64) -> u64:
    """Have the jumps of a block noted, or no more; how many records that concerns. Returns are not noted: calls tell where they lead.

    No other indirect jump is part of stitched code. `noting` holds `count` pairs of addresses: a handler of indirect jumps, and the one
    that notes.
    """
    block = block_at(cpu, number - 1)
    found: u64 = 0
    for index in range(u64(RECORDS)):
        record = ref(block.records[index])
        for row in range(count):
            if record.handler == noting[2 * row + 1 - watched]:
                if not is_return(record):
                    part(cpu, block, index)
                    record.handler = noting[2 * row + watched]
                    found += 1
                break
    return found
