"""An x86-64 machine as data, all but its RAM: vCPUs, the kernel's interrupt controllers and clocks, and every device on its buses.

Restoring means making a new machine of the same parts, filling its RAM, and `load_machine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gasang.accel.kvm.state import load_chips, load_vcpu, read_cpuid, save_chips, save_vcpu
from gasang.core.errors import BadInputError
from gasang.core.protocols import State
from gasang.devices.bus import Bus
from gasang.devices.state import check_version
from gasang.kinds.vm.x86.compatible import check_processor

if TYPE_CHECKING:
    from gasang.kinds.vm.x86.machine import PcMachine

VERSION: Final = 1
_HINT: Final = "restore it into a machine of the same devices and as many --cpus"


def save_machine(pc: PcMachine, msrs: Sequence[int]) -> State:
    """The state of a machine that stands still; `msrs` are the host's (Kvm.msrs)."""
    machine = pc.machine
    return {"version": VERSION, **save_processors(pc, msrs), "bus": _saved(machine.bus), "ports": _saved(machine.ports)}


def save_processors(pc: PcMachine, msrs: Sequence[int]) -> State:
    """What of it the kernel has."""
    machine = pc.machine
    return {
        "vcpus": [save_vcpu(vcpu, msrs, machine.shape.irqchip) for vcpu in machine.vcpus],
        "chips": save_chips(machine.descriptor),
    }


def load_machine(pc: PcMachine, state: State) -> None:
    """Make a new machine, whose RAM is filled already, what `save_machine` described.

    Raises BadInputError for a state of another version or other devices, UnsupportedError for one of a processor that this host's is not,
    RefusedError where this host's KVM cannot be it.
    """
    check_version(state, "PC", VERSION)
    machine = pc.machine
    if len(state["vcpus"]) != len(machine.vcpus):
        raise BadInputError("saved state of PC", f"it has {len(state['vcpus'])} vCPUs, this machine {len(machine.vcpus)}", _HINT)
    check_processor(state["vcpus"][0]["cpuid"], read_cpuid(machine.vcpus[0]))
    load_processors(pc, state)
    # Devices last: they go on at once, and an interrupt of theirs must not be overwritten by what its controller was.
    with machine.bus.lock:
        _load(machine.bus, state["bus"])
        _load(machine.ports, state["ports"])


def load_processors(pc: PcMachine, state: State) -> None:
    """Give new vCPUs and chips what `save_processors` told."""
    machine = pc.machine
    load_chips(machine.descriptor, state["chips"])
    for vcpu, saved in zip(machine.vcpus, state["vcpus"], strict=True):
        load_vcpu(vcpu, saved)


def _saved(bus: Bus) -> State:
    with bus.lock:
        return {region.name: region.device.save() for region in bus.regions}


def _load(bus: Bus, saved: State) -> None:
    names = {region.name for region in bus.regions}
    if names != set(saved):
        odd = ", ".join(sorted(names ^ set(saved)))
        raise BadInputError("saved state of PC", f"its devices are not this machine's: {odd}", _HINT)
    for region in bus.regions:
        region.device.load(saved[region.name])
