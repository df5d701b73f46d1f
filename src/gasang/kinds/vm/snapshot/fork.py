"""Running twins of a machine, by fork(2) of its process.

Its memory and its decoded code become copy-on-write where they are, while it runs. Then it stands still; its disks are split so that what
was written is shared and never changes again; and the process forks. In the child there is no thread but the caller's: locks are made anew,
the harts get new threads and go on at the next instruction, in the same address space, so that the soft TLB and the decoded code stay
valid. Under KVM the child makes new vCPUs around the memory that it has a copy of, and they become what the parent's were. The parent goes
on as soon as it has forked.

What the twin's devices are connected to outside (the parent's console, its files and sockets) is the parent's: `body` runs in the twin's
process, before its guest goes on, and connects it to its own.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gasang.core.errors import GasangError, OutOfSpaceError, UnsupportedError
from gasang.kinds.vm.snapshot import disks
from gasang.kinds.vm.snapshot.identity import Identity
from gasang.storage.overlay import Overlay

if TYPE_CHECKING:
    from gasang.kinds.vm.base import AnyMachine
    from gasang.storage.volumes.machine_disk import MachineDisk

BROKEN = 125
"""The exit code of a twin whose `body` raised."""


class Twin:
    """A twin's process, as its parent sees it: wait for it, or leave the block and it is ended."""

    def __init__(self, pid: int, identity: Identity) -> None:
        self.pid = pid
        self.identity = identity
        self._code: int | None = None

    def wait(self) -> int:
        """Return its exit code when it has ended; minus the signal's number where one ended it."""
        if self._code is None:
            _, status = os.waitpid(self.pid, 0)
            self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def kill(self) -> None:
        """End it at once."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
        self.wait()


def fork(vm: AnyMachine, body: Callable[[Any], int], identity: Identity | None = None) -> Twin:
    """A twin of a machine that runs or is paused. In its process `body` is called with it; `vm.start` lets its guest go on.

    Its exit code is what `body` returns. Raises StateError for a machine that does not run, UnsupportedError where the host cannot fork or
    the machine has a disk that cannot be shared, OutOfSpaceError where the host has no room for another process.
    """
    if not hasattr(os, "fork"):
        raise UnsupportedError("fork of a machine", "this host has no fork", "use a Linux host")
    own = identity or Identity.fresh()
    overlays, volumes = _shared(vm)
    shared: list[Overlay | MachineDisk] = [*overlays, *volumes]
    if vm.machine.is_begun:
        with vm.board.bus.lock:
            vm.machine.make_private()
    with _steady(volumes), vm.standing_still(), vm.board.bus.lock:
        for disk in shared:
            disk.split()
        vm.before_fork()
        pid = _fork()
        if pid == 0:
            _live(vm, shared, body, own)
    return Twin(pid, own)


def _shared(vm: AnyMachine) -> tuple[list[Overlay], list[MachineDisk]]:
    """The disks that go two ways from a fork on. Raises UnsupportedError for one that would be written by both."""
    overlays, volumes = [], []
    for device in vm.disks():
        block = device.block
        if isinstance(block, Overlay):
            overlays.append(block)
        elif not disks.shareable(device):
            from gasang.storage.volumes.machine_disk import MachineDisk  # most machines have none

            if not isinstance(block, MachineDisk):
                what = "share one connection to a disk" if device.read_only else "write to one disk"
                raise UnsupportedError("fork of a machine", f"two cannot {what} ({disks.called(block)})", disks.ELSEWHERE)
            if not device.read_only and block.heir is None:
                cause = f"nobody has made a clone of volume {block.folder.name} for the twin"
                raise UnsupportedError("fork of a machine", cause, "fork it by the daemon: gasang fork")
            volumes.append(block)
    return overlays, volumes


@contextlib.contextmanager
def _steady(volumes: Sequence[MachineDisk]) -> Iterator[None]:
    """Nobody else changes the volumes in the block. What they have to write is written while the machine runs, before or after."""
    with contextlib.ExitStack() as steady:
        for volume in volumes:
            steady.enter_context(volume.leaving())
        yield


def _fork() -> int:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    gc.freeze()  # the collector would write to every object that parent and child share
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads' locks are made anew, or held here
            pid = os.fork()
    except OSError as error:
        gc.unfreeze()
        raise OutOfSpaceError("fork of a machine", f"the host makes no process ({error.strerror})", "end other programs") from error
    if pid:
        gc.unfreeze()
    return pid


def _live(vm: AnyMachine, split: Sequence[Overlay | MachineDisk], body: Callable[[Any], int], identity: Identity) -> None:
    """The whole life of the child process."""
    code = BROKEN
    try:
        for disk in split:
            disk.renew()
        vm.revive(identity)
        vm.board.bus.lock.release()
        code = body(vm)
    except GasangError as error:
        print(f"gasang: {error}", file=sys.stderr)
    except BaseException:
        traceback.print_exc()  # nobody above could tell of it: this process has no caller
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)
