"""What a machine from an image has where it is asked for: a balloon, folders, volumes, a network card."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gasang.devices.virtio.device import VirtioDevice
from gasang.devices.worker import Holdable

if TYPE_CHECKING:  # a start has no time for what it does not need
    from gasang.kinds.vm.folders import SharedFolder
    from gasang.kinds.vm.network import Network
    from gasang.kinds.vm.switch_network import SwitchNetwork
    from gasang.kinds.vm.user_network import UserNetwork
    from gasang.kinds.vm.volumes import AttachedVolume

MODULES = {"balloon": ("virtio_balloon",), "network": ("failover", "net_failover", "virtio_net"), "folders": ("fuse", "virtiofs")}
"""The kernel modules of each; who has it not need not load them."""


@dataclass(frozen=True)
class Extras:
    """What is asked for."""

    folders: tuple[SharedFolder, ...] = ()
    network: Network | UserNetwork | SwitchNetwork | None = None
    balloon: bool = False
    huge_pages: bool = False
    volumes: tuple[AttachedVolume, ...] = ()

    def settings(self) -> dict[str, Any]:
        """What guest/init is told of them (images.initramfs.GuestSettings)."""
        told: dict[str, Any] = {}
        if self.folders:
            from gasang.kinds.vm.folders import mounts

            told["mounts"] = mounts(self.folders)
        if self.volumes:
            from gasang.kinds.vm.volumes import mounts as volumes_of

            told["volumes"] = volumes_of(self.volumes)
        if self.network is not None:
            card = self.network.card
            told |= {"addresses": card.addresses, "gateways": card.gateways}
            told |= {"resolv_conf": card.resolv_conf, "resolver": card.resolver, "listens": card.listens}
        has = {"balloon": self.balloon, "network": self.network is not None, "folders": bool(self.folders)}
        told["unwanted"] = tuple(module for name, modules in MODULES.items() if not has[name] for module in modules)
        return told


NOTHING = Extras()


def attach(
    extras: Extras, memory: int, pairs: int, cleanup: ExitStack, warn: Callable[[str], None] = lambda sentence: None
) -> tuple[list[VirtioDevice], list[Holdable]]:
    """The devices of a machine of `memory` bytes, always in the same order, and what stands still while the machine does.

    A card has so many `pairs` of queues. What stands still belongs to the machine's `Parts.workers`. `cleanup` ends it after the machine,
    `warn` hears of the host's errors. Raises what each part raises.
    """
    devices: list[VirtioDevice] = []
    workers: list[Holdable] = []
    if extras.folders:
        from gasang.kinds.vm import folders

        shared, answering = folders.attach(extras.folders, cleanup)
        devices += shared
        workers += answering
    if extras.volumes:
        from gasang.kinds.vm import volumes

        disks, writing = volumes.attach(extras.volumes, warn, cleanup)
        devices += disks
        workers += writing
    if extras.network is not None:
        cable = extras.network.attach(cleanup, pairs)
        devices.append(cable.card)
        workers.append(cable)
    if extras.balloon:
        from gasang.devices.virtio.balloon import VirtioBalloon
        from gasang.kinds.vm.ballooning import Ballooning, Keeper

        balloon = VirtioBalloon()
        keeper = Keeper(Ballooning(balloon, memory))
        cleanup.callback(keeper.close)
        devices.append(balloon)
        workers.append(keeper)
    return devices, workers
