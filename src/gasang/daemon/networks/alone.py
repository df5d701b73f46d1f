"""Machines in a network of their own in user space (`--network user`): each has a process beside it, and is in no other network.

A virtual machine's card is at the other end of a cable; a container's is an interface of its namespace, whose frames the process carries.
"""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import StateError, UsageError
from gasang.daemon.containers.record import VM, Container
from gasang.daemon.networks import wanted_ports
from gasang.network.dns.upstream import text_for_machine
from gasang.network.mode import USER, mode_of
from gasang.network.place import Place
from gasang.network.spec import PortSpec, Published
from gasang.network.user import apart, inside
from gasang.network.user.plan import MAC, Plan

_PLAN: Final = Plan()


class Alone:
    """Those of a daemon. `folder` has a file for each, `place` says where ports are published."""

    def __init__(self, folder: Path, place: Place) -> None:
        self._folder = folder
        self._place = place
        self._processes: dict[str, apart.Process] = {}

    def begin(self, container: Container) -> int:
        """A machine's network, its ports published; the guest's end of the cable, the caller's to close. Raises GasangError, OSError."""
        wanted = wanted_ports.ports_of(container)

        def start() -> tuple[int, list[Published], apart.Process]:
            return apart.start(self._file(container), _plan(container), wanted)

        try:
            guests, published, process = self._place.outside(start)
        except StateError as error:
            raise _taken(wanted, error) from error
        self._note(container, published, process)
        return guests

    def begin_inside(self, container: Container, namespace: int) -> None:
        """A container's network, in the namespace of that descriptor, its ports published. Raises GasangError, OSError."""
        wanted, plan = wanted_ports.ports_of(container), _plan(container)
        end = self._place.call(lambda: inside.card(namespace, plan))
        try:
            served = self._place.outside(lambda: apart.serve(self._file(container), plan, wanted, end, inside.TAKES))
        except StateError as error:
            raise _taken(wanted, error) from error
        finally:
            os.close(end)
        self._note(container, *served)
        container.endpoints[container.host["NetworkMode"]]["GlobalIPv6Address"] = plan.guest6

    def _note(self, container: Container, published: list[Published], process: apart.Process) -> None:
        self._processes[container.id] = process
        container.ports = wanted_ports.shown(published)
        length = ip_network(_PLAN.subnet).prefixlen
        fact = {"MacAddress": MAC, "Gateway": _PLAN.gateway, "IPAddress": _PLAN.guest, "IPPrefixLen": length}
        own = container.host["NetworkMode"]
        container.endpoints[own] = {**container.endpoints.get(own, {}), **fact}

    def end(self, container: Container) -> None:
        """Nobody has its cable any more: its ports are free when this returns.

        A container's ends at once, as Docker's do: another that shares its network lives on without.
        """
        end = apart.ended if container.kind == VM else apart.end
        end(self._file(container), self._processes.pop(container.id, None))

    def _file(self, container: Container) -> Path:
        return self._folder / container.id[:12]


def _plan(container: Container) -> Plan:
    return replace(_PLAN, reaches_host=mode_of(container.host["NetworkMode"]).reaches_host)


def _taken(wanted: list[PortSpec], error: StateError) -> StateError:
    return wanted_ports.taken(wanted, (), error) if wanted else error


def is_alone(container: Container) -> bool:
    """Whether that is its network."""
    return mode_of(container.host["NetworkMode"]).kind == USER


def check(container: Container) -> None:
    """Raises UsageError for what such a network cannot be or have."""
    if not is_alone(container):
        return
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


def resolv_conf(container: Container) -> str:
    """Whom a container in such a network asks for names."""
    host = container.host
    return text_for_machine(host["Dns"] or (_PLAN.nameserver,), host["DnsSearch"] or (), host["DnsOptions"] or ())
