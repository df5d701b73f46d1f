"""What an instruction is after decoding."""

from __future__ import annotations

from gasang.native import i32, struct, u8, u64


@struct
class Record:
    """A decoded instruction: what its handler needs besides the hart's state. 16 bytes."""

    handler: u64
    rd: u8
    rs1: u8
    rs2: u8
    rs3: u8
    imm: i32
