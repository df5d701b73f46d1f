"""Message-signalled interrupts arrive at a vCPU's interrupt controller, by whichever way they go."""

from __future__ import annotations

import errno

import pytest

from gasang.accel.kvm import messages as module
from gasang.accel.kvm.machine import KvmMachine, Shape
from gasang.accel.kvm.messages import MOST, OFTEN
from gasang.host.kvm import ioctls
from gasang.host.kvm.ioctls import Ioctl, RefusedError, call
from gasang.host.kvm.structures import Record
from support.kvm_guests import SIZE, machine, needs_kvm

pytestmark = needs_kvm
SHAPE = Shape(ram=((0, SIZE),))
ADDRESS, VECTOR = 0xFEE0_0000, 0x41
_SPURIOUS, _REQUESTS = 0xF0, 0x200
"""Where a local APIC has its spurious interrupt vector register and its interrupt request register (Intel SDM 3A, 11.4.1)."""


def enable(made: KvmMachine) -> None:
    """Switch vCPU 0's local APIC on; nothing waits there."""
    vcpu = made.vcpus[0]
    lapic = vcpu.get(ioctls.GET_LAPIC)
    registers = bytearray(bytes(lapic))
    registers[_SPURIOUS : _SPURIOUS + 4] = (0x1FF).to_bytes(4, "little")
    registers[_REQUESTS : _REQUESTS + 0x80] = bytes(0x80)
    vcpu.set(ioctls.SET_LAPIC, type(lapic).from_buffer_copy(registers))


def waits(made: KvmMachine, vector: int = VECTOR) -> bool:
    """Whether an interrupt waits at vCPU 0."""
    registers = bytes(made.vcpus[0].get(ioctls.GET_LAPIC))
    word = int.from_bytes(registers[_REQUESTS + vector // 32 * 16 :][:4], "little")
    return bool(word >> vector % 32 & 1)


def test_one_that_comes_often_is_raised_by_an_eventfd_and_arrives_like_the_first() -> None:
    with machine(SHAPE) as made:
        messages = made.messages
        for number in range(OFTEN):
            enable(made)
            assert not waits(made)
            assert not messages.routed, number
            messages.send(ADDRESS, VECTOR)
            assert waits(made), number
        assert messages.routed == ((ADDRESS, VECTOR),)
        for _ in range(3):
            enable(made)
            messages.send(ADDRESS, VECTOR)
            messages.settle()
            assert waits(made)
            assert not messages.routed
            for _ in range(OFTEN):
                messages.send(ADDRESS, VECTOR)
        enable(made)
        messages.send(ADDRESS, VECTOR + 1)
        assert (waits(made), waits(made, VECTOR + 1)) == (False, True)


def test_lines_go_on_beside_them() -> None:
    """Routes take the place of all that there were: those of the interrupt controllers' pins are among them."""

    def request(made: KvmMachine) -> int:
        from gasang.accel.kvm.state import save_chips

        return int.from_bytes(save_chips(made.descriptor)["pic_master"][8:9], "little")

    with machine(SHAPE) as made:
        enable(made)
        made.interrupt(4, False)
        before = request(made)
        made.interrupt(4, True)
        raised = request(made)
        made.interrupt(4, False)
        assert raised != before
        for _ in range(OFTEN):
            made.messages.send(ADDRESS, VECTOR)
        assert made.messages.routed
        made.interrupt(4, False)
        made.interrupt(4, True)
        assert request(made) == raised


def test_a_guest_that_moves_its_vectors_about_costs_no_more_than_so_many() -> None:
    with machine(SHAPE) as made:
        enable(made)
        for number in range(MOST + 5):
            for _ in range(OFTEN):
                made.messages.send(ADDRESS | number << 12, VECTOR)
        assert len(made.messages.routed) == 5


def test_a_host_that_refuses_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def refuse(descriptor: int, ioctl: Ioctl, argument: Record | int = 0) -> int:
        if ioctl is ioctls.IRQFD:
            raise RefusedError(ioctl, errno.EINVAL)
        return call(descriptor, ioctl, argument)

    with machine(SHAPE) as made:
        enable(made)
        made.messages.refused = told.append
        with monkeypatch.context() as patch:
            patch.setattr(module, "call", refuse)
            for _ in range(3 * OFTEN):
                made.messages.send(ADDRESS, VECTOR)
        assert waits(made)
        assert not made.messages.routed
    (sentence,) = told
    assert "refuses KVM_IRQFD (Invalid argument)" in sentence
