"""Debian's stock cloud kernel on our PC: to userspace and to each of its ends, and paused and rebuilt while it runs."""

from __future__ import annotations

import lzma
import re
import struct
import time
from dataclasses import dataclass, replace
from functools import cache

import pytest

from gasang.core.elf import parse_elf
from gasang.core.errors import MachineDiedError
from gasang.devices.syscon import PowerAction, PowerRequest
from gasang.kinds.vm.x86.kernel import Protocol, load_pc_kernel
from support.nested.guest import LANE, Guest

COUNTS = 40
COUNTING = f"""
i=0
while [ $i -lt {COUNTS} ]; do i=$((i + 1)); echo "count $i"; busybox usleep 20000; done
busybox poweroff -f
"""
LOOKING = """
echo "processors $(busybox nproc)"
echo "clock $(busybox cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
echo "hypervisor $(busybox grep -c hypervisor /proc/cpuinfo)"
busybox poweroff -f
"""


@dataclass(frozen=True)
class Boot:
    """One boot from start to end."""

    text: str
    power: PowerRequest | None
    unanswered: int


@pytest.fixture(scope="module")
def boot() -> Boot:
    """A machine with two processors that looks around and powers off."""
    with Guest(LOOKING, cpus=2) as guest:
        guest.finish()
        return Boot(guest.text(), guest.pc.power, guest.pc.machine.unanswered)


def test_the_stock_kernel_reaches_userspace(boot: Boot) -> None:
    assert "userspace\n" in boot.text


def test_it_powers_off_by_acpi(boot: Boot) -> None:
    assert boot.power == PowerRequest(PowerAction.OFF)


def test_it_sees_both_processors(boot: Boot) -> None:
    assert "processors 2\n" in boot.text
    assert "hypervisor 2\n" in boot.text


def test_its_clock_is_the_hypervisors(boot: Boot) -> None:
    assert re.search(r"^clock (kvm-clock|tsc)$", boot.text, re.MULTILINE)


@pytest.mark.parametrize("way", ["", "reboot=acpi", "reboot=kbd"])
def test_a_reboot_is_a_reset(way: str) -> None:
    """By what it takes for the best way (without EFI: the firmware's reset vector), by ACPI's register, by the keyboard controller."""
    with Guest("busybox reboot -f", append=way) as guest:
        guest.finish()
        assert guest.pc.power == PowerRequest(PowerAction.RESET)


def test_a_triple_fault_is_an_error() -> None:
    with Guest("busybox reboot -f", append="reboot=triple") as guest:
        with pytest.raises(MachineDiedError, match=r"vCPU 0: the guest's processor gave up, by a triple fault"):
            guest.finish()
        assert "userspace\n" in guest.text()
        assert guest.pc.power is None


def counted(text: str) -> list[int]:
    """The numbers that a counting guest has printed."""
    return [int(number) for number in re.findall(r"^count (\d+)$", text, re.MULTILINE)]


def test_it_is_paused_and_rebuilt_while_it_runs() -> None:
    with Guest(COUNTING, cpus=2) as first, Guest(COUNTING, cpus=2) as second:
        first.pc.start()
        first.wait_for("count 5")
        first.pc.pause()
        before = first.text()
        time.sleep(0.3)  # nothing is to happen
        assert first.text() == before
        first.pc.resume()
        first.wait_for("count 10")
        first.pc.pause()
        first.twin(second)
        second.finish()
        assert second.pc.power == PowerRequest(PowerAction.OFF)
        assert "userspace" not in second.text()
        whole = first.text() + second.text()
        assert counted(whole) == list(range(1, COUNTS + 1))
        first.pc.resume()
        first.finish()
        assert counted(first.text()) == list(range(1, COUNTS + 1)), "the one it was taken from is not touched"


@cache
def unpacked() -> bytes:
    """The vmlinux in the generic kernel, which is packed with xz: its header tells where (boot.rst, payload_offset)."""
    data = (LANE / "image" / "generic" / "kernel").read_bytes()
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = ((data[0x1F1] or 4) + 1) * 512 + offset
    return lzma.LZMADecompressor().decompress(data[start : start + length])


@pytest.mark.parametrize("protocol", [Protocol.PVH, Protocol.LINUX])
def test_its_vmlinux_is_entered_by_either_protocol(protocol: Protocol) -> None:
    data = unpacked()
    kernel = load_pc_kernel(data, "vmlinux")
    assert kernel.protocol is Protocol.PVH
    if protocol is Protocol.LINUX:
        kernel = replace(kernel, protocol=protocol, entry=parse_elf(data, "vmlinux").entry)
    with Guest("busybox poweroff -f", kernel=kernel, memory=256) as guest:
        guest.finish()
        assert "userspace\n" in guest.text()
        assert guest.pc.power == PowerRequest(PowerAction.OFF)
