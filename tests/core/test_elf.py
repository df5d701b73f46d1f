from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.core.elf import PT_LOAD, RISCV, SHF_EXECINSTR, STT_FUNC, is_elf, parse_elf
from gasang.core.errors import BadInputError

CODE = bytes.fromhex("13050500") * 2
NAMES = b"\0.text\0.symtab\0.strtab\0main\0"
HEADER, SEGMENT, SECTION = 64, 56, 64


def elf_file(machine: int = RISCV, symbol_section: int = 1) -> bytes:
    """A small executable: one segment, one section of code, a symbol."""
    symbols = struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0) + struct.pack("<IBBHQQ", 23, STT_FUNC, 0, symbol_section, 0x1000, 8)
    code_at = HEADER + SEGMENT
    symbols_at = code_at + len(CODE)
    names_at = symbols_at + len(symbols)
    table_at = names_at + len(NAMES)
    rows = [
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (1, 1, SHF_EXECINSTR | 2, 0x1000, code_at, len(CODE), 0, 0, 4, 0),
        (7, 2, 0, 0, symbols_at, len(symbols), 3, 1, 8, 24),
        (15, 3, 0, 0, names_at, len(NAMES), 0, 0, 1, 0),
    ]
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, machine, 1, 0x1000, HEADER, table_at, 0, 64, SEGMENT, 1, SECTION, len(rows), 3
    )
    segment = struct.pack("<IIQQQQQQ", PT_LOAD, 5, code_at, 0x1000, 0x1000, len(CODE), len(CODE) + 16, 4096)
    return header + segment + CODE + symbols + NAMES + b"".join(struct.pack("<IIQQQQIIQQ", *row) for row in rows)


def test_what_a_file_holds() -> None:
    elf = parse_elf(elf_file(), "a.elf")
    assert (elf.machine, elf.machine_name, elf.entry) == (RISCV, "riscv", 0x1000)
    assert [(part.kind, part.address, bytes(part.data), part.memory_size) for part in elf.segments] == [(PT_LOAD, 0x1000, CODE, 24)]
    assert [part.name for part in elf.sections] == ["", ".text", ".symtab", ".strtab"]
    assert bytes(elf.sections[1].data) == CODE
    assert [(symbol.name, symbol.address, symbol.size, symbol.section) for symbol in elf.symbols] == [("", 0, 0, 0), ("main", 0x1000, 8, 1)]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "it is no ELF file"),
        (b"#!/bin/sh\n", "it is no ELF file"),
        (b"\x7fELF", "its header lies beyond its end"),
        (b"\x7fELF\1\1" + bytes(60), "it is not for a 64-bit little-endian processor"),
        (elf_file()[:63], "its header lies beyond its end"),
        (elf_file()[:-1], "its section table lies beyond its end"),
    ],
)
def test_what_is_none_is_refused_by_name(data: bytes, cause: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_elf(data, "a.elf")
    assert (caught.value.subject, caught.value.cause) == ("a.elf", cause)


@given(st.lists(st.tuples(st.integers(0, len(elf_file()) - 1), st.integers(0, 255)), max_size=12), st.integers(0, len(elf_file())))
def test_damage_is_refused_or_read_within_the_file(changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(elf_file())
    for offset, byte in changes:
        data[offset] = byte
    with suppress(BadInputError):
        elf = parse_elf(bytes(data[:length]), "a.elf")
        assert all(len(part.data) <= length for part in (*elf.segments, *elf.sections))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    with suppress(BadInputError):
        parse_elf(b"\x7fELF\2\1\1" + data, "a.elf")


def test_a_claim_is_recognised() -> None:
    assert is_elf(b"\x7fELF\2")
    assert not is_elf(b"\x7fEL")
