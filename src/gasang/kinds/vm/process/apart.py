"""Being forked into a process namespace of one's own, and what the host calls a process in one.

A process that makes a process namespace is not in it, but what it forks from then on; and the first that it forks ends it. So there
are two forks: the first becomes the namespace's first process (first.py), the second is its child, and is whoever was to be
apart. What that forks later, its twins, is in the same namespace, and outlives it.

Reference: pid_namespaces(7), proc(5), readlinkat(2).
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Final

from gasang.host.namespaces import CLONE_NEWNET, CLONE_NEWPID
from gasang.host.trees import call
from gasang.kinds.container.privileges import has_capability
from gasang.kinds.vm.process.first import first_program
from gasang.kinds.vm.process.stand_in import LINK, stand_in_program

_NAME: Final = "gasang-family"
_FAILED: Final = 125
_STREAMS: Final = 3


class HostPid:
    """What the host calls the process that asks: made of the host's /proc, it tells in another root and in forks, too.

    It is a link, which shows nothing of /proc but this one number.
    """

    def __init__(self) -> None:
        """Raises OSError."""
        self._link = os.open("/proc/self", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)

    def __call__(self) -> int:
        """The number."""
        return int(os.readlink("", dir_fd=self._link))


def can_be_apart() -> bool:
    """Whether this process may make process namespaces."""
    return has_capability("SYS_ADMIN")


def is_apart() -> bool:
    """Whether this process is in another process namespace than the one that its /proc is of. Raises OSError."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return any(line.startswith("NSpid:") and len(line.split()) > 1 + 1 for line in file)


def fork_apart() -> int:
    """As os.fork, with the child in a process namespace that it shares with nobody but who is forked from it, if the host permits.

    What is returned is the id of the namespace's first process then, which ends after all others there. Raises OSError.
    """
    if not can_be_apart():
        return os.fork()
    program = _executable(first_program(), _NAME)
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    parent = os.getpid()
    try:
        try:
            call("unshare", CLONE_NEWPID)
        except OSError:  # there are as many as may be, or this depth is the last; the jail tells
            return os.fork()
        try:
            pid = os.fork()
        finally:
            if os.getpid() == parent:
                call("setns", own, CLONE_NEWPID)
        return pid or _second(program)
    finally:
        os.close(own)
        os.close(program)


def _second(program: int) -> int:
    """In the namespace's first process: fork the second, where this returns."""
    if not os.fork():
        return 0
    try:
        os.execve(program, [_NAME], {})  # noqa: S606 - the program is ours
    except OSError:  # the host executes no files without names
        os.closerange(_STREAMS, os.sysconf("SC_OPEN_MAX"))
        with suppress(ChildProcessError):
            while True:
                os.wait()
    finally:
        os._exit(0)


def leave_stand_in(network: int = -1) -> socket.socket | None:
    """Go on in a child that is apart; this process becomes its stand-in (stand_in.py), with its streams. The child's end of their link.

    The stand-in is in the network namespace `network`, if there is one: there the machine is looked for. None where this process has
    no right to make the namespace: it is what it was. Raises OSError.
    """
    if not can_be_apart():
        return None
    program = _executable(stand_in_program(), "gasang-stand-in")
    ours, theirs = socket.socketpair()
    if not fork_apart():
        os.close(program)
        theirs.close()
        return ours
    try:
        if network >= 0:
            call("setns", network, CLONE_NEWNET)
        os.dup2(theirs.fileno(), LINK)
        os.execve(program, ["gasang-stand-in"], {})  # noqa: S606 - the program is ours
    finally:
        os._exit(_FAILED)


def _executable(program: bytes, name: str) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(program)
    return descriptor
