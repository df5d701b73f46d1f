"""What CPUID answers in a machine: the host's processor as KVM offers it, with the vCPU's own number and the machine's topology in it.

Leaves are those of Intel's SDM (volume 2A, CPUID) and AMD's APM (volume 3, appendix E).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gasang.host.kvm.structures import CpuidEntry

FEATURES, CACHES, TOPOLOGY, TOPOLOGY_2, AMD_SIZES, AMD_TOPOLOGY = 0x1, 0x4, 0xB, 0x1F, 0x8000_0008, 0x8000_001E
COUNTERS, AMD_COUNTERS, AMD_FEATURES = 0xA, 0x8000_0022, 0x8000_0001
HYPERVISOR: Final = 1 << 31
TSC_DEADLINE: Final = 1 << 24
HTT: Final = 1 << 28
_PDCM: Final = 1 << 15
_AMD_COUNTERS: Final = 1 << 23 | 1 << 24 | 1 << 28
_LEVEL_SMT, _LEVEL_CORE = 1, 2

Change = Callable[[CpuidEntry, int, int], None]
"""Entry, the vCPU's number, how many there are."""


def cpuid_for(leaves: Sequence[CpuidEntry], number: int, count: int) -> list[CpuidEntry]:
    """Copies of the host's leaves for vCPU `number` of `count`: one socket, a core each, no hyper-threads."""
    made = [CpuidEntry.from_buffer_copy(leaf) for leaf in leaves]
    for leaf in made:
        change = CHANGES.get(leaf.function)
        if change is not None:
            change(leaf, number, count)
    return made


def _features(leaf: CpuidEntry, number: int, count: int) -> None:
    leaf.ebx = leaf.ebx & 0x0000_FFFF | min(count, 255) << 16 | (number & 0xFF) << 24
    leaf.ecx = leaf.ecx & ~_PDCM | HYPERVISOR
    leaf.edx = leaf.edx | HTT if count > 1 else leaf.edx & ~HTT


def _caches(leaf: CpuidEntry, number: int, count: int) -> None:
    """No cache is shared but the last one; each core is its own."""
    level = leaf.eax >> 5 & 7
    shared = count - 1 if level == 3 else 0
    leaf.eax = leaf.eax & 0x3FFF | min(shared, 0xFFF) << 14 | min(count - 1, 0x3F) << 26


def _topology(leaf: CpuidEntry, number: int, count: int) -> None:
    """Levels: one thread a core, all cores in the socket."""
    bits, here, kind = {0: (0, 1, _LEVEL_SMT), 1: ((count - 1).bit_length(), count, _LEVEL_CORE)}.get(leaf.index, (0, 0, 0))
    leaf.eax, leaf.ebx, leaf.ecx, leaf.edx = bits, here, leaf.index | kind << 8, number


def _amd_sizes(leaf: CpuidEntry, number: int, count: int) -> None:
    leaf.ecx = leaf.ecx & ~0xFFFF | min(count - 1, 0xFF) | (count - 1).bit_length() << 12


def _amd_topology(leaf: CpuidEntry, number: int, count: int) -> None:
    leaf.eax, leaf.ebx, leaf.ecx = number, number & 0xFF, 0


def _counters(leaf: CpuidEntry, number: int, count: int) -> None:
    """There are no performance counters (accel/kvm/msrs.py)."""
    leaf.eax = leaf.ebx = leaf.ecx = leaf.edx = 0


def _amd_features(leaf: CpuidEntry, number: int, count: int) -> None:
    leaf.ecx &= ~_AMD_COUNTERS


CHANGES: Final[Mapping[int, Change]] = {
    FEATURES: _features,
    CACHES: _caches,
    COUNTERS: _counters,
    AMD_COUNTERS: _counters,
    AMD_FEATURES: _amd_features,
    TOPOLOGY: _topology,
    TOPOLOGY_2: _topology,
    AMD_SIZES: _amd_sizes,
    AMD_TOPOLOGY: _amd_topology,
}
"""Leaf → what is another for each vCPU."""
