"""KVM for real where the host has it, and the measurement's arithmetic everywhere."""

from __future__ import annotations

import os
import platform
import struct
import sys
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("KVM is Linux's", allow_module_level=True)

from gasang.core.errors import UnsupportedError
from gasang.host import kvm_speed
from gasang.host.kvm import CODE_ADDRESS, EXIT_IO, KVM_GET_SREGS, KVM_SET_REGS, KVM_SET_USER_MEMORY_REGION, LongModeGuest
from gasang.host.kvm_speed import CODE, FIRST_TURNS, SECONDS, kernel_mode_speed

DEVICE = Path("/dev/kvm")
EXIT_HLT = 5

needs_kvm = pytest.mark.skipif(
    platform.machine() != "x86_64" or not os.access(DEVICE, os.R_OK | os.W_OK), reason="no /dev/kvm for an x86-64 guest here"
)


def test_numbers_are_those_of_the_interface() -> None:
    assert (KVM_SET_USER_MEMORY_REGION, KVM_SET_REGS, KVM_GET_SREGS) == (0x4020AE46, 0x4090AE82, 0x8138AE83)


def test_the_loop_jumps_where_it_should() -> None:
    """Offsets of the two short jumps, from the bytes behind them."""
    turn, begin = CODE.index(b"\x48\xff"), 0
    jnz, jmp = CODE.index(b"\x75") + 2, len(CODE)
    assert jnz + int.from_bytes(CODE[jnz - 1 : jnz], signed=True) == turn
    assert jmp + int.from_bytes(CODE[jmp - 1 : jmp], signed=True) == begin


@needs_kvm
def test_a_guest_computes_and_comes_back() -> None:
    # mov rax, [0x800]; add rax, rax; mov [0x808], rax; out 0x10, al; hlt
    code = bytes.fromhex("488b042500080000 4801c0 4889042508080000 e610 f4")
    with LongModeGuest(DEVICE, code) as guest:
        struct.pack_into("<Q", guest.memory, 0x800, 0x1234_5678_9ABC_DEF0)
        assert guest.run() == EXIT_IO
        assert struct.unpack_from("<Q", guest.memory, 0x808)[0] == 0x2468_ACF1_3579_BDE0
        assert guest.memory[CODE_ADDRESS : CODE_ADDRESS + len(code)] == code
        assert guest.run() == EXIT_HLT


@needs_kvm
def test_everything_is_given_back() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with LongModeGuest(DEVICE, b"\xf4") as guest:
        assert len(os.listdir("/proc/self/fd")) > len(before)
        guest.run()
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        LongModeGuest(Path("/dev/null"), b"\xf4")
    assert set(os.listdir("/proc/self/fd")) == before


@needs_kvm
def test_the_speed_is_found_in_time() -> None:
    begin = time.monotonic()
    assert kernel_mode_speed(DEVICE) > 1e4
    assert time.monotonic() - begin < 10 * SECONDS  # the host may be busy


@needs_kvm
def test_a_guest_that_does_not_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kvm_speed, "CODE", b"\xf4")
    with pytest.raises(UnsupportedError, match="reason 5"):
        kernel_mode_speed(DEVICE)


class Clock:
    """Time that passes only in guests."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Guest:
    """As fast as told."""

    def __init__(self, clock: Clock, speed: float) -> None:
        self._clock = clock
        self._speed = speed
        self.memory = bytearray(4096)
        self.turns: list[int] = []

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *nothing: object) -> None:
        """Nothing is held."""

    def run(self) -> int:
        self.turns.append(struct.unpack_from("<Q", self.memory, kvm_speed.TURNS_ADDRESS)[0])
        self._clock.now += 2 * self.turns[-1] / self._speed
        return EXIT_IO


@pytest.mark.parametrize("speed", [1e3, 1e5, 4e5, 5e6, 3e9, 1e11])
def test_any_speed_is_found_within_the_time(speed: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns double until one measurement is long enough, and stop before the time is over."""
    clock = Clock()
    guest = Guest(clock, speed)
    monkeypatch.setattr(kvm_speed, "LongModeGuest", lambda device, code: guest)
    assert kernel_mode_speed(DEVICE, clock) == pytest.approx(speed)
    assert guest.turns == [FIRST_TURNS << n for n in range(len(guest.turns))]
    assert clock.now <= max(SECONDS, 2 * FIRST_TURNS / speed)
