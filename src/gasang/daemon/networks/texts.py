"""What containers read about their networks: /etc/hosts and /etc/resolv.conf, made at the start, kept true as networks come and go."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from gasang.daemon.containers.record import Container
from gasang.daemon.networks import alone
from gasang.network.dns.upstream import SERVER, text_for_machine
from gasang.network.networks import Networks

_LARGEST: Final = 1 << 16
_ALWAYS: Final = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::0\tip6-localnet",
    "ff00::0\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
)


def hosts(container: Container, links: Iterable[str]) -> str:
    """/etc/hosts of a container with a network of its own, with the lines of its links."""
    lines = [*_ALWAYS, *_extra(container), *links]
    lines += [line for end in container.endpoints.values() for line in own_lines(container, end)]
    return "\n".join(lines) + "\n"


def own_lines(container: Container, end: dict[str, Any]) -> list[str]:
    """The lines by which a container knows itself at one place."""
    hostname, domain = container.config["Hostname"], container.config["Domainname"]
    names = [f"{hostname}.{domain}"] if domain else []
    names += [hostname, *([hostname.partition(".")[0]] if "." in hostname else [])]
    addresses = (end.get("IPAddress"), end.get("GlobalIPv6Address"))
    return [f"{address}\t{' '.join(names)}" for address in addresses if address]


def _extra(container: Container) -> list[str]:
    lines = []
    for entry in container.host["ExtraHosts"] or []:
        name, _, address = entry.partition("=") if "=" in entry else entry.partition(":")
        if address == "host-gateway":
            address = next((end["Gateway"] for end in container.endpoints.values() if end.get("Gateway")), "")
        if name and address:
            lines.append(f"{address}\t{name}")
    return lines


def resolv_conf(container: Container, networks: Networks) -> str:
    """A network with names answers them, and asks the container's or the host's resolvers for the rest."""
    if alone.is_alone(container):
        return alone.resolv_conf(container)
    host = container.host
    ends = networks.endpoints(machine=container.id)
    if ends:
        # One that has names answers for the others, too.
        asking = next((end for end in ends if end.dns == (SERVER,)), ends[0])
        return networks.resolv_conf(asking, host["DnsSearch"] or (), host["DnsOptions"] or ())
    if not (host["Dns"] or host["DnsSearch"] or host["DnsOptions"]):
        return of_host("/etc/resolv.conf")
    return text_for_machine(host["Dns"] or (), host["DnsSearch"] or (), host["DnsOptions"] or ())


def of_host(path: str) -> str:
    """A file of the host's; "" where it has none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_LARGEST)
    except OSError:
        return ""


def replace_lines(path: Path, gone: Iterable[str], come: Iterable[str]) -> None:
    """Take whole lines out of a file and add others, leaving what the container wrote there itself."""
    text = _read(path)
    if text is None:
        return
    lines = text.splitlines()
    for line in gone:
        if line in lines:
            lines.remove(line)
    _overwrite(path, "".join(f"{line}\n" for line in [*lines, *come]))


def replace_text(path: Path, before: str, after: str) -> None:
    """Write a file anew, unless the container has changed what we wrote."""
    if before != after and _read(path) == before:
        _overwrite(path, after)


def _read(path: Path) -> str | None:
    """The file's text; None where the container has filled it with more than such a file holds: then it is the container's."""
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        text = file.read(_LARGEST + 1)
    return text if len(text) <= _LARGEST else None


def _overwrite(path: Path, text: str) -> None:
    """The same file: the container has it mounted, and would not see another of that name."""
    with path.open("r+", encoding="utf-8", errors="surrogateescape") as file:
        file.truncate()
        file.write(text)
