"""Why a guest stops and what follows, as a table: KVM_EXIT_… of linux/kvm.h to a function of machine and vCPU.

Everything in a run page is the guest's to choose: a port, an address, a width. Where no device answers, reads give all ones and writes
are lost, as on a PC's buses.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from gasang.accel.kvm.loop import BYTE_IN, BYTE_OUT, IO
from gasang.core.errors import MachineDiedError
from gasang.devices.bus import Bus, BusError
from gasang.devices.syscon import PowerAction, PowerRequest
from gasang.host.kvm import ioctls
from gasang.host.kvm.structures import FailEntryExit, InternalExit, Record, Run, SystemEventExit

if TYPE_CHECKING:
    from gasang.accel.kvm.machine import KvmMachine
    from gasang.accel.kvm.vcpu import Vcpu

_WHY: Final = Run.why.offset
_IO: Final = struct.Struct("<BBHIQ")
_MMIO: Final = struct.Struct("<Q8sIB")
_OUT: Final = 1
_ANSWER: Final = (_WHY + 56) // 8
"""Where, in parts of eight bytes, a call's answer is, after its number and six arguments."""
_NO_SUCH_CALL: Final = 1000
"""KVM_ENOSYS"""
_ONES: Final = (1 << 64) - 1
WIDTHS: Final = (1, 2, 4, 8)
RESET_RIP: Final = 0xFFF0
HINT: Final = "see what its console said last; a kernel that runs elsewhere may want another --cpus, --memory or --accel"

Handler = Callable[["KvmMachine", "Vcpu"], None]


def _io(machine: KvmMachine, vcpu: Vcpu) -> None:
    direction, size, port, count, offset = _IO.unpack_from(vcpu.page, _WHY)
    if size == count == 1:
        _remember(machine, port, is_store=direction == _OUT)
    for at in range(offset, offset + size * count, size):
        if direction == _OUT:
            write(machine, machine.ports, port, int.from_bytes(vcpu.page[at : at + size], "little"), size)
        else:
            vcpu.page[at : at + size] = read(machine.ports, port, size).to_bytes(size, "little")


def _remember(machine: KvmMachine, port: int, *, is_store: bool) -> None:
    """Whose port it is, for the next access of this kind (loop.py); regions stay where they are once a machine runs."""
    region = machine.ports.region(port, 1)
    if region is not None:
        access = region.device.write if is_store else region.device.read
        machine.direct[(BYTE_OUT if is_store else BYTE_IN) | port << 16] = access, port - region.base, is_store


def _mmio(machine: KvmMachine, vcpu: Vcpu) -> None:
    address, data, length, is_write = _MMIO.unpack_from(vcpu.page, _WHY)
    if is_write:
        write(machine, machine.bus, address, int.from_bytes(data[:length], "little"), length)
    else:
        start = _WHY + 8
        vcpu.page[start : start + length] = read(machine.bus, address, length).to_bytes(length, "little")


def read(bus: Bus, address: int, width: int) -> int:
    """What a device answers; all ones where none does. Odd widths (an access over a page's end) are taken apart."""
    if width not in WIDTHS:
        return sum(read(bus, address + number, 1) << (8 * number) for number in range(width))
    try:
        return bus.read(address, width)
    except BusError:
        return (1 << (8 * width)) - 1


def write(machine: KvmMachine, bus: Bus, address: int, value: int, width: int) -> None:
    """Give a device what the guest stored; lost where none answers."""
    if width not in WIDTHS:
        for number in range(width):
            write(machine, bus, address + number, value >> (8 * number) & 0xFF, 1)
        return
    try:
        bus.write(address, width, value)
    except BusError:
        machine.unanswered += 1


def _halt(machine: KvmMachine, vcpu: Vcpu) -> None:
    """Only where interrupts are not the kernel's: nothing but the machine's end ends this."""
    while not machine.stopping.is_set():
        machine.attention.wait()
        machine.rest(vcpu)
    vcpu.run_page.immediate_exit = 1  # resting may have used up the kick


def _shutdown(machine: KvmMachine, vcpu: Vcpu) -> None:
    # AMD's processors forget where it was: what KVM shows then is a vCPU after its reset.
    where = _where(vcpu) if vcpu.get(ioctls.GET_REGS).rip != RESET_RIP else ""
    raise MachineDiedError(f"vCPU {vcpu.number}", f"the guest's processor gave up, by a triple fault{where}", HINT)


def _refused(machine: KvmMachine, vcpu: Vcpu) -> None:
    why = _why(vcpu, FailEntryExit)
    cause = f"the host's processor would not enter the guest (reason {why.hardware_entry_failure_reason:#x}){_where(vcpu)}"
    raise MachineDiedError(f"vCPU {vcpu.number}", cause, "this is no state a processor can have: use --accel soft, and tell us")


def _internal(machine: KvmMachine, vcpu: Vcpu) -> None:
    why = _why(vcpu, InternalExit)
    words = ", ".join(f"{word:#x}" for word in why.data[: min(why.ndata, 16)])
    detail = f" ({words})" if words else ""
    name = _INTERNAL.get(why.suberror, f"error {why.suberror}")
    raise MachineDiedError(f"vCPU {vcpu.number}", f"the host's KVM failed: {name}{detail}{_where(vcpu)}", "use --accel soft")


def _system_event(machine: KvmMachine, vcpu: Vcpu) -> None:
    kind = _why(vcpu, SystemEventExit).type
    machine.on_power(_EVENTS.get(kind, PowerRequest(PowerAction.FAIL, 1)))


def _hypercall(machine: KvmMachine, vcpu: Vcpu) -> None:
    """No call of a guest's is ours to answer: as KVM has it for one that it does not know."""
    vcpu.quads[_ANSWER] = -_NO_SUCH_CALL & _ONES


def _ring_full(machine: KvmMachine, vcpu: Vcpu) -> None:
    assert machine.rings is not None
    machine.rings.relieve(vcpu.number)


def _nothing(machine: KvmMachine, vcpu: Vcpu) -> None:
    """The kernel has done all there is to do."""


def unknown(machine: KvmMachine, vcpu: Vcpu) -> None:
    """An exit we have not asked for. Raises MachineDiedError."""
    reason = int(vcpu.run_page.exit_reason)
    raise MachineDiedError(f"vCPU {vcpu.number}", f"the guest stopped for reason {reason}, which means nothing here{_where(vcpu)}", HINT)


def _why(vcpu: Vcpu, kind: type[Record]) -> Record:
    """A copy of the exit's part of the run page: an error that goes up must not hold the page."""
    return kind.from_buffer_copy(vcpu.page, _WHY)


def _where(vcpu: Vcpu) -> str:
    registers = vcpu.get(ioctls.GET_REGS)
    return f", at rip {registers.rip:#x}"


_INTERNAL: Final[Mapping[int, str]] = {
    1: "it met an instruction it cannot emulate",
    2: "an exception came while it delivered another",
    3: "an event it cannot deliver",
    4: "an exit of the processor it does not know",
}
_EVENTS: Final[Mapping[int, PowerRequest]] = {
    1: PowerRequest(PowerAction.OFF, 0),
    2: PowerRequest(PowerAction.RESET, 0),
    3: PowerRequest(PowerAction.FAIL, 1),
}


class _Exits(dict[int, Handler]):
    def __missing__(self, reason: int) -> Handler:
        return unknown


EXITS: Final[Mapping[int, Handler]] = _Exits({
    IO: _io,
    3: _hypercall,
    5: _halt,
    6: _mmio,
    7: _nothing,  # IRQ_WINDOW_OPEN
    8: _shutdown,
    9: _refused,
    10: _nothing,  # INTR
    17: _internal,
    24: _system_event,
    31: _ring_full,
})  # fmt: skip
"""KVM_EXIT_… → what follows; any other is `unknown`."""
