"""Inside the machine: its kernel is kept from patching code that both its processors run.

Linux patches its scheduler when the first virtual machine of KVM appears and when the last one is gone (`preempt_notifier_inc` in
virt/kvm/kvm_main.c, a static key), by way of a breakpoint in place of the instruction. QEMU 7.2's TCG with a thread a processor can lose
the race of translating that breakpoint against the store that takes it away: both processors then run its handler for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from os import fdopen

from gasang.accel.kvm.system import Kvm


@contextmanager
def patched_once() -> Iterator[None]:
    """Hold an empty virtual machine open, so that no other one is the first or the last."""
    with Kvm() as kvm, closing(fdopen(kvm.create(), "rb", buffering=0)):
        yield
