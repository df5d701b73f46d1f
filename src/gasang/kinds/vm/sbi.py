"""The supervisor binary interface, version 2.0: the calls a kernel makes of the machine level, answered by the host.

Extensions: base, TIME, IPI (sPI), RFENCE, HSM, SRST, DBCN, and the legacy console and shutdown calls. Setting the timer never
comes here: the processor answers it. A row of TABLE is (extension, function) and a method taking the hart's argument registers
and giving (error, value), or None for a call that does not return.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gasang.accel.soft.hart import Hart
from gasang.accel.soft.machine import SoftMachine
from gasang.core.protocols import GuestMemoryFault
from gasang.cpus.riscv64 import exits
from gasang.cpus.riscv64.trap import SSIP
from gasang.devices.syscon import PowerAction, PowerRequest

SUCCESS, FAILED, NOT_SUPPORTED, INVALID_PARAMETER = 0, -1, -2, -3
INVALID_ADDRESS, ALREADY_AVAILABLE = -5, -6
BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN = 0x10, 0x54494D45, 0x735049, 0x52464E43, 0x48534D, 0x53525354, 0x4442434E
LEGACY_PUTCHAR, LEGACY_GETCHAR, LEGACY_SHUTDOWN = 1, 2, 8
VERSION = 2 << 24
IMPLEMENTATION = 0x67617361
"""No number is registered for us; this one spells the name's beginning."""
MAX_WRITE = 1 << 16
ALL_HARTS = (1 << 64) - 1
HART_STARTED, HART_STOPPED = 0, 1

Answer = tuple[int, int]


class Sbi:
    """Answers environment calls of a machine's harts."""

    def __init__(
        self,
        machine: SoftMachine,
        console: Callable[[bytes], None],
        typed: Callable[[int], bytes],
        power: Callable[[PowerRequest], None],
    ) -> None:
        self._typed = typed
        self._machine = machine
        self._console = console
        self._power = power
        self._complete = machine.processor.functions["complete"]
        self._extensions = {extension for extension, _ in TABLE}

    def __call__(self, hart: Hart) -> None:
        """Answer the call the hart stands at."""
        x = hart.cpu.x
        extension, function = int(x[17]), int(x[16])
        legacy = extension <= LEGACY_SHUTDOWN
        method = TABLE.get((extension, 0 if legacy else function))
        # The call is over before it has its effect: a hart that stops or powers off does not come back to it.
        self._complete(hart.address)
        answer = method(self, hart, x[10], x[11], x[12], x[13]) if method is not None else (NOT_SUPPORTED, 0)
        if answer is None:
            return
        error, value = answer
        x[10] = error % (1 << 64)
        if not legacy:
            x[11] = value % (1 << 64)

    def version(self, hart: Hart, *_: int) -> Answer:
        """Base 0: the specification's version."""
        return SUCCESS, VERSION

    def implementation(self, hart: Hart, *_: int) -> Answer:
        """Base 1: who answers."""
        return SUCCESS, IMPLEMENTATION

    def implementation_version(self, hart: Hart, *_: int) -> Answer:
        """Base 2: our interface's own version."""
        return SUCCESS, 1

    def probe(self, hart: Hart, extension: int, *_: int) -> Answer:
        """Base 3: whether an extension is there."""
        return SUCCESS, int(extension in self._extensions)

    def zero(self, hart: Hart, *_: int) -> Answer:
        """Base 4 to 6: vendor, architecture and implementation id of the processor: none is registered."""
        return SUCCESS, 0

    def _chosen(self, mask: int, base: int) -> list[Hart] | None:
        if base == ALL_HARTS:
            return list(self._machine.harts)
        numbers = [base + bit for bit in range(64) if mask >> bit & 1]
        if any(number >= self._machine.hart_count for number in numbers):
            return None
        return [self._machine.harts[number] for number in numbers]

    def send_ipi(self, hart: Hart, mask: int, base: int, *_: int) -> Answer:
        """IPI 0: set SSIP of harts."""
        chosen = self._chosen(mask, base)
        if chosen is None:
            return INVALID_PARAMETER, 0
        is_set, hart.cpu.has_interrupted = hart.cpu.has_interrupted, 0
        for target in chosen:
            if is_set:
                target.wakeup.set()
            else:
                target.interrupt(SSIP, True)
        return SUCCESS, 0

    def remote_fence_i(self, hart: Hart, mask: int, base: int, *_: int) -> Answer:
        """RFENCE 0: fence.i on harts."""
        return self._remote(hart, mask, base, exits.REQUEST_FENCE_I)

    def remote_sfence(self, hart: Hart, mask: int, base: int, *_: int) -> Answer:
        """RFENCE 1 and 2: forget translations on harts (all of them: more than was asked)."""
        return self._remote(hart, mask, base, exits.REQUEST_FLUSH_TLB)

    def _remote(self, hart: Hart, mask: int, base: int, request: int) -> Answer:
        chosen = self._chosen(mask, base)
        if chosen is None:
            return INVALID_PARAMETER, 0
        if hart in chosen:
            hart.request(request)
        self._machine.ask_all(chosen, request, hart)
        return SUCCESS, 0

    def hart_start(self, hart: Hart, number: int, address: int, opaque: int, *_: int) -> Answer:
        """HSM 0: start a stopped hart."""
        if number >= self._machine.hart_count:
            return INVALID_PARAMETER, 0
        target = self._machine.harts[number]
        if target.running:
            return ALREADY_AVAILABLE, 0
        ram = self._machine.ram
        if not ram.base <= address < ram.base + ram.size:
            return INVALID_ADDRESS, 0
        target.begin(address, number, opaque)
        return SUCCESS, 0

    def hart_stop(self, hart: Hart, *_: int) -> None:
        """HSM 1: the calling hart ends; it is not answered, for another may start it anew from the moment it has stopped."""
        hart.wakeup.clear()
        hart.running = False

    def hart_status(self, hart: Hart, number: int, *_: int) -> Answer:
        """HSM 2: started or stopped."""
        if number >= self._machine.hart_count:
            return INVALID_PARAMETER, 0
        return SUCCESS, HART_STARTED if self._machine.harts[number].running else HART_STOPPED

    def reset(self, hart: Hart, kind: int, reason: int, *_: int) -> Answer:
        """SRST 0: power off (0), cold (1) or warm (2) reboot, without a reason (0) or for a failure (1); the other numbers are reserved."""
        actions = {0: PowerAction.OFF, 1: PowerAction.RESET, 2: PowerAction.RESET}
        if kind not in actions or reason not in (0, 1):
            return INVALID_PARAMETER, 0
        failed = kind == 0 and reason == 1
        self._power(PowerRequest(PowerAction.FAIL if failed else actions[kind], 1 if failed else 0))
        return SUCCESS, 0

    def debug_write(self, hart: Hart, length: int, low: int, high: int, *_: int) -> Answer:
        """DBCN 0: bytes from memory to the console."""
        if not self._is_ram(length, low, high):
            return INVALID_PARAMETER, 0
        data = self._machine.ram.read(low, min(length, MAX_WRITE))
        self._console(data)
        return SUCCESS, len(data)

    def _is_ram(self, length: int, low: int, high: int) -> bool:
        """Whether all of a buffer a guest names is RAM."""
        try:
            self._machine.ram.view(low | high << 64, length).release()
        except GuestMemoryFault:
            return False
        return True

    def debug_read(self, hart: Hart, length: int, low: int, high: int, *_: int) -> Answer:
        """DBCN 1: what was typed, into memory; no byte is given twice, here or on the serial line."""
        if not self._is_ram(length, low, high):
            return INVALID_PARAMETER, 0
        data = self._typed(min(length, MAX_WRITE))
        self._machine.ram.write(low, data)
        return SUCCESS, len(data)

    def debug_write_byte(self, hart: Hart, byte: int, *_: int) -> Answer:
        """DBCN 2: one byte to the console."""
        self._console(bytes([byte & 0xFF]))
        return SUCCESS, 0

    def legacy_getchar(self, hart: Hart, *_: int) -> Answer:
        """Legacy 2: the next byte typed, -1 if there is none."""
        data = self._typed(1)
        return (data[0] if data else FAILED), 0

    def legacy_shutdown(self, hart: Hart, *_: int) -> Answer:
        """Legacy 8."""
        self._power(PowerRequest(PowerAction.OFF))
        return SUCCESS, 0


TABLE: dict[tuple[int, int], Callable[..., Any]] = {
    (BASE, 0): Sbi.version, (BASE, 1): Sbi.implementation, (BASE, 2): Sbi.implementation_version, (BASE, 3): Sbi.probe,
    (BASE, 4): Sbi.zero, (BASE, 5): Sbi.zero, (BASE, 6): Sbi.zero,
    (TIME, 0): Sbi.zero, (IPI, 0): Sbi.send_ipi,
    (RFENCE, 0): Sbi.remote_fence_i, (RFENCE, 1): Sbi.remote_sfence, (RFENCE, 2): Sbi.remote_sfence,
    (HSM, 0): Sbi.hart_start, (HSM, 1): Sbi.hart_stop, (HSM, 2): Sbi.hart_status, (SRST, 0): Sbi.reset,
    (DBCN, 0): Sbi.debug_write, (DBCN, 1): Sbi.debug_read, (DBCN, 2): Sbi.debug_write_byte,
    (LEGACY_PUTCHAR, 0): Sbi.debug_write_byte, (LEGACY_GETCHAR, 0): Sbi.legacy_getchar, (LEGACY_SHUTDOWN, 0): Sbi.legacy_shutdown,
}  # fmt: skip
