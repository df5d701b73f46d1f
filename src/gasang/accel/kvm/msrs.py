"""Which model-specific registers a guest reaches (KVM_X86_SET_MSR_FILTER, KVM_CAP_X86_MSR_FILTER).

A guest has no performance counters: they tell of what else runs on the host's processor, and a machine that goes on elsewhere could
not take theirs along. An access to one of them is a general protection fault, as on a processor without; CPUID names none
(kinds/vm/x86/cpuid.py). What KVM itself refuses needs no row here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Final

from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s
from gasang.host.kvm.ioctls import call

CAPABILITY: Final = "X86_MSR_FILTER"
DENIED: Final = (
    (0x0C1, 8),  # IA32_PMC0 …
    (0x186, 8),  # IA32_PERFEVTSEL0 …
    (0x309, 4),  # IA32_FIXED_CTR0 …
    (0x38D, 4),  # IA32_FIXED_CTR_CTRL, IA32_PERF_GLOBAL_STATUS, …_CTRL, …_OVF_CTRL
    (0x4C1, 8),  # IA32_A_PMC0 …
    (0xC001_0000, 8),  # PERF_LEGACY_CTL0 … CTR3 (AMD)
    (0xC001_0200, 12),  # PERF_CTL0 … CTR5 (AMD)
)
"""(first, count), sixteen rows at most (Intel SDM 4, chapter 2; AMD APM 2, appendix A)."""
_READ_AND_WRITE: Final = 3


def deny(machine: int, ranges: Sequence[tuple[int, int]] = DENIED) -> None:
    """Keep those from the guests of a machine (its descriptor); all others stay as KVM has them. Raises RefusedError."""
    filter_ = s.MsrFilter()
    bitmaps = [(ctypes.c_uint64 * (-(-count // 64)))() for _, count in ranges]  # a zero denies
    for row, (first, count), bitmap in zip(filter_.ranges, ranges, bitmaps, strict=False):
        row.flags, row.nmsrs, row.base, row.bitmap = _READ_AND_WRITE, count, first, ctypes.addressof(bitmap)
    call(machine, ioctls.X86_SET_MSR_FILTER, filter_)
