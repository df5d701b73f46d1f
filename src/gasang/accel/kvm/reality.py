"""Whether the host's /dev/kvm runs guests on the processor, or only plays one; measured once for each boot of the host.

A measurement takes a third of a second, and a machine's start has no time for it: the answer is kept in the cache folder under the boot it
is of, the device file it was asked of and the kernel modules behind it. Without a place to keep it it is measured each time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import GasangError
from gasang.core.paths import cache_folder
from gasang.host.durable import boot_id

EMULATED: Final = 100e6
"""Instructions a second: no processor with virtualization is as slow in a loop of two instructions, no interpreter is as fast."""
MODULES: Final = ("kvm_intel", "kvm_amd", "kvm_pvm")
EMULATORS: Final = ("kvm_pvm",)
"""Kernel modules behind /dev/kvm that do without the processor's virtualization."""
NAME: Final = "kvm.json"


class Kind(Enum):
    """What there is."""

    REAL = "real"
    EMULATED = "emulated"
    """It runs guests, a thousand times slower than the processor does."""
    BROKEN = "broken"
    """It is there and runs no guest."""
    FORBIDDEN = "forbidden"
    """It is there, and not for this user."""
    FOREIGN = "foreign"
    """It is there, on a host that is no x86-64 one."""
    ABSENT = "absent"


@dataclass(frozen=True)
class Reality:
    """What was found: instructions a second in a guest's kernel mode, the module that explains few, what went wrong."""

    kind: Kind
    speed: float = 0.0
    emulator: str = ""
    cause: str = ""

    def sentence(self) -> str:
        """The same as a clause about /dev/kvm."""
        who = f" ({self.emulator})" if self.emulator else ""
        return {
            Kind.REAL: f"/dev/kvm runs guests on the processor itself, {self.speed / 1e6:,.0f} million instructions a second",
            Kind.EMULATED: f"/dev/kvm is there but only emulates{who}: {self.speed / 1e6:,.1f} million instructions a second in a guest's "
            "kernel mode",
            Kind.BROKEN: f"/dev/kvm is there but runs no guest: {self.cause}",
            Kind.FORBIDDEN: "/dev/kvm is there but not for this user",
            Kind.FOREIGN: "/dev/kvm is there, which is measured on x86-64 hosts only",
            Kind.ABSENT: "no /dev/kvm",
        }[self.kind]


def reality(root: Path = Path("/"), cache: Path | None = None) -> Reality:
    """What is known of this boot's /dev/kvm, measured now if nothing is. `root` is where the host's files are."""
    found = _seen(root)
    if found is not None:
        return found
    place = (cache or cache_folder(os.environ)) / NAME
    asked = _asked(root)
    known = _kept(place, asked)
    if known is not None:
        return known
    found = measure(root)
    _keep(place, asked, found)
    return found


def measure(root: Path = Path("/"), speed: Callable[[Path], float] | None = None) -> Reality:
    """Measure for a moment, whatever is known. `speed` measures; by default kernel_mode_speed."""
    found = _seen(root)
    if found is not None:
        return found
    if speed is None:
        from gasang.accel.kvm.speed import kernel_mode_speed  # only Linux has the modules it needs

        speed = kernel_mode_speed
    try:
        measured = speed(root / "dev" / "kvm")
        if measured < EMULATED:  # perhaps it was the host that was busy: the answer is kept for long
            measured = max(measured, speed(root / "dev" / "kvm"))
    except GasangError as error:
        return Reality(Kind.BROKEN, cause=error.cause)
    if measured >= EMULATED:
        return Reality(Kind.REAL, measured)
    return Reality(Kind.EMULATED, measured, emulator(root))


def _seen(root: Path) -> Reality | None:
    """What can be told without measuring; None where it must be measured."""
    device = root / "dev" / "kvm"
    if not device.exists():
        return Reality(Kind.ABSENT)
    if host_machine() != "x86_64":
        return Reality(Kind.FOREIGN)
    return None if os.access(device, os.R_OK | os.W_OK) else Reality(Kind.FORBIDDEN)


def host_machine() -> str:
    """The host's processor, as its kernel calls it; the module `platform` would tell the same and takes a start's time to load."""
    return os.uname().machine


def emulator(root: Path = Path("/")) -> str:
    """Which of EMULATORS the host has, "" for none. `root` is where its files are."""
    return next((name for name in EMULATORS if name in _modules(root)), "")


def _modules(root: Path) -> list[str]:
    return [name for name in MODULES if (root / "sys" / "module" / name).exists()]


def _asked(root: Path) -> dict[str, Any]:
    """What the answer hangs on."""
    info = (root / "dev" / "kvm").stat()
    return {"boot": boot_id(), "device": [info.st_rdev, info.st_ino, info.st_ctime_ns], "modules": _modules(root)}


def _kept(place: Path, asked: dict[str, Any]) -> Reality | None:
    """What was noted, if it was of the same; whatever else stands there is no note."""
    try:
        note = json.loads(place.read_bytes())
        if note["asked"] != asked:
            return None
        answer = note["answer"]
        return Reality(Kind(answer["kind"]), float(answer["speed"]), str(answer["emulator"]), str(answer["cause"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(place: Path, asked: dict[str, Any], found: Reality) -> None:
    if found.kind is Kind.BROKEN:  # it may be mended without a new boot
        return
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        new = place.with_name(f"{NAME}.{os.urandom(4).hex()}")
        new.write_text(json.dumps({"asked": asked, "answer": asdict(found) | {"kind": found.kind.value}}), encoding="ascii")
        new.replace(place)
