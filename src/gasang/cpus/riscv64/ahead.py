"""Decoding before it is needed: what a hart has decoded is told as marks, and decoded again by them, from memory as it is then.

Marks say which records of a page are decoded, a bit each. They are advice: whatever they say, a record that is filled here is what
`decode_here` would have made of it.
"""

from __future__ import annotations

from gasang.cpus.riscv64.block import RECORDS
from gasang.cpus.riscv64.code import block_at, make_block
from gasang.cpus.riscv64.execute import fill_record
from gasang.cpus.riscv64.fusion import fuse
from gasang.cpus.riscv64.state import Cpu
from gasang.native import cast, load_unaligned, native, ptr, ref, u16, u32, u64

MARK_WORDS = RECORDS // 64
"""The marks of a page, as 64-bit words."""


@native
def decoded_marks(cpu: ptr[Cpu], number: u64, marks: ptr[u64]) -> u64:
    """Write the marks of the block `number`, below `blocks_used`; its RAM page + 1, or 0 where the block is not in use.

    The hart may run: then they are of some moment, or of several.
    """
    block = block_at(cpu, number)
    page = block.page
    if page >= cpu.shared.ram_size >> 12 or cpu.code_map[page] != u32(number + 1):
        return 0
    fresh = cpu.dispatch[0]
    for word in range(u64(MARK_WORDS)):
        bits: u64 = 0
        for bit in range(u64(64)):
            if block.records[word * 64 + bit].handler != fresh:
                bits = bits | (u64(1) << bit)
        marks[word] = bits
    return page + 1


@native
def decode_ahead(cpu: ptr[Cpu], page: u64, marks: ptr[u64]) -> None:
    """Decode the marked records of a RAM page, if there is room for it; the hart stands still."""
    number = u64(cpu.code_map[page])
    if number == 0 and cpu.free_block == 0 and cpu.blocks_used == cpu.block_count:
        return
    block = make_block(cpu, page) if number == 0 else block_at(cpu, number - 1)
    fresh = cpu.dispatch[0]
    for index in range(u64(RECORDS - 1)):  # the last may lie on two pages: only its execution tells which is the other
        record = ref(block.records[index])
        if marks[index >> 6] >> (index & 63) & 1 != 0 and record.handler == fresh:
            place = block.host + index * 2
            word = u32(cast(ptr[u16], place)[0])
            if word & 3 == 3:
                word = load_unaligned(cast(ptr[u32], place))
            fill_record(cpu, record, index, word)
            fuse(cpu, block, index)
