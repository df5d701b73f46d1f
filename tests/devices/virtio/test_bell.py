"""Where transports have bells hung, and when they have them taken down."""

from __future__ import annotations

from collections.abc import Callable

from gasang.devices.pci.config import BARS, COMMAND
from gasang.devices.virtio.bell import Bell, Loan, Place, Rings, Work
from gasang.devices.virtio.block import VirtioBlock
from gasang.devices.virtio.pci import NOTIFY
from gasang.devices.virtio.rng import VirtioRng
from support.board_parts import MemoryBlock
from support.pci_driver import BASE, PciDriver
from support.virtio_driver import STATUS, Driver

WINDOW = 0xC000_0000


class Hung:
    """Bells that nobody rings but a test (devices.virtio.bell.Bells); with `refuse` none can be had."""

    def __init__(self, *, refuse: bool = False) -> None:
        self.refuse = refuse
        self.answers: dict[Place, Callable[[], None]] = {}

    def hang(self, place: Place, answer: Callable[[], None]) -> Bell | None:
        """Note it."""
        if self.refuse:
            return None
        assert place not in self.answers
        self.answers[place] = answer
        return One(self, place)


class One:
    """One of them (devices.virtio.bell.Bell)."""

    def __init__(self, hung: Hung, place: Place) -> None:
        self._hung = hung
        self._place = place

    def take_down(self) -> None:
        """Forget it."""
        del self._hung.answers[self._place]

    def lend(self, rings: Rings, work: Work, interrupt: int) -> Loan | None:
        """There is nobody to."""
        return None


def on_pci(bells: Hung, queues: int = 2) -> PciDriver:
    driver = PciDriver(VirtioBlock(MemoryBlock(), queues=queues))
    driver.transport.bells = bells
    return driver


def places(base: int) -> list[Place]:
    return [Place(base + NOTIFY + 4 * index, 2) for index in (0, 1)]


def test_a_running_device_has_one_for_each_queue() -> None:
    bells = Hung()
    driver = on_pci(bells)
    assert not bells.answers
    driver.start()
    assert list(bells.answers) == places(BASE)
    driver.put(0x14, 1, 0)
    assert not bells.answers
    driver.start()
    driver.transport.reset()
    assert not bells.answers


def test_an_answer_is_a_notification() -> None:
    bells = Hung()
    driver = PciDriver(VirtioRng(lambda length: b"r" * length))
    driver.transport.bells = bells
    ring = driver.start().rings[0]
    head = ring.add(writable=[8])
    (answer,) = bells.answers.values()
    assert ring.take_used() == []
    answer()
    assert ring.take_used() == [(head, b"r" * 8)]
    driver.put(0x14, 1, 0)
    answer()  # it had rung before, and is answered too late
    assert ring.take_used() == []


def test_they_go_where_the_window_goes() -> None:
    bells = Hung()
    driver = on_pci(bells).start()
    driver.set(BARS, 4, BASE + 0x10_0000)
    assert list(bells.answers) == places(BASE + 0x10_0000)
    command = driver.get(COMMAND, 2)
    driver.set(COMMAND, 2, 0)
    assert not bells.answers
    driver.set(COMMAND, 2, command)
    assert list(bells.answers) == places(BASE + 0x10_0000)


def test_a_restored_device_has_them_where_it_had_them() -> None:
    state = on_pci(Hung()).start().transport.save()
    bells = Hung()
    other = on_pci(bells)
    other.transport.load(state)
    assert list(bells.answers) == places(BASE)


def test_where_there_are_none_a_store_is_as_before() -> None:
    bells = Hung(refuse=True)
    driver = PciDriver(VirtioRng(lambda length: b"r" * length))
    driver.transport.bells = bells
    assert driver.start().request(0, writable=[4]) == b"rrrr"


def test_on_mmio_the_value_chooses_the_queue() -> None:
    bells = Hung()
    driver = Driver(VirtioBlock(MemoryBlock(), queues=2))
    driver.transport.bells, driver.transport.base = bells, WINDOW
    driver.start()
    assert list(bells.answers) == [Place(WINDOW + 0x50, 4, 0), Place(WINDOW + 0x50, 4, 1)]
    driver.write(STATUS, 0)
    assert not bells.answers
    driver.transport.base = None
    driver.start()
    assert not bells.answers
