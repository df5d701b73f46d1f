"""Describing instructions: what is taken from a function, compressed forms, and mistakes."""

from collections.abc import Callable
from typing import Any

import pytest

from gasang.cpus.instruction_set import NO_REGISTER, DescriptionError, Extension, InstructionSet, Result
from gasang.native import boolean, native, ptr, struct, u8, u64

ADD = "0000000 rs2 rs1 000 rd 0110011"


@struct
class Hart:
    x: u64


@native
def add_up(cpu: ptr[Hart], rd: u8, rs1: u8, rs2: u8) -> None:
    """Sum."""


@native
def branch(cpu: ptr[Hart], rs1: u8) -> boolean:
    """Branch."""
    return rs1 == 0


@native
def jump(cpu: ptr[Hart], rd: u8, pc: u64, imm: u64) -> u64:
    """Jump."""
    return pc + imm


@native
def silent(cpu: ptr[Hart]) -> None:
    pass


@native
def number(cpu: ptr[Hart]) -> u8:
    """Returns what no instruction returns."""
    return 1


@native
def two_immediates(cpu: ptr[Hart], imm: u64, csr: u64) -> None:
    """Wants two operands of one slot."""


def described() -> tuple[Extension, InstructionSet]:
    base, short = Extension("base", "Base"), Extension("short", "Short forms")
    base.instruction(ADD, "rd, rs1, rs2")(add_up)
    base.instruction("imm[12|10:5] 00000 rs1 000 imm[4:1|11] 1100011", "rs1, target", name="br")(branch)
    base.instruction("imm[20|10:1|11|19:12] rd 1101111", "rd, target")(jump)
    short.compressed("100 1 rd rs2!=0 10", "c.add", add_up, rs1="rd")
    short.compressed("101 imm[11|4|9:8|10|6|7|3:1|5] 01", "c.j", jump, rd=0)
    return base, InstructionSet("toy", [base, short])


def test_the_function_says_operands_and_result() -> None:
    _, toy = described()
    add, br, jal = toy[1], toy[2], toy[3]
    assert (add.name, add.wants, add.result) == ("add.up", ("rd", "rs1", "rs2"), Result.FALLTHROUGH)
    assert (br.name, br.result, list(br.slots)) == ("br", Result.BRANCH, ["rs1", "imm"])
    assert (jal.result, list(jal.slots)) == (Result.JUMP, ["rd", "imm"])
    assert add.extension == "base"


def test_compressed_forms_bind_operands() -> None:
    _, toy = described()
    form = toy.by_name["c.add"]
    assert form.base is toy[1]
    assert form.function is add_up
    assert (form.length, form.syntax) == (2, "rd, rs2")
    decoded = toy.decode(form.encode(rd=0, rs2=9))
    assert decoded is not None
    assert decoded.operands == {"rd": 0, "rs1": 0, "rs2": 9}
    assert decoded.slots == {"rd": NO_REGISTER, "rs1": 0, "rs2": 9}
    jump_back = toy.decode(toy.by_name["c.j"].encode(imm=-2))
    assert jump_back is not None
    assert jump_back.slots == {"rd": NO_REGISTER, "imm": -2}


def test_encode_refuses_what_the_form_has_not() -> None:
    _, toy = described()
    with pytest.raises(ValueError, match="no form"):
        toy.by_name["c.add"].encode(rd=1, rs2=0)
    with pytest.raises(ValueError, match="imm cannot be 1"):
        toy.by_name["jump"].encode(rd=1, imm=1)
    with pytest.raises(ValueError, match="missing"):
        toy.by_name["c.add"].encode(rd=1)


def test_decode_ignores_bits_above_a_short_instruction() -> None:
    _, toy = described()
    word = toy.by_name["c.add"].encode(rd=3, rs2=4)
    decoded = toy.decode(0xFFFF0000 | word)
    assert decoded is not None
    assert (decoded.word, toy[decoded.number].name) == (word, "c.add")
    assert toy.decode(0) is None
    with pytest.raises(IndexError):
        toy[0]


@pytest.mark.parametrize(
    ("pattern", "function", "reason"),
    [
        ("0000000 00000 rs1 000 rd 0110011", add_up, "wants rs2"),
        (ADD, silent, "no docstring"),
        (ADD, number, "returns u8"),
    ],
)
def test_mistakes_are_named(pattern: str, function: Callable[..., Any], reason: str) -> None:
    with pytest.raises(DescriptionError, match=reason):
        Extension("x", "X").instruction(pattern)(function)


def test_two_operands_of_one_slot_are_refused() -> None:
    extension = Extension("x", "X")
    extension.instruction("imm[11:0] csr:5 000 00000 0110011")(two_immediates)
    (instruction,) = InstructionSet("toy", [extension])
    with pytest.raises(DescriptionError, match="two operands"):
        _ = instruction.slots


@pytest.mark.parametrize(
    ("pattern", "bound", "reason"),
    [
        ("100 1 rd rs2!=0 10", {}, "what rs1 of"),
        ("100 1 rd rs2!=0 10", {"rs1": "rd", "imm": 0}, "imm"),
        ("100 1 rd rs2!=0 10", {"rs1": "rs3"}, "what rs1 of"),
    ],
)
def test_compressed_mistakes_are_named(pattern: str, bound: dict[str, Any], reason: str) -> None:
    base, _ = described()
    short = Extension("x", "X")
    short.compressed(pattern, "c.x", add_up, **bound)
    with pytest.raises(DescriptionError, match=reason):
        InstructionSet("toy", [base, short])


def test_names_and_bases_must_fit_the_set() -> None:
    base, _ = described()
    with pytest.raises(DescriptionError, match="described twice"):
        InstructionSet("toy", [base, base])
    short = Extension("x", "X")
    short.compressed("100 1 rd rs2!=0 10", "c.x", silent, rs1="rd")
    with pytest.raises(DescriptionError, match=r"base instruction of c\.x"):
        InstructionSet("toy", [base, short])
