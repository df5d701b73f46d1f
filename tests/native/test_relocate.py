"""Relocations and the linker's refusals: any object gives an executable or a named error."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.core.errors import GasangError
from gasang.native import emit_floats
from gasang.native.build import emit_object
from gasang.native.elf_object import ElfObject, Relocation, Section, Symbol, read_object
from gasang.native.executable import ExecutableError, link_executable
from gasang.native.program_start import START
from gasang.native.relocate import RelocationError, apply_relocation, with_targets

X86, ARM, RISCV = 62, 183, 243
TEXT = """
@table = constant [2 x ptr] [ptr @inner, ptr @_start]
@variable = global i64 5
@zeroes = global [9000 x i8] zeroinitializer
define internal i64 @inner(i64 %x) noinline {
  %y = load i64, ptr @variable
  %z = add i64 %x, %y
  store i64 %z, ptr @variable
  ret i64 %z
}
define i64 @_start(i64 %x) {
  %p = getelementptr [2 x ptr], ptr @table, i64 0, i64 %x
  %f = load ptr, ptr %p
  %g = getelementptr [9000 x i8], ptr @zeroes, i64 0, i64 %x
  store i8 1, ptr %g
  %r = call i64 %f(i64 %x)
  %s = call i64 @inner(i64 %r)
  ret i64 %s
}
"""


@pytest.fixture(scope="module")
def sound() -> bytes:
    return emit_object([TEXT], 1)


def word_of(machine: int, kind: int, place: int, target: int, before: bytes = bytes(8)) -> bytes:
    data = bytearray(before)
    apply_relocation(machine, kind, data, 0, place, target, "thing")
    return bytes(data)


@pytest.mark.parametrize(
    ("machine", "kind", "before", "place", "target", "after"),
    [
        (X86, 1, bytes(8), 0, 0x1122334455667788, "8877665544332211"),
        (X86, 2, bytes(4), 0x1000, 0x0FFE, "feffffff"),
        (X86, 24, bytes(8), 0x1000, 0x0FFE, "feffffffffffffff"),
        # b +8; bl -4; b.ne +16; tbz +4; adr x1, +0x1003; adrp x0, two pages on; add, ldrh, ldr w, ldr x, ldr q with page offsets
        (ARM, 282, bytes.fromhex("00000014"), 0x1000, 0x1008, "02000014"),
        (ARM, 283, bytes.fromhex("00000094"), 0x1000, 0x0FFC, "ffffff97"),
        (ARM, 280, bytes.fromhex("01000054"), 0x1000, 0x1010, "81000054"),
        (ARM, 279, bytes.fromhex("00000036"), 0x1000, 0x1004, "20000036"),
        (ARM, 274, bytes.fromhex("01000010"), 0x1000, 0x2003, "01800070"),
        (ARM, 275, bytes.fromhex("00000090"), 0x1FF8, 0x3010, "000000d0"),
        (ARM, 277, bytes.fromhex("21000091"), 0, 0x5ABC, "21f02a91"),
        (ARM, 284, bytes.fromhex("20004079"), 0, 0x5AB0, "20605579"),
        (ARM, 285, bytes.fromhex("200040b9"), 0, 0x5AB0, "20b04ab9"),
        (ARM, 286, bytes.fromhex("200040f9"), 0, 0x5AB0, "205845f9"),
        (ARM, 299, bytes.fromhex("2000c03d"), 0, 0x5AB0, "20acc23d"),
        # auipc a1 and addi a1, 0x12345 on (0x12345 = 0x12000 + 0x345); 0x1fff = 0x2000 - 1; sd; auipc ra with jalr ra; differences
        (RISCV, 23, bytes.fromhex("97050000"), 0x1000, 0x13345, "97250100"),
        (RISCV, 24, bytes.fromhex("93850500"), 0x1000, 0x13345, "93855534"),
        (RISCV, 23, bytes.fromhex("97050000"), 0x1000, 0x2FFF, "97250000"),
        (RISCV, 24, bytes.fromhex("93850500"), 0x1000, 0x2FFF, "9385f5ff"),
        (RISCV, 25, bytes.fromhex("23b00500"), 0x1000, 0x13345, "a3b20534"),
        (RISCV, 19, bytes.fromhex("97000000e7800000"), 0x2000, 0x1000, "97f0ffffe7800000"),
        (RISCV, 35, bytes.fromhex("01000000"), 0, 0x1000, "01100000"),
        (RISCV, 39, bytes.fromhex("01000000"), 0, 0x1000, "01f0ffff"),
    ],
)
def test_what_is_put(machine: int, kind: int, before: bytes, place: int, target: int, after: str) -> None:
    assert word_of(machine, kind, place, target, before).hex() == after


def test_a_load_from_the_table_becomes_an_address() -> None:
    data = bytearray(bytes.fromhex("488b3d00000000"))
    apply_relocation(X86, 42, data, 3, 0x1003, 0x2000, "f")
    assert data.hex() == "488d3dfd0f0000"
    with pytest.raises(RelocationError, match="reference to f is no load from the global offset table"):
        apply_relocation(X86, 41, bytearray.fromhex("ff1500000000"), 2, 0x1002, 0x2000, "f")


def test_half_a_distance_needs_the_other_half() -> None:
    label, target = Symbol(".here", 1, 4), Symbol("thing", 1, 64)
    upper, lower = Relocation(1, 4, 23, target, 2), Relocation(1, 12, 24, label, 0)
    made = ElfObject(RISCV, {}, [], [upper, lower])
    assert with_targets(made).relocations == [upper, Relocation(1, 12, 24, target, 10)]
    with pytest.raises(RelocationError, match="is half a distance"):
        with_targets(replace(made, relocations=[lower]))
    other = replace(made, machine=X86)
    assert with_targets(other) is other


@pytest.mark.parametrize(
    ("machine", "kind", "place", "target", "text"),
    [
        (X86, 2, 0, 1 << 31, "reaches too far"),
        (X86, 4, 1 << 32, 0, "reaches too far"),
        (X86, 9, 0, 0, "is of kind 9, which programs cannot have"),
        (ARM, 283, 0, 1 << 27, "reaches too far"),
        (ARM, 283, 0, 2, "reaches too far"),
        (ARM, 275, 0, 1 << 32, "reaches too far"),
        (ARM, 286, 0, 4, "is not aligned"),
        (ARM, 311, 0, 0, "is of kind 311"),
        (RISCV, 23, 0, 1 << 31, "reaches too far"),
        (RISCV, 20, 0, 0, "is of kind 20"),
    ],
)
def test_what_is_refused(machine: int, kind: int, place: int, target: int, text: str) -> None:
    with pytest.raises(RelocationError, match=f"^compiled code: its reference to thing {text}"):
        word_of(machine, kind, place, target)


def test_beyond_the_section() -> None:
    with pytest.raises(RelocationError, match="out of its section"):
        apply_relocation(X86, 1, bytearray(4), 0, 0, 0, "")


# ---------------------------------------------------------------------- whole objects


@pytest.mark.skipif(emit_floats.machine() != "x86_64", reason="the object is of this host's family")
def test_whole_addresses_fix_the_place(sound: bytes) -> None:
    image = link_executable(read_object(sound))
    kind, _, _, entry = struct.unpack_from("<HHIQ", image, 16)
    assert kind == 2
    rows = [struct.unpack_from("<IIQQQQQQ", image, 64 + 56 * index) for index in range(struct.unpack_from("<H", image, 56)[0])]
    written = [row for row in rows if row[0] == 1 and row[1] == 6]
    assert written[-1][6] >= written[-1][5] + 9000
    [code] = [row for row in rows if row[1] == 5]
    assert code[3] <= entry < code[3] + code[5]
    places = [int.from_bytes(image[at : at + 8], "little") for at in range(len(image) - 8)]
    assert places.count(entry) == 2, "in the header, and in the table"


def made(**changes: object) -> ElfObject:
    section = Section(1, ".text", 6, 16, 4, b"\x90" * 4)
    return replace(ElfObject(X86, {1: section}, [Symbol(START, 1, 0)], []), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"machine": 21}, "it is for processor family 21"),
        ({"symbols": []}, "nothing in it is called _start"),
        ({"symbols": [Symbol(START, 0, 0)]}, "_start is not in it"),
        ({"sections": {1: Section(1, ".both", 7, 16, 4, b"abcd")}}, r"its section .both is for threads, or both"),
        ({"sections": {1: Section(1, ".tls", 0x403, 16, 4, b"abcd")}}, r"its section .tls is for threads, or both"),
        ({"relocations": [Relocation(1, 0, 2, Symbol("stranger", 0, 0), 0)]}, "stranger is not in it"),
    ],
)
def test_what_cannot_be_linked(changes: dict[str, object], text: str) -> None:
    with pytest.raises(ExecutableError, match=f"^compiled code: {text}"):
        link_executable(made(**changes))


@settings(deadline=None)
@given(st.data())
def test_damaged_objects(sound: bytes, data: st.DataObject) -> None:
    raw = bytearray(sound)
    (table,) = struct.unpack_from("<Q", raw, 0x28)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.one_of(st.integers(0, 63), st.integers(table, len(raw) - 1), st.integers(0, len(raw) - 1)))
        for offset, byte in enumerate(data.draw(st.one_of(st.binary(min_size=1, max_size=8), st.just(b"\xff" * 8)))):
            if place + offset < len(raw):
                raw[place + offset] = byte
    try:
        image = link_executable(read_object(bytes(raw)))
    except (ValueError, GasangError):
        return
    assert image.startswith(b"\x7fELF")
