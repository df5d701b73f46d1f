"""The check of /dev/kvm: whether it is there, and whether the processor runs its guests or a program that plays the processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gasang.accel.kvm.reality import Kind, Reality, measure
from gasang.cli.checks.finding import Finding, Host, Status

_HERE: Final = "machines run on the software processor"
_THERE: Final = "amd64 machines run there"
_STATUSES: Final[Mapping[Kind, Status]] = {
    Kind.REAL: Status.OK,
    Kind.EMULATED: Status.WARNING,
    Kind.BROKEN: Status.WARNING,
    Kind.FORBIDDEN: Status.NOTE,
    Kind.FOREIGN: Status.NOTE,
    Kind.ABSENT: Status.NOTE,
}
_REMEDIES: Final[Mapping[Kind, str]] = {
    Kind.EMULATED: "for hardware speed use a host with VT-x or AMD-V (turned on as nested virtualization, if it is a virtual machine)",
    Kind.BROKEN: "look for another hypervisor that holds the processor's virtualization, and into the kernel's log (dmesg)",
    Kind.FORBIDDEN: "join the group that /dev/kvm belongs to (often kvm)",
}


def check_kvm(host: Host) -> Finding:
    """Whether this host offers hardware virtualization, by measuring it for a moment."""
    return verdict(measure(host.root))


def verdict(found: Reality) -> Finding:
    """The finding."""
    what_follows = _THERE if found.kind is Kind.REAL else _HERE
    return Finding(_STATUSES[found.kind], f"{found.sentence()}; {what_follows}", _REMEDIES.get(found.kind, ""))
