"""What a vCPU's thread does: run the guest, have each exit handled, and run it again, until it is kicked.

Most exits are accesses of one byte to a port, whose device is known after the first of them (`direct`). The thread of vCPU 0 is the one
that the machine's lock favours (devices/lock.py); there such an access is handled here. All others go through the table (exits.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gasang.host.kvm import ioctls
from gasang.host.kvm.ioctls import RefusedError
from gasang.host.kvm.structures import Run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gasang.accel.kvm.machine import KvmMachine
    from gasang.accel.kvm.vcpu import Vcpu

REASON: Final = Run.exit_reason.offset // 4
"""In parts of four bytes, where a run page tells the exit's reason."""
IO: Final = 2
"""KVM_EXIT_IO"""
ACCESS, DATA = Run.why.offset // 8, Run.why.offset // 8 + 1
"""Where, in parts of eight bytes, an access to a port is described, and where its data's place."""
BYTE_OUT: Final = 1 << 32 | 1 << 8 | 1
BYTE_IN: Final = 1 << 32 | 1 << 8
"""What describes an access of one byte, but for the port (bits 16 to 31): once, one byte wide, and whether it is a store."""
SHAPE: Final = 0xFFFF_FFFF_0000_FFFF
"""All of such a description but the port."""

Direct = dict[int, tuple[Callable[..., Any], int, bool]]
"""Description of an access to a port → the device's `write` or `read`, the port's offset there, and whether it is a store."""


def serve(machine: KvmMachine, vcpu: Vcpu, exits: Mapping[int, Callable[[KvmMachine, Vcpu], None]]) -> None:
    """Run the guest, until the vCPU is kicked. Raises RefusedError, and what a handler raises."""
    import fcntl

    # Looked up once: a guest's exit leaves the host's caches cold, and everything touched then costs several times as much.
    ioctl, descriptor, number = fcntl.ioctl, vcpu.descriptor, ioctls.RUN.number
    page, words, quads = vcpu.page, vcpu.words, vcpu.quads
    find, lock = machine.direct.get, machine.lock
    favoured = not vcpu.number and lock.favour()
    while True:
        try:
            ioctl(descriptor, number)
        except InterruptedError:
            vcpu.kicked()
            return
        except BlockingIOError:  # it waited to be started by another vCPU, and was
            continue
        except OSError as error:
            raise RefusedError(ioctls.RUN, error.errno or 0) from error
        reason = words[REASON]
        if reason == IO and favoured and (found := find(quads[ACCESS])) is not None:
            lock.inside = True
            try:
                if not lock.wanted:
                    access, offset, is_store = found
                    if is_store:
                        access(offset, 1, page[quads[DATA]])
                    else:
                        page[quads[DATA]] = access(offset, 1) & 0xFF
                    continue
            finally:
                lock.inside = False
                if lock.wanted:
                    lock.left()
        exits[reason](machine, vcpu)
