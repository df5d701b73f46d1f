"""The serial line's shortcut: what is answered without the device, what waits for it, and that nothing is lost or late."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gasang.accel.soft.machine import SoftMachine
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.execute import QUANTUM
from gasang.cpus.riscv64.line import LINE_POLLS
from gasang.cpus.riscv64.state import LINE_ROOM
from gasang.devices.bus import Bus
from gasang.devices.serial16550 import Serial16550
from support.bare import CODE, Bare, asm
from support.board_parts import FakeIrq
from support.machines import bare_machine
from support.supervised import eventually

LINE = 0x1000_0000
SEND, IER, LCR, MCR, STATUS = 0, 1, 3, 4, 5
TRANSMIT, DLAB, LOOP = 2, 0x80, 0x10
PATIENCE = 30.0
T0, T1, T2, A0 = 5, 6, 7, 10


class Counted(Serial16550):
    """A UART that counts what is asked of it."""

    asked = 0

    def read(self, offset: int, width: int) -> int:
        self.asked += 1
        return super().read(offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        self.asked += 1
        super().write(offset, width, value)


class Connected:
    """A hart with nothing but a serial line, and what it has sent."""

    def __init__(self, bare: Bare) -> None:
        self.bare, self.sent = bare, bytearray()
        self.uart = connected(bare.machine, self.sent)
        bare.cpu.x[T0] = LINE

    def load(self, register: int) -> int:
        """What a load of a byte finds."""
        self._execute(asm("lbu", rd=A0, rs1=T0, imm=register))
        return int(self.bare.cpu.x[A0])

    def store(self, register: int, value: int) -> None:
        """A store of a byte."""
        self.bare.cpu.x[T1] = value
        self._execute(asm("sb", rs1=T0, rs2=T1, imm=register))

    def _execute(self, instruction: bytes) -> None:
        self.bare.put(CODE, instruction)
        self.bare.cpu.pc = CODE
        self.bare.machine.processor.functions["forget_all_blocks"](self.bare.hart.address)
        while self.bare.run(1) == exits.STOPPED:  # for what was sent before
            pass


def connected(machine: SoftMachine, sent: bytearray) -> Counted:
    """A UART on a machine's bus, with its shortcut."""
    uart, bus = Counted(FakeIrq(), sent.extend), Bus()
    bus.attach("serial", LINE, uart)
    machine.bus = bus
    machine.serial.connect(LINE)
    uart.lend(machine.serial)
    machine.settle = uart.settle
    return uart


@pytest.fixture
def line() -> Iterator[Connected]:
    """A machine with a line, closed at the end."""
    bare = Bare()
    yield Connected(bare)
    bare.close()


def test_the_status_is_answered_without_the_device(line: Connected) -> None:
    assert line.load(STATUS) == 0x60
    line.uart.receive(b"x")
    assert line.load(STATUS) == 0x61
    assert line.uart.asked == 0
    assert line.load(SEND) == ord("x")
    assert line.load(STATUS) == 0x60
    assert line.uart.asked == 1


def test_bytes_wait_and_are_sent_in_their_order_before_the_device_is_asked_anything_else(line: Connected) -> None:
    for byte in b"boot":
        line.store(SEND, byte)
    assert (line.uart.asked, bytes(line.sent), line.bare.machine.serial.has_some) == (0, b"", True)
    line.store(IER, 0)
    assert (bytes(line.sent), line.bare.machine.serial.has_some) == (b"boot", False)


def test_where_there_is_no_room_the_device_is_asked(line: Connected) -> None:
    for number in range(LINE_ROOM + 2):
        line.store(SEND, number & 0xFF)
    assert line.uart.asked == 1
    line.uart.settle()
    assert bytes(line.sent) == bytes(number & 0xFF for number in range(LINE_ROOM + 2))


@pytest.mark.parametrize(("register", "value"), [(LCR, DLAB), (MCR, LOOP)])
def test_a_byte_that_is_not_sent_goes_to_the_device(line: Connected, register: int, value: int) -> None:
    line.store(register, value)
    line.store(SEND, 7)
    line.uart.settle()
    assert (line.uart.asked, bytes(line.sent)) == (2, b"")


def test_the_empty_transmitter_interrupts_as_without(line: Connected) -> None:
    irq: FakeIrq = line.uart._irq  # type: ignore[assignment]
    line.store(SEND, 1)
    line.store(IER, TRANSMIT)
    assert irq.level
    assert line.load(2) & 0xF == 2  # the interrupt is taken back
    assert not irq.level
    line.store(SEND, 2)
    assert irq.level
    asked = line.uart.asked
    line.store(SEND, 3)  # changes nothing any more
    assert (line.uart.asked, bytes(line.sent)) == (asked, b"\1\2")
    assert line.load(2) & 0xF == 2
    assert bytes(line.sent) == b"\1\2\3"


def test_only_bytes_at_the_registers_are_meant(line: Connected) -> None:
    line.bare.cpu.x[T1] = ord("a")
    line._execute(asm("sw", rs1=T0, rs2=T1, imm=SEND))
    assert (line.uart.asked, bytes(line.sent)) == (1, b"a")
    line.bare.machine.serial.connect(0)
    line.store(SEND, ord("b"))
    assert line.load(STATUS) == 0x60
    assert (line.uart.asked, bytes(line.sent)) == (3, b"ab")


def test_a_hart_that_has_sent_leaves_some_polls_later(line: Connected) -> None:
    send = asm("sb", rs1=T0, rs2=T1, imm=SEND)
    loop = asm("addi", rd=T2, rs1=T2, imm=1) + asm("jal", rd=0, imm=-4)
    line.bare.put(CODE, send, *[asm("addi", rd=T2, rs1=T2, imm=1)] * 500, send, loop)
    line.bare.cpu.x[T1] = ord("p")
    assert line.bare.run(2 * LINE_POLLS * QUANTUM) == exits.STOPPED
    assert line.bare.hart.instructions <= LINE_POLLS * QUANTUM
    assert line.bare.machine.serial.take() == b"pp"


def test_a_hart_that_would_wait_leaves_at_its_next_poll(line: Connected) -> None:
    line.bare.put(CODE, asm("sb", rs1=T0, rs2=T1, imm=SEND), asm("wfi"), asm("addi", rd=T2, rs1=T2, imm=1), asm("jal", rd=0, imm=-4))
    line.bare.cpu.x[T1] = ord("p")
    assert line.bare.run(2 * LINE_POLLS * QUANTUM) == exits.STOPPED
    assert line.bare.hart.instructions <= QUANTUM
    assert line.bare.machine.serial.take() == b"p"


@pytest.mark.parametrize("ending", ["loop", "ecall"])
def test_a_machine_sends_what_its_guest_has_stored_before_a_loop_without_end_and_at_its_end(ending: str) -> None:
    program = asm("lui", rd=T0, imm=LINE) + asm("addi", rd=T1, rs1=0, imm=ord("k")) + asm("sb", rs1=T0, rs2=T1, imm=SEND) * 3
    machine, sent = bare_machine(program + (asm("jal", rd=0, imm=0) if ending == "loop" else asm("ecall"))), bytearray()
    connected(machine, sent)
    machine.start(0x8000_0000, 0)
    eventually(lambda: bytes(sent) == b"kkk", PATIENCE)
    machine.stop()
    machine.join()
    machine.close()
    assert bytes(sent) == b"kkk"


def test_a_machine_that_fails_has_sent_what_its_guest_had_stored() -> None:
    program = asm("lui", rd=T0, imm=LINE) + asm("addi", rd=T1, rs1=0, imm=ord("k")) + asm("sb", rs1=T0, rs2=T1, imm=SEND) + asm("ecall")
    machine, sent = bare_machine(program), bytearray()
    connected(machine, sent)

    def fail(hart: object) -> None:
        raise ZeroDivisionError

    machine.firmware = fail
    settle = machine.settle
    machine.settle = lambda: settle() if machine.failure is not None else None  # no earlier than that
    machine.start(0x8000_0000, 0)
    with pytest.raises(ZeroDivisionError):
        machine.join()
    machine.close()
    assert bytes(sent) == b"k"
