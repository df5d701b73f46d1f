"""A vCPU's first state in 32-bit protected mode: flat segments, paging off (Intel SDM 3A, 3.2.1; Xen's docs/misc/pvh.pandoc)."""

from __future__ import annotations

from typing import Final

from gasang.accel.kvm.long_mode import CODE_SELECTOR, DATA_SELECTOR, FLAGS
from gasang.accel.kvm.vcpu import Vcpu
from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s

_CR0: Final = 0x11
"""Protected mode, and the bit that is always there (Intel SDM 3A, 2.5)."""
_CODE, _DATA, _BUSY_TSS = 11, 3, 11
_TSS_LIMIT: Final = 0x67


def enter_protected_mode(vcpu: Vcpu, eip: int, ebx: int) -> None:
    """Have the vCPU begin at `eip` in ring 0, interrupts off, with `ebx` in that register. Raises RefusedError."""
    special = vcpu.get(ioctls.GET_SREGS)
    special.cs = s.Segment(0, 0xFFFF_FFFF, CODE_SELECTOR, _CODE, 1, 0, 1, 1, 0, 1)
    for name in ("ds", "es", "fs", "gs", "ss"):
        setattr(special, name, s.Segment(0, 0xFFFF_FFFF, DATA_SELECTOR, _DATA, 1, 0, 1, 1, 0, 1))
    special.tr = s.Segment(0, _TSS_LIMIT, 0, _BUSY_TSS, 1, 0, 0, 0, 0, 0)
    special.cr0, special.cr4, special.efer = _CR0, 0, 0
    vcpu.set(ioctls.SET_SREGS, special)
    vcpu.set(ioctls.SET_REGS, s.Regs(rip=eip, rbx=ebx, rflags=FLAGS))
