"""The machine's end: every process of the guest's is asked to end, then made to, and the machine is switched off.

guest/init, which waits for its command, sees that end, writes the disk back, reports the command's code and switches off. Only where it
does not is that done here. What runs outside the guest's root is init's own: it carries the command's last output, and is spared.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.accounts import NONE, number_of
from gasang.kinds.vm.agent.guest.calls import (
    AT_FDCWD,
    CLOCK_MONOTONIC,
    EINTR,
    NANOSECONDS,
    O_DIRECTORY,
    O_RDONLY,
    PROC,
    ROOT,
    SIGKILL,
    Given,
    clock,
    close,
    length_of,
    map_memory,
    open_path,
    text,
)
from gasang.kinds.vm.agent.guest.spare import drop
from gasang.kinds.vm.agent.guest.start import fork
from gasang.kinds.vm.agent.guest.state import Polled, State
from gasang.native import (
    boolean,
    cast,
    copy,
    i32,
    i64,
    load_unaligned,
    native,
    ptr,
    ref,
    store_unaligned,
    syscall,
    u8,
    u16,
    u64,
)

_LIST: Final = 32 * 1024
_STATUS: Final = 512  # of it struct statx takes 256
_MOST: Final = 2048
"""Processes that are awaited; those beyond are killed without."""
ROOM: Final = _LIST + _STATUS + _MOST * 8
_MILLISECOND: Final = 1_000_000
MOST_SIGNAL: Final = 64
_INIT_SECONDS: Final = 10
_MAGIC_1, _MAGIC_2, _POWER_OFF = 0xFEE1_DEAD, 0x2812_1969, 0x4321_FEDC
_INODES: Final = 0x100  # STATX_INO
_POLLIN: Final = 1
_SLASH: Final = 0x2F
_ROOT_LINK: Final = int.from_bytes(b"/root", "little")


@native
def identify(g: ptr[Given], path: ptr[u8], room: ptr[u64], into: ptr[u64]) -> i64:
    """The device and inode of a path, as two words; 0 or an error. `room` is for a struct statx."""
    result = syscall(g.calls.statx, u64(i64(AT_FDCWD)), u64(path), 0, _INODES, u64(room))
    if result >= 0:
        into[0] = room[17]  # stx_dev_major and stx_dev_minor
        into[1] = room[4]  # stx_ino
    return result


@native
def is_guests(s: ptr[State], pid: ptr[u8], room: ptr[u64]) -> boolean:
    """Whether a process, named by its number as text, is the guest's: it has a root other than the agent had at first."""
    path = cast(ptr[u8], room) + 256
    size = length_of(pid)
    proc = text(s.given, PROC)
    copy(path, proc, 5)
    path[5] = _SLASH
    copy(path + 6, pid, size)
    store_unaligned(cast(ptr[u64], path + 6 + size), _ROOT_LINK)
    found = ref(s.words)
    if identify(s.given, path, room, found) < 0:
        return False
    return found[0] != s.outer_device or found[1] != s.outer_inode


@native(inline=False)
def signal_all(s: ptr[State], number: u64, memory: u64, polled: ptr[Polled]) -> u64:
    """Send every process of the guest's a signal; how many are to be awaited, at their descriptors."""
    g = s.given
    own = u64(syscall(g.calls.getpid))
    folder = open_path(g, text(g, PROC), O_RDONLY | O_DIRECTORY)
    if folder < 0:
        return 0
    count: u64 = 0
    while True:
        size = syscall(g.calls.getdents64, u64(folder), memory, _LIST)
        if size <= 0:
            break
        at: u64 = 0
        while at < u64(size):
            entry = cast(ptr[u8], memory + at)  # struct linux_dirent64: u64, i64, u16 length, u8 type, name
            name = entry + 19
            at += u64(load_unaligned(cast(ptr[u16], entry + 16)))
            pid = number_of(name, length_of(name))
            if pid == NONE or pid <= 1 or pid == own or pid == u64(s.pid):
                continue
            if not is_guests(s, name, cast(ptr[u64], memory + _LIST)):
                continue
            fd = syscall(g.calls.pidfd_open, pid, 0)
            if fd < 0:
                continue
            if syscall(g.calls.pidfd_send_signal, u64(fd), number, 0, 0) >= 0 and count < _MOST:
                polled[count].fd = i32(fd)
                polled[count].events = _POLLIN
                count += 1
            else:
                close(g, fd)
    close(g, folder)
    return count


@native
def wait_for_all(s: ptr[State], polled: ptr[Polled], count: u64, grace: u64) -> None:
    """Wait until all have ended, or for so many nanoseconds. Their descriptors are closed."""
    g = s.given
    end = clock(g, CLOCK_MONOTONIC, ref(s.words)) + grace
    left = count
    while left != 0:
        now = clock(g, CLOCK_MONOTONIC, ref(s.words))
        if now >= end:
            break
        s.words[0] = (end - now) // NANOSECONDS
        s.words[1] = (end - now) % NANOSECONDS
        result = syscall(g.calls.ppoll, u64(polled), count, u64(ref(s.words)), 0, 8)
        if result < 0 and result != EINTR:
            break
        for i in range(count):
            if polled[i].fd >= 0 and polled[i].revents != 0:
                close(g, i64(polled[i].fd))
                polled[i].fd = -1
                left -= 1
    for i in range(count):
        close(g, i64(polled[i].fd))


@native(inline=False)
def end_machine(s: ptr[State], grace: u64, number: u64) -> None:
    """The whole of it."""
    g = s.given
    memory = map_memory(g, ROOM)
    if memory != 0:
        polled = cast(ptr[Polled], memory + _LIST + _STATUS)
        wait_for_all(s, polled, signal_all(s, number, memory, polled), grace * _MILLISECOND)
        wait_for_all(s, polled, signal_all(s, SIGKILL, memory, polled), _INIT_SECONDS * NANOSECONDS)
    syscall(g.calls.sync)
    s.words[0] = _INIT_SECONDS
    s.words[1] = 0
    syscall(g.calls.ppoll, 0, 0, u64(ref(s.words)), 0, 8)  # init ends us before that
    syscall(g.calls.sync)
    syscall(g.calls.reboot, _MAGIC_1, _MAGIC_2, _POWER_OFF, 0)


@native
def shut_down(s: ptr[State], grace: u64, number: u64) -> i64:
    """Begin the machine's end, beside everything else; 0 or an error. Who asks again begins anew.

    Processes get the signal of that number, and have `grace` milliseconds.
    """
    if s.ending > 0:
        syscall(s.given.calls.kill, u64(s.ending), SIGKILL)
    drop(s)  # nobody waits for it, and what is forked here has none of what leads to it
    made = fork(s.given)
    if made == 0:
        end_machine(s, grace, number)
        syscall(s.given.calls.exit_group, 0)
    s.ending = made
    return made if made < 0 else 0


@native
def note_outer_root(s: ptr[State]) -> i64:
    """Note which root directory we have now; 0 or an error."""
    return identify(s.given, text(s.given, ROOT), ref(s.words), ref(s.outer_device))
