"""What the rooms' own tests of small guests say holds on a real KVM too: each of them, once more."""

from __future__ import annotations

from accel.kvm import test_bells as bells
from accel.kvm import test_dirty as dirty
from accel.kvm import test_machine as accelerator
from accel.kvm import test_messages as messages
from accel.kvm import test_msrs as msrs
from gasang.accel.kvm.system import NEEDED, Kvm
from gasang.host.kvm.capabilities import CAPABILITIES
from kinds.vm.x86 import test_machine as board
from kinds.vm.x86 import test_notifications as notifications
from kinds.vm.x86 import test_state as state

ROOMS = (accelerator, bells, board, dirty, messages, msrs, notifications, state)
WITH_A_COMPILER = ("test_neither_a_notification_nor_its_interrupt_needs_the_interpreter",)
"""There is no compiler inside, and so no compiled loop."""
globals().update({
    name: found for room in ROOMS for name, found in vars(room).items() if name.startswith("test_") and name not in WITH_A_COMPILER
})  # fmt: skip

EXPECTED = {
    "IRQCHIP", "IRQ_ROUTING", "IRQFD", "PIT2", "IOEVENTFD", "ADJUST_CLOCK", "XSAVE", "TSC_DEADLINE_TIMER", "SIGNAL_MSI", "READONLY_MEM",
    "MANUAL_DIRTY_LOG_PROTECT2", "X86_USER_SPACE_MSR", "X86_MSR_FILTER", "DIRTY_LOG_RING_ACQ_REL",
}  # fmt: skip


def test_capabilities_are_there() -> None:
    with Kvm() as kvm:
        found = {name for name in CAPABILITIES if kvm.capability(name)}
    assert set(NEEDED) | EXPECTED <= found
