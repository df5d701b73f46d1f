"""A guest that waits for what is typed: each character comes back with how many there were, and q switches it off."""

from __future__ import annotations

from support.assembler import (
    A0,
    A2,
    A7,
    ECALL,
    S1,
    SIE,
    STIMECMP,
    T0,
    T1,
    T2,
    TIME,
    WFI,
    ZERO,
    Line,
    addi,
    assemble,
    jump,
    lui,
    read_csr,
    write_csr,
)
from support.computing import OFF
from support.kernels import image

GREETING = b"up\n"
TIMER_INTERRUPT = 32


def _say(*lines: Line) -> tuple[Line, ...]:
    """The character that the lines put into A0."""
    return (*lines, addi(A7, ZERO, 1), ECALL)


def talking() -> bytes:
    """The guest as a kernel's Image."""
    begin: tuple[Line, ...] = (
        addi(S1, ZERO, 0), addi(T0, ZERO, TIMER_INTERRUPT), write_csr(SIE, T0),
        *(line for sign in GREETING for line in _say(addi(A0, ZERO, sign))),
    )  # fmt: skip
    idle: tuple[Line, ...] = (
        read_csr(T1, TIME), lui(T2, 0x1_8000), ("add", {"rd": T1, "rs1": T1, "rs2": T2}), write_csr(STIMECMP, T1), WFI,
    )  # fmt: skip
    answer: tuple[Line, ...] = (
        addi(A2, A0, 0), *_say(), addi(S1, S1, 1), *_say(addi(A0, S1, ord("0"))),
        *_say(addi(A0, ZERO, ord("\n"))), addi(T0, ZERO, ord("q")),
    )  # fmt: skip
    listen: tuple[Line, ...] = (addi(A7, ZERO, 2), ECALL)
    to_answer: Line = ("bge", {"rs1": A0, "rs2": ZERO, "imm": 4 * (len(idle) + 2)})
    again = jump(-4 * (len(idle) + len(listen) + 1))
    more: Line = ("bne", {"rs1": A2, "rs2": T0, "imm": -4 * (len(answer) + 1 + len(idle) + 1 + len(listen))})
    return image(assemble(*begin, *listen, to_answer, *idle, again, *answer, more, *OFF))
