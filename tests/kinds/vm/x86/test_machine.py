"""A whole x86-64 machine with a kernel of a few instructions: what it finds at its entry, and how it ends."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from gasang.core.errors import UsageError
from gasang.devices.syscon import PowerAction, PowerRequest
from gasang.devices.virtio.rng import VirtioRng
from gasang.host.kvm.structures import CpuidEntry
from gasang.kinds.vm.snapshot.identity import Identity
from gasang.kinds.vm.x86 import layout
from gasang.kinds.vm.x86.cpuid import cpuid_for
from gasang.kinds.vm.x86.kernel import load_pc_kernel
from support.kvm_guests import needs_kvm
from support.pcs import MIB, booted, run
from support.vmlinuxes import ADDRESS, vmlinux

OFF = bytes.fromhex("66ba0006 b034 ee f4")  # mov dx, 0x600; mov al, SLP_EN | 5 << 2; out dx, al; hlt
RESET = bytes.fromhex("66ba6400 b0fe ee f4")  # mov dx, 0x64; mov al, 0xfe; out dx, al; hlt


def say(register: str) -> bytes:
    """Send a register's low byte to the serial line."""
    loads = {"text": "b068", "e820": "8a86e8010000", "magic": "8a8602020000", "rsi": "4088f0"}
    return bytes.fromhex("66baf803" + loads[register] + "ee")  # mov dx, 0x3f8; mov al, …; out dx, al


@needs_kvm
@pytest.mark.parametrize(("end", "asked"), [(OFF, PowerAction.OFF), (RESET, PowerAction.RESET)])
def test_a_kernel_speaks_and_ends(end: bytes, asked: PowerAction) -> None:
    with booted(say("text") + say("e820") + say("magic") + end) as (made, shown):
        run(made)
        assert bytes(shown) == b"h\x04H"
        assert made.power == PowerRequest(asked)


@needs_kvm
def test_a_vmlinux_is_entered_by_pvh_or_as_linux_is() -> None:
    """In 32-bit mode: mov dx, 0x3f8; mov al, [ebx]; out dx, al (start_info's magic) -- and in 64-bit mode as above."""
    bits32 = bytes.fromhex("66baf803 8a03 ee 66ba0006 b034 ee f4")
    code = bits32 + bytes(32 - len(bits32)) + say("text") + say("magic") + OFF
    for data, entry, said in ((vmlinux(code, pvh=ADDRESS.to_bytes(8, "little")), 0, b"\x78"), (vmlinux(code), 32, b"hH")):
        kernel = load_pc_kernel(data, "vmlinux")
        with booted(replace(kernel, entry=kernel.entry + entry)) as (made, shown):
            run(made)
            assert bytes(shown) == said
            assert made.power == PowerRequest(PowerAction.OFF)


@needs_kvm
def test_a_panic_that_is_told_ends_the_machine() -> None:
    with booted(bytes.fromhex("66ba0505 b001 ee f4")) as (made, _):  # mov dx, 0x505; mov al, 1; out dx, al; hlt
        run(made)
        assert made.power == PowerRequest(PowerAction.FAIL, 1)


@needs_kvm
def test_another_generation_id_lies_where_the_tables_say() -> None:
    with booted(OFF) as (made, _):
        ram = made.machine.ram
        first = ram.read(layout.GENERATION, 16)
        made.become(Identity("twin", bytes(6), bytes(range(16))))
        assert ram.read(layout.GENERATION, 16) == bytes(range(16)) != first
        package = b"\x0c" + struct.pack("<I", layout.GENERATION) + b"\x00"
        assert package in ram.read(layout.ACPI_TABLES, 0x600)


@needs_kvm
def test_what_lies_in_memory() -> None:
    initrd = b"\x1f\x8b" + bytes(5000)
    with booted(OFF, initrd=initrd, virtio=(VirtioRng(), VirtioRng()), cpus=2) as (made, _):
        ram = made.machine.ram
        page = ram.read(layout.BOOT_PARAMETERS, 4096)
        address, size = struct.unpack_from("<II", page, 0x218)
        assert ram.read(address, size) == initrd
        assert address % 4096 == 0
        assert ram.read(layout.COMMAND_LINE, 6) == b"quiet\0"
        (rsdp,) = struct.unpack_from("<Q", page, 0x70)
        assert ram.read(rsdp, 8) == b"RSD PTR "
        assert ram.read(layout.ACPI_TABLES, 0x600).count(b"LNRO0005") == 2
        assert ram.read(layout.RESET_VECTOR, 6) == b"\xb0\x01\xba\x02\x06\xee"
        assert made.machine.bus.read(layout.VIRTIO_BASE + 0x1000, 4) == 0x74726976
        run(made)
        assert made.power == PowerRequest(PowerAction.OFF)


@needs_kvm
def test_too_little_memory_and_too_many_devices() -> None:
    with pytest.raises(UsageError, match="kernel and initrd do not fit; give at least --memory"), booted(OFF, memory=16 * MIB):
        pass
    with pytest.raises(UsageError, match="40 devices: this board has room for"), booted(OFF, virtio=[VirtioRng() for _ in range(40)]):
        pass


def leaf(function: int, index: int = 0, **registers: int) -> CpuidEntry:
    return CpuidEntry(function=function, index=index, **registers)


def test_every_vcpu_has_its_own_number() -> None:
    caches = [leaf(4, 0, eax=0x21), leaf(4, 3, eax=0x63)]
    extended = leaf(0x8000_0001, ecx=0xFFFF_FFFF, edx=7)
    host = [leaf(1, ebx=0x1122_0800, ecx=0x8001, edx=0), *caches, leaf(0xB, 0), leaf(0xB, 1), extended, leaf(0xA, eax=0x0830_0802, edx=5)]
    made = cpuid_for(host, 3, 6)
    assert made[0].ebx == 0x0306_0800
    assert made[0].ecx == 1 | 1 << 31
    assert made[0].edx == 1 << 28
    assert (made[1].eax >> 14 & 0xFFF, made[2].eax >> 14 & 0xFFF, made[2].eax >> 26) == (0, 5, 5)
    assert [(entry.eax, entry.ebx, entry.ecx, entry.edx) for entry in made[3:5]] == [(0, 1, 0x100, 3), (3, 6, 0x201, 3)]
    assert (made[5].ecx, made[5].edx) == (0xEE7F_FFFF, 7)
    assert (made[6].eax, made[6].edx) == (0, 0), "no performance counters"
    assert host[0].ebx == 0x1122_0800
    assert cpuid_for(host, 0, 1)[0].edx == 0
