"""How fast /dev/kvm runs a guest's kernel mode.

A processor that virtualizes runs a loop of two instructions some thousand million times a second, whoever asks. Some hosts have a
/dev/kvm that interprets kernel mode instead (kvm_pvm does where it has no hardware below it), a thousand times slower.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gasang.accel.kvm.long_mode import PAGE, enter_long_mode, write_tables
from gasang.accel.kvm.machine import KvmMachine, Shape
from gasang.accel.kvm.system import Kvm
from gasang.core.errors import UnsupportedError

MEMORY: Final = 2 << 20
CODE_ADDRESS: Final = 4 * PAGE
TURNS_ADDRESS: Final = PAGE - 8
"""Where the guest reads how often it is to turn."""
SECONDS: Final = 0.3
ENOUGH: Final = 0.04
"""Seconds of one measurement beside which the way into the guest and out counts for nothing."""
FIRST_TURNS: Final = 1000
LEAST: Final = 3
"""Measurements, where there is time for them."""
INSTRUCTIONS_A_TURN: Final = 2
_IO: Final = 2

CODE = b"".join(
    (
        b"\x48\x8b\x0c\x25" + struct.pack("<I", TURNS_ADDRESS),  # begin: mov rcx, [TURNS_ADDRESS]
        b"\x48\xff\xc9",  # turn: dec rcx
        b"\x75\xfb",  # jnz turn
        b"\xe6\x10",  # out 0x10, al
        b"\xeb\xef",  # jmp begin
    )
)


def kernel_mode_speed(device: Path, clock: Callable[[], float] = time.perf_counter) -> float:
    """Instructions a second of a guest in ring 0, found within SECONDS.

    Raises UnsupportedError where the host refuses or the guest does not run, PermissionDeniedError.
    """
    with Kvm(device) as kvm:
        machine = KvmMachine(kvm, Shape(ram=((0, MEMORY),), irqchip=False))
    try:
        write_tables(machine.ram, PAGE, 1)
        machine.ram.write(CODE_ADDRESS, CODE)
        enter_long_mode(machine.vcpus[0], PAGE, CODE_ADDRESS)
        return measured(lambda turns: _timed(machine, turns, clock), clock)
    finally:
        machine.close()


def measured(timed: Callable[[int], float], clock: Callable[[], float]) -> float:
    """Instructions a second, from the seconds that `timed` takes for so many turns; they double until that is long enough.

    The first entry into a guest is no measure of the others, and a busy host makes any of them long: the best of several counts.
    """
    timed(1)
    begin, turns = clock(), FIRST_TURNS
    speeds: list[float] = []
    while True:
        taken = timed(turns)
        speeds.append(INSTRUCTIONS_A_TURN * turns / taken)
        if (taken >= ENOUGH and len(speeds) >= LEAST) or clock() - begin + 2 * taken > SECONDS:
            return max(speeds)
        turns *= 2


def _timed(machine: KvmMachine, turns: int, clock: Callable[[], float]) -> float:
    machine.ram.write(TURNS_ADDRESS, struct.pack("<Q", turns))
    begin = clock()
    while (reason := machine.vcpus[0].run()) is None:  # a signal to this process: the guest goes on
        pass
    if reason != _IO:
        raise UnsupportedError("/dev/kvm", f"its guest ended for reason {reason} instead of running", "see the host's kernel log")
    return max(clock() - begin, 1e-9)
