"""The capabilities we ask for (KVM_CAP_… of linux/kvm.h; Documentation/virt/kvm/api.rst tells which ioctl each stands for)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CAPABILITIES: Final[Mapping[str, int]] = {
    "IRQCHIP": 0,
    "USER_MEMORY": 3,
    "SET_TSS_ADDR": 4,
    "EXT_CPUID": 7,
    "NR_VCPUS": 9,
    "NR_MEMSLOTS": 10,
    "MP_STATE": 14,
    "SYNC_MMU": 16,
    "IRQ_ROUTING": 25,
    "IRQFD": 32,
    "PIT2": 33,
    "IOEVENTFD": 36,
    "ADJUST_CLOCK": 39,
    "VCPU_EVENTS": 41,
    "DEBUGREGS": 50,
    "XSAVE": 55,
    "XCRS": 56,
    "TSC_CONTROL": 60,
    "GET_TSC_KHZ": 61,
    "MAX_VCPUS": 66,
    "TSC_DEADLINE_TIMER": 72,
    "SIGNAL_MSI": 77,
    "READONLY_MEM": 81,
    "IOEVENTFD_ANY_LENGTH": 122,
    "IMMEDIATE_EXIT": 136,
    "MANUAL_DIRTY_LOG_PROTECT2": 168,
    "X86_USER_SPACE_MSR": 188,
    "X86_MSR_FILTER": 189,
    "SREGS2": 200,
    "XSAVE2": 208,
    "DIRTY_LOG_RING_ACQ_REL": 223,
}
