"""How fast /dev/kvm runs a guest's kernel mode.

A processor that virtualizes runs a loop of two instructions some thousand million times a second, whoever asks. Some hosts have a
/dev/kvm that interprets kernel mode instead (kvm_pvm does where it has no hardware below it), a thousand times slower.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

from gasang.core.errors import UnsupportedError
from gasang.host.kvm import EXIT_IO, LongModeGuest

TURNS_ADDRESS = 0x1000 - 8
"""Where the guest reads how often it is to turn: the end of its first page."""

SECONDS = 0.3
ENOUGH = 0.04
"""Seconds of one measurement beside which the way into the guest and out counts for nothing."""
FIRST_TURNS = 1000
INSTRUCTIONS_A_TURN = 2

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

    Raises OSError where the host refuses, UnsupportedError where the guest does not run.
    """
    with LongModeGuest(device, CODE) as guest:
        begin, turns = clock(), FIRST_TURNS
        while True:
            taken = _timed(guest, turns, clock)
            if taken >= ENOUGH or clock() - begin + 2 * taken > SECONDS:
                return INSTRUCTIONS_A_TURN * turns / taken
            turns *= 2


def _timed(guest: LongModeGuest, turns: int, clock: Callable[[], float]) -> float:
    struct.pack_into("<Q", guest.memory, TURNS_ADDRESS, turns)
    begin = clock()
    reason = guest.run()
    if reason != EXIT_IO:
        raise UnsupportedError("/dev/kvm", f"its guest ended for reason {reason} instead of running", "see the host's kernel log")
    return max(clock() - begin, 1e-9)
