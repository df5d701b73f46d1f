"""How a page's decoded instructions lie in memory."""

from __future__ import annotations

from gasang.cpus.record import Record
from gasang.native import array, length, struct, u64

RECORDS = 2048
"""Instructions of a page, at two bytes each."""
SPARE = 2
"""Records behind the last: a page's last instruction may be two or four bytes long."""


@struct
class Block:
    """The decoded records of one RAM page."""

    records: array[Record] = length(RECORDS + SPARE)
    page: u64  # RAM page number
    host: u64  # host address of the page
    next_free: u64
    stamp: u64  # what compiled regions know the page's content by, 0 while they know nothing of it
    age: u64  # Cpu.code_age when the code TLB was told of it last
    looked: u64  # whether it was looked for regions of the page since it was decoded
    stitched: u64  # whether there is stitched code of it
