"""What a machine has where it is asked for, and what its guest is told of it."""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from gasang.core.errors import NotFoundError, PermissionDeniedError
from gasang.host import netns
from gasang.images.initramfs import GuestSettings
from gasang.kinds.vm.card import Card
from gasang.kinds.vm.extras import MODULES, NOTHING, Extras, attach
from gasang.kinds.vm.folders import SharedFolder
from gasang.kinds.vm.network import Network
from gasang.kinds.vm.volumes import AttachedVolume

CARD = Card("02:00:00:00:00:07", ("10.0.0.2/24", "fd00::2/64"), ("10.0.0.1",), "nameserver 10.0.0.1\n", "169.254.0.1 02:00:00:00:00:01")
NETWORK = Network(CARD, "vm0")


def test_who_asks_for_nothing_gets_nothing() -> None:
    with ExitStack() as cleanup:
        assert attach(NOTHING, 1 << 30, 2, cleanup) == ([], [])
    settings = GuestSettings(**NOTHING.settings())
    assert set(settings.unwanted) == {module for modules in MODULES.values() for module in modules}


def test_the_guest_loads_what_it_has_and_is_told_the_rest() -> None:
    settings = GuestSettings(**Extras((SharedFolder(Path("/x"), "/data"),), NETWORK, balloon=True).settings())
    assert settings.unwanted == ()
    told = GuestSettings(**Extras(volumes=(AttachedVolume(Path("/v/a"), "/data"), AttachedVolume(Path("/v/b"), "/b c", True))).settings())
    assert told.volumes == ("gasang-volume0 rw,noatime,nodev /data", "gasang-volume1 ro,noatime,nodev /b c")
    assert settings.mounts == ("gasang0 rw,nodev /data",)
    assert (settings.addresses, settings.gateways) == (CARD.addresses, CARD.gateways)
    assert (settings.resolv_conf, settings.resolver) == (CARD.resolv_conf, CARD.resolver)
    assert GuestSettings(**Extras(balloon=True).settings()).unwanted == (*MODULES["network"], *MODULES["folders"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this host has none of them")
def test_devices_workers_and_their_end(tmp_path: Path) -> None:
    try:
        namespace = netns.create()
    except PermissionDeniedError:
        pytest.skip("network namespaces need root")
    descriptors = len(os.listdir("/proc/self/fd"))
    with netns.entered(namespace):
        with ExitStack() as cleanup:
            devices, workers = attach(Extras((SharedFolder(tmp_path, "/data"),), NETWORK, balloon=True), 1 << 30, 2, cleanup)
            assert [device.device_id for device in devices] == [26, 1, 5]
            assert "vm0" in [name for _, name in socket.if_nameindex()]
            for worker in workers:
                worker.hold()
                worker.release()
        assert "vm0" not in [name for _, name in socket.if_nameindex()]
        assert not {"cable", "balloon", "virtio"} & {thread.name for thread in threading.enumerate()}
        with ExitStack() as cleanup, pytest.raises(NotFoundError, match="bridge none0"):
            attach(Extras(network=Network(CARD, "vm0", "none0")), 1 << 30, 2, cleanup)
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    os.close(namespace)
