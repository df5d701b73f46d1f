"""The process's standard streams: pipes, a terminal, or nothing. Before the process is made, its ends lie at 0, 1 and 2."""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import (
    O_CLOEXEC,
    O_NOCTTY,
    O_RDWR,
    Call,
    close,
    make_nonblocking,
    open_path,
    word,
)
from gasang.kinds.container.supervisor.messages import receive
from gasang.kinds.container.supervisor.protocol import FD_CONSOLE, FD_TERMINAL, OPEN_STDIN, TERMINAL, TERMINAL_GIVEN, TERMINAL_LATER
from gasang.kinds.container.supervisor.state import State
from gasang.native import cast, i32, i64, native, ptr, ref, store_unaligned, syscall, u16, u64

_UNLOCK_TERMINAL: Final = 0x4004_5431  # TIOCSPTLCK
_OPEN_OTHER_SIDE: Final = 0x5441  # TIOCGPTPEER
_SET_SIZE: Final = 0x5414  # TIOCSWINSZ
_AF_UNIX, _STREAM_CLOEXEC = 1, 1 | 0o2000000
_DEV, _NULL, _PTMX = word("/dev/"), word("null"), word("ptmx")


@native
def open_device(s: ptr[State], name: u64) -> i64:
    """Open a device of the host: /dev/ and at most seven characters."""
    path = ref(s.text)
    store_unaligned(cast(ptr[u64], path), _DEV)
    store_unaligned(cast(ptr[u64], path + 5), name)
    return open_path(path, O_RDWR | O_NOCTTY)


@native
def place(fd: i64, at: u64) -> None:
    """Put a descriptor at 0, 1 or 2, where it is inherited."""
    syscall(Call.dup3, u64(fd), at, 0)


@native
def make_pipe(s: ptr[State], ours: u64, at: u64) -> i64:
    """A pipe between us (its end `ours`: 0 reads, 1 writes) and the process's stream `at`; our end, or an error."""
    ends = cast(ptr[i32], ref(s.words))
    made = syscall(Call.pipe2, u64(ends), O_CLOEXEC)
    if made < 0:
        return made
    mine = i64(ends[ours])
    theirs = i64(ends[1 - ours])
    place(theirs, at)
    close(theirs)
    make_nonblocking(mine)
    return mine


@native
def make_pipes(s: ptr[State]) -> i64:
    """Pipes for output, and for input if it is wanted; 0 or an error."""
    if s.config.flags & OPEN_STDIN != 0:
        s.input = make_pipe(s, 1, 0)
        if s.input < 0:
            return s.input
    for i in range(u64(2)):
        s.streams[i].fd = make_pipe(s, 0, i + 1)
        if s.streams[i].fd < 0:
            return s.streams[i].fd
    return 0


@native
def resize(s: ptr[State], rows: u16, columns: u16) -> i64:
    """Tell the terminal its size."""
    size = cast(ptr[u16], ref(s.words))
    size[0] = rows
    size[1] = columns
    size[2] = 0
    size[3] = 0
    return syscall(Call.ioctl, u64(s.input), _SET_SIZE, u64(size))


@native
def use_terminal(s: ptr[State], master: i64) -> None:
    """The master of a terminal is both input and output."""
    make_nonblocking(master)
    s.terminal = 1
    s.input = master
    s.streams[0].fd = master
    if s.config.rows != 0 or s.config.columns != 0:
        resize(s, s.config.rows, s.config.columns)


@native
def make_terminal(s: ptr[State]) -> i64:
    """A terminal of the host's; 0 or an error."""
    master = open_device(s, _PTMX)
    if master < 0:
        return master
    unlocked = cast(ptr[i32], ref(s.words))
    unlocked[0] = 0
    syscall(Call.ioctl, u64(master), _UNLOCK_TERMINAL, u64(unlocked))
    other = syscall(Call.ioctl, u64(master), _OPEN_OTHER_SIDE, O_RDWR | O_NOCTTY | O_CLOEXEC)
    if other < 0:
        return other
    for at in range(u64(3)):
        place(other, at)
    close(other)
    use_terminal(s, master)
    return 0


@native
def make_nothing(s: ptr[State]) -> i64:
    """The null device everywhere, for us and for what is started; 0 or an error."""
    null = open_device(s, _NULL)
    if null < 0:
        return null
    for at in range(u64(3)):
        place(null, at)
    if null > 2:  # whoever started us may have had none of the three
        close(null)
    return 0


@native
def make_console(s: ptr[State]) -> i64:
    """A pair of sockets for a terminal's master to come over; 0 or an error."""
    ends = cast(ptr[i32], ref(s.words))
    made = syscall(Call.socketpair, _AF_UNIX, _STREAM_CLOEXEC, 0, u64(ends))
    if made < 0:
        return made
    s.console = i64(ends[0])
    theirs = i64(ends[1])
    place(theirs, FD_CONSOLE)
    close(theirs)
    return 0


@native
def take_terminal(s: ptr[State]) -> None:
    """Get the master of the terminal that the plan has made, if it has come."""
    if s.console < 0 or s.terminal != 0:
        return
    if receive(s, s.console, ref(s.text), 256) > 0 and s.received >= 0:
        use_terminal(s, s.received)


@native
def make_streams(s: ptr[State]) -> i64:
    """What the configuration wants; 0 or an error."""
    if s.config.flags & TERMINAL_LATER != 0:
        return make_console(s)
    if s.config.flags & TERMINAL_GIVEN != 0:
        use_terminal(s, FD_TERMINAL)
        return 0
    if s.config.flags & TERMINAL != 0:
        return make_terminal(s)
    return make_pipes(s)
