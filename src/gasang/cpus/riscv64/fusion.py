"""Where two decoded records are executed as one (fused.py): the first one's handler is exchanged for one that does both.

ORDER: fused records. A record is fused only while the one behind it is decoded and no region begins there. Whoever makes a record fresh, or
puts a handler there that decoding does not, makes those before it fresh too or gives them back what they had alone (`part`).
"""

from __future__ import annotations

from gasang.cpus.riscv64.block import Block
from gasang.cpus.riscv64.state import FUSIONS, FUSIONS_SHIFT, Cpu, Fusion
from gasang.native import native, ptr, ref, u64

MIX = 0x9E3779B97F4A7C15
FURTHEST = 2
"""Records from one to the next at most: an instruction is two or four bytes long."""


@native(inline=True)
def fusion_of(table: ptr[Fusion], first: u64, second: u64) -> ptr[Fusion]:
    """Where a pair of handlers stands, or a free place, whose `records` is 0. `second` is 0 to find what a fused handler was made of."""
    index = ((first + (second << 1)) * u64(MIX)) >> FUSIONS_SHIFT
    while table[index].first != 0 and (table[index].first != first or table[index].second != second):
        index = (index + 1) & (FUSIONS - 1)
    return table + index


@native
def enter_fusion(table: ptr[Fusion], first: u64, second: u64, handler: u64, records: u64) -> None:
    """Put a pair into the table."""
    place = fusion_of(table, first, second)
    place.first = first
    place.second = second
    place.handler = handler
    place.records = records


@native
def enter_fusions(table: ptr[Fusion], rows: ptr[u64], count: u64, records: u64) -> None:
    """Put `count` triples of handlers (the first alone, the second alone, both) into the table; the first take so many records."""
    for index in range(count):
        triple = rows + 3 * index
        enter_fusion(table, triple[0], triple[1], triple[2], records)
        enter_fusion(table, triple[2], 0, triple[0], records)


@native(inline=True)
def alone(table: ptr[Fusion], handler: u64) -> u64:
    """The handler of a record's own instruction alone."""
    place = fusion_of(table, handler, 0)
    return handler if place.records == 0 else place.handler


@native(inline=False)
def fuse(cpu: ptr[Cpu], block: ptr[Block], index: u64) -> None:
    """A record has been decoded: fuse it with the one behind it, and those that it follows with it."""
    table = cpu.fusions
    fresh = cpu.dispatch[0]
    record = ref(block.records[index])
    handler = record.handler
    for step in range(u64(1), u64(FURTHEST + 1)):
        following = block.records[index + step].handler
        if following != fresh:
            place = fusion_of(table, handler, alone(table, following))
            if place.records == step:
                record.handler = place.handler
        if index >= step:
            before = ref(block.records[index - step])
            if before.handler != fresh:
                place = fusion_of(table, before.handler, handler)
                if place.records == step:
                    before.handler = place.handler


@native(inline=False)
def part(cpu: ptr[Cpu], block: ptr[Block], index: u64) -> None:
    """A record gets a handler that decoding does not give: those that it follows are executed alone."""
    for step in range(u64(1), u64(FURTHEST + 1)):
        if index >= step:
            before = ref(block.records[index - step])
            place = fusion_of(cpu.fusions, before.handler, 0)
            if place.records == step:
                before.handler = place.handler
