"""Our rules by way of iptables, for kernels without nftables: chains of our own, and one rule in each chain of the system that leads there.

The text of a table is made anew at every change and given to iptables-restore, which puts it in place at once. What is allowed RETURNs, so
that the host's own rules decide further. See `rules.py` for what the rules are for.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Final

from gasang.core.errors import GasangError
from gasang.network.rules import Ruled, translatable
from gasang.network.spec import Published

_PROGRAMS: Final = {4: ("iptables-legacy", "iptables"), 6: ("ip6tables-legacy", "ip6tables")}
_PATIENCE: Final = 30
_LOCAL: Final = "-m addrtype --dst-type LOCAL"
_TRANSLATED: Final = "-m conntrack --ctstate DNAT"
# Chain of the system, what leads to ours, ours.
_JUMPS: Final = {
    "raw": [("PREROUTING", "", "RAW")],
    "nat": [("PREROUTING", _LOCAL, "DNAT"), ("OUTPUT", _LOCAL, "DNAT"), ("POSTROUTING", "", "SNAT")],
    "filter": [("FORWARD", "", "FORWARD")],
}
_CHAINS: Final = {"raw": ("RAW",), "nat": ("DNAT", "SNAT"), "filter": ("FORWARD", "FROM", "TO")}


class Iptables:
    """The programs of iptables, for IPv4 and, if there, IPv6."""

    translates = True

    def __init__(self, tag: str, programs: dict[int, str]) -> None:
        self._prefix = f"GASANG-{tag}-"
        self._programs = programs
        self._networks: list[Ruled] = []
        self._published: list[Published] = []
        self._outside: Sequence[str] = ()

    @classmethod
    def found(cls, tag: str) -> Iptables | None:
        """With the programs that work here; None if there is none for IPv4."""
        programs = {family: name for family, names in _PROGRAMS.items() if (name := next(filter(_works, names), ""))}
        return cls(tag, programs) if 4 in programs else None

    def write(self, networks: Sequence[Ruled], published: Sequence[Published], outside: Sequence[str]) -> None:
        """Rules for exactly these.

        Raises GasangError with what iptables says.
        """
        self._networks, self._published, self._outside = list(networks), list(published), outside
        self._apply()

    def join(self, network: Ruled) -> None:
        """One network more."""
        self.write([*self._networks, network], self._published, self._outside)

    def publish(self, published: Sequence[Published]) -> None:
        """More ports."""
        self.write(self._networks, [*self._published, *published], self._outside)

    def withdraw(self, published: Sequence[Published]) -> None:
        """Fewer ports."""
        self.write(self._networks, [port for port in self._published if port not in published], self._outside)

    def lost(self) -> bool:
        """Not looked after: asking takes as long as writing, and every change writes all of it."""
        return False

    def clear(self) -> None:
        """Our chains go, and what leads to them."""
        for family, program in self._programs.items():
            present = run([f"{program}-save"])
            lines: list[str] = []
            for table, jumps in _JUMPS.items():
                gone = [f"-D {line[3:]}" for line in self._present(present, jumps)]
                chains = [self._prefix + chain for chain in _CHAINS[table] if f":{self._prefix}{chain} " in present]
                if gone or chains:
                    lines += [f"*{table}", *gone, *(f"-F {chain}" for chain in chains), *(f"-X {chain}" for chain in chains), "COMMIT"]
            if lines:
                self._restore(family, lines)

    def forget_connections(self, addresses: Iterable[str]) -> None:
        """Kernels so old cannot select: they remember until the connections are idle."""

    def obstacles(self, *, beside_docker: bool) -> list[str]:
        """What iptables costs, and whether the host's own rules drop."""
        sentences = ["the kernel has no nftables: rules are kept with iptables, which takes some milliseconds for every change"]
        if not beside_docker and ":FORWARD DROP" in run([f"{self._programs[4]}-save", "-t", "filter"]):
            sentences.append(
                "the host's firewall (iptables, chain FORWARD) drops what it does not know, machines' packets too: let it accept them"
            )
        return sentences

    def close(self) -> None:
        """Nothing is held."""

    def _apply(self) -> None:
        for family, program in self._programs.items():
            present = run([f"{program}-save"])
            lines: list[str] = []
            for table, jumps in _JUMPS.items():
                there = self._present(present, jumps)
                missing = [line.replace("-A ", "-I ", 1) for line in map(self._jump, jumps) if line not in there]
                chains = [f":{self._prefix}{chain} - [0:0]" for chain in _CHAINS[table]]
                lines += [f"*{table}", *chains, *missing, *self._contents(table, family), "COMMIT"]
            self._restore(family, lines)

    def _jump(self, jump: tuple[str, str, str]) -> str:
        chain, condition, ours = jump
        return " ".join(filter(None, ["-A", chain, condition, "-j", self._prefix + ours]))

    def _present(self, saved: str, jumps: Sequence[tuple[str, str, str]]) -> list[str]:
        lines = saved.splitlines()
        return [line for line in map(self._jump, jumps) if line in lines]

    def _contents(self, table: str, family: int) -> list[str]:
        made = {"raw": self._raw, "nat": self._nat, "filter": self._filter}[table](family)
        return [f"-A {self._prefix}{line}" for line in made]

    def _raw(self, family: int) -> list[str]:
        if family == 6:
            return []
        return [f"RAW -i {network.bridge} {side} 127.0.0.0/8 -j DROP" for network in self._networks for side in ("-d", "-s")]

    def _nat(self, family: int) -> list[str]:
        lines = [f"DNAT -i {network.bridge} -j RETURN" for network in self._networks if not network.icc]
        ports = [port for port in self._published if translatable(port) and ip_address(port.host_address).version == family]
        # One address goes before any address.
        for port in sorted(ports, key=lambda port: ip_address(port.host_address).is_unspecified):
            outer = ip_address(port.host_address)
            where = "" if outer.is_unspecified else f"-d {outer} "
            inner = f"[{port.machine_address}]" if family == 6 else port.machine_address
            lines.append(f"DNAT {where}-p {port.protocol} --dport {port.host_port} -j DNAT --to-destination {inner}:{port.machine_port}")
        for network in self._networks:
            if family == 4:
                lines.append(f"SNAT -s 127.0.0.0/8 -o {network.bridge} {_TRANSLATED} -j MASQUERADE")
            for subnet in network.subnets:
                if ip_network(subnet).version != family:
                    continue
                lines.append(f"SNAT -s {subnet} -o {network.bridge} {_TRANSLATED} -j MASQUERADE")
                if network.masquerade and not network.internal:
                    lines.append(f"SNAT -s {subnet} ! -o {network.bridge} -j MASQUERADE")
        return lines

    def _filter(self, _family: int) -> list[str]:
        lines = ["FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"]
        lines += [f"FORWARD -i {network.bridge} -g {self._prefix}FROM" for network in self._networks]
        lines += [f"FORWARD -o {network.bridge} -g {self._prefix}TO" for network in self._networks]
        lines += [f"FORWARD -i {one} -o {other} -j DROP" for one in self._outside for other in self._outside]
        lines.append(f"FROM {_TRANSLATED} -j RETURN")
        lines += [f"FROM -i {network.bridge} -o {network.bridge} -j RETURN" for network in self._networks if network.icc]
        lines += [f"FROM -o {network.bridge} -j DROP" for network in self._networks]
        lines += [f"FROM -i {network.bridge} -j DROP" for network in self._networks if network.internal]
        return [*lines, f"TO {_TRANSLATED} -j RETURN", "TO -j DROP"]

    def _restore(self, family: int, lines: Sequence[str]) -> None:
        run([f"{self._programs[family]}-restore", "--noflush", "--wait"], "\n".join(lines) + "\n")


def _works(program: str) -> bool:
    if not all(shutil.which(f"{program}-{part}") for part in ("save", "restore")):
        return False
    try:
        run([f"{program}-restore", "--noflush", "--wait"], "*nat\nCOMMIT\n")
    except GasangError:
        return False
    return True


def run(command: Sequence[str], text: str = "") -> str:
    """What a program of iptables prints, given a text. Raises GasangError with what it says where it fails."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GasangError(command[0], f"it cannot be run ({error})", "install the package iptables") from error
    if done.returncode:
        raise GasangError(command[0], f"it failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
    return done.stdout
