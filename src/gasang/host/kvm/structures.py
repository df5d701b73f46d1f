"""The structures of linux/kvm.h and asm/kvm.h (Documentation/virt/kvm/api.rst), for x86-64.

Sizes and offsets are compared with the kernel's headers by a test. A structure whose last member has no length in C ends before it here:
`listed` appends as many entries as are wanted.
"""

from __future__ import annotations

import ctypes
from ctypes import c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar


class Record(ctypes.Structure):
    """A structure of the interface; `c_name` is its name there."""

    c_name: ClassVar[str] = ""

    if TYPE_CHECKING:  # fields are made from the tables below

        def __getattr__(self, name: str) -> Any: ...


Field = tuple[str, Any]


def each(kind: Any, names: str) -> list[Field]:
    """Fields of one type."""
    return [(name, kind) for name in names.split()]


class Regs(Record):
    """General registers."""

    c_name = "struct kvm_regs"
    _fields_ = each(c_uint64, "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags")


class Segment(Record):
    """A segment register with its hidden part."""

    c_name = "struct kvm_segment"
    _fields_ = [
        ("base", c_uint64), ("limit", c_uint32), ("selector", c_uint16), *each(c_uint8, "type present dpl db s l g avl unusable padding"),
    ]  # fmt: skip


class Table(Record):
    """GDTR or IDTR."""

    c_name = "struct kvm_dtable"
    _fields_ = [("base", c_uint64), ("limit", c_uint16), ("padding", c_uint16 * 3)]


_SEGMENTS = [*each(Segment, "cs ds es fs gs ss tr ldt"), *each(Table, "gdt idt")]
_CONTROL = each(c_uint64, "cr0 cr2 cr3 cr4 cr8 efer apic_base")


class Sregs(Record):
    """Special registers."""

    c_name = "struct kvm_sregs"
    _fields_ = [*_SEGMENTS, *_CONTROL, ("interrupt_bitmap", c_uint64 * 4)]


class Sregs2(Record):
    """Special registers with the page directory pointers of PAE paging."""

    c_name = "struct kvm_sregs2"
    _fields_ = [*_SEGMENTS, *_CONTROL, ("flags", c_uint64), ("pdptrs", c_uint64 * 4)]


class Fpu(Record):
    """x87 and SSE state as FXSAVE knows it."""

    c_name = "struct kvm_fpu"
    _fields_ = [
        ("fpr", c_uint8 * 16 * 8), *each(c_uint16, "fcw fsw"), *each(c_uint8, "ftwx pad1"), ("last_opcode", c_uint16),
        *each(c_uint64, "last_ip last_dp"), ("xmm", c_uint8 * 16 * 16), *each(c_uint32, "mxcsr pad2"),
    ]  # fmt: skip


class Xsave(Record):
    """The XSAVE area's first 4 KiB; KVM_CAP_XSAVE2 tells the whole size."""

    c_name = "struct kvm_xsave"
    _fields_ = [("region", c_uint32 * 1024)]


class Xcr(Record):
    """An extended control register."""

    c_name = "struct kvm_xcr"
    _fields_ = [*each(c_uint32, "xcr reserved"), ("value", c_uint64)]


class Xcrs(Record):
    """All of them."""

    c_name = "struct kvm_xcrs"
    _fields_ = [*each(c_uint32, "nr_xcrs flags"), ("xcrs", Xcr * 16), ("padding", c_uint64 * 16)]


class Debugregs(Record):
    """DR0 to DR7."""

    c_name = "struct kvm_debugregs"
    _fields_ = [("db", c_uint64 * 4), *each(c_uint64, "dr6 dr7 flags"), ("reserved", c_uint64 * 9)]


class MpState(Record):
    """Whether a vCPU runs, waits for INIT or SIPI, or is halted."""

    c_name = "struct kvm_mp_state"
    _fields_ = [("mp_state", c_uint32)]


class VcpuEvents(Record):
    """Exceptions, interrupts, NMIs and SMIs on their way; names are flattened (`exception_nr` is exception.nr)."""

    c_name = "struct kvm_vcpu_events"
    _fields_ = [
        *each(c_uint8, "exception_injected exception_nr exception_has_error_code exception_pending"), ("exception_error_code", c_uint32),
        *each(c_uint8, "interrupt_injected interrupt_nr interrupt_soft interrupt_shadow"),
        *each(c_uint8, "nmi_injected nmi_pending nmi_masked nmi_pad"),
        *each(c_uint32, "sipi_vector flags"),
        *each(c_uint8, "smi_smm smi_pending smi_smm_inside_nmi smi_latched_init triple_fault_pending"),
        ("reserved", c_uint8 * 26), ("exception_has_payload", c_uint8), ("exception_payload", c_uint64),
    ]  # fmt: skip


class Lapic(Record):
    """The local APIC's register page."""

    c_name = "struct kvm_lapic_state"
    _fields_ = [("regs", c_uint8 * 1024)]


class Msr(Record):
    """A model-specific register's number and value."""

    c_name = "struct kvm_msr_entry"
    _fields_ = [*each(c_uint32, "index reserved"), ("data", c_uint64)]


class Msrs(Record):
    """Begins a list of `Msr`."""

    c_name = "struct kvm_msrs"
    _fields_ = each(c_uint32, "nmsrs pad")


class MsrList(Record):
    """Begins a list of numbers."""

    c_name = "struct kvm_msr_list"
    _fields_ = each(c_uint32, "nmsrs")


class CpuidEntry(Record):
    """What CPUID answers for one leaf."""

    c_name = "struct kvm_cpuid_entry2"
    _fields_ = [*each(c_uint32, "function index flags eax ebx ecx edx"), ("padding", c_uint32 * 3)]


class Cpuid(Record):
    """Begins a list of `CpuidEntry`."""

    c_name = "struct kvm_cpuid2"
    _fields_ = each(c_uint32, "nent padding")


class MemoryRegion(Record):
    """A slot: guest-physical range and where it lies in this process."""

    c_name = "struct kvm_userspace_memory_region"
    _fields_ = [*each(c_uint32, "slot flags"), *each(c_uint64, "guest_phys_addr memory_size userspace_addr")]


class PitConfig(Record):
    """How the PIT is made."""

    c_name = "struct kvm_pit_config"
    _fields_ = [("flags", c_uint32), ("pad", c_uint32 * 15)]


class PitChannel(Record):
    """One of the PIT's three channels."""

    c_name = "struct kvm_pit_channel_state"
    _fields_ = [
        ("count", c_uint32), ("latched_count", c_uint16),
        *each(c_uint8, "count_latched status_latched status read_state write_state write_latch rw_mode mode bcd gate"),
        ("count_load_time", c_int64),
    ]  # fmt: skip


class Pit(Record):
    """The PIT's state."""

    c_name = "struct kvm_pit_state2"
    _fields_ = [("channels", PitChannel * 3), ("flags", c_uint32), ("reserved", c_uint32 * 9)]


class Irqchip(Record):
    """The state of one interrupt controller: 0 and 1 the PICs, 2 the I/O APIC."""

    c_name = "struct kvm_irqchip"
    _fields_ = [*each(c_uint32, "chip_id pad"), ("chip", c_uint8 * 512)]


class IrqLevel(Record):
    """A line of the interrupt controllers."""

    c_name = "struct kvm_irq_level"
    _fields_ = each(c_uint32, "irq level")


class Ioeventfd(Record):
    """An eventfd that a guest's store counts up."""

    c_name = "struct kvm_ioeventfd"
    _fields_ = [*each(c_uint64, "datamatch addr"), ("len", c_uint32), ("fd", c_int32), ("flags", c_uint32), ("pad", c_uint8 * 36)]


class Irqfd(Record):
    """An eventfd that raises an interrupt."""

    c_name = "struct kvm_irqfd"
    _fields_ = [*each(c_uint32, "fd gsi flags resamplefd"), ("pad", c_uint8 * 16)]


class Route(Record):
    """Where a GSI leads: words 0 and 1 are chip and pin, or 0 to 3 an MSI's address (low, high), data and device id."""

    c_name = "struct kvm_irq_routing_entry"
    _fields_ = [*each(c_uint32, "gsi type flags pad"), ("words", c_uint32 * 8)]


class Routing(Record):
    """Begins a list of `Route`."""

    c_name = "struct kvm_irq_routing"
    _fields_ = each(c_uint32, "nr flags")


class Msi(Record):
    """A message-signalled interrupt."""

    c_name = "struct kvm_msi"
    _fields_ = [*each(c_uint32, "address_lo address_hi data flags devid"), ("pad", c_uint8 * 12)]


class DirtyLog(Record):
    """Which pages of a slot were written to: a bit each at `dirty_bitmap`, an address in this process."""

    c_name = "struct kvm_dirty_log"
    _fields_ = [*each(c_uint32, "slot padding1"), ("dirty_bitmap", c_uint64)]


class ClearDirtyLog(Record):
    """Pages to be watched again."""

    c_name = "struct kvm_clear_dirty_log"
    _fields_ = [*each(c_uint32, "slot num_pages"), *each(c_uint64, "first_page dirty_bitmap")]


class DirtyGfn(Record):
    """An entry of the dirty ring."""

    c_name = "struct kvm_dirty_gfn"
    _fields_ = [*each(c_uint32, "flags slot"), ("offset", c_uint64)]


class Clock(Record):
    """kvmclock."""

    c_name = "struct kvm_clock_data"
    _fields_ = [("clock", c_uint64), *each(c_uint32, "flags pad0"), *each(c_uint64, "realtime host_tsc"), ("pad", c_uint32 * 4)]


class EnableCap(Record):
    """A capability to be turned on."""

    c_name = "struct kvm_enable_cap"
    _fields_ = [*each(c_uint32, "cap flags"), ("args", c_uint64 * 4), ("pad", c_uint8 * 64)]


class SignalMask(Record):
    """Begins the kernel's signal set, 8 bytes, in force while the guest runs."""

    c_name = "struct kvm_signal_mask"
    _fields_ = each(c_uint32, "len")


class MsrFilterRange(Record):
    """MSRs from `base` on, a bit each at `bitmap` (an address in this process): 1 allows."""

    c_name = "struct kvm_msr_filter_range"
    _fields_ = [*each(c_uint32, "flags nmsrs base"), ("bitmap", c_uint64)]


class MsrFilter(Record):
    """Which MSRs a guest reaches."""

    c_name = "struct kvm_msr_filter"
    _fields_ = [("flags", c_uint32), ("ranges", MsrFilterRange * 16)]


class IoExit(Record):
    """KVM_EXIT_IO: `count` accesses of `size` bytes at a port; the data lies `data_offset` bytes into the run page."""

    _fields_ = [*each(c_uint8, "direction size"), ("port", c_uint16), ("count", c_uint32), ("data_offset", c_uint64)]


class MmioExit(Record):
    """KVM_EXIT_MMIO."""

    _fields_ = [("phys_addr", c_uint64), ("data", c_uint8 * 8), ("len", c_uint32), ("is_write", c_uint8)]


class HypercallExit(Record):
    """KVM_EXIT_HYPERCALL."""

    _fields_ = [("nr", c_uint64), ("args", c_uint64 * 6), ("ret", c_uint64), ("flags", c_uint64)]


class FailEntryExit(Record):
    """KVM_EXIT_FAIL_ENTRY: the processor refused to enter the guest."""

    _fields_ = [("hardware_entry_failure_reason", c_uint64), ("cpu", c_uint32)]


class InternalExit(Record):
    """KVM_EXIT_INTERNAL_ERROR."""

    _fields_ = [*each(c_uint32, "suberror ndata"), ("data", c_uint64 * 16)]


class SystemEventExit(Record):
    """KVM_EXIT_SYSTEM_EVENT."""

    _fields_ = [*each(c_uint32, "type ndata"), ("data", c_uint64 * 16)]


class MsrExit(Record):
    """KVM_EXIT_X86_RDMSR and KVM_EXIT_X86_WRMSR."""

    _fields_ = [("error", c_uint8), ("pad", c_uint8 * 7), *each(c_uint32, "reason index"), ("data", c_uint64)]


class _Why(ctypes.Union):
    """The exit's own part of the run page."""

    _fields_ = [
        ("io", IoExit), ("mmio", MmioExit), ("hypercall", HypercallExit), ("fail_entry", FailEntryExit), ("internal", InternalExit),
        ("system_event", SystemEventExit), ("msr", MsrExit), ("padding", c_uint8 * 256),
    ]  # fmt: skip


class Run(Record):
    """The page a vCPU shares with its host."""

    c_name = "struct kvm_run"
    _anonymous_ = ("why",)
    _fields_ = [
        *each(c_uint8, "request_interrupt_window immediate_exit"), ("padding1", c_uint8 * 6), ("exit_reason", c_uint32),
        *each(c_uint8, "ready_for_interrupt_injection if_flag"), ("flags", c_uint16), *each(c_uint64, "cr8 apic_base"), ("why", _Why),
        *each(c_uint64, "kvm_valid_regs kvm_dirty_regs"), ("s", c_uint8 * 2048),
    ]  # fmt: skip


@cache
def listed(head: type[Record], entry: Any, count: int) -> type[Record]:
    """The structure `head` followed by `count` entries, as its field `entries`."""
    fields = [("head", head), ("entries", entry * count)]
    return type(f"{head.__name__}{count}", (Record,), {"_fields_": fields, "_anonymous_": ("head",)})
