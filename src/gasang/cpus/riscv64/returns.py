"""Which indirect jumps are returns (unprivileged specification, 2.5.1, table 3: hints for the return-address stack)."""

from __future__ import annotations

from gasang.cpus.record import Record
from gasang.native import boolean, native, ptr, u8

NO_REGISTER = 32
RA, T0 = 1, 5


@native(inline=True)
def is_return(record: ptr[Record]) -> boolean:
    """Whether an indirect jump is one: it links nothing and leads where a call has said."""
    return record.rd == u8(NO_REGISTER) and (record.rs1 == u8(RA) or record.rs1 == u8(T0))
