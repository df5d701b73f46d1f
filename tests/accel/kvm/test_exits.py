"""The table of exits: it names the reasons that linux/kvm.h has, and answers what no guest of ours is to ask."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from gasang.accel.kvm.exits import EXITS
from gasang.core.errors import MachineDiedError

HEADER = Path("/usr/include/linux/kvm.h")
NAMES = (
    "IO", "HYPERCALL", "HLT", "MMIO", "IRQ_WINDOW_OPEN", "SHUTDOWN", "FAIL_ENTRY", "INTR", "INTERNAL_ERROR", "SYSTEM_EVENT",
    "DIRTY_RING_FULL",
)  # fmt: skip


@pytest.mark.skipif(not HEADER.exists(), reason="no headers of the kernel")
def test_reasons_are_the_kernels() -> None:
    numbers = {name: int(number) for name, number in re.findall(r"#define KVM_EXIT_(\w+)\s+(\d+)", HEADER.read_text("ascii"))}
    assert {numbers[name] for name in NAMES} == set(EXITS)


def test_a_call_of_the_guests_is_none_that_is_known() -> None:
    vcpu = SimpleNamespace(quads=[0] * 64)
    EXITS[3](None, vcpu)  # type: ignore[arg-type]
    assert {number: value for number, value in enumerate(vcpu.quads) if value} == {32 // 8 + 7: (1 << 64) - 1000}


def test_any_other_ends_the_machine_by_its_number() -> None:
    page = SimpleNamespace(exit_reason=4321)
    vcpu = SimpleNamespace(number=0, run_page=page, get=lambda ioctl: SimpleNamespace(rip=0x1000))
    with pytest.raises(MachineDiedError, match=r"stopped for reason 4321, .* at rip 0x1000"):
        EXITS[4321](None, vcpu)  # type: ignore[arg-type]
