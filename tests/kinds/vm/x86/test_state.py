"""A machine taken apart into data while it runs, and put together again; data that does not fit."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from gasang.core.errors import BadInputError, StateError, UnsupportedError
from gasang.core.protocols import State
from gasang.devices.virtio.rng import VirtioRng
from gasang.host.kvm.structures import CpuidEntry
from support.kvm_guests import needs_kvm
from support.pcs import MIB, booted

pytestmark = needs_kvm
COUNT = bytes.fromhex("66baf803 fec3 88d8 ee ebf9")  # mov dx, 0x3f8; again: inc bl; mov al, bl; out dx, al; jmp again


def until(shown: bytearray, length: int) -> None:
    """Wait for so much output."""
    while len(shown) < length:
        time.sleep(0.001)  # the guest's threads need the interpreter


def test_a_running_machine_goes_on_in_another_one() -> None:
    rng = (VirtioRng(), VirtioRng())
    with booted(COUNT, 20 * MIB, virtio=rng[:1]) as (first, shown), booted(COUNT, 20 * MIB, virtio=rng[1:]) as (second, later):
        first.start()
        until(shown, 300)
        with pytest.raises(StateError, match="its state changes while it runs"):
            first.save()
        first.pause()
        state = first.save()
        assert first.save()["vcpus"][0]["regs"] == state["vcpus"][0]["regs"]
        second.machine.ram.memory.write(0, first.machine.ram.memory.view)
        second.load(state)
        taken = len(shown)
        first.resume()
        second.start()
        until(later, 300)
        until(shown, taken + 300)
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
    with booted(COUNT, 20 * MIB) as (made, _):
        for state, says in damaged(made.save()):
            with pytest.raises(BadInputError, match=says):
                made.load(state)


def leaves(state: State, change: tuple[int, str, int]) -> State:
    """The state with a register of a CPUID leaf set to something."""
    function, register, value = change
    entries = [CpuidEntry.from_buffer_copy(leaf) for leaf in state["vcpus"][0]["cpuid"]]
    for entry in entries:
        if (entry.function, entry.index) == (function, 0):
            setattr(entry, register, value)
    first, *others = state["vcpus"]
    return {**state, "vcpus": [{**first, "cpuid": [bytes(entry) for entry in entries]}, *others]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ((0, "ebx", int.from_bytes(b"Acme", "little")), "it is of a processor of Acme"),
        ((1, "edx", 0xFFFF_FFFF), r"its processor has what this host's lacks \(CPUID 1\.0 edx 0x"),
    ],
)
def test_what_another_processor_has_is_refused(change: tuple[int, str, int], says: str) -> None:
    with booted(COUNT, 20 * MIB) as (made, _), pytest.raises(UnsupportedError, match=f"{says}.*; restore it on a host of that processor"):
        made.load(leaves(made.save(), change))
