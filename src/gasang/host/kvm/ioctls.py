"""The ioctls of /dev/kvm, of a virtual machine and of a vCPU, and the one way to call them."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from gasang.core.errors import UnsupportedError
from gasang.host.kvm import structures as s

_NONE, _WRITE, _READ = 0, 1, 2


class RefusedError(UnsupportedError):
    """The host refuses an ioctl; `number` is its errno."""

    def __init__(self, ioctl: Ioctl, number: int) -> None:
        cause = f"the host refuses {ioctl.name} ({os.strerror(number)})"
        super().__init__("/dev/kvm", cause, "use --accel soft, and see the host's kernel log")
        self.number = number


@dataclass(frozen=True)
class Ioctl:
    """`argument` is the structure it takes, None where it takes a number; `size` counts where that differs from the structure's."""

    name: str
    code: int
    direction: int = _NONE
    argument: type[s.Record] | None = None
    size: int | None = None

    @property
    def number(self) -> int:
        """As asm-generic/ioctl.h makes it; KVM's have the type 0xAE."""
        size = self.size if self.size is not None else ctypes.sizeof(self.argument) if self.argument else 0
        return self.direction << 30 | size << 16 | 0xAE << 8 | self.code


GET_API_VERSION: Final = Ioctl("KVM_GET_API_VERSION", 0x00)
CREATE_VM: Final = Ioctl("KVM_CREATE_VM", 0x01)
GET_MSR_INDEX_LIST: Final = Ioctl("KVM_GET_MSR_INDEX_LIST", 0x02, _READ | _WRITE, s.MsrList)
CHECK_EXTENSION: Final = Ioctl("KVM_CHECK_EXTENSION", 0x03)
GET_VCPU_MMAP_SIZE: Final = Ioctl("KVM_GET_VCPU_MMAP_SIZE", 0x04)
GET_SUPPORTED_CPUID: Final = Ioctl("KVM_GET_SUPPORTED_CPUID", 0x05, _READ | _WRITE, s.Cpuid)

CREATE_VCPU: Final = Ioctl("KVM_CREATE_VCPU", 0x41)
GET_DIRTY_LOG: Final = Ioctl("KVM_GET_DIRTY_LOG", 0x42, _WRITE, s.DirtyLog)
SET_USER_MEMORY_REGION: Final = Ioctl("KVM_SET_USER_MEMORY_REGION", 0x46, _WRITE, s.MemoryRegion)
SET_TSS_ADDR: Final = Ioctl("KVM_SET_TSS_ADDR", 0x47)
SET_IDENTITY_MAP_ADDR: Final = Ioctl("KVM_SET_IDENTITY_MAP_ADDR", 0x48, _WRITE, size=8)
CREATE_IRQCHIP: Final = Ioctl("KVM_CREATE_IRQCHIP", 0x60)
IRQ_LINE: Final = Ioctl("KVM_IRQ_LINE", 0x61, _WRITE, s.IrqLevel)
GET_IRQCHIP: Final = Ioctl("KVM_GET_IRQCHIP", 0x62, _READ | _WRITE, s.Irqchip)
SET_IRQCHIP: Final = Ioctl("KVM_SET_IRQCHIP", 0x63, _READ, s.Irqchip)
SET_GSI_ROUTING: Final = Ioctl("KVM_SET_GSI_ROUTING", 0x6A, _WRITE, s.Routing)
IRQFD: Final = Ioctl("KVM_IRQFD", 0x76, _WRITE, s.Irqfd)
CREATE_PIT2: Final = Ioctl("KVM_CREATE_PIT2", 0x77, _WRITE, s.PitConfig)
IOEVENTFD: Final = Ioctl("KVM_IOEVENTFD", 0x79, _WRITE, s.Ioeventfd)
SET_CLOCK: Final = Ioctl("KVM_SET_CLOCK", 0x7B, _WRITE, s.Clock)
GET_CLOCK: Final = Ioctl("KVM_GET_CLOCK", 0x7C, _READ, s.Clock)
GET_PIT2: Final = Ioctl("KVM_GET_PIT2", 0x9F, _READ, s.Pit)
SET_PIT2: Final = Ioctl("KVM_SET_PIT2", 0xA0, _WRITE, s.Pit)
ENABLE_CAP: Final = Ioctl("KVM_ENABLE_CAP", 0xA3, _WRITE, s.EnableCap)
SIGNAL_MSI: Final = Ioctl("KVM_SIGNAL_MSI", 0xA5, _WRITE, s.Msi)
CLEAR_DIRTY_LOG: Final = Ioctl("KVM_CLEAR_DIRTY_LOG", 0xC0, _READ | _WRITE, s.ClearDirtyLog)
X86_SET_MSR_FILTER: Final = Ioctl("KVM_X86_SET_MSR_FILTER", 0xC6, _WRITE, s.MsrFilter)
RESET_DIRTY_RINGS: Final = Ioctl("KVM_RESET_DIRTY_RINGS", 0xC7)

RUN: Final = Ioctl("KVM_RUN", 0x80)
GET_REGS: Final = Ioctl("KVM_GET_REGS", 0x81, _READ, s.Regs)
SET_REGS: Final = Ioctl("KVM_SET_REGS", 0x82, _WRITE, s.Regs)
GET_SREGS: Final = Ioctl("KVM_GET_SREGS", 0x83, _READ, s.Sregs)
SET_SREGS: Final = Ioctl("KVM_SET_SREGS", 0x84, _WRITE, s.Sregs)
GET_MSRS: Final = Ioctl("KVM_GET_MSRS", 0x88, _READ | _WRITE, s.Msrs)
SET_MSRS: Final = Ioctl("KVM_SET_MSRS", 0x89, _WRITE, s.Msrs)
SET_SIGNAL_MASK: Final = Ioctl("KVM_SET_SIGNAL_MASK", 0x8B, _WRITE, s.SignalMask)
GET_FPU: Final = Ioctl("KVM_GET_FPU", 0x8C, _READ, s.Fpu)
SET_FPU: Final = Ioctl("KVM_SET_FPU", 0x8D, _WRITE, s.Fpu)
GET_LAPIC: Final = Ioctl("KVM_GET_LAPIC", 0x8E, _READ, s.Lapic)
SET_LAPIC: Final = Ioctl("KVM_SET_LAPIC", 0x8F, _WRITE, s.Lapic)
SET_CPUID2: Final = Ioctl("KVM_SET_CPUID2", 0x90, _WRITE, s.Cpuid)
GET_CPUID2: Final = Ioctl("KVM_GET_CPUID2", 0x91, _READ | _WRITE, s.Cpuid)
GET_MP_STATE: Final = Ioctl("KVM_GET_MP_STATE", 0x98, _READ, s.MpState)
SET_MP_STATE: Final = Ioctl("KVM_SET_MP_STATE", 0x99, _WRITE, s.MpState)
NMI: Final = Ioctl("KVM_NMI", 0x9A)
GET_VCPU_EVENTS: Final = Ioctl("KVM_GET_VCPU_EVENTS", 0x9F, _READ, s.VcpuEvents)
SET_VCPU_EVENTS: Final = Ioctl("KVM_SET_VCPU_EVENTS", 0xA0, _WRITE, s.VcpuEvents)
GET_DEBUGREGS: Final = Ioctl("KVM_GET_DEBUGREGS", 0xA1, _READ, s.Debugregs)
SET_DEBUGREGS: Final = Ioctl("KVM_SET_DEBUGREGS", 0xA2, _WRITE, s.Debugregs)
SET_TSC_KHZ: Final = Ioctl("KVM_SET_TSC_KHZ", 0xA2)
GET_TSC_KHZ: Final = Ioctl("KVM_GET_TSC_KHZ", 0xA3)
GET_XSAVE: Final = Ioctl("KVM_GET_XSAVE", 0xA4, _READ, s.Xsave)
SET_XSAVE: Final = Ioctl("KVM_SET_XSAVE", 0xA5, _WRITE, s.Xsave)
GET_XCRS: Final = Ioctl("KVM_GET_XCRS", 0xA6, _READ, s.Xcrs)
SET_XCRS: Final = Ioctl("KVM_SET_XCRS", 0xA7, _WRITE, s.Xcrs)
KVMCLOCK_CTRL: Final = Ioctl("KVM_KVMCLOCK_CTRL", 0xAD)
GET_SREGS2: Final = Ioctl("KVM_GET_SREGS2", 0xCC, _READ, s.Sregs2)
SET_SREGS2: Final = Ioctl("KVM_SET_SREGS2", 0xCD, _WRITE, s.Sregs2)


def call(descriptor: int, ioctl: Ioctl, argument: s.Record | int = 0) -> int:
    """What the ioctl returns; a structure is filled in where it stands. Raises RefusedError."""
    passed = ctypes.byref(argument) if isinstance(argument, s.Record) else ctypes.c_ulong(argument)
    done = int(_ioctl()(descriptor, ctypes.c_ulong(ioctl.number), passed))
    if done < 0:
        raise RefusedError(ioctl, ctypes.get_errno())
    return done


@cache
def _ioctl() -> Any:
    """The C library's: fcntl.ioctl takes no number beyond 31 bits."""
    return ctypes.CDLL(None, use_errno=True).ioctl
