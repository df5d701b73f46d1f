"""What vCPUs and devices write is told, once, by the moments between which it was."""

from __future__ import annotations

import errno
import struct
import threading
from array import array

import pytest

from gasang.accel.kvm import rings
from gasang.accel.kvm.dirty import PAGE, PIECE, Stores
from gasang.accel.kvm.machine import KvmMachine, Shape
from gasang.accel.kvm.memory import GuestRam
from gasang.accel.kvm.reality import emulator
from gasang.core.errors import MachineDiedError
from gasang.host.kvm import ioctls
from gasang.host.kvm.ioctls import Ioctl, RefusedError, call
from support.kvm_guests import CODE, Recorder, machine, needs_kvm, protected_mode, real_mode

SIZE = 2 << 20
WAIT = 20
SAYS, ASKS = 0x50, 0x40


class Gate(Recorder):
    """A port whose reader waits until it may go on."""

    def __init__(self) -> None:
        super().__init__(1)
        self.may = threading.Semaphore(0)

    def read(self, offset: int, width: int) -> int:
        """Wait."""
        assert self.may.acquire(timeout=WAIT)
        return 0


def pieces(found: list[tuple[int, int]] | None) -> list[int]:
    """Their numbers."""
    assert found is not None
    assert all(length == PIECE and offset % PIECE == 0 for offset, length in found)
    return [offset // PIECE for offset, _ in found]


def counting(made: KvmMachine) -> Gate:
    """A guest that stores at 0xf000 each time it is let."""
    gate = Gate()
    made.ports.attach("asks", ASKS, gate)
    made.ports.attach("says", SAYS, Recorder(1))
    real_mode(made, bytes.fromhex("e440 fe0600f0 e650 ebf6"))  # again: in al, 0x40; inc byte [0xf000]; out 0x50, al; jmp again
    return gate


def once_more(made: KvmMachine, gate: Gate) -> None:
    """Have it store, and stand still."""
    says = next(region.device for region in made.ports.regions if region.base == SAYS)
    assert isinstance(says, Recorder)
    says.heard.clear()
    gate.may.release()
    assert says.heard.wait(WAIT)
    pausing = threading.Thread(target=made.pause)
    pausing.start()
    assert made.attention.wait(WAIT)
    gate.may.release()
    pausing.join(WAIT)


@needs_kvm
@pytest.mark.parametrize("ring", [0, 1024])
def test_a_guests_and_a_devices_stores_are_told_by_moments(ring: int) -> None:
    with machine(Shape(ram=((0, SIZE),), irqchip=False, ring=ring)) as made:
        assert (made.rings is not None) == bool(ring)
        gate = counting(made)
        stores = Stores(made.watch())
        first = stores.moment()
        made.ram.write(5 * PIECE - 1, b"xy")
        second = stores.moment()
        assert pieces(stores.since(first)) == [4, 5]
        assert pieces(stores.since(second)) == []
        made.start()
        once_more(made, gate)
        third = stores.moment()
        assert pieces(stores.since(second)) == [0xF000 // PIECE]
        assert pieces(stores.since(first)) == [0, 4, 5]
        assert pieces(stores.since(third)) == []
        stores.close()
        made.ram.write(9 * PIECE, b"x")


LARGE = 64 << 20
RING = 1024
FIRST, PAGES = 1 << 20, 3000
"""Where each of two vCPUs stores, a byte in each other page; more pages than a ring has entries."""


def storing(first: int, *, leaves: bool) -> bytes:
    """Twice over: for edi in first, first + 2 pages, …: inc byte [edi], and out 0x80, al if it `leaves`; then out 0xf4, al; hlt."""
    body = bytes.fromhex("fe07") + bytes.fromhex("e680" if leaves else "9090")
    body += bytes.fromhex("81c700200000 81ff") + struct.pack("<I", first + PAGES * 2 * PAGE) + bytes.fromhex("72ee")
    once = b"\xbf" + struct.pack("<I", first) + body
    return once + once + b"\xe6\xf4\xf4"


def stored(ring: int, *, leaves: bool) -> tuple[list[int], int]:
    """Pieces that two vCPUs stored to, and how often one stopped because its ring was full."""
    with machine(Shape(ram=((0, LARGE),), vcpus=2, irqchip=False, ring=ring)) as made:
        ends = threading.Semaphore(0)

        class End(Recorder):
            def write(self, offset: int, width: int, value: int) -> None:
                ends.release()

        made.ports.attach("end", 0xF4, End(1))
        for number in range(2):
            protected_mode(made, storing(FIRST + number * PAGES * 2 * PAGE, leaves=leaves), number, CODE + number * 0x100)
        stores = Stores(made.watch())
        before = stores.moment()
        made.start()
        for _ in range(2):
            assert ends.acquire(timeout=WAIT)
        made.pause()
        first = stores.moment()
        assert {made.ram.read(FIRST + page * 2 * PAGE, 1) for page in range(2 * PAGES)} == {b"\2"}
        stores.moment()
        assert pieces(stores.since(first)) == []
        return pieces(stores.since(before)), made.rings.stops if made.rings is not None else 0


LEAVING = [True] if emulator() else [True, False]
"""A KVM that interprets guests looks at rings only where they leave it; the lane with a real one has both cases."""


@needs_kvm
@pytest.mark.parametrize("leaves", LEAVING)
def test_a_full_ring_stops_its_vcpu_and_loses_no_page(leaves: bool) -> None:
    by_log, never = stored(0, leaves=leaves)
    by_ring, stops = stored(RING, leaves=leaves)
    code = {CODE // PIECE}  # may be told, too: the kernel maps what is fetched from so that it can be written
    assert set(by_ring) - code == set(by_log) - code == set(range(FIRST // PIECE, (FIRST + 2 * PAGES * 2 * PAGE) // PIECE))
    assert stops >= 2 * (2 * PAGES // RING - 1) > never


class Shown(bytearray):
    """Stands for a ring's pages."""

    def close(self) -> None:
        """Nothing."""


class Numbered:
    """Stands for a vCPU."""

    number, descriptor = 0, -1


@pytest.mark.parametrize("full", [True, False])
def test_a_ring_that_ran_over_ends_the_machine(full: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = 1024
    pages = array("I", [1, 0, 7, 0] * (entries - (not full)) + [0, 0, 0, 0] * (not full))
    monkeypatch.setattr(rings.mmap, "mmap", lambda descriptor, size, offset: Shown(pages.tobytes()))
    kept = rings.Rings(-1, [Numbered()], entries)  # type: ignore[list-item]
    monkeypatch.setattr(rings, "call", lambda machine, ioctl: 0)
    if full:
        with pytest.raises(MachineDiedError, match="let its dirty ring run over"):
            kept.pages()
    else:
        assert kept.pages() == {(0, 7)}
        assert kept.pages() == set()
    kept.close()


@needs_kvm
@pytest.mark.parametrize("refused", [errno.EINVAL, errno.ENXIO])
def test_a_host_that_refuses_rings_has_the_log(refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(descriptor: int, ioctl: Ioctl, argument: object) -> int:
        if ioctl is ioctls.ENABLE_CAP:
            raise RefusedError(ioctl, refused)
        return call(descriptor, ioctl, argument)  # type: ignore[arg-type]

    monkeypatch.setattr(rings, "call", refusing)
    assert stored(RING, leaves=True)[1] == 0


class Told:
    """Stands for the kernel's log."""

    def __init__(self, *told: set[int]) -> None:
        self.told = list(told)

    def take(self) -> set[int]:
        """The next."""
        return self.told.pop(0)

    def close(self) -> None:
        """Nothing."""


def test_what_is_too_long_ago_is_forgotten() -> None:
    stores = Stores(Told(*({number} for number in range(20))))  # type: ignore[arg-type]
    moments = [stores.moment() for _ in range(20)]
    assert stores.since(moments[0]) is None
    assert pieces(stores.since(moments[-1 - Stores.MOST])) == list(range(20 - Stores.MOST, 20))


def test_ram_tells_of_stores_only_while_somebody_listens() -> None:
    ram = GuestRam([(0, SIZE), (1 << 32, SIZE)])
    heard: list[tuple[int, int]] = []
    try:
        ram.write(0, b"x")
        ram.on_write(lambda offset, length: heard.append((offset, length)))
        ram.write((1 << 32) + 5, b"xyz")
        ram.on_write(None)
        ram.write(7, b"x")
    finally:
        ram.close()
    assert heard == [(SIZE + 5, 3)]
