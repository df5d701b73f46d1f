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

from gasang.accel.kvm.exits import EXITS
from gasang.accel.kvm.memory import GuestRam
from gasang.accel.kvm.standing import Standing
from gasang.accel.kvm.system import Kvm
from gasang.accel.kvm.vcpu import Vcpu
from gasang.core.errors import UsageError
from gasang.devices.bus import Bus
from gasang.devices.syscon import PowerRequest
from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s
from gasang.host.kvm.ioctls import RefusedError, call

TSS_ADDRESS: Final = 0xFFFB_D000
"""Three pages the kernel wants for itself on Intel's processors, where no RAM and no device is (KVM_SET_TSS_ADDR)."""
LOG_DIRTY_PAGES: Final = 1
"""A slot's flag: the kernel notes which pages are written to."""


@dataclass(frozen=True)
class Shape:
    """What a machine is made of: the (base, size) of its RAM's ranges in bytes, vCPUs, and interrupt controllers and PIT in the kernel."""

    ram: Sequence[tuple[int, int]]
    vcpus: int = 1
    irqchip: bool = True


class KvmMachine:
    """RAM and vCPUs. `bus`, `ports` and `on_power` may be set before `start`.

    Raises RefusedError where the host's KVM refuses, UsageError for more vCPUs than it has, OutOfSpaceError.
    """

    def __init__(self, kvm: Kvm, shape: Shape) -> None:
        self.shape = shape
        self.bus = Bus()
        self.ports = Bus(self.bus.lock)
        self.on_power: Callable[[PowerRequest], None] = lambda request: self.stop()
        self.unanswered = 0
        """Stores that met no device."""
        self.stopping = threading.Event()
        self._standing = Standing()
        self.attention = self._standing.attention
        """Set while no vCPU is to run."""
        self.failure: BaseException | None = None
        self.vcpus: list[Vcpu] = []
        self._threads: list[threading.Thread] = []
        most = kvm.capability("MAX_VCPUS") or kvm.capability("NR_VCPUS") or 4
        if not 1 <= shape.vcpus <= most:
            raise UsageError(f"{shape.vcpus} processors", f"this host's KVM gives a machine 1 to {most}", "give another --cpus")
        with ExitStack() as undo:
            self._make(kvm, undo)
            self._resources = undo.pop_all()

    def _make(self, kvm: Kvm, undo: ExitStack) -> None:
        self.descriptor = kvm.create()
        undo.callback(os.close, self.descriptor)
        self.ram = GuestRam(self.shape.ram)
        undo.callback(self.ram.close)
        for slot in range(len(self.ram.ranges)):
            self.map_slot(slot)
        if self.shape.irqchip:
            call(self.descriptor, ioctls.SET_TSS_ADDR, TSS_ADDRESS)
            call(self.descriptor, ioctls.CREATE_IRQCHIP)
            call(self.descriptor, ioctls.CREATE_PIT2, s.PitConfig(flags=1))  # its speaker port is the kernel's too
        size = kvm.run_size()
        for number in range(self.shape.vcpus):
            vcpu = Vcpu(self.descriptor, number, size)
            undo.callback(vcpu.close)
            self.vcpus.append(vcpu)

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
        for thread in self._threads:
            thread.start()

    def _live(self, vcpu: Vcpu) -> None:
        try:
            vcpu.enter()
            try:
                while not self.stopping.is_set():
                    if not self.attention.is_set():
                        vcpu.serve(EXITS, self)  # whoever wants attention kicks it afterwards
                    self.rest(vcpu)
            finally:
                vcpu.leave()
        except BaseException as error:  # the thread's only handler: whatever it is ends the machine and is told by `join`
            self.failure = error
            self.stop()
        finally:
            self._standing.leave()

    def rest(self, vcpu: Vcpu) -> None:
        """For the vCPU's own thread: stand still while that is wanted, the access of the last exit complete.

        Only then are registers and memory the guest's own: the kernel hands over what a device answered when the vCPU is run again.
        """
        while (reason := vcpu.complete()) is not None:
            EXITS[reason](self, vcpu)
        self._standing.stand()

    def pause(self) -> None:
        """Have every vCPU stand still; returns when they do, each between two instructions. Not from a vCPU's own thread."""
        self.attention.set()
        for vcpu in self.vcpus:
            vcpu.kick()
        self._standing.wait()

    def resume(self) -> None:
        """Let them run on."""
        self._standing.go()

    def interrupt(self, line: int, level: bool) -> None:
        """Drive a line of the interrupt controllers."""
        call(self.descriptor, ioctls.IRQ_LINE, s.IrqLevel(irq=line, level=int(level)))

    def message(self, address: int, data: int) -> None:
        """Deliver a message-signalled interrupt. One that leads nowhere, which is the guest's own doing, is lost."""
        with suppress(RefusedError):
            call(self.descriptor, ioctls.SIGNAL_MSI, s.Msi(address & 0xFFFF_FFFF, address >> 32, data))

    def stop(self) -> None:
        """End all vCPUs; may be called from a vCPU's own thread."""
        self.stopping.set()
        self._standing.end()
        for vcpu in self.vcpus:
            vcpu.kick()

    def join(self) -> None:
        """Wait until every vCPU's thread has ended. Raises what ended one by accident."""
        for thread in self._threads:
            thread.join()
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Give everything back; the vCPUs' threads have ended."""
        self._resources.close()
