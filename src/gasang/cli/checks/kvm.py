"""The check of /dev/kvm: whether it is there, and whether the processor runs its guests or a program that plays the processor.

Machines run on the software processor either way; the figure says what hardware virtualization would be worth on this host.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final

from gasang.cli.checks.finding import Finding, Host, Status
from gasang.core.errors import GasangError

EMULATED: Final = 100e6
"""Instructions a second: no processor with virtualization is as slow in a loop of two instructions, no interpreter is as fast."""

_HERE: Final = "machines run on the software processor"
_EMULATORS: Final = ("kvm_pvm",)
"""Kernel modules behind /dev/kvm that do without the processor's virtualization."""


def check_kvm(host: Host) -> Finding:
    """Whether this host offers hardware virtualization, by measuring it for a moment."""
    device = host.path("/dev/kvm")
    if not device.exists():
        return Finding(Status.NOTE, f"no /dev/kvm; {_HERE}")
    if not os.access(device, os.R_OK | os.W_OK):
        return Finding(Status.NOTE, f"/dev/kvm is there but not for this user; {_HERE}")
    if platform.machine() not in ("x86_64", "AMD64"):
        return Finding(Status.NOTE, f"/dev/kvm is there, which is measured on x86-64 hosts only; {_HERE}")
    return _measured(device, host)


def _measured(device: Path, host: Host) -> Finding:
    from gasang.accel.kvm.speed import kernel_mode_speed  # only Linux has the modules it needs

    try:
        speed = kernel_mode_speed(device)
    except GasangError as error:
        remedy = "look for another hypervisor that holds the processor's virtualization, and into the kernel's log (dmesg)"
        return Finding(Status.WARNING, f"/dev/kvm is there but runs no guest: {error.cause}; {_HERE}", remedy)
    return verdict(speed, next((name for name in _EMULATORS if host.path(f"/sys/module/{name}").exists()), ""))


def verdict(speed: float, emulator: str) -> Finding:
    """The finding for so many instructions a second in a guest's kernel mode; `emulator` is a module that would explain few."""
    if speed >= EMULATED:
        text = f"/dev/kvm runs guests on the processor itself, {speed / 1e6:,.0f} million instructions a second; {_HERE} in this version"
        return Finding(Status.OK, text)
    who = f" ({emulator})" if emulator else ""
    text = f"/dev/kvm is there but only emulates{who}: {speed / 1e6:,.1f} million instructions a second in a guest's kernel mode; {_HERE}"
    remedy = "for hardware speed use a host with VT-x or AMD-V (turned on as nested virtualization, if it is a virtual machine)"
    return Finding(Status.WARNING, text, remedy)
