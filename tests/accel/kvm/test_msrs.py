"""Registers that a guest does not reach: a fault there, and no other register is touched by it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gasang.accel.kvm import msrs
from gasang.accel.kvm.machine import Shape
from gasang.accel.kvm.system import Kvm
from gasang.core.errors import MachineDiedError
from support.kvm_guests import DEVICE, Recorder, long_mode, machine, needs_kvm

SIZE = 2 << 20
WAIT = 20


def read_and_say(number: int) -> bytes:
    """Mov ecx, number; rdmsr; out 0x50, al; hlt."""
    return b"\xb9" + number.to_bytes(4, "little") + bytes.fromhex("0f32 e650 f4")


@needs_kvm
@pytest.mark.parametrize(("number", "is_denied"), [(0x186, True), (0x18D, True), (0xC001_0201, True), (0xC000_0080, False), (0x10, False)])
def test_counters_are_no_guests(number: int, is_denied: bool) -> None:
    with Kvm(DEVICE) as kvm:
        if not kvm.capability(msrs.CAPABILITY):
            pytest.skip("this host's KVM filters no MSRs")
    with machine(Shape(ram=((0, SIZE),))) as made:
        port = Recorder(1)
        made.ports.attach("port", 0x50, port)
        long_mode(made, read_and_say(number))
        made.start()
        if is_denied:  # there is nobody in this guest to take the fault
            with pytest.raises(MachineDiedError, match="triple fault"):
                made.join()
            assert not port.stored
        else:
            assert port.heard.wait(WAIT)


def test_the_table_fits_the_filter() -> None:
    assert len(msrs.DENIED) <= 16
    ends = sorted((first, first + count) for first, count in msrs.DENIED)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(ends))
