"""The host's KVM: whether it will do, and new virtual machines from it."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from gasang.accel.kvm.reality import emulator
from gasang.core.errors import PermissionDeniedError, UnsupportedError
from gasang.host.kvm import ioctls
from gasang.host.kvm import structures as s
from gasang.host.kvm.capabilities import CAPABILITIES
from gasang.host.kvm.ioctls import RefusedError, call

DEVICE: Final = Path("/dev/kvm")
API_VERSION: Final = 12
NEEDED: Final = ("USER_MEMORY", "SET_TSS_ADDR", "EXT_CPUID", "MP_STATE", "VCPU_EVENTS", "DEBUGREGS", "IMMEDIATE_EXIT")
"""Every KVM since Linux 4.13 has these; without one of them there is no machine."""
_ENTRIES: Final = 256
"""CPUID leaves and MSRs asked for at first; the host says when it has more."""


class Kvm:
    """An open /dev/kvm; use it as a context manager.

    Raises UnsupportedError where it is no KVM or lacks what we need, PermissionDeniedError where this user may not.
    """

    def __init__(self, device: Path = DEVICE) -> None:
        self.device = device
        self.descriptor = _opened(device)
        self.emulator = emulator()
        """Which module interprets its guests, "" where the processor runs them."""
        try:
            self._check()
        except BaseException:
            self.close()
            raise

    def again(self) -> Kvm:
        """The same, to be closed by itself: who holds it needs no way to the device any more."""
        made = Kvm.__new__(Kvm)
        made.device, made.emulator, made.descriptor = self.device, self.emulator, os.dup(self.descriptor)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _check(self) -> None:
        version = call(self.descriptor, ioctls.GET_API_VERSION)
        if version != API_VERSION:
            raise UnsupportedError(str(self.device), f"its interface has version {version}, not {API_VERSION}", "use --accel soft")
        self.require(NEEDED)

    def require(self, names: Sequence[str]) -> None:
        """Raise UnsupportedError unless the host has all of KVM_CAP_`names`."""
        lacking = [name for name in names if not self.capability(name)]
        if lacking:
            words = ", ".join(f"KVM_CAP_{name}" for name in lacking)
            raise UnsupportedError(str(self.device), f"the host's KVM lacks {words}", "use --accel soft, or a newer kernel")

    def capability(self, name: str) -> int:
        """What the host says to KVM_CAP_`name`: 0 where it lacks it."""
        return call(self.descriptor, ioctls.CHECK_EXTENSION, CAPABILITIES[name])

    def run_size(self) -> int:
        """Bytes that a vCPU shares with its host."""
        return call(self.descriptor, ioctls.GET_VCPU_MMAP_SIZE)

    def create(self) -> int:
        """The descriptor of a new virtual machine."""
        while True:
            try:
                return call(self.descriptor, ioctls.CREATE_VM)
            except RefusedError as error:
                if error.number != errno.EINTR:  # a signal came while the kernel waited for its other processors
                    raise

    def cpuid(self) -> list[s.CpuidEntry]:
        """What this host can show guests of its processor."""
        return list(self._list(ioctls.GET_SUPPORTED_CPUID, s.Cpuid, s.CpuidEntry, "nent"))

    def msrs(self) -> list[int]:
        """Numbers of the MSRs that make up a vCPU's state."""
        return [int(number) for number in self._list(ioctls.GET_MSR_INDEX_LIST, s.MsrList, ctypes.c_uint32, "nmsrs")]

    def _list(self, ioctl: ioctls.Ioctl, head: type[s.Record], entry: Any, counter: str) -> list[Any]:
        room = _ENTRIES
        while True:
            record = s.listed(head, entry, room)()
            setattr(record, counter, room)
            try:
                call(self.descriptor, ioctl, record)
            except RefusedError as error:
                if error.number != errno.E2BIG or room >= 1 << 16:
                    raise
                room *= 2
                continue
            return list(record.entries)[: getattr(record, counter)]

    def close(self) -> None:
        """Let go of it; machines made from it live on."""
        os.close(self.descriptor)


def _opened(device: Path) -> int:
    try:
        return os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except PermissionError as error:
        raise PermissionDeniedError(str(device), "this user may not use it", "join the group kvm, or use --accel soft") from error
    except OSError as error:
        raise UnsupportedError(str(device), f"it cannot be opened ({error.strerror})", "use --accel soft") from error
