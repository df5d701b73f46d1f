"""Debian's own virtio_pci drives our devices: its root is a disk of ours, its random numbers and a console come from us, by MSI-X."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from gasang.devices.syscon import PowerAction, PowerRequest
from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.virtio.console import Port, VirtioConsole
from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.virtio.pci import WINDOW
from gasang.devices.virtio.rng import VirtioRng
from gasang.devices.worker import Worker
from gasang.storage.ext4 import write_ext4
from gasang.storage.raw import Raw
from gasang.storage.tree import Entry, Kind
from support.cpio_reader import unpack
from support.disk_guests import exits_to_notify
from support.nested.guest import LANE, MIB, Guest

DISK_SIZE = 64 * MIB
TO_ROOT = """
while read -r module; do busybox insmod /modules/$module.ko; done < /modules/order
echo "functions $(busybox cat /sys/bus/pci/devices/*/device | busybox tr '\\n' ' ')"
echo "random $(busybox dd if=/dev/hwrng bs=64 count=1 2>/dev/null | busybox wc -c)"
echo "through the console" > /dev/hvc0
busybox mount -t ext4 /dev/vda /mnt
busybox mount -t proc proc /mnt/proc
exec busybox switch_root /mnt /init
"""
ON_DISK = """#!/bin/busybox sh
export PATH=/bin
echo "root is $(busybox grep -c '^/dev/vda / ext4' /proc/mounts)"
echo "written by the guest" > /written
busybox sync
busybox cp /large /copy
busybox sync
echo 3 > /proc/sys/vm/drop_caches
echo "same $(busybox cmp /large /copy && echo yes)"
busybox grep virtio /proc/interrupts
busybox mount -o remount,ro /
busybox poweroff -f
"""
LARGE = bytes(range(256)) * 4096 * 8
INTERRUPT = re.compile(r"^ *\d+:((?: +\d+)+) +PCI-MSI \d+-edge +(\S+)$", re.MULTILINE)


def disk(path: Path) -> Path:
    """A root with busybox and an init."""
    busybox = unpack((LANE / "guest.cpio").read_bytes())[b"bin/busybox"].data
    folders = [Entry(path=name, kind=Kind.DIRECTORY, mode=0o755) for name in ("", "bin", "dev", "proc")]
    files = [
        Entry(path="bin/busybox", kind=Kind.FILE, mode=0o755, data=busybox),
        Entry(path="init", kind=Kind.FILE, mode=0o755, data=ON_DISK.encode()),
        Entry(path="large", kind=Kind.FILE, data=LARGE),
        Entry(path="copy", kind=Kind.FILE, data=b""),
        Entry(path="dev/console", kind=Kind.CHARACTER, mode=0o600, device=(5, 1)),
    ]
    write_ext4(path, [*folders, *files], DISK_SIZE, uuid=UUID(int=1))
    return path


@dataclass(frozen=True)
class Ran:
    """What a run left."""

    text: str
    console: bytes
    disk: bytes
    power: PowerRequest | None
    notifications: int
    """Heard beside the guest, of its disk."""
    exits: list[int]
    """Where it notified by an exit."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One boot with a disk, a console and an entropy source on PCI."""
    path = disk(tmp_path_factory.mktemp("disk") / "root.raw")
    said = bytearray()
    with ExitStack() as undo:
        raw = Raw.open(path)
        undo.callback(raw.close)
        worker = Worker("disk")
        undo.callback(worker.close)
        console = VirtioConsole([Port("console", lambda data: said.extend(data), is_console=True)])
        devices: list[VirtioDevice] = [VirtioBlock(raw, worker, serial="root"), console, VirtioRng()]
        guest = undo.enter_context(Guest(TO_ROOT, cpus=2, pci=devices))
        exits = exits_to_notify(guest.pc)
        guest.finish()
        return Ran(guest.text(), bytes(said), path.read_bytes(), guest.pc.power, guest.pc.machine.bells.answered, exits)


def test_its_root_is_a_disk_on_pci(ran: Ran) -> None:
    assert "root is 1\n" in ran.text
    assert "warning" not in ran.text
    assert ran.power == PowerRequest(PowerAction.OFF)


def test_what_it_writes_is_on_the_disk(ran: Ran) -> None:
    assert "same yes\n" in ran.text
    assert b"written by the guest\n" in ran.disk
    assert ran.disk.count(LARGE[:4096] * 16) >= 2


def test_every_function_is_found(ran: Ran) -> None:
    assert "functions 0x0008 0x1042 0x1043 0x1044 \n" in ran.text


def test_random_numbers_and_the_console_work(ran: Ran) -> None:
    assert "random 64\n" in ran.text
    assert b"through the console" in ran.console


def test_interrupts_are_messages(ran: Ran) -> None:
    counts = {name: sum(map(int, numbers.split())) for numbers, name in INTERRUPT.findall(ran.text)}
    assert counts["virtio0-req.0"] > 10


def test_a_notification_of_the_disk_is_no_exit(ran: Ran) -> None:
    """The disk is the first function; what the console and the entropy source are told goes by exits."""
    assert ran.notifications > 10
    assert {offset // WINDOW for offset in ran.exits} == {1, 2}
