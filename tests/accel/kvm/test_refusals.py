"""A KVM that lacks something or refuses something: which, in a sentence, and nothing is left of what was begun."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gasang.accel.kvm.machine import KvmMachine, Shape
from gasang.accel.kvm.system import NEEDED, Kvm
from gasang.core.errors import PermissionDeniedError, UnsupportedError
from gasang.host.kvm import ioctls
from gasang.host.kvm.capabilities import CAPABILITIES
from gasang.host.kvm.ioctls import Ioctl, RefusedError
from support.kvm_guests import DEVICE, SIZE, Recorder, needs_kvm, real_mode
from support.privileges import needs_root

pytestmark = needs_kvm
SHAPE = Shape(((0, SIZE),), vcpus=2, ring=1024)


def known() -> dict[int, Ioctl]:
    return {value.number: value for value in vars(ioctls).values() if isinstance(value, Ioctl)}


@contextmanager
def asked(refused: Ioctl | None = None, lacking: str = "") -> Iterator[list[str]]:
    """Names of the ioctls that are called meanwhile; the host refuses one of them, or lacks a capability."""
    names, host, found = known(), ioctls._ioctl(), list[str]()

    def stand_in(descriptor: int, number: Any, argument: Any) -> int:
        ioctl = names[number.value]
        found.append(ioctl.name)
        if ioctl is refused:
            ctypes.set_errno(errno.ENOSYS)
            return -1
        if lacking and ioctl is ioctls.CHECK_EXTENSION and argument.value == CAPABILITIES[lacking]:
            return 0
        return int(host(descriptor, number, argument))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ioctls, "_ioctl", lambda: stand_in)
        yield found


def life() -> None:
    """A machine that is made, watched, begun, paused, driven, and closed."""
    with Kvm(DEVICE) as kvm:
        made = KvmMachine(kvm, SHAPE)
    try:
        heard = Recorder(1)
        made.ports.attach("says", 0x50, heard)
        real_mode(made, bytes.fromhex("e650 ebfc"))  # again: out 0x50, al; jmp again
        made.watch().take()
        made.start()
        assert heard.heard.wait(20)
        made.pause()
        made.interrupt(5, level=False)
        made.resume()
    finally:
        made.stop()
        made.wait()
        made.close()


def used() -> list[str]:
    with asked() as found:
        life()
    return sorted(set(found))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_every_ioctl_of_a_machines_life_may_be_refused() -> None:
    names = {ioctl.name: ioctl for ioctl in known().values()}
    wanted = used()
    assert {"KVM_CREATE_VM", "KVM_SET_USER_MEMORY_REGION", "KVM_CREATE_IRQCHIP", "KVM_CREATE_VCPU", "KVM_SET_SIGNAL_MASK"} <= set(wanted)
    for name in wanted:
        before = descriptors()
        with asked(names[name]):
            if name in ("KVM_ENABLE_CAP", "KVM_KVMCLOCK_CTRL"):
                life()
            elif name == "KVM_SET_SIGNAL_MASK":  # on the vCPUs' own threads
                with Kvm(DEVICE) as kvm:
                    made = KvmMachine(kvm, SHAPE)
                made.start()
                with pytest.raises(RefusedError, match=f"the host refuses {name} "):
                    made.join()
                made.close()
            else:
                with pytest.raises(RefusedError, match=rf"the host refuses {name} \(Function not implemented\); use --accel soft"):
                    life()
        assert descriptors() == before, name
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vcpu")]


@pytest.mark.parametrize("name", NEEDED)
def test_a_capability_that_is_lacking_is_named(name: str) -> None:
    before = descriptors()
    with asked(lacking=name), pytest.raises(UnsupportedError, match=f"/dev/kvm: the host's KVM lacks KVM_CAP_{name}; use --accel soft"):
        Kvm(DEVICE)
    assert descriptors() == before


@pytest.mark.parametrize("name", ["DIRTY_LOG_RING_ACQ_REL", "X86_MSR_FILTER", "IOEVENTFD_ANY_LENGTH", "MAX_VCPUS"])
def test_one_that_is_not_needed_is_done_without(name: str) -> None:
    with asked(lacking=name):
        life()


@needs_root
def test_who_may_not_is_told(tmp_path: Path) -> None:
    node = tmp_path / "kvm"
    os.mknod(node, 0o600 | 0o020000, DEVICE.stat().st_rdev)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionDeniedError, match="kvm: this user may not use it; join the group kvm, or use --accel soft"):
            Kvm(node)
    finally:
        os.seteuid(0)
