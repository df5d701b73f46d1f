"""What a machine has where it is asked for, and what its guest is told of it."""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from gasang.core.errors import NotFoundError, PermissionDeniedError, UsageError
from gasang.host import netns
from gasang.images.initramfs import GuestSettings
from gasang.kinds.vm.extras import MODULES, NOTHING, Extras, attach
from gasang.kinds.vm.folders import SharedFolder
from gasang.kinds.vm.network import Network

CARD = Network("vm0", "", "02:00:00:00:00:07", "10.0.0.2/24", "10.0.0.1", ("10.0.0.1", "fd00::1"))


def test_who_asks_for_nothing_gets_nothing() -> None:
    with ExitStack() as cleanup:
        assert attach(NOTHING, 1 << 30, cleanup) == ([], [])
    settings = GuestSettings(**NOTHING.settings())
    assert set(settings.unwanted) == {module for modules in MODULES.values() for module in modules}


def test_the_guest_loads_what_it_has_and_is_told_the_rest() -> None:
    settings = GuestSettings(**Extras((SharedFolder(Path("/x"), "/data"),), CARD, balloon=True).settings())
    assert settings.unwanted == ()
    assert settings.mounts == ("gasang0 rw,nodev /data",)
    assert (settings.address, settings.gateway, settings.nameservers) == ("10.0.0.2/24", "10.0.0.1", ("10.0.0.1", "fd00::1"))
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
            devices, workers = attach(Extras((SharedFolder(tmp_path, "/data"),), CARD, balloon=True), 1 << 30, cleanup)
            assert [device.device_id for device in devices] == [26, 1, 5]
            assert "vm0" in [name for _, name in socket.if_nameindex()]
            for worker in workers:
                worker.hold()
                worker.release()
        assert "vm0" not in [name for _, name in socket.if_nameindex()]
        assert threading.active_count() == 1
        with ExitStack() as cleanup, pytest.raises(NotFoundError, match="bridge none0"):
            attach(Extras(network=Network("vm0", "none0", CARD.mac)), 1 << 30, cleanup)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    os.close(namespace)


@pytest.mark.parametrize(
    "words", [("mac", "02:00"), ("mac", "zz"), ("address", "10.0.0.300/8"), ("gateway", "here"), ("nameservers", ("1.1.1.1; reboot",))]
)
def test_addresses_that_are_none(words: tuple[str, str]) -> None:
    with pytest.raises(UsageError, match="network card vm0"):
        Network(**{"interface": "vm0", "bridge": "", "mac": CARD.mac, **dict([words])})
