"""Patterns: grammar, recipes and their inverse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.cpus.pattern import Operand, PatternError, Segment, parse_pattern


def test_literals_and_registers() -> None:
    pattern = parse_pattern("0100000 rs2 rs1 101 rd 0110011")
    assert (pattern.length, pattern.mask, pattern.match) == (4, 0xFE00707F, 0x40005033)
    word = 0x40005033 | 3 << 7 | 17 << 15 | 30 << 20
    assert {name: operand.extract(word) for name, operand in pattern.operands.items()} == {"rd": 3, "rs1": 17, "rs2": 30}
    assert pattern.matches(word)
    assert not pattern.matches(word ^ 0x40000000)


def test_scattered_immediate_is_sign_extended() -> None:
    imm = parse_pattern("imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011").operands["imm"]
    assert imm.extract(0xFE000EE3) == -4
    assert imm.extract(1 << 7) == 1 << 11
    assert imm.extract(1 << 31) == -(1 << 12)


def test_unsigned_immediate_keeps_its_name() -> None:
    pattern = parse_pattern("000000 uimm[5:0] rs1 001 rd 0010011")
    assert pattern.operands["imm"].extract(0x3F << 20) == 63


def test_compressed_registers_start_at_8() -> None:
    pattern = parse_pattern("100 0 11 rd' 00 rs2' 01")
    assert pattern.length == 2
    assert pattern.operands["rd"].extract(0) == 8
    assert pattern.operands["rs2"].extract(7 << 2) == 15


def test_constraints_exclude_words() -> None:
    pattern = parse_pattern("011 imm[17] rd!=0,2 imm[16:12] 01 imm!=0")
    word = pattern.match | 5 << 7
    assert not pattern.matches(word), "the whole immediate is 0"
    assert pattern.matches(word | 1 << 12)
    assert not pattern.matches(pattern.match | 1 << 12), "rd is 0"
    assert not pattern.matches(pattern.match | 2 << 7 | 4)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0000000 rs2 rs1 000 rd", "25 bits"),
        ("imm rs1 000 rd 0010011", "width of 'imm'"),
        ("0000000 rs2 rs1 000 rd 01?0011", "no field"),
        ("0000000 rd rs1 000 rd 0110011", "twice"),
        ("imm[11:5] rs2 rs1 000 imm[5:1] 0100011", "twice"),
        ("00000000000000000000000001110011 imm!=0", "does not have"),
        ("0000000000000000000000000111001", "31 bits"),
    ],
)
def test_mistakes_are_named(text: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason):
        parse_pattern(text)


@st.composite
def operands(draw: st.DrawFn) -> Operand:
    """An operand of 1 to 32 bits, cut into segments that are scattered over a word."""
    order = draw(st.permutations(range(32)))[: draw(st.integers(1, 32))]
    segments = tuple(Segment(low, 1, place) for place, low in enumerate(order))
    return Operand("imm", segments, draw(st.booleans()), draw(st.sampled_from([0, 8])))


@given(operands(), st.data())
def test_insert_is_the_inverse_of_extract(operand: Operand, data: st.DataObject) -> None:
    low, high = (-(1 << operand.width - 1), (1 << operand.width - 1) - 1) if operand.signed else (0, (1 << operand.width) - 1)
    value = data.draw(st.integers(low, high)) + operand.add
    word = operand.insert(value)
    assert operand.extract(word) == value
    assert word & ~operand.mask == 0
    assert operand.extract(word | ~operand.mask & 0xFFFFFFFF) == value
    with pytest.raises(ValueError, match="cannot be"):
        operand.insert(high + operand.add + 1)
