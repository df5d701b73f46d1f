"""The native decoder against the descriptions, compiled and as plain Python."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gasang.cpus.decoder import DecoderTables, decode_into
from gasang.cpus.instruction_set import DescriptionError, Extension, InstructionSet
from gasang.cpus.record import Record
from gasang.cpus.riscv64.isa import rv64
from gasang.native import native, ptr, struct, u8, u64

TABLES = DecoderTables(rv64)
FIELDS = ("rd", "rs1", "rs2", "rs3", "imm")


def expected(word: int) -> tuple[int, dict[str, int]]:
    """The number and the record's fields by the descriptions."""
    decoded = rv64.decode(word)
    if decoded is None:
        return 0, {}
    slots = dict.fromkeys(FIELDS, 0) | decoded.slots
    slots["imm"] = (slots["imm"] + 2**31) % 2**32 - 2**31
    return decoded.number, slots


def found(function: object, word: int) -> tuple[int, dict[str, int]]:
    record = Record.ctype(handler=0x1122334455667788)
    number = function(TABLES.pointer, word, record)
    assert record.handler == 0x1122334455667788
    return number, {name: getattr(record, name) for name in FIELDS} if number else {}


def words_of_every_instruction(count: int) -> list[int]:
    chance = random.Random(7)
    words = []
    for instruction in rv64:
        operand_bits = ~instruction.mask & (1 << 8 * instruction.length) - 1
        words += [instruction.match | chance.getrandbits(32) & operand_bits for _ in range(count)]
        words += [instruction.match, instruction.match | operand_bits]
    return words


def test_every_instruction_decodes_as_described() -> None:
    for word in words_of_every_instruction(60):
        assert found(decode_into, word) == expected(word), hex(word)


def test_all_short_words_decode_as_described() -> None:
    for word in range(0x10000):
        if word & 3 != 3:
            assert found(decode_into, word) == expected(word), hex(word)


@settings(max_examples=500)
@given(st.integers(0, 2**32 - 1))
def test_any_word_decodes_as_described(word: int) -> None:
    assert found(decode_into, word) == expected(word)


def test_the_same_as_plain_python() -> None:
    for word in [0, 0xFFFFFFFF, *words_of_every_instruction(2)]:
        assert found(decode_into.python, word) == expected(word), hex(word)


def test_a_record_is_16_bytes() -> None:
    assert Record.size == 16


def test_the_tables_are_small_enough_for_a_cache() -> None:
    assert TABLES.size < 40_000


@struct
class Hart:
    x: u64


@native
def one(cpu: ptr[Hart], rd: u8) -> None:
    """Does nothing."""


def test_too_many_exclusions_are_refused() -> None:
    extension = Extension("x", "X")
    extension.instruction("000 rd!=1,2,3 00000000")(one)
    with pytest.raises(DescriptionError, match="excludes 3"):
        DecoderTables(InstructionSet("toy", [extension]))
