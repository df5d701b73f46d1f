"""A machine taken apart into data while it runs, and put together again; data that does not fit."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gasang.accel.kvm.system import Kvm
from gasang.core.errors import BadInputError
from gasang.core.protocols import State
from gasang.devices.virtio.rng import VirtioRng
from gasang.kinds.vm.x86.state import load_machine, save_machine
from support.kvm_guests import DEVICE, needs_kvm
from support.pcs import MIB, booted

pytestmark = needs_kvm
COUNT = bytes.fromhex("66baf803 fec3 88d8 ee ebf9")  # mov dx, 0x3f8; again: inc bl; mov al, bl; out dx, al; jmp again


def until(shown: bytearray, length: int) -> None:
    """Wait for so much output."""
    while len(shown) < length:
        pass


def test_a_running_machine_goes_on_in_another_one() -> None:
    with Kvm(DEVICE) as kvm:
        msrs = kvm.msrs()
    rng = (VirtioRng(), VirtioRng())
    with booted(COUNT, 20 * MIB, virtio=rng[:1]) as (first, shown), booted(COUNT, 20 * MIB, virtio=rng[1:]) as (second, later):
        first.start()
        until(shown, 1000)
        first.pause()
        state = save_machine(first, msrs)
        assert save_machine(first, msrs)["vcpus"][0]["regs"] == state["vcpus"][0]["regs"]
        second.machine.ram.memory.write(0, first.machine.ram.memory.view)
        load_machine(second, state)
        taken = len(shown)
        first.resume()
        second.start()
        until(later, 1000)
        until(shown, taken + 1000)
        for said in (bytes(shown), bytes(shown[:taken] + later)):
            assert all((before + 1) & 0xFF == after for before, after in pairwise(said))


def damaged(state: State) -> list[tuple[State, str]]:
    """States that are not of such a machine."""
    ports = {name: saved for name, saved in state["ports"].items() if name != "cmos"}
    return [
        ({**state, "version": 2}, "its version is 2"),
        ({**state, "vcpus": []}, "it has 0 vCPUs, this machine 1; restore it into a machine"),
        ({**state, "ports": ports}, "its devices are not this machine's: cmos"),
        ({**state, "bus": {"virtio0": {}}}, "its devices are not this machine's: virtio0"),
        ({**state, "chips": {**state["chips"], "pit": b""}}, "saved PIT"),
    ]


def test_what_is_no_state_of_this_machine() -> None:
    with Kvm(DEVICE) as kvm:
        msrs = kvm.msrs()
    with booted(COUNT, 20 * MIB) as (made, _):
        for state, says in damaged(save_machine(made, msrs)):
            with pytest.raises(BadInputError, match=says):
                load_machine(made, state)
