"""Inside the machine: a PC of ours with Debian's stock kernel and a script as its init."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gasang.accel.kvm.system import Kvm
from gasang.devices.virtio.device import VirtioDevice
from gasang.images.cpio import archive
from gasang.kinds.vm.x86.kernel import PcKernel, load_pc_kernel
from gasang.kinds.vm.x86.machine import PcMachine, PcParts
from gasang.storage.tree import Entry, Kind

LANE: Final = Path("/lane")
MIB: Final = 1 << 20
LIMIT: Final = 100.0
_INIT: Final = """\
#!/bin/busybox sh
export PATH=/bin
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs dev /dev
echo "userspace"
{script}
"""


class Guest:
    """The machine, not started. `script` is for busybox's shell; what it and the kernel print is heard. `pci` are its virtio devices."""

    def __init__(
        self,
        script: str,
        cpus: int = 1,
        append: str = "",
        memory: int = 192,
        pci: Sequence[VirtioDevice] = (),
        kernel: PcKernel | None = None,
    ) -> None:
        self._heard = bytearray()
        self._changed = threading.Condition()
        kernel = kernel or load_pc_kernel((LANE / "vmlinuz").read_bytes(), "vmlinuz")
        init = Entry(path="init", kind=Kind.FILE, mode=0o755, data=_INIT.format(script=script).encode())
        initrd = (LANE / "guest.cpio").read_bytes() + archive([init])
        words = f"console=ttyS0 quiet panic=-1 {append}".strip()
        with Kvm() as kvm:
            self.pc = PcMachine(kvm, PcParts(cpus, memory * MIB, kernel, initrd, words, self._hear, pci=pci, warn=self._warn))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.pc.close()

    def _hear(self, data: bytes) -> None:
        with self._changed:
            self._heard += data
            if b"\n" in data:
                self._changed.notify_all()

    def _warn(self, sentence: str) -> None:
        self._hear(f"warning: {sentence}\n".encode())

    def text(self) -> str:
        """What was printed so far."""
        return bytes(self._heard).decode(errors="replace").replace("\r", "")

    def wait_for(self, words: str) -> None:
        """Until that was printed; raises TimeoutError with what was instead."""
        with self._changed:
            if not self._changed.wait_for(lambda: f"{words}\n" in self.text(), LIMIT):
                raise TimeoutError(f"it never printed {words!r}, but:\n{self.text()}")

    def finish(self) -> None:
        """Start it if it was not, and wait for its end. Raises what ended it by accident, TimeoutError with what was printed."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self.pc.stop()

        watchdog = threading.Timer(LIMIT, end)
        watchdog.start()
        try:
            if not self.pc.machine.is_begun:
                self.pc.start()
            self.pc.join()
        finally:
            watchdog.cancel()
        if late.is_set():
            raise TimeoutError(f"it did not end, but printed:\n{self.text()}")

    def twin(self, other: Guest) -> None:
        """Make `other`, which was not started, what this machine is, which stands still."""
        other.pc.machine.ram.memory.write(0, self.pc.machine.ram.memory.view)
        other.pc.load(self.pc.save())
