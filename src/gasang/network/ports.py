"""Which ports of the host are published: written forms read, numbers chosen, and each one held by a socket bound to it.

The socket is what keeps other programs off the port and tells us when one has it already; what arrives on it (that is, what no rule has
sent to the machine before) the proxy passes on.
"""

from __future__ import annotations

import contextlib
import errno
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from gasang.core.errors import GasangError, PermissionDeniedError, StateError, UsageError
from gasang.network.spec import PortSpec, Published

PROTOCOLS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_FORM: Final = re.compile(
    r"(?:(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[^:\[\]]*)):)??(?:(?P<host>[0-9-]*):)?(?P<inner>[0-9-]+)(?:/(?P<protocol>\w+))?"
)
_LARGEST_RANGE: Final = 4096
_ATTEMPTS: Final = 64
_BACKLOG: Final = 4096


@dataclass(frozen=True, slots=True)
class Held:
    """A published port and the socket that holds it."""

    port: Published
    socket: socket.socket


def parse(text: str) -> list[PortSpec]:
    """What `-p` takes: [ADDRESS:][HOST_PORT]:PORT[/PROTOCOL], or PORT; ports may be ranges A-B; an IPv6 address stands in brackets.

    A range of one port inside and several outside means: the first free one. Raises UsageError.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise UsageError(
            f"port {text!r}", "it is not written as [[ADDRESS:]HOST_PORT:]PORT[/PROTOCOL]", "write it like 8080:80 or 127.0.0.1:5353:53/udp"
        )
    protocol = _checked_protocol((found["protocol"] or "tcp").lower(), text)
    address = _checked_address(found["v6"] or found["v4"] or "", text)
    inner = _range(found["inner"], text)
    outer = _range(found["host"], text) if found["host"] else (0, 0)
    if inner[0] == 0:
        raise UsageError(f"port {text!r}", "a machine has no port 0", "name one from 1 to 65535")
    if outer == (0, 0):
        return [PortSpec(number, protocol, address) for number in range(inner[0], inner[1] + 1)]
    if inner[0] == inner[1]:
        return [PortSpec(inner[0], protocol, address, outer[0], outer[1])]
    if outer[1] - outer[0] != inner[1] - inner[0]:
        raise UsageError(f"port {text!r}", "the two ranges differ in length", "make them equal")
    return [PortSpec(number, protocol, address, outer[0] + step) for step, number in enumerate(range(inner[0], inner[1] + 1))]


def hold(spec: PortSpec, addresses: Sequence[str], machine: Sequence[str]) -> list[Held]:
    """Bind the port on each of `addresses` (the spec's own, if it names one), the same number on all; for the machine of those addresses.

    An address that only `addresses` names and this host lacks is left out. Raises StateError when the port is in use, UsageError when the
    host has no such address, PermissionDeniedError.
    """
    _checked_protocol(spec.protocol, str(spec.machine_port))
    if not 1 <= spec.machine_port <= 65535 or not 0 <= spec.host_port <= 65535 or spec.last_host_port > 65535:
        raise UsageError(f"port {spec.host_port}:{spec.machine_port}", "ports go from 1 to 65535", "choose one of them")
    wanted = [_checked_address(spec.host_address, spec.host_address)] if spec.host_address else list(addresses)
    first, last = spec.host_port, max(spec.host_port, spec.last_host_port)
    numbers = range(first, last + 1) if first else [0] * _ATTEMPTS
    refused: StateError | None = None
    for number in numbers:
        try:
            return _hold_one(spec, wanted, number, machine)
        except StateError as error:
            refused = error
    raise refused or StateError(f"port {spec.machine_port}/{spec.protocol}", "no port of the host is free for it", "name one that is")


def hold_all(wanted: Sequence[PortSpec], addresses: Sequence[str], machine: Sequence[str]) -> list[Held]:
    """`hold` for each; all of them, or, raising, none."""
    held: list[Held] = []
    try:
        for spec in wanted:
            held += hold(spec, addresses, machine)
    except GasangError:
        let_go(held)
        raise
    return held


def let_go(held: Sequence[Held]) -> None:
    """Close the sockets."""
    for item in held:
        item.socket.close()


def again(port: Published) -> Held:
    """Hold a port that was held before.

    Raises as `hold` does.
    """
    return Held(port, _bound(port.protocol, port.host_address, port.host_port))


def _hold_one(spec: PortSpec, wanted: Sequence[str], number: int, machine: Sequence[str]) -> list[Held]:
    held: list[Held] = []
    try:
        for address in wanted:
            try:
                holder = _bound(spec.protocol, address, number)
            except UsageError:
                if spec.host_address or (address == wanted[-1] and not held):
                    raise
                continue
            number = holder.getsockname()[1]
            held.append(Held(Published(spec.protocol, address, number, _target(address, machine), spec.machine_port), holder))
    except GasangError:
        let_go(held)
        raise
    return held


def _target(address: str, machine: Sequence[str]) -> str:
    """The machine's address of the same family, else its other."""
    version = ip_address(address).version
    return next((text for text in machine if ip_address(text).version == version), machine[0])


def _bound(protocol: str, address: str, number: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    subject = f"port {f'[{address}]' if ':' in address else address}:{number}/{protocol}"
    try:
        holder = socket.socket(family, PROTOCOLS[protocol] | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise UsageError(subject, f"this host cannot ({error.strerror})", "publish on an IPv4 address") from error
    try:
        if family == socket.AF_INET6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((address, number))
        if protocol == "tcp":
            holder.listen(_BACKLOG)
    except OSError as error:
        holder.close()
        raise _why(subject, error) from error
    return holder


def _why(subject: str, error: OSError) -> StateError | UsageError | PermissionDeniedError:
    if error.errno == errno.EADDRINUSE:
        return StateError(subject, "it is already allocated", "stop what uses it, or publish at another")
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionDeniedError(subject, "the host does not let us use it", "run as root, or publish at 1024 or above")
    return UsageError(subject, f"the host cannot publish there ({error.strerror})", "name an address that an interface of the host has")


def _checked_protocol(protocol: str, text: str) -> str:
    if protocol not in PROTOCOLS:
        raise UsageError(f"port {text!r}", f"ports of protocol {protocol!r} cannot be published", f"use {' or '.join(PROTOCOLS)}")
    return protocol


def _checked_address(address: str, text: str) -> str:
    if not address:
        return ""
    with contextlib.suppress(ValueError):
        return str(ip_address(address))
    raise UsageError(f"port {text!r}", f"{address!r} is no IP address", "write it like 127.0.0.1:8080:80 or [::1]:8080:80")


def _range(text: str, whole: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()) or len(text) > 11:
        raise UsageError(f"port {whole!r}", f"{text!r} is neither a number nor a range A-B")
    low, high = int(first), int(last or first)
    if high > 65535 or high < low or high - low >= _LARGEST_RANGE:
        raise UsageError(f"port {whole!r}", f"{text!r} is no range of at most {_LARGEST_RANGE} ports up to 65535")
    return low, high
