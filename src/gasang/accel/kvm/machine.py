"""A virtual machine under KVM: RAM in slots, interrupt controllers in the kernel, vCPUs on a host thread each.

It knows processor and memory; devices are behind `bus` (physical addresses) and `ports` (the PC's 64 Ki ports).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final

from gasang.accel.kvm import msrs, rings
from gasang.accel.kvm.bells import ANY_LENGTH, Bells
from gasang.accel.kvm.dirty import PAGE, DirtyPieces, Log
from gasang.accel.kvm.exits import EXITS
from gasang.accel.kvm.loop import Direct, serve
from gasang.accel.kvm.memory import GuestRam
from gasang.accel.kvm.messages import Messages
from gasang.accel.kvm.standing import Standing
from gasang.accel.kvm.system import Kvm
from gasang.accel.kvm.vcpu import Vcpu
from gasang.core.errors import StateError, TimedOutError, UsageError
from gasang.devices.bus import Bus
from gasang.devices.lock import FavouringLock
from gasang.devices.syscon import PowerRequest
from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s
from gasang.host.kvm.ioctls import RefusedError, call

TSS_ADDRESS: Final = 0xFFFB_D000
"""Three pages the kernel wants for itself on Intel's processors, where no RAM and no device is (KVM_SET_TSS_ADDR)."""
PATIENCE: Final = 10.0
"""Seconds a pause waits for the vCPUs: a device may be in the middle of something."""
LOG_DIRTY_PAGES: Final = 1
"""A slot's flag: the kernel notes which pages are written to, in the vCPUs' rings or in its log."""


@dataclass(frozen=True)
class Shape:
    """What a machine is made of: the (base, size) of its RAM's ranges in bytes, vCPUs, and interrupt controllers and PIT in the kernel.

    `ring` is the entries of each vCPU's dirty ring, a power of two; with 0, as where the host has none, the log of dirty pages is used.
    """

    ram: Sequence[tuple[int, int]]
    vcpus: int = 1
    irqchip: bool = True
    ring: int = 0


class KvmMachine:
    """RAM and vCPUs. `bus`, `ports` and `on_power` may be set before `start`.

    Raises RefusedError where the host's KVM refuses, UsageError for more vCPUs than it has, OutOfSpaceError.
    """

    def __init__(self, kvm: Kvm, shape: Shape) -> None:
        self.shape = shape
        self.lock = FavouringLock()
        """The device lock of both buses."""
        self.bus, self.ports = Bus(self.lock), Bus(self.lock)
        self.direct: Direct = {}
        """Ports whose device is known to the vCPUs' loop."""
        self.on_power: Callable[[PowerRequest], None] = lambda request: self.stop()
        self.unanswered = 0
        """Stores that met no device."""
        self.failure: BaseException | None = None
        self._idle()
        most = kvm.capability("MAX_VCPUS") or kvm.capability("NR_VCPUS") or 4
        if not 1 <= shape.vcpus <= most:
            raise UsageError(f"{shape.vcpus} processors", f"this host's KVM gives a machine 1 to {most}", "give another --cpus")
        self.kvm = kvm.again()
        """What it was made from, for as long as it lives: a twin of it is made from that again."""
        with ExitStack() as undo:
            undo.callback(self.kvm.close)
            self.ram = GuestRam(shape.ram)
            undo.callback(self.ram.close)
            self._make()
            undo.callback(lambda: self._processors.close())  # a twin has others
            self.bells = Bells(self.descriptor, any_length=bool(kvm.capability(ANY_LENGTH)), broken=self._break)
            undo.callback(self.bells.close)
            self.messages = Messages(self.descriptor)
            undo.callback(self.messages.close)
            self._resources = undo.pop_all()

    def _idle(self) -> None:
        """No thread runs yet, and none is to stand."""
        self.stopping = threading.Event()
        self._standing = Standing()
        self.attention = self._standing.attention
        """Set while no vCPU is to run."""
        self._threads: list[threading.Thread] = []

    def _make(self) -> None:
        """The kernel's part of it, around the RAM that is there."""
        self.vcpus: list[Vcpu] = []
        with ExitStack() as undo:
            self.descriptor = self.kvm.create()
            undo.callback(os.close, self.descriptor)
            for slot in range(len(self.ram.ranges)):
                self.map_slot(slot)
            if self.shape.irqchip:
                call(self.descriptor, ioctls.SET_TSS_ADDR, TSS_ADDRESS)
                call(self.descriptor, ioctls.CREATE_IRQCHIP)
                call(self.descriptor, ioctls.CREATE_PIT2, s.PitConfig(flags=1))  # its speaker port is the kernel's too
                if self.kvm.capability(msrs.CAPABILITY):
                    msrs.deny(self.descriptor)
            entries = rings.enable(self.kvm, self.descriptor, self.shape.ring)
            size = self.kvm.run_size()
            for number in range(self.shape.vcpus):
                vcpu = Vcpu(self.descriptor, number, size)
                undo.callback(vcpu.close)
                self.vcpus.append(vcpu)
            self.rings = rings.Rings(self.descriptor, self.vcpus, entries) if entries else None
            if self.rings is not None:
                undo.callback(self.rings.close)
            self._processors = undo.pop_all()

    def renew(self) -> None:
        """In a forked process: new vCPUs around the RAM, which is this process's own now. Raises RefusedError.

        The parent's are of no use here: the kernel lets only the process that made them ask anything of them.
        """
        self._processors.close()
        self._idle()
        self._make()
        self.bells.renew(self.descriptor)
        self.messages.renew(self.descriptor)

    def map_slot(self, slot: int, flags: int = 0) -> None:
        """Put RAM range `slot` where the guest sees it, watched for writes if LOG_DIRTY_PAGES is in `flags`."""
        part = self.ram.ranges[slot]
        address = self.ram.memory.address + part.offset
        region = s.MemoryRegion(slot=slot, flags=flags, guest_phys_addr=part.base, memory_size=part.size, userspace_addr=address)
        call(self.descriptor, ioctls.SET_USER_MEMORY_REGION, region)

    def start(self) -> None:
        """Let all vCPUs run; with the kernel's interrupt controllers all but the first wait for the guest to start them."""
        for vcpu in self.vcpus:
            thread = threading.Thread(target=self._live, args=(vcpu,), name=f"vcpu {vcpu.number}", daemon=True)
            self._threads.append(thread)
        self._standing.begin(len(self._threads))
        self.bells.start()
        for thread in self._threads:
            thread.start()

    def _live(self, vcpu: Vcpu) -> None:
        try:
            vcpu.enter()
            try:
                while not self.stopping.is_set():
                    if not self.attention.is_set():
                        serve(self, vcpu, EXITS)  # whoever wants attention kicks it afterwards
                    self.rest(vcpu)
            finally:
                vcpu.leave()
        except BaseException as error:  # the thread's only handler
            self._break(error)
        finally:
            self._standing.leave()

    def _break(self, error: BaseException) -> None:
        """End, whatever it is; `join` tells."""
        self.failure = error
        self.stop()

    def rest(self, vcpu: Vcpu) -> None:
        """For the vCPU's own thread: stand still while that is wanted, the access of the last exit complete.

        Only then are registers and memory the guest's own: the kernel hands over what a device answered when the vCPU is run again.
        """
        while (reason := vcpu.complete()) is not None:
            EXITS[reason](self, vcpu)
        self._standing.stand()

    @property
    def is_begun(self) -> bool:
        """Whether it has been started."""
        return bool(self._threads)

    @property
    def paused(self) -> bool:
        """Whether the vCPUs stand still, or are to."""
        return self.attention.is_set() and not self.stopping.is_set()

    def pause(self, patience: float = PATIENCE) -> None:
        """Have every vCPU stand still; returns when they do, each between two instructions. The bus lock is not held.

        Raises StateError for a machine that has ended or not begun, is paused already, or where a vCPU's own thread asks; TimedOutError
        if a vCPU does not stop within `patience` seconds: all run on then.
        """
        if self.stopping.is_set() or not self.is_begun:
            raise StateError("machine", "it does not run", "start it first")
        if self.paused:
            raise StateError("machine", "it is paused already", "let it go on first")
        if threading.current_thread() in self._threads:
            raise StateError("machine", "it cannot be paused by one of its own processors", "ask from another thread")
        self.attention.set()
        for vcpu in self.vcpus:
            vcpu.kick()
        everybody = self._standing.wait(patience)
        if self.stopping.is_set():
            raise StateError("machine", "it has ended", "start it first")
        if not everybody:
            self._standing.go()
            raise TimedOutError("machine", f"a processor did not stop within {patience:g} s", "see whether its console is read")
        self.bells.hold()

    def resume(self) -> None:
        """Let them run on. Raises StateError for one that is not paused."""
        if not self.attention.is_set():
            raise StateError("machine", "it is not paused", "pause it first")
        self.excuse()
        self.bells.release()
        self._standing.go()

    def excuse(self) -> None:
        """Have the guest's watchdogs know that its vCPUs stood still, where it has the clock that tells them."""
        for vcpu in self.vcpus:
            with suppress(RefusedError):  # it has not
                call(vcpu.descriptor, ioctls.KVMCLOCK_CTRL)

    def interrupt(self, line: int, level: bool) -> None:
        """Drive a line of the interrupt controllers."""
        call(self.descriptor, ioctls.IRQ_LINE, s.IrqLevel(irq=line, level=int(level)))

    def stop(self) -> None:
        """End all vCPUs; may be called from a vCPU's own thread."""
        self.stopping.set()
        self._standing.end()
        self.bells.end()
        for vcpu in self.vcpus:
            vcpu.kick()

    def watch(self) -> DirtyPieces:
        """Have stores to RAM noted from now on. Raises RefusedError."""
        for slot in range(len(self.ram.ranges)):
            self.map_slot(slot, LOG_DIRTY_PAGES)
        log = Log(self.descriptor, [part.size // PAGE for part in self.ram.ranges])
        return DirtyPieces(self.rings or log, self.ram, self.bells.pump)

    def make_private(self) -> None:
        """Have a fork of this process copy RAM when it is written. The bus lock is held; the vCPUs may run.

        Raises UnsupportedError or OutOfSpaceError where the host cannot.
        """
        self.ram.memory.make_private()

    def wait(self) -> None:
        """Return when no thread of its own runs any more."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        if self.stopping.is_set():
            self.bells.join()

    def join(self) -> None:
        """Wait until every vCPU's thread has ended. Raises what ended one by accident."""
        self.wait()
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Give everything back; the vCPUs' threads have ended."""
        self._resources.close()
