"""A vCPU: its descriptor, the page it shares with us, and the thread that runs it.

Who wants a running vCPU's attention sets `immediate_exit` and sends its thread the signal KICK, which is blocked everywhere but in
KVM_RUN: so it is seen however late it comes, and no handler is needed (KVM_SET_SIGNAL_MASK in api.rst).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import threading
from typing import Any, Final

from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s
from gasang.host.kvm.ioctls import Ioctl, RefusedError, call

KICK: Final = signal.SIGURG
"""A process that has no handler for it passes over it: the jail of a machine's process lets it send this one, whoever the receiver."""
_SIGNALS: Final = 64
REASON: Final = s.Run.exit_reason.offset // 4


class Vcpu:
    """One vCPU of a virtual machine; made by `number`, as the kernel orders them."""

    def __init__(self, machine: int, number: int, run_size: int) -> None:
        self.number = number
        self.descriptor = call(machine, ioctls.CREATE_VCPU, number)
        try:
            self.page = mmap.mmap(self.descriptor, run_size)
        except BaseException:
            os.close(self.descriptor)
            raise
        self.run_page = s.Run.from_buffer(self.page)
        self._bytes = memoryview(self.page)
        self.words, self.quads = self._bytes.cast("I"), self._bytes.cast("Q")
        """The page in parts of four and of eight bytes."""
        self._thread: int | None = None
        self._lock = threading.Lock()
        self._closed = False

    def get(self, ioctl: Ioctl) -> Any:
        """The structure that the ioctl fills in."""
        assert ioctl.argument is not None
        record = ioctl.argument()
        call(self.descriptor, ioctl, record)
        return record

    def set(self, ioctl: Ioctl, record: s.Record | int) -> None:
        """Give the vCPU a structure."""
        call(self.descriptor, ioctl, record)

    def enter(self) -> None:
        """Make the calling thread the one that runs this vCPU."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {KICK})
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, set())
        bits = sum(1 << (number - 1) for number in blocked if number != KICK)
        mask = s.listed(s.SignalMask, ctypes.c_uint8, _SIGNALS // 8)()
        mask.len = _SIGNALS // 8
        ctypes.memmove(ctypes.addressof(mask) + ctypes.sizeof(s.SignalMask), bits.to_bytes(8, "little"), 8)
        self.set(ioctls.SET_SIGNAL_MASK, mask)
        with self._lock:
            self._thread = threading.get_ident()

    def leave(self) -> None:
        """The calling thread runs it no longer."""
        with self._lock:
            self._thread = None
        self._consume_kick()

    def kick(self) -> None:
        """Have KVM_RUN return soon: now, or as soon as it is called next. From any thread."""
        with self._lock:
            if self._closed:
                return
            self.run_page.immediate_exit = 1
            if self._thread is not None:
                signal.pthread_kill(self._thread, KICK)

    def run(self) -> int | None:
        """Run the guest until it needs something; the reason (exits.py), None where it was kicked. Raises RefusedError."""
        import fcntl

        while True:
            try:
                fcntl.ioctl(self.descriptor, ioctls.RUN.number)
            except InterruptedError:
                self.kicked()
                return None
            except BlockingIOError:  # it waited to be started by another vCPU, and was
                continue
            except OSError as error:
                raise RefusedError(ioctls.RUN, error.errno or 0) from error
            return self.words[REASON]

    def kicked(self) -> None:
        """For the vCPU's own thread: it was kicked, and knows."""
        self.run_page.immediate_exit = 0
        self._consume_kick()

    def complete(self) -> int | None:
        """Have the kernel complete the access of the last exit, and not one instruction more; the reason where that needs us once more."""
        self.run_page.immediate_exit = 1
        return self.run()

    @staticmethod
    def _consume_kick() -> None:
        while signal.sigtimedwait({KICK}, 0) is not None:
            pass

    def close(self) -> None:
        """Let go of it; no thread runs it. A kick may still come: whoever wants a machine to end need not know that it has."""
        with self._lock:
            self._closed = True
            del self.run_page
            for view in (self.words, self.quads, self._bytes):
                view.release()
            self.page.close()
        os.close(self.descriptor)
