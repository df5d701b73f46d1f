"""A machine's network card plugged into a tap, in a network namespace of the test's own."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gasang.core.errors import PermissionDeniedError, UnsupportedError
from gasang.devices.virtio.net import ANNOUNCE, LINK_UP, RECEIVE, TRANSMIT
from gasang.host import netns, rtnetlink
from gasang.host.netlink import ROUTE, Socket
from gasang.host.tap import HEADER, Tap
from gasang.kinds.vm.cable import BATCH, Cable
from support.pumps import PumpDriver
from support.virtio_driver import CONFIG, STATUS, Driver

MAC = b"\x02\0\0\0\0\7"
KIND = 0x88B5


def frame(number: int) -> bytes:
    return MAC + b"\x02\0\0\0\0\x08" + KIND.to_bytes(2, "big") + number.to_bytes(46, "big")


class Wired:
    """A guest's driver, its cable, and a raw socket at the other end of the tap."""

    def __init__(self) -> None:
        self.tap = self.new_tap("tap0")
        self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.wire.bind(("tap0", KIND))
        self.wire.settimeout(30)
        self.cable = Cable(self.tap, MAC)
        self.driver = Driver(self.cable.card).start(size=64)
        self.seen: list[bytes] = []

    @staticmethod
    def new_tap(name: str) -> Tap:
        made = Tap(name)
        index = socket.if_nametoindex(name)
        with Socket(ROUTE) as route:
            route.send([rtnetlink.without_link_local(index), rtnetlink.join_bridge(index, 0)])
        return made

    def buffers(self, count: int) -> None:
        with self.driver.transport.lock:
            for _ in range(count):
                self.driver.rings[RECEIVE].add(writable=[300])
            self.driver.notify(RECEIVE)

    def received(self) -> list[bytes]:
        with self.driver.transport.lock:
            self.seen += [
                content[HEADER:] for _, content in self.driver.rings[RECEIVE].take_used() if content[24:26] == KIND.to_bytes(2, "big")
            ]
        return self.seen

    def close(self) -> None:
        self.cable.close()
        self.cable.close()
        self.wire.close()
        self.tap.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def wired() -> Iterator[Wired]:
    try:
        namespace = netns.create()
    except PermissionDeniedError:
        pytest.skip("network namespaces need root")
    with netns.entered(namespace):
        try:
            made = Wired()
        except UnsupportedError as error:
            pytest.skip(str(error))
        yield made
        made.close()
    os.close(namespace)


def test_frames_go_both_ways(wired: Wired) -> None:
    wired.driver.request(TRANSMIT, [bytes(HEADER), frame(1)])
    assert wired.wire.recv(2000) == frame(1)
    wired.buffers(8)
    wired.wire.send(frame(2))
    until(lambda: wired.received() == [frame(2)])
    assert wired.driver.irq.level


def test_compiled_code_sends_into_the_tap(wired: Wired) -> None:
    driver = PumpDriver(wired.cable.card)
    driver.start()
    for number in range(3):
        driver.rings[TRANSMIT].add([bytes(HEADER), frame(number)])
        driver.notify(TRANSMIT)
        assert wired.wire.recv(2000) == frame(number)
    assert driver.bells.answered == 0
    driver.close()


def test_a_guest_without_room_gets_the_oldest_when_it_has(wired: Wired) -> None:
    for number in range(3 * BATCH):
        wired.wire.send(frame(number))
    for count in range(1, 3 * BATCH + 1):
        wired.buffers(1)
        until(lambda count=count: len(wired.received()) == count)  # type: ignore[misc]
    assert wired.seen == [frame(number) for number in range(3 * BATCH)]


def test_nothing_arrives_while_it_is_held(wired: Wired) -> None:
    wired.buffers(8)
    wired.cable.hold()
    state = wired.driver.transport.save()
    wired.wire.send(frame(1))
    time.sleep(0.05)
    assert wired.driver.transport.save() == state
    wired.cable.release()
    until(lambda: wired.received() == [frame(1)])


def test_a_twin_has_no_tap_until_it_gets_one(wired: Wired) -> None:
    wired.buffers(8)
    wired.cable.hold()
    own = os.dup(wired.tap.descriptor)
    child = os.fork()
    if child == 0:
        wired.cable.renew()
        untouched = wired.driver.read(CONFIG + 6, 2)
        wired.cable.unplug()
        unplugged = wired.driver.read(CONFIG + 6, 2)
        wired.cable.plug(wired.new_tap("tap1"))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
            wire.bind(("tap1", KIND))
            wire.send(frame(9))
            until(lambda: wired.received() == [frame(9)])
        plugged = wired.driver.read(CONFIG + 6, 2)
        wired.cable.close()
        os._exit(0 if (untouched, unplugged, plugged) == (LINK_UP, 0, LINK_UP | ANNOUNCE) else 1)
    assert os.waitpid(child, 0)[1] == 0
    os.close(own)
    wired.cable.release()
    wired.wire.send(frame(2))
    until(lambda: wired.received() == [frame(2)])


def test_an_interface_that_is_deleted_is_a_cable_pulled_out(wired: Wired) -> None:
    with Socket(ROUTE) as route:
        route.send([rtnetlink.delete_link("tap0")])
    until(lambda: wired.driver.read(CONFIG + 6, 2) == 0)
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.1, "nobody waits in a circle"
    wired.driver.request(TRANSMIT, [bytes(HEADER), frame(1)])
    assert wired.driver.read(STATUS) == 15


def test_it_ends_if_it_is_asked_to_while_it_wakes_up(wired: Wired, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has the thread end is read together with what woke it."""
    tap = Tap("tap1")
    cable = Cable(tap, MAC)
    closing = threading.Thread(target=cable.close, daemon=True)
    read = os.eventfd_read

    def read_later(descriptor: int) -> int:
        if descriptor == cable._waker and not cable._closing:
            closing.start()
            until(lambda: cable._closing)
            time.sleep(0.05)  # it has told the waker, or is about to
        return read(descriptor)

    monkeypatch.setattr(os, "eventfd_read", read_later)
    cable._wake()
    until(lambda: cable._closing)
    closing.join(10)
    assert not closing.is_alive()
    tap.close()
