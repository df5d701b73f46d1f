"""Virtual machines in a network of their own in user space (`--network user`): each has a process beside it, and is in no other network."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import StateError, UsageError
from gasang.daemon.containers.record import VM, Container
from gasang.daemon.networks import wanted_ports
from gasang.network.mode import USER, mode_of
from gasang.network.place import Place
from gasang.network.user import apart
from gasang.network.user.plan import MAC, Plan

_PLAN: Final = Plan()


class Alone:
    """Those of a daemon. `folder` has a file for each, `place` says where ports are published."""

    def __init__(self, folder: Path, place: Place) -> None:
        self._folder = folder
        self._place = place
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def begin(self, container: Container) -> int:
        """Its network, its ports published; the guest's end of the cable, the caller's to close. Raises GasangError, OSError."""
        wanted = wanted_ports.ports_of(container)
        plan = replace(_PLAN, reaches_host=mode_of(container.host["NetworkMode"]).reaches_host)
        try:
            guests, published, process = self._place.outside(lambda: apart.start(self._file(container), plan, wanted))
        except StateError as error:
            raise wanted_ports.taken(wanted, (), error) if wanted else error from error
        self._processes[container.id] = process
        container.ports = wanted_ports.shown(published)
        length = ip_network(plan.subnet).prefixlen
        fact = {"MacAddress": MAC, "Gateway": plan.gateway, "IPAddress": plan.guest, "IPPrefixLen": length}
        container.endpoints[container.host["NetworkMode"]] = {**container.endpoints.get(container.host["NetworkMode"], {}), **fact}
        return guests

    def end(self, container: Container) -> None:
        """Nobody has its cable any more: its ports are free when this returns."""
        apart.ended(self._file(container), self._processes.pop(container.id, None))

    def _file(self, container: Container) -> Path:
        return self._folder / container.id[:12]


def is_alone(container: Container) -> bool:
    """Whether that is its network."""
    return mode_of(container.host["NetworkMode"]).kind == USER


def check(container: Container) -> None:
    """Raises UsageError for what such a network cannot be or have."""
    if not is_alone(container):
        return
    if container.kind != VM:
        cause = "a network in user space is for virtual machines"
        raise UsageError(f"network {USER}", cause, "leave it out: the default network of containers needs no privilege either")
    own = container.host["NetworkMode"]
    asked = container.endpoints.get(own) or {}
    if set(container.endpoints) - {own} or asked.get("IPAMConfig") or asked.get("Aliases") or asked.get("WantedMacAddress"):
        raise UsageError(f"network {USER}", "a machine is in that alone, without aliases and addresses", "name it alone, or other networks")


def card() -> dict[str, Any]:
    """What the guest is on its card (kinds.vm.card.Card)."""
    length = ip_network(_PLAN.subnet).prefixlen
    return {
        "mac": MAC, "mtu": _PLAN.mtu, "addresses": [f"{_PLAN.guest}/{length}"], "gateways": [_PLAN.gateway],
        "resolv_conf": f"nameserver {_PLAN.nameserver}\n", "listens": True,
    }  # fmt: skip
