"""Guests that compute for a while, say what came out, and switch themselves off: what a snapshot in the middle must not change."""

from __future__ import annotations

from functools import cache
from typing import Final

from gasang.kinds.vm.board import RAM_BASE
from gasang.kinds.vm.loader import load_kernel
from gasang.kinds.vm.parts import Parts
from support.assembler import A0, A1, A2, A6, A7, ECALL, S0, S1, T0, T1, T2, ZERO, Line, addi, assemble, auipc, jump, lui
from support.kernels import image

MIB = 1 << 20
MASK = (1 << 64) - 1
BUFFER = RAM_BASE + 32 * MIB
MULTIPLIER = 0x5DEEC_E66D
START = 11
HSM = (lui(A7, 0x48_5000), addi(A7, A7, 0x34D))
"""A7 = the extension that starts and stops harts (SBI 2.0, chapter 9)."""
WORDS = 1024


def number(rd: int, value: int) -> tuple[Line, ...]:
    """Set rd = value, of 32 bits, without its sign."""
    low = (value & 0xFFF) - (value << 1 & 0x1000)
    high = (value - low & 0x7FFF_FFFF) - (value - low & 0x8000_0000)
    lines: tuple[Line, ...] = (lui(rd, high), ("addiw", {"rd": rd, "rs1": rd, "imm": low}))
    return (*lines, ("slli", {"rd": rd, "rs1": rd, "imm": 32}), ("srli", {"rd": rd, "rs1": rd, "imm": 32}))


def back(name: str, rs1: int, rs2: int, body: tuple[Line, ...]) -> tuple[Line, ...]:
    """The body again while the branch is taken; no instruction is compressed."""
    return (*body, (name, {"rs1": rs1, "rs2": rs2, "imm": -4 * len(body)}))


def say(value: int) -> tuple[Line, ...]:
    """The register's 16 digits on the console (A1 and A7 are used up)."""
    digit: tuple[Line, ...] = (
        ("srli", {"rd": A0, "rs1": value, "imm": 60}),
        addi(A0, A0, ord("a")),
        addi(A7, ZERO, 1),
        ECALL,
        ("slli", {"rd": value, "rs1": value, "imm": 4}),
        addi(A1, A1, -1),
    )
    return (addi(A1, ZERO, 16), *back("bne", A1, ZERO, digit))


OFF = (addi(A7, ZERO, 8), ECALL)


KEPT_ROUNDS: Final = 12_000_000
"""A second of work or so: who is started and then looked at has not come to its end."""


def mixing(rounds: int) -> bytes:
    """Mixes a number into a buffer `rounds` times, then says the sum of the buffer."""
    body: tuple[Line, ...] = (
        ("mul", {"rd": T1, "rs1": T1, "rs2": T2}),
        ("add", {"rd": T1, "rs1": T1, "rs2": S0}),
        ("andi", {"rd": A2, "rs1": S0, "imm": WORDS - 1}),
        ("slli", {"rd": A2, "rs1": A2, "imm": 3}),
        ("add", {"rd": A2, "rs1": A2, "rs2": T0}),
        ("sd", {"rs1": A2, "rs2": T1, "imm": 0}),
        addi(S0, S0, -1),
    )
    total: tuple[Line, ...] = (
        ("ld", {"rd": A2, "rs1": T0, "imm": 0}),
        ("add", {"rd": T1, "rs1": T1, "rs2": A2}),
        addi(T0, T0, 8),
        addi(S0, S0, -1),
    )
    return assemble(
        *number(T0, BUFFER), *number(T2, MULTIPLIER & 0xFFFF_FFFF), addi(T1, ZERO, START), *number(S0, rounds),
        *back("bne", S0, ZERO, body), addi(T1, ZERO, 0), *number(S0, WORDS), *back("bne", S0, ZERO, total), *say(T1), *OFF,
    )  # fmt: skip


@cache
def mixed(rounds: int) -> bytes:
    """What `mixing` says."""
    buffer, value = [0] * WORDS, START
    for left in range(rounds, 0, -1):
        value = (value * (MULTIPLIER & 0xFFFF_FFFF) + left) & MASK
        buffer[left % WORDS] = value
    return letters(sum(buffer) & MASK)


def letters(value: int) -> bytes:
    """A number as `say` says it."""
    return bytes(ord("a") + (value >> shift & 15) for shift in range(60, -4, -4))


def counting(rounds: int) -> bytes:
    """Two harts add to one number, `rounds` times each, one by LR and SC, one atomically; hart 0 says it when both are done."""
    retry: tuple[Line, ...] = (
        ("lr.d", {"aq": 0, "rl": 0, "rd": A2, "rs1": T0}),
        addi(A2, A2, 1),
        ("sc.d", {"aq": 0, "rl": 0, "rd": A2, "rs1": T0, "rs2": A2}),
    )
    first = (*number(S0, rounds), *back("bne", S0, ZERO, (*back("bne", A2, ZERO, retry), addi(S0, S0, -1))))
    wait = (*number(S1, 2 * rounds), *back("bne", T1, S1, (("ld", {"rd": T1, "rs1": T0, "imm": 0}),)))
    zero_code = (*first, *wait, *say(T1), *OFF)
    adding: tuple[Line, ...] = (("amoadd.d", {"aq": 0, "rl": 0, "rd": ZERO, "rs1": T0, "rs2": T1}), addi(S0, S0, -1))
    one_code = (*number(T0, BUFFER), *number(S0, rounds), addi(T1, ZERO, 1), *back("bne", S0, ZERO, adding),
                *HSM, addi(A6, ZERO, 1), ECALL, jump(0))  # fmt: skip
    behind = 4 * (3 + len(zero_code))
    start = (*HSM, addi(A6, ZERO, 0), addi(A0, ZERO, 1), auipc(A1), addi(A1, A1, behind), ECALL)
    return assemble(*number(T0, BUFFER), *start, *zero_code, *one_code)


def parts_of(program: bytes, said: bytearray, harts: int = 1, memory: int = 64 * MIB) -> Parts:
    """A machine with the program as its kernel."""
    return Parts(harts, memory, load_kernel(image(program), "kernel", RAM_BASE), b"", "", said.extend)
