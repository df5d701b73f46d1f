"""Whether this host's processor can go on as the one that a state was saved on.

KVM takes any CPUID, and a guest that goes on with features it has found once, on a processor without them, dies of an invalid opcode some
time later. So each feature that the saved guest was shown is asked for here first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gasang.accel.kvm.state import cpuid_entries
from gasang.core.errors import UnsupportedError
from gasang.host.kvm.structures import CpuidEntry
from gasang.kinds.vm.x86.cpuid import HTT, HYPERVISOR

VENDOR: Final = (0, 0)
_HINT: Final = "restore it on a host of that processor"
_SET_BY_GUEST: Final = 1 << 27
"""OSXSAVE: shows what the guest has done to CR4."""

FEATURES: Final[Mapping[tuple[int, int], Mapping[str, int]]] = {
    (0x1, 0): {"ecx": ~(HYPERVISOR | _SET_BY_GUEST), "edx": ~HTT},
    (0x7, 0): {"ebx": ~0, "ecx": ~(1 << 4), "edx": ~0},
    (0x7, 1): {"eax": ~0},
    (0xD, 1): {"eax": ~0},
    (0x8000_0001, 0): {"ecx": ~0, "edx": ~0},
    (0x8000_0008, 0): {"ebx": ~0},
}
"""(leaf, subleaf) → registers and which of their bits are features; OSPKE (leaf 7, ecx bit 4) shows what the guest has done."""


def check_processor(saved: Any, new: Any) -> None:
    """Raise UnsupportedError unless a guest that was shown `saved` finds all of it in what a `new` machine here shows.

    Both are leaves as a vCPU is saved with them. Raises BadInputError for what are none.
    """
    was, here = _leaves(cpuid_entries(saved)), _leaves(cpuid_entries(new))
    if (mine := _vendor(here)) != (theirs := _vendor(was)):
        raise UnsupportedError("saved state of PC", f"it is of a processor of {theirs}, this host's is of {mine}", _HINT)
    lacking = list(_lacking(was, here))
    if lacking:
        raise UnsupportedError("saved state of PC", f"its processor has what this host's lacks (CPUID {', '.join(lacking)})", _HINT)


def _leaves(entries: Iterable[CpuidEntry]) -> dict[tuple[int, int], CpuidEntry]:
    return {(int(entry.function), int(entry.index)): entry for entry in entries}


def _vendor(leaves: Mapping[tuple[int, int], CpuidEntry]) -> str:
    entry = leaves.get(VENDOR, CpuidEntry())
    name = b"".join(int(register).to_bytes(4, "little") for register in (entry.ebx, entry.edx, entry.ecx))
    return name.decode("ascii", "replace").strip("\0") or "nobody"


def _lacking(was: Mapping[tuple[int, int], CpuidEntry], here: Mapping[tuple[int, int], CpuidEntry]) -> Iterable[str]:
    for leaf, registers in FEATURES.items():
        for register, mask in registers.items():
            theirs, mine = (int(getattr(leaves.get(leaf, CpuidEntry()), register)) for leaves in (was, here))
            if missing := theirs & ~mine & mask:
                yield f"{leaf[0]:x}.{leaf[1]} {register} {missing:#x}"
