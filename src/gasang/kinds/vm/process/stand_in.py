"""What a twin's supervisor has in the twin's place: a native process of a few pages, with the streams that the twin takes over.

They are linked by a socket, 8 here. A signal goes to the twin as a byte, the twin's exit code comes back as one; the end of the
link means that the other side was killed. Whoever ends the stand-in ends the twin.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import gasang.host
from gasang.host.syscalls import native_table
from gasang.native import NativeFunction, cast, i32, i64, native, ptr, syscall, u8, u16, u32, u64
from gasang.native.kept_program import kept_program, program_file

LINK: Final = 8
KILLED: Final = 137
FAILED: Final = 125
_NR: Final = native_table()
NR_MMAP: Final = _NR["mmap"]
NR_MASK: Final = _NR["rt_sigprocmask"]
NR_SIGNALFD: Final = _NR["signalfd4"]
NR_PPOLL: Final = _NR["ppoll"]
NR_READ: Final = _NR["read"]
NR_SENDTO: Final = _NR["sendto"]
SET_MASK: Final = 2
READ_WRITE: Final = 3
PRIVATE: Final = 0x22
NO_FILE: Final = (1 << 64) - 1
ALL: Final = (1 << 64) - 1
POLLIN: Final = 1
NO_SIGNAL: Final = 0x4000
INFO_SIZE: Final = 128
EINTR: Final = -4


@native
def stand_in(stack: ptr[u64]) -> i32:
    """The program."""
    address = syscall(NR_MMAP, 0, 4096, READ_WRITE, PRIVATE, NO_FILE, 0)
    if address < 0 and address > -4096:
        return FAILED
    every = cast(ptr[u64], u64(address))
    every[0] = ALL
    syscall(NR_MASK, SET_MASK, u64(every), 0, 8)
    signals = syscall(NR_SIGNALFD, NO_FILE, u64(every), 8, 0)
    numbers = cast(ptr[i32], u64(address) + 64)
    events = cast(ptr[u16], u64(address) + 64)
    numbers[0] = LINK
    numbers[2] = i32(signals)
    info = cast(ptr[u32], u64(address) + 128)
    byte = cast(ptr[u8], u64(address) + 512)
    while True:
        numbers[1] = POLLIN
        numbers[3] = POLLIN
        if syscall(NR_PPOLL, u64(numbers), 2, 0, 0, 8) < 0:
            continue
        if events[7] != 0 and syscall(NR_READ, u64(signals), u64(info), INFO_SIZE) == INFO_SIZE:
            byte[0] = u8(info[0])
            syscall(NR_SENDTO, LINK, u64(byte), 1, NO_SIGNAL, 0, 0)
        if events[3] != 0:
            count: i64 = syscall(NR_READ, LINK, u64(byte), 1)
            if count == 1:
                return i32(byte[0])
            if count != EINTR:
                return KILLED


def _entry() -> NativeFunction:
    return stand_in


def stand_in_program() -> bytes:
    """The program. Raises what `kept_program` raises."""
    return kept_program("stand-in", [os.path.dirname(__file__), os.path.dirname(str(gasang.host.__file__))], _entry)


def stand_in_file(folder: Path) -> Path:
    """The program as a file in `folder`, made there if need be. Raises OSError."""
    return program_file(folder / "gasang-stand-in", stand_in_program())
