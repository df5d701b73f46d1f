"""Beside a dockerd on the same host: the chain that it leaves to the host's owner lets pass what passes our bridges.

dockerd has everything dropped that is forwarded and none of its own (policy of the chain FORWARD), and where bridges ask iptables
(br_netfilter, which it loads) that concerns frames between two ports of any bridge. Its chain DOCKER-USER is asked before its own rules,
and is where others say what they need (docs.docker.com, "Packet filtering and firewalls"). There we lead to a chain of ours:

    within a network of ours, answers to it, and to its published ports       accepted
    from it to a dockerd's    back to dockerd's own rules, which keep its networks apart from others
    from it elsewhere         accepted

Accepting ends that table only; our own is asked as well, and drops what may not pass. Where there is no such chain nothing is done, whoever
else drops: that is his, and `obstacles` says so.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Final

from gasang.core.errors import GasangError
from gasang.host.nftables import Netfilter
from gasang.network.iptables import run

TABLE, CHAIN = "filter", "DOCKER-USER"
DOCKERS: Final = ("docker+", "br-+")
"""What dockerd calls its bridges; + stands for whatever follows."""
_PROGRAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "ip": ("iptables-nft", "iptables"),
    "ip6": ("ip6tables-nft", "ip6tables"),
    "legacy": ("iptables-legacy", "iptables"),
    "legacy6": ("ip6tables-legacy", "ip6tables"),
}
"""Where the chain is: in a table of nftables, or in one of the old kind → the programs that change it."""
_OLD_TABLES: Final = {"legacy": "ip_tables_names", "legacy6": "ip6_tables_names"}
_FAMILIES: Final = {2: "ip", 10: "ip6"}
_PATIENCE: Final = 10.0
"""Seconds until old tables, which tell nobody of themselves, are looked at again."""
_log = logging.getLogger(__name__)


class DockerUser:
    """What one instance, whose tag that is, has put there."""

    def __init__(self, tag: str) -> None:
        self._ours = f"GASANG-{tag}-USER"
        self._netfilter = Netfilter()
        self._knows_nftables = self._netfilter.usable()
        self._accepted: dict[str, tuple[str, ...]] = {}
        self._looked = -_PATIENCE

    def close(self) -> None:
        """Let go; what is there stays."""
        self._netfilter.close()

    def accept(self, bridges: Sequence[str]) -> None:
        """Let pass what passes these and no others of ours, wherever such a chain is. Who cannot be told is told of in the log."""
        wanted, found = tuple(bridges), self._found()
        if any(bridges != wanted for bridges in self._accepted.values()) or monotonic() - self._looked >= _PATIENCE:
            self._looked = monotonic()
            with contextlib.suppress(GasangError):
                found |= self._found_old()
        for place, whole in found.items():
            if whole and self._accepted.get(place) == wanted:
                continue
            try:
                self._write(place, wanted)
            except GasangError as error:
                _log.warning("chain %s of dockerd: %s", CHAIN, error)
                continue
            if place not in self._accepted:
                _log.info("dockerd drops what others forward: its chain %s leads to %s now, which accepts our networks", CHAIN, self._ours)
            self._accepted[place] = wanted

    def clear(self) -> None:
        """Take it all out again."""
        found = set(self._found())
        with contextlib.suppress(GasangError):
            found |= set(self._found_old())
        for place in found:
            with contextlib.suppress(GasangError):
                self._remove(place)
        self._accepted.clear()

    def is_accepting(self) -> bool:
        """Whether there is anything of ours now."""
        return bool(self._accepted)

    def _found(self) -> dict[str, bool]:
        """Where the chain is → whether, as far as that can be told at little cost, it leads to ours still."""
        known = self._netfilter.chains() if self._knows_nftables else ()
        chains = {(family, name) for family, table, name in known if table == TABLE}
        return {place: (family, self._ours) in chains for family, place in _FAMILIES.items() if (family, CHAIN) in chains}

    def _found_old(self) -> dict[str, bool]:
        """The same among old tables, about which a program has to be asked."""
        used = [place for place, file in _OLD_TABLES.items() if TABLE in _words(f"/proc/thread-self/net/{file}")]
        saved = {place: self._saved(place) for place in used}
        return {place: f":{self._ours} " in text for place, text in saved.items() if f":{CHAIN} " in text}

    def _write(self, place: str, bridges: Sequence[str]) -> None:
        lines = [f":{self._ours} - [0:0]"]
        for bridge in bridges:
            lines.append(f"-A {self._ours} -i {bridge} -o {bridge} -j ACCEPT")
            lines.append(f"-A {self._ours} -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT")
            lines += [f"-A {self._ours} -i {bridge} -o {theirs} -j RETURN" for theirs in DOCKERS]
            lines.append(f"-A {self._ours} -i {bridge} -j ACCEPT")
        if f"-A {CHAIN} -j {self._ours}" not in self._saved(place).splitlines():
            lines.append(f"-I {CHAIN} -j {self._ours}")
        self._restore(place, lines)

    def _remove(self, place: str) -> None:
        saved = self._saved(place)
        lines = [f"-D {CHAIN} -j {self._ours}"] if f"-A {CHAIN} -j {self._ours}" in saved.splitlines() else []
        if f":{self._ours} " in saved:
            lines += [f"-F {self._ours}", f"-X {self._ours}"]
        if lines:
            self._restore(place, lines)

    def _saved(self, place: str) -> str:
        return run([f"{_program(place)}-save", "-t", TABLE])

    def _restore(self, place: str, lines: Sequence[str]) -> None:
        run([f"{_program(place)}-restore", "--noflush", "--wait"], "\n".join([f"*{TABLE}", *lines, "COMMIT"]) + "\n")


def _program(place: str) -> str:
    """Raises GasangError where none is there, although somebody has made the chain with one."""
    for name in _PROGRAMS[place]:
        if shutil.which(f"{name}-restore"):
            return name
    raise GasangError(_PROGRAMS[place][-1], "it is not there", "install the package iptables")


def _words(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []
