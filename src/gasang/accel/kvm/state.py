"""The state of vCPUs and of the kernel's devices, as data.

Parts go in and out in an order that matters: CPUID before all, MSRs behind the special registers and the local APIC (TSC deadline), events
and the multiprocessor state last (Documentation/virt/kvm/api.rst).
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from gasang.accel.kvm.vcpu import Vcpu
from gasang.core.errors import BadInputError
from gasang.core.protocols import State
from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s
from gasang.host.kvm.ioctls import Ioctl, RefusedError, call

VERSION: Final = 1
TSC: Final = 0x10
"""IA32_TIME_STAMP_COUNTER."""
_LEAVES: Final = 256


@dataclass(frozen=True)
class Part:
    """A structure that is read by one ioctl and written by another, but not where its field `count` is zero."""

    name: str
    get: Ioctl
    set: Ioctl
    count: str = ""


BEFORE_MSRS: Final = (
    Part("xsave", ioctls.GET_XSAVE, ioctls.SET_XSAVE),
    Part("xcrs", ioctls.GET_XCRS, ioctls.SET_XCRS, "nr_xcrs"),  # a processor without XSAVE has none, and takes none
    Part("sregs", ioctls.GET_SREGS, ioctls.SET_SREGS),
    Part("regs", ioctls.GET_REGS, ioctls.SET_REGS),
    Part("debugregs", ioctls.GET_DEBUGREGS, ioctls.SET_DEBUGREGS),
)
LAPIC: Final = Part("lapic", ioctls.GET_LAPIC, ioctls.SET_LAPIC)
AFTER_MSRS: Final = (
    Part("events", ioctls.GET_VCPU_EVENTS, ioctls.SET_VCPU_EVENTS),
    Part("mp_state", ioctls.GET_MP_STATE, ioctls.SET_MP_STATE),
)
CHIPS: Final = {"pic_master": 0, "pic_slave": 1, "ioapic": 2}


def save_vcpu(vcpu: Vcpu, msrs: Sequence[int], irqchip: bool) -> State:
    """A stopped vCPU's whole state; `msrs` are the host's (Kvm.msrs)."""
    state: State = {"version": VERSION, "cpuid": read_cpuid(vcpu), "msrs": read_msrs(vcpu, msrs)}
    # The multiprocessor state first: reading it lets the kernel apply an INIT or SIPI that waits.
    for part in reversed(_parts(irqchip)):
        state[part.name] = bytes(vcpu.get(part.get))
    return state


def load_vcpu(vcpu: Vcpu, state: State) -> None:
    """Make a new vCPU what `save_vcpu` described. Raises BadInputError for damage, RefusedError where this host cannot be it."""
    if state.get("version") != VERSION:
        cause = f"its version is {state.get('version')!r}, not {VERSION}"
        raise BadInputError("saved state of a vCPU", cause, "restore it with the gasang that saved it")
    set_cpuid(vcpu, cpuid_entries(state["cpuid"]))
    irqchip = LAPIC.name in state
    for part in BEFORE_MSRS:
        _load(vcpu, part, state)
    if irqchip:
        _load(vcpu, LAPIC, state)
    write_msrs(vcpu, state["msrs"])
    for part in AFTER_MSRS:
        _load(vcpu, part, state)


def _parts(irqchip: bool) -> list[Part]:
    return [*BEFORE_MSRS, *((LAPIC,) if irqchip else ()), *AFTER_MSRS]


def _load(vcpu: Vcpu, part: Part, state: State) -> None:
    record = parsed(part.get, state.get(part.name), f"{part.name} of a vCPU")
    if not part.count or getattr(record, part.count):
        vcpu.set(part.set, record)


def parsed(ioctl: Ioctl, data: Any, what: str) -> s.Record:
    """A saved structure. Raises BadInputError where it has not its size."""
    assert ioctl.argument is not None
    size = ctypes.sizeof(ioctl.argument)
    if not isinstance(data, bytes) or len(data) != size:
        raise BadInputError(f"saved {what}", f"it is no {size} bytes", "the snapshot is damaged: use another one")
    return ioctl.argument.from_buffer_copy(data)


# CPUID


def read_cpuid(vcpu: Vcpu) -> list[bytes]:
    """What CPUID answers on this vCPU: its leaves, as they are saved."""
    record = s.listed(s.Cpuid, s.CpuidEntry, _LEAVES)()
    record.nent = _LEAVES
    call(vcpu.descriptor, ioctls.GET_CPUID2, record)
    return [bytes(entry) for entry in record.entries[: record.nent]]


def cpuid_entries(saved: Any) -> list[s.CpuidEntry]:
    """Saved leaves. Raises BadInputError for what are none."""
    size = ctypes.sizeof(s.CpuidEntry)
    if not isinstance(saved, list) or not all(isinstance(entry, bytes) and len(entry) == size for entry in saved):
        raise BadInputError("saved CPUID", f"its leaves are no {size} bytes each", "the snapshot is damaged: use another one")
    return [s.CpuidEntry.from_buffer_copy(entry) for entry in saved]


def set_cpuid(vcpu: Vcpu, entries: Sequence[s.CpuidEntry]) -> None:
    """What CPUID answers on this vCPU. Raises RefusedError."""
    if not entries:
        return
    record = s.listed(s.Cpuid, s.CpuidEntry, len(entries))()
    record.nent = len(entries)
    record.entries[:] = entries
    vcpu.set(ioctls.SET_CPUID2, record)


# MSRs


def read_msrs(vcpu: Vcpu, numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Numbers and values of those that this vCPU has."""
    found: list[tuple[int, int]] = []
    rest = list(numbers)
    while rest:
        record = _msrs([(number, 0) for number in rest])
        done = call(vcpu.descriptor, ioctls.GET_MSRS, record)
        found += [(int(entry.index), int(entry.data)) for entry in record.entries[:done]]
        rest = rest[done + 1 :]  # the kernel stops at one that is listed and yet not there
    return found


def write_msrs(vcpu: Vcpu, values: Sequence[tuple[int, int]]) -> None:
    """Set MSRs; one that the host does not let us set may be left alone where it has that value already.

    Raises RefusedError that names the first one which is another.
    """
    rest = list(values)
    while rest:
        done = call(vcpu.descriptor, ioctls.SET_MSRS, _msrs(rest))
        if done == len(rest):
            return
        refused = rest[done]
        if read_msrs(vcpu, [refused[0]]) != [refused]:
            raise RefusedError(replace(ioctls.SET_MSRS, name=f"{ioctls.SET_MSRS.name} for MSR {refused[0]:#x}"), errno.EINVAL)
        rest = rest[done + 1 :]


def _msrs(values: Sequence[tuple[int, int]]) -> Any:
    record = s.listed(s.Msrs, s.Msr, len(values))()
    record.nmsrs = len(values)
    for entry, (number, value) in zip(record.entries, values, strict=True):
        entry.index, entry.data = number, value
    return record


# the kernel's devices


def save_chips(machine: int) -> State:
    """Interrupt controllers, PIT and kvmclock of a machine whose vCPUs stand still."""
    state: State = {"version": VERSION}
    for name, number in CHIPS.items():
        chip = s.Irqchip(chip_id=number)
        call(machine, ioctls.GET_IRQCHIP, chip)
        state[name] = bytes(chip)
    pit, clock = s.Pit(), s.Clock()
    call(machine, ioctls.GET_PIT2, pit)
    call(machine, ioctls.GET_CLOCK, clock)
    return state | {"pit": bytes(pit), "clock": int(clock.clock)}


def load_chips(machine: int, state: State) -> None:
    """Become what `save_chips` described; kvmclock goes on where it stood. Raises BadInputError, RefusedError."""
    for name, number in CHIPS.items():
        chip = parsed(ioctls.GET_IRQCHIP, state.get(name), name)
        chip.chip_id = number
        call(machine, ioctls.SET_IRQCHIP, chip)
    call(machine, ioctls.SET_PIT2, parsed(ioctls.GET_PIT2, state.get("pit"), "PIT"))
    call(machine, ioctls.SET_CLOCK, s.Clock(clock=int(state["clock"])))
