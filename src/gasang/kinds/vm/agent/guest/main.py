"""The agent's program: `agent vsock ROOT TOOL` in a machine, `agent inherited ROOT TOOL` for tests; `agent run …` is told in once.py.

The first listens on a port of the virtio socket, becomes a process of its own in the background, and ends with 0 once it listens: who
has started it knows then that the agent is there. The second is served over the listening socket that is descriptor 3, stays in the
foreground, and keeps its hands off the machine: clock, host name and power are not its own. Both live in the directory ROOT, and know
the program TOOL from outside it.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.calls import (
    LAST,
    NULL,
    O_CLOEXEC,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    ROOT,
    Given,
    map_memory,
    open_path,
    set_oom_score,
    text,
)
from gasang.kinds.vm.agent.guest.loop import run
from gasang.kinds.vm.agent.guest.once import run_once
from gasang.kinds.vm.agent.guest.power import note_outer_root
from gasang.kinds.vm.agent.guest.start import fork
from gasang.kinds.vm.agent.guest.state import State
from gasang.kinds.vm.agent.protocol import PORT
from gasang.native import cast, fill, i32, i64, native, ptr, ref, sizeof, syscall, u8, u32, u64

BAD_START: Final = 125
NO_SOCKETS: Final = 2
"""Exit code where the kernel has no virtual sockets."""
_VSOCK, _STREAM, _ANY = 40, 1, 0xFFFF_FFFF
_BACKLOG: Final = 64
_INHERITED: Final = 3
_SET_DESCRIPTOR_FLAGS, _SET_FLAGS = 2, 4
_CLOSE_ON_EXEC: Final = 1
_BLOCK: Final = 0
_ACTION_SIZE: Final = 32
"""Of the kernel's struct sigaction; zeroes are the default."""
_EVERY_SIGNAL: Final = (1 << 64) - 1
_CHILD_ENDS: Final = 1 << 16  # SIGCHLD
_FIRST_LETTER: Final = ord("v")
_ONCE: Final = ord("r")


@native
def listen(s: ptr[State]) -> i64:
    """A socket that listens on our port; an error where there is none to have."""
    g = s.given
    fd = syscall(g.calls.socket, _VSOCK, _STREAM | O_NONBLOCK | O_CLOEXEC, 0)
    if fd < 0:
        return fd
    address = cast(ptr[u32], ref(s.words))  # struct sockaddr_vm
    address[0] = _VSOCK
    address[1] = PORT
    address[2] = _ANY
    address[3] = 0
    result = syscall(g.calls.bind, u64(fd), u64(address), 16)
    if result >= 0:
        result = syscall(g.calls.listen, u64(fd), _BACKLOG)
    return fd if result >= 0 else result


@native
def settle_down(s: ptr[State], root: u64, tool: u64) -> i64:
    """Live in the root, own nothing of who has started us, hear signals from a file; 0 or an error."""
    g = s.given
    result = note_outer_root(s)
    if result < 0:
        return result
    s.tool = open_path(g, cast(ptr[u8], tool), O_RDONLY)
    if s.tool < 0:
        return s.tool
    result = syscall(g.calls.chroot, root)
    if result >= 0:
        result = syscall(g.calls.chdir, u64(text(g, ROOT)))
    if result < 0:
        return result
    s.null = open_path(g, text(g, NULL), O_RDWR)
    if s.null < 0:
        return s.null
    for at in range(u64(3)):
        syscall(g.calls.dup3, u64(s.null), at, 0)
    fill(cast(ptr[u8], ref(s.words)), 0, _ACTION_SIZE)
    for number in range(u64(64)):  # commands inherit what is ignored
        syscall(g.calls.rt_sigaction, number + 1, u64(ref(s.words)), 0, 8)
    s.words[0] = _EVERY_SIGNAL
    syscall(g.calls.rt_sigprocmask, _BLOCK, u64(ref(s.words)), 0, 8)
    s.words[0] = _CHILD_ENDS
    s.signals = syscall(g.calls.signalfd4, u64(i64(-1)), u64(ref(s.words)), 8, O_NONBLOCK | O_CLOEXEC)
    return s.signals


@native
def serve_guest(stack: ptr[u64], data: ptr[u8]) -> i32:
    """The program's entry."""
    g = cast(ptr[Given], data)
    if stack[0] > 1 and cast(ptr[u8], stack[2])[0] == _ONCE:
        return run_once(g, stack)
    memory = map_memory(g, sizeof(State))
    if stack[0] != 4 or memory == 0:
        return BAD_START
    s = cast(ptr[State], memory)
    s.given = g
    s.is_vsock = u32(cast(ptr[u8], stack[2])[0] == _FIRST_LETTER)
    s.whole_machine = s.is_vsock
    syscall(g.calls.close_range, 3 if s.is_vsock != 0 else _INHERITED + 1, 0xFFFF_FFFF, 0)
    if s.is_vsock != 0:
        s.listener = listen(s)
        if s.listener < 0:
            return NO_SOCKETS
    else:
        s.listener = _INHERITED
        syscall(g.calls.fcntl, _INHERITED, _SET_FLAGS, O_NONBLOCK)
        syscall(g.calls.fcntl, _INHERITED, _SET_DESCRIPTOR_FLAGS, _CLOSE_ON_EXEC)
    if settle_down(s, stack[3], stack[4]) < 0:
        return BAD_START
    if s.is_vsock != 0:
        made = fork(g)
        if made != 0:
            return 0 if made > 0 else BAD_START
        syscall(g.calls.setsid)
        set_oom_score(g, LAST)
    s.pid = syscall(g.calls.getpid)
    run(s)
    return BAD_START
