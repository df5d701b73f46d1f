"""Whole x86-64 machines whose kernel is a few instructions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gasang.accel.kvm.system import Kvm
from gasang.devices.virtio.device import VirtioDevice
from gasang.kinds.vm.x86.bzimage import ENTRY_64, parse_bzimage
from gasang.kinds.vm.x86.kernel import PcKernel
from gasang.kinds.vm.x86.machine import PcMachine, PcParts
from support.bzimages import bzimage
from support.kvm_guests import DEVICE

MIB = 1 << 20


@contextmanager
def booted(
    code: bytes | PcKernel,
    memory: int = 64 * MIB,
    initrd: bytes = b"",
    virtio: Sequence[VirtioDevice] = (),
    cpus: int = 1,
    pci: Sequence[VirtioDevice] = (),
    warn: Callable[[str], None] = lambda sentence: None,
) -> Iterator[tuple[PcMachine, bytearray]]:
    """A machine that is not started, and what its serial line says. Its kernel is a bzImage with that code, or a whole one."""
    shown = bytearray()
    image = code if isinstance(code, PcKernel) else _with(code)
    with Kvm(DEVICE) as kvm:
        made = PcMachine(kvm, PcParts(cpus, memory, image, initrd, "quiet", lambda said: shown.extend(said), virtio, warn, pci=pci))
    try:
        yield made, shown
    finally:
        made.close()


def _with(code: bytes) -> PcKernel:
    data = bytearray(bzimage())
    data[4 * 512 + ENTRY_64 : 4 * 512 + ENTRY_64 + len(code)] = code
    return parse_bzimage(bytes(data), "kernel")


def run(made: PcMachine) -> None:
    """From start to end; ended from outside where that takes too long."""
    watchdog = threading.Timer(20, made.stop)
    watchdog.start()
    made.start()
    made.join()
    watchdog.cancel()
