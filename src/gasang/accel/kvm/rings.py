"""Dirty rings: of each vCPU a list of the pages it has written to, which the kernel fills and we empty (KVM_CAP_DIRTY_LOG_RING_ACQ_REL).

An entry is made dirty by the kernel and marked as collected here; KVM_RESET_DIRTY_RINGS then frees it and has the page watched
again. A vCPU whose ring is nearly full stops with KVM_EXIT_DIRTY_RING_FULL: none is lost (Documentation/virt/kvm/api.rst 8.29). A
machine is made with rings or has the log instead (dirty.py): the kernel keeps one of them.

A KVM that interprets its guests (reality.EMULATORS) looks at a ring only where the guest leaves it, and writes over what is in it; so
none is asked for there, and a ring that was written over ends the machine.
"""

from __future__ import annotations

import mmap
import threading
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from gasang.accel.kvm.system import Kvm
from gasang.accel.kvm.vcpu import Vcpu
from gasang.core.errors import MachineDiedError
from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s
from gasang.host.kvm.capabilities import CAPABILITIES
from gasang.host.kvm.ioctls import RefusedError, call

CAPABILITY: Final = "DIRTY_LOG_RING_ACQ_REL"
"""Its value is the size of the largest ring in bytes; a kernel that has only DIRTY_LOG_RING, or neither, has the log."""
ENTRIES: Final = 1 << 14
"""A ring of 256 KiB: 64 MiB of RAM is written to between two stops of a vCPU, at the least."""
_ENTRY: Final = 16
_PLACE: Final = 64
"""KVM_DIRTY_LOG_PAGE_OFFSET of x86: the page at which a vCPU's descriptor shows its ring."""
_DIRTY, _COLLECTED = 1, 2
"""KVM_DIRTY_GFN_F_DIRTY and _RESET; an entry that is neither is free."""
_AT_ONCE: Final = 512
_HINT: Final = "use --accel soft, and tell us"


def enable(kvm: Kvm, machine: int, entries: int) -> int:
    """Have the vCPUs that `machine` (its descriptor) will get keep rings of `entries`, a power of two; how many they get, 0 for none."""
    entries = min(entries, kvm.capability(CAPABILITY) // _ENTRY)
    if entries:
        wanted = s.EnableCap(cap=CAPABILITIES[CAPABILITY])
        wanted.args[0] = entries * _ENTRY
        try:
            call(machine, ioctls.ENABLE_CAP, wanted)
        except RefusedError:  # it has them, but not here, or not of this size: the log will do
            return 0
    return entries


class _Ring:
    """That of one vCPU; whoever collects from it is alone, and its vCPU does not run."""

    def __init__(self, vcpu: Vcpu, entries: int) -> None:
        self._number = vcpu.number
        self._entries = entries
        self._page = mmap.mmap(vcpu.descriptor, entries * _ENTRY, offset=_PLACE * mmap.PAGESIZE)
        self._bytes = memoryview(self._page)
        self._words, self._quads = self._bytes.cast("I"), self._bytes.cast("Q")  # flags, slot; then the page's number
        self._next = 0

    def collect(self) -> set[tuple[int, int]]:
        """(slot, page) of all that is in it. Raises MachineDiedError where the kernel has written over some of it."""
        found: set[tuple[int, int]] = set()
        total = 0
        while True:
            first = self._next
            last = min(first + _AT_ONCE, self._entries)
            flags = self._words[first * 4 : last * 4 : 4].tolist()
            count = flags.count(_DIRTY)  # they come one after the other
            if not count:
                return found
            total += count
            if total == self._entries:  # the kernel stops a vCPU before
                raise MachineDiedError(f"vCPU {self._number}", "the host's KVM let its dirty ring run over", _HINT)
            end = first + count
            slots, pages = self._words[first * 4 + 1 : end * 4 : 4], self._quads[first * 2 + 1 : end * 2 : 2]
            found.update(zip(slots.tolist(), pages.tolist(), strict=True))
            self._words[first * 4 : end * 4 : 4] = memoryview(array("I", [_COLLECTED]) * count)
            self._next = end % self._entries

    def close(self) -> None:
        """Let go of it."""
        for view in (self._words, self._quads, self._bytes):
            view.release()
        self._page.close()


class Rings:
    """Those of a machine's vCPUs. Raises OSError where the kernel does not show one."""

    def __init__(self, machine: int, vcpus: Sequence[Vcpu], entries: int) -> None:
        self._machine = machine
        self._lock = threading.Lock()
        self._found: set[tuple[int, int]] = set()
        self.stops = 0
        """How often a vCPU stopped because its ring was full."""
        with ExitStack() as undo:
            self._rings = []
            for vcpu in vcpus:
                self._rings.append(_Ring(vcpu, entries))
                undo.callback(self._rings[-1].close)
            self._close = undo.pop_all()

    def relieve(self, number: int) -> None:
        """For the thread of vCPU `number`: its ring is full. Raises RefusedError, MachineDiedError."""
        found = self._rings[number].collect()
        with self._lock:
            self.stops += 1
            self._found |= found
        call(self._machine, ioctls.RESET_DIRTY_RINGS)

    def pages(self) -> set[tuple[int, int]]:
        """(slot, page in it) of what was written since it was asked last; all vCPUs stand still. Raises RefusedError, MachineDiedError."""
        with self._lock:
            found, self._found = self._found, set()
        for ring in self._rings:
            found |= ring.collect()
        call(self._machine, ioctls.RESET_DIRTY_RINGS)
        return found

    def close(self) -> None:
        """Let go of them; no vCPU runs."""
        self._close.close()
