"""ELF files: what is read from a sound one, and damaged ones refused in one sentence."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import BadInputError
from gasang.cpus.elf import RISCV, SHT_SYMTAB, Elf, read_elf

CODE = bytes.fromhex("1305a000 67800000")
ENTRY = 0x10000
NAMES = b"\0.text\0.symtab\0.strtab\0_start\0$x\0"


def section(name: bytes, kind: int, flags: int, address: int, offset: int, size: int, link: int = 0) -> bytes:
    at = NAMES.index(b"\0" + name + b"\0") + 1 if name else 0
    return struct.pack("<IIQQQQIIQQ", at, kind, flags, address, offset, size, link, 0, 8, 24 if kind == SHT_SYMTAB else 0)


def symbol(name: bytes, info: int, address: int, size: int) -> bytes:
    return struct.pack("<IBBHQQ", NAMES.index(name + b"\0"), info, 0, 1, address, size)


def sound() -> bytes:
    """A small executable: one segment, code, symbols."""
    code_at, names_at = 64 + 56, 64 + 56 + len(CODE)
    symbols = bytes(24) + symbol(b"$x", 0, ENTRY, 0) + symbol(b"_start", 0x12, ENTRY, 8)
    symbols_at = names_at + len(NAMES)
    table_at = symbols_at + len(symbols)
    table = section(b"", 0, 0, 0, 0, 0) + section(b".text", 1, 6, ENTRY, code_at, len(CODE))
    table += section(b".symtab", 2, 0, 0, symbols_at, len(symbols), 3) + section(b".strtab", 3, 0, 0, names_at, len(NAMES))
    identity = b"\x7fELF\2\1\1" + bytes(9)
    header = struct.pack("<16sHHIQQQIHHHHHH", identity, 2, RISCV, 1, ENTRY, 64, table_at, 0, 64, 56, 1, 64, 4, 3)
    program = struct.pack("<IIQQQQQQ", 1, 5, code_at, ENTRY, ENTRY + 0x1000, len(CODE), len(CODE) + 8, 4096)
    return header + program + CODE + NAMES + symbols + table


def changed(offset: int, layout: str, value: int) -> bytes:
    data = bytearray(sound())
    struct.pack_into(layout, data, offset, value)
    return bytes(data)


def test_a_sound_file() -> None:
    elf = read_elf(sound(), "small")
    (segment,) = elf.segments
    assert (elf.entry, segment.address, segment.physical, segment.memory_size) == (ENTRY, ENTRY, ENTRY + 0x1000, len(CODE) + 8)
    assert bytes(segment.data) == CODE
    assert (segment.readable, segment.writable, segment.executable) == (True, False, True)
    assert [part.name for part in elf.sections if part.executable] == [".text"]
    (start,) = elf.symbols
    assert (start.name, start.address, start.size, start.function) == ("_start", ENTRY, 8, True)


def test_symbols_are_found_by_address() -> None:
    elf = read_elf(sound(), "small")
    assert elf.symbol_at(ENTRY - 1) is None
    found = elf.symbol_at(ENTRY + 100)
    assert found is not None
    assert found.name == "_start"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "magic"),
        (b"#!/bin/sh\n", "magic"),
        (sound()[:40], "the header lies at 0x0"),
        (changed(4, "<B", 1), "64-bit"),
        (changed(5, "<B", 2), "little-endian"),
        (changed(18, "<H", 62), "for x86-64, not riscv"),
        (changed(18, "<H", 999), "for machine 999"),
        (changed(32, "<Q", 1 << 40), "program header table"),
        (changed(40, "<Q", (1 << 64) - 1), "section header table"),
        (changed(54, "<H", 32), "entries of 32 bytes"),
        (changed(56, "<H", 0xFFFF), "program header table"),
        (changed(62, "<H", 9), "section 9 of 4"),
        (changed(64 + 8, "<Q", 1 << 63), "the segment at 0x10000"),
        (changed(64 + 40, "<Q", 1), "of memory"),
        (changed(64 + 16, "<Q", (1 << 64) - 4), "of memory"),
        (sound()[:-200], "section header table"),
    ],
)
def test_damage_is_named(data: bytes, reason: str) -> None:
    with pytest.raises(BadInputError, match=reason) as caught:
        read_elf(data, "kernel.elf")
    assert str(caught.value).startswith("kernel.elf: ")
    assert caught.value.hint


def test_another_machine_is_taken_when_any_is_asked_for() -> None:
    assert read_elf(changed(18, "<H", 62), "small", None).machine == 62


def test_names_cannot_write_to_the_terminal() -> None:
    data = sound().replace(b"_start", b"\x1b[2J\xff_")
    (start,) = read_elf(data, "small").symbols
    assert start.name.isprintable()
    assert "\x1b" not in start.name


@settings(max_examples=400)
@given(st.data())
def test_any_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    content = bytearray(sound())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, content[place] ^ 1]))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    try:
        elf: Elf | None = read_elf(bytes(content), "fuzzed")
    except BadInputError:
        elf = None
    if elf is not None:
        assert all(len(segment.data) <= segment.memory_size for segment in elf.segments)
        assert elf.symbols == tuple(sorted(elf.symbols, key=lambda found: (found.address, found.function)))
