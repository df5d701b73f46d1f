"""Stencils: where their operands stand, what falls away, and which instructions have one."""

from __future__ import annotations

import struct

import pytest

from gasang.cpus.riscv64.handlers import make_handlers
from gasang.cpus.riscv64.isa import rv64
from gasang.cpus.riscv64.stencil_holes import FIRST, SECOND, Code, Constants, Placed, stencil_of
from gasang.cpus.riscv64.stencils import Stencils, make_stencils
from gasang.cpus.riscv64.stitcher import COUNT, FAULT, IMM, MINUS_COUNT, NEXT, PLACE, RD, RS2, TAKEN, TARGET
from gasang.native.target import machine, made_for

X86 = pytest.mark.skipif(machine() != "x86_64", reason="this host's processor has no stencils")
NOP = b"\x90"
JUMP = b"\xe9" + bytes(4)
IF_NOT_EQUAL, IF_EQUAL = b"\x0f\x85" + bytes(4), b"\x0f\x84" + bytes(4)


def word(number: int) -> bytes:
    return struct.pack("<i", number)


def both(text: str) -> tuple[bytes, list[Placed]] | None:
    """The stencil of code written with the names of operands between nops."""

    def code(constants: Constants) -> Code:
        values = {
            "rd": word(constants.rd * 8), "rs2": word(constants.rs2 * 8 + 264), "record": word(constants.place + 12),
            "count": word(constants.steps - 1), "less": word(-constants.steps), "target": struct.pack("<Q", constants.target),
        }  # fmt: skip
        return Code(b"".join(values[each] if each in values else bytes.fromhex(each) for each in text.split()), [])

    return stencil_of(code(FIRST), code(SECOND))


def test_operands_are_found_with_what_is_added_to_them() -> None:
    found = both("90 rd 90 90 rs2 record count less 90 target")
    assert found is not None
    assert found[1] == [
        Placed(1, RD, 0), Placed(7, RS2, 264), Placed(11, PLACE, 12), Placed(15, COUNT, -1), Placed(19, MINUS_COUNT, 0),
        Placed(24, TARGET, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b"\x90\x90", b"\x90"),
        (b"\x90" + word(5) + b"\x90", b"\x90" + word(6) + b"\x90"),
        (word(FIRST.rd * 8), word(SECOND.rs1 * 8)),
        (b"\x90\x01", b"\x90\x02"),
        (struct.pack("<Q", FIRST.target), struct.pack("<Q", SECOND.target ^ 1 << 60)),
    ],
    ids=["longer", "another number", "another operand", "at the end", "half an address"],
)
def test_what_differs_otherwise_is_no_stencil(first: bytes, second: bytes) -> None:
    assert stencil_of(Code(first, []), Code(second, [])) is None


def test_jumps_elsewhere_are_no_stencil() -> None:
    assert stencil_of(Code(JUMP, [(1, NEXT)]), Code(JUMP, [(1, FAULT)])) is None


def test_constants_cannot_be_taken_for_each_other() -> None:
    words = [(FIRST[index] * 8, SECOND[index] * 8) for index in range(4)] + [(FIRST.place, SECOND.place), (FIRST.steps, SECOND.steps)]
    assert all((one ^ two) & 0xFF for one, two in words)
    differences = [two - one for one, two in words] + [FIRST.steps - SECOND.steps]
    assert len(set(differences)) == len(differences)


def test_a_last_jump_to_what_follows_falls_away() -> None:
    assert stencil_of(*[Code(NOP + JUMP, [(2, NEXT)])] * 2) == (NOP, [])
    assert stencil_of(*[Code(NOP + JUMP, [(2, FAULT)])] * 2) == (NOP + JUMP, [Placed(2, FAULT, 0)])
    assert stencil_of(*[Code(JUMP + NOP, [(1, NEXT)])] * 2) == (JUMP + NOP, [Placed(1, NEXT, 0)])


def test_a_branch_around_a_last_jump_takes_its_place() -> None:
    code = Code(NOP + IF_NOT_EQUAL + JUMP, [(3, NEXT), (8, TAKEN)])
    assert stencil_of(code, code) == (NOP + IF_EQUAL, [Placed(3, TAKEN, 0)])
    code = Code(NOP + IF_EQUAL + JUMP, [(3, FAULT), (8, NEXT)])
    assert stencil_of(code, code) == (NOP + IF_EQUAL, [Placed(3, FAULT, 0)])


@pytest.mark.parametrize(
    ("load", "move"),
    [("49 63 85", "48 c7 c0"), ("4d 63 95", "49 c7 c2"), ("41 8b 8d", "66 90 b9")],
    ids=["movsxd rax", "movsxd r10", "mov ecx"],
)
def test_an_immediate_that_is_loaded_as_a_word_stands_in_the_code(load: str, move: str) -> None:
    found = both(f"90 {load} record 90")
    assert found is not None
    assert found[0][1:4] == bytes.fromhex(move)
    assert found[1] == [Placed(4, IMM, 0)]


@pytest.mark.parametrize("load", ["41 0f b6 85", "45 8b 85", "49 8b 85", "49 63 84", "49 63 45"])
def test_an_immediate_that_is_loaded_otherwise_is_read_from_the_record(load: str) -> None:
    found = both(f"90 {load} record 90")
    assert found is not None
    assert found[1] == [Placed(1 + len(load.split()), PLACE, 12)]


@X86
def test_instructions_that_need_nothing_but_registers_and_memory_have_one() -> None:
    made = make_stencils(rv64)
    numbers = struct.unpack(f"<{len(made.rows) // 2}H", made.rows)
    with_one = {row.name for row, number in zip(make_handlers(rv64), numbers, strict=True) if number}
    moving, jumping = "lui_4 auipc_4 ld_2 ld_4 lbu_4 sd_2 sw_4 sb_4 fld_4 fsd_4 amoadd_w_4", "beq_2 bne_4_far jal_2 jal_4_far jalr_2"
    assert {*moving.split(), *jumping.split(), "add_2", "add_4", "addi_2", "mul_4", "slli_2"} <= with_one
    assert not {"ecall_4", "csrrw_4", "sfence_vma_4", "lr_w_4", "wfi_4", "fence_i_4", "decode_here", "cross_page"} & with_one


@X86
def test_stores_of_a_machine_with_one_hart_look_for_nobody() -> None:
    made = make_stencils(rv64)
    rows = make_handlers(rv64)
    numbers = [struct.unpack(f"<{len(rows)}H", each) for each in (made.rows, made.rows_alone)]
    different = {row.name for row, shared, alone in zip(rows, *numbers, strict=True) if shared != alone}
    assert different == {"sb_4", "sh_4", "sw_2", "sw_4", "sd_2", "sd_4", "fsw_4", "fsd_2", "fsd_4"}


def test_another_processor_has_none() -> None:
    with made_for("aarch64"):
        assert make_stencils(rv64) == Stencils(b"", b"", b"", b"", b"")
