"""The listing of a program against GNU objdump's."""

import re
import subprocess
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError
from gasang.cpus.riscv64.listing import disassemble_elf

PROGRAM = """
    .text
    .globl _start
    .option norelax
_start:
    la a0, message
    li a1, 5
    call square
    beqz a0, finish
    j _start
finish:
    ecall
    fmadd.d fa0, fa1, fa2, fa3
    csrr a0, cycle
square:
    mul a0, a1, a1
    ret
    .short 0
    .data
message:
    .asciz "hello"
"""
LINE = re.compile(r" *([0-9a-f]+):\t([0-9a-f]+) *\t(.*)")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A linked program."""
    (tmp_path / "program.s").write_text(PROGRAM)
    try:
        subprocess.run(["riscv64-linux-gnu-as", "-march=rv64gc", "program.s", "-o", "program.o"], check=True, cwd=tmp_path)
    except FileNotFoundError:
        pytest.skip("riscv64-linux-gnu-as is not installed (Debian package binutils-riscv64-linux-gnu)")
    subprocess.run(["riscv64-linux-gnu-ld", "--no-relax", "program.o", "-o", "program"], check=True, cwd=tmp_path)
    return tmp_path / "program"


def test_the_listing_is_objdumps(program: Path) -> None:
    ours = list(disassemble_elf(program, aliases=False))
    command = ["riscv64-linux-gnu-objdump", "-d", "-M", "no-aliases", program]
    theirs = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    expected = [(line[1], line[2], re.sub(r"\s*#.*", "", line[3]).strip()) for line in map(LINE.match, theirs) if line]
    found = [(line[1], line[2], line[3]) for line in map(LINE.match, ours) if line]
    assert len(found) > 10
    assert found[:-1] == expected, "the last, zeroes, objdump leaves out"
    assert [line for line in ours if line.endswith(">:")] == [line for line in theirs if line.endswith(">:")]


def test_pseudo_instructions_are_the_default(program: Path) -> None:
    text = "\n".join(disassemble_elf(program))
    assert re.search(r"\tret$", text, re.MULTILINE)
    assert "beqz\ta0," in text
    assert "rdcycle\ta0" in text


def test_a_file_without_sections_is_listed_by_segments(program: Path) -> None:
    data = bytearray(program.read_bytes())
    data[40:48] = bytes(8)
    data[60:64] = bytes(4)
    program.write_bytes(data)
    lines = list(disassemble_elf(program))
    assert any(line.startswith("Disassembly of segment 0x1") for line in lines)
    assert any(line.endswith("\tecall") for line in lines)


def test_a_file_that_is_no_program_is_refused_before_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "note").write_text("no program")
    with pytest.raises(BadInputError, match="magic"):
        disassemble_elf(tmp_path / "note")
