"""The UART: what stock drivers probe, FIFO and interrupts, loopback."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gasang.devices.serial16550 import Serial16550
from support.board_parts import FakeIrq

DATA, IER, IIR, FCR, LCR, MCR, LSR, MSR, SCR = 0, 1, 2, 2, 3, 4, 5, 6, 7


class Wire:
    """A UART with what it sent and its interrupt line."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.irq = FakeIrq()
        self.uart = Serial16550(self.irq, self.sent.extend)

    def read(self, register: int) -> int:
        return self.uart.read(register, 1)

    def write(self, register: int, value: int) -> None:
        self.uart.write(register, 1, value)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_sends_what_is_written(wire: Wire) -> None:
    for byte in b"boot\n":
        assert wire.read(LSR) & 0x60 == 0x60
        wire.write(DATA, byte)
    assert wire.sent == b"boot\n"


def test_is_recognised_as_a_16550a(wire: Wire) -> None:
    """The questions Linux' autoconfig asks, in its order."""
    wire.write(IER, 0)
    assert wire.read(IER) == 0
    wire.write(IER, 0x0F)
    assert wire.read(IER) & 0x0F == 0x0F
    wire.write(IER, 0)
    wire.write(MCR, 0x10 | 0x0A)
    assert wire.read(MSR) & 0xF0 == 0x90
    wire.write(MCR, 0)
    wire.write(LCR, 0xBF)
    wire.write(FCR, 0)
    wire.write(LCR, 0)
    wire.write(FCR, 1)
    assert wire.read(IIR) >> 6 == 3
    wire.write(FCR, 0)
    assert wire.read(IIR) >> 6 == 0
    wire.write(SCR, 0x5A)
    assert wire.read(SCR) == 0x5A


def test_the_divisor_hides_behind_dlab(wire: Wire) -> None:
    wire.write(LCR, 0x83)
    wire.write(DATA, 0x34)
    wire.write(IER, 0x12)
    assert (wire.read(DATA), wire.read(IER)) == (0x34, 0x12)
    wire.write(LCR, 0x03)
    assert (wire.read(IER), bytes(wire.sent), wire.read(LCR)) == (0, b"", 3)


def test_the_empty_transmitter_interrupts_whenever_it_is_enabled(wire: Wire) -> None:
    """The two probes of Linux' serial8250 start-up."""
    for _ in range(2):
        wire.write(IER, 2)
        assert wire.irq.level
        assert wire.read(IIR) & 0x0F == 2
        assert not wire.irq.level, "reading IIR takes the transmitter's interrupt back"
        assert wire.read(IIR) & 0x0F == 1
        wire.write(IER, 0)
    wire.write(IER, 2)
    wire.read(IIR)
    wire.write(DATA, 0x41)
    assert wire.irq.level, "the byte is gone at once, and the transmitter empty again"


def test_keeps_input_until_it_is_read(wire: Wire) -> None:
    text = bytes(range(256)) * 20
    wire.write(FCR, 1)
    wire.uart.receive(text)
    got = bytearray()
    while wire.read(LSR) & 1:
        got.append(wire.read(DATA))
    assert got == text
    assert wire.read(DATA) == 0


def test_receive_interrupt_is_a_timeout_below_the_trigger_level(wire: Wire) -> None:
    wire.write(FCR, 0x81)
    wire.write(IER, 1)
    wire.uart.receive(b"1234567")
    assert wire.irq.level
    assert wire.read(IIR) & 0x0F == 0x0C
    wire.uart.receive(b"8")
    assert wire.read(IIR) & 0x0F == 0x04
    for _ in range(8):
        assert wire.irq.level
        wire.read(DATA)
    assert not wire.irq.level


def test_without_fifo_one_byte_at_a_time(wire: Wire) -> None:
    wire.write(IER, 1)
    wire.uart.receive(b"ab")
    assert wire.uart.save()["fifo"] == b"a"
    assert wire.read(IIR) == 0x04
    assert [wire.read(DATA), wire.read(DATA)] == list(b"ab")
    assert wire.irq.level is False


def test_clearing_the_fifo_drops_what_is_in_it_only(wire: Wire) -> None:
    wire.write(FCR, 1)
    wire.uart.receive(bytes(range(20)))
    wire.write(FCR, 3)
    assert wire.read(DATA) == 16
    wire.write(FCR, 0x02)
    assert wire.read(IIR) >> 6 == 0


def test_loopback_returns_bytes_and_can_overrun(wire: Wire) -> None:
    wire.write(MCR, 0x10)
    wire.write(FCR, 1)
    wire.write(IER, 4)
    wire.uart.receive(b"outside")
    for byte in range(17):
        wire.write(DATA, byte)
    assert not wire.sent
    assert wire.irq.level
    assert wire.read(IIR) & 0x0F == 6
    assert wire.read(LSR) & 0x03 == 3
    assert wire.read(LSR) & 0x03 == 1, "reading LSR clears the error"
    assert [wire.read(DATA) for _ in range(16)] == list(range(16))
    assert not wire.read(LSR) & 1
    wire.write(MCR, 0)
    assert wire.read(DATA) == ord("o")


def test_modem_lines_follow_the_outputs_in_loopback(wire: Wire) -> None:
    assert wire.read(MSR) == 0xB0
    wire.write(IER, 8)
    wire.write(MCR, 0x10)
    assert wire.irq.level
    assert wire.read(IIR) & 0x0F == 0
    assert wire.read(MSR) == 0x0B
    assert (wire.read(MSR), wire.irq.level) == (0, False)
    wire.write(MCR, 0x14)
    assert wire.read(MSR) == 0x40, "a rising ring line is no event"
    wire.write(MCR, 0x10)
    assert wire.read(MSR) == 0x04


def test_priority_of_interrupts(wire: Wire) -> None:
    wire.write(MCR, 0x10)
    wire.write(IER, 0x0F)
    wire.write(DATA, 1)
    wire.write(DATA, 2)
    wire.read(IIR)
    causes = []
    while not (cause := wire.read(IIR) & 0x0F) & 1:
        causes.append(cause)
        wire.read({6: LSR, 4: DATA, 2: IIR, 0: MSR}[cause])
    assert causes == [6, 4, 2, 0]


def test_unknown_registers_read_zero(wire: Wire) -> None:
    wire.write(8, 0xFF)
    wire.write(0x40, 0xFF)
    assert [wire.read(8), wire.read(0xFF)] == [0, 0]


def test_reset_keeps_input_of_the_host(wire: Wire) -> None:
    wire.uart.receive(b"keep me")
    wire.write(IER, 1)
    wire.uart.reset()
    assert not wire.irq.level
    wire.write(FCR, 1)
    assert wire.read(LSR) & 1


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255) | st.none()), max_size=60), st.binary(max_size=40))
def test_any_access_keeps_line_and_identity_in_step(accesses: list[tuple[int, int | None]], text: bytes) -> None:
    wire = Wire()
    wire.uart.receive(text)
    for register, value in accesses:
        if value is None:
            assert 0 <= wire.read(register) <= 255
        else:
            wire.write(register, value)
        assert len(wire.uart.save()["fifo"]) <= 16
        level = wire.irq.level
        assert level == (not wire.read(IIR) & 1)
