"""What vCPUs and devices write is told, once, by the moments between which it was."""

from __future__ import annotations

import threading

from gasang.accel.kvm.dirty import PIECE, Stores
from gasang.accel.kvm.machine import KvmMachine, Shape
from gasang.accel.kvm.memory import GuestRam
from support.kvm_guests import Recorder, machine, needs_kvm, real_mode

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
def test_a_guests_and_a_devices_stores_are_told_by_moments() -> None:
    with machine(Shape(ram=((0, SIZE),), irqchip=False)) as made:
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
