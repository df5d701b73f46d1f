"""A card that is plugged into the network in user space: a driver's frames reach it, and its come back."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from contextlib import ExitStack

import pytest

from gasang.core.errors import StateError
from gasang.devices.virtio.net import CSUM, GUEST_CSUM, GUEST_TSO4, RECEIVE, TRANSMIT
from gasang.host.tap import HEADER
from gasang.kinds.vm.card import packed
from gasang.kinds.vm.extras import Extras, attach
from gasang.kinds.vm.user_network import MAC, UserNetwork
from gasang.network.spec import PortSpec
from gasang.network.user.plan import Places, Plan
from support.virtio_driver import Driver

PLACES = Places(Plan())


def test_the_guest_is_told_where_it_is() -> None:
    told = Extras(network=UserNetwork()).settings()
    assert (told["addresses"], told["gateways"]) == (("10.0.2.15/24",), ("10.0.2.2",))
    assert (told["resolv_conf"], told["listens"]) == ("nameserver 10.0.2.3\n", True)


def test_frames_go_both_ways_and_all_is_gone_after() -> None:
    gc.collect()  # others may have left something
    before = len(os.listdir("/proc/self/fd"))
    request = b"\xff" * 6 + packed(MAC) + b"\x08\x06\0\1\x08\0\6\4\0\1" + packed(MAC) + PLACES.guest + bytes(6) + PLACES.gateway
    with ExitStack() as cleanup:
        (card,), (cable,) = attach(Extras(network=UserNetwork()), 1 << 30, 2, cleanup)
        driver = Driver(card).start(size=64, features=card.features & (CSUM | GUEST_CSUM | GUEST_TSO4))
        with driver.transport.lock:
            for _ in range(8):
                driver.rings[RECEIVE].add(writable=[300])
            driver.notify(RECEIVE)
            driver.rings[TRANSMIT].add(readable=[bytes(HEADER) + request])
            driver.notify(TRANSMIT)
        answer = PLACES.mac + PLACES.gateway + packed(MAC) + PLACES.guest
        end = time.monotonic() + 20
        seen: list[bytes] = []
        while not any(answer in frame for frame in seen):
            assert time.monotonic() < end
            with driver.transport.lock:
                seen += [content for _, content in driver.rings[RECEIVE].take_used()]
            time.sleep(0.01)
        del cable
    assert len(os.listdir("/proc/self/fd")) <= before
    assert not {"cable", "user-network"} & {thread.name for thread in threading.enumerate()}


def test_a_port_that_is_taken_leaves_nothing_behind() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, ExitStack() as cleanup:
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        wanted = UserNetwork(Plan(), (PortSpec(80, "tcp", "127.0.0.1"), PortSpec(81, "tcp", "127.0.0.1", taken.getsockname()[1])))
        with pytest.raises(StateError, match="already allocated"):
            wanted.attach(cleanup)
        assert len(os.listdir("/proc/self/fd")) <= before
