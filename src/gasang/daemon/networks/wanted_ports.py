"""The ports that a container asks to publish, and why it cannot have one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from gasang.core.errors import StateError, UnsupportedError, UsageError
from gasang.daemon.containers.record import Container
from gasang.network.spec import PortSpec, Published

_PORT: Final = re.compile(r"(\d{1,5})(?:/(tcp|udp|sctp))?")
_RANGE: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


def ports_of(container: Container) -> list[PortSpec]:
    """What a container asks to publish. Raises UsageError, UnsupportedError."""
    wanted: list[PortSpec] = []
    bindings = container.host["PortBindings"] or {}
    for name, hosts in bindings.items():
        number, protocol = _port(name)
        for host in hosts or [{}]:
            if not isinstance(host, dict):
                raise UsageError(f"port {name[:20]}", "its binding is not an object", "correct it")
            first, last = _range(str(host.get("HostPort") or "0"))
            wanted.append(PortSpec(number, protocol, str(host.get("HostIp") or ""), first, last))
    if container.host["PublishAllPorts"]:
        for name in container.config["ExposedPorts"] or {}:
            if name not in bindings:
                wanted += [PortSpec(*_port(name))]
    return wanted


def shown(published: Iterable[Published]) -> dict[str, list[dict[str, str]]]:
    """What is published, as the API writes it."""
    found: dict[str, list[dict[str, str]]] = {}
    for port in published:
        binding = {"HostIp": port.host_address, "HostPort": str(port.host_port)}
        found.setdefault(f"{port.machine_port}/{port.protocol}", []).append(binding)
    return found


def of_twin(bindings: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the twin of a machine with these PortBindings publishes: the same ports, on any free ones of the host."""
    if not bindings:
        return bindings
    return {name: [{**host, "HostPort": ""} for host in hosts or [{}]] for name, hosts in bindings.items()}


def taken(wanted: Sequence[PortSpec], others: Iterable[Published], error: StateError) -> StateError:
    """In Docker's words: another container has the port, or another program of the host."""
    held = {(port.protocol, port.host_port) for port in others}
    for spec in wanted:
        if spec.host_port and (spec.protocol, spec.host_port) in held:
            where = f"{spec.host_address or '127.0.0.1'}:{spec.host_port}"
            return StateError(f"Bind for {where} failed: port is already allocated", "another container has it", "choose another port")
    return StateError(f"failed to bind host port: {error.subject}: address already in use", "another program has it", "choose another port")


def _port(name: str) -> tuple[int, str]:
    found = _PORT.fullmatch(name)
    if not found or not 0 < int(found[1]) < 65536:
        raise UsageError(f"port {name[:20]!r}", "it is no port", "write NUMBER/tcp or NUMBER/udp")
    if found[2] == "sctp":
        raise UnsupportedError(f"port {name[:20]}", "SCTP ports are not published", "use TCP or UDP")
    return int(found[1]), found[2] or "tcp"


def _range(text: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(text)
    if not found or int(found[1]) > 65535 or int(found[2] or 0) > 65535:
        raise UsageError(f"host port {text[:20]!r}", "it is no port", "write a number below 65536")
    return int(found[1]), int(found[2] or 0)
