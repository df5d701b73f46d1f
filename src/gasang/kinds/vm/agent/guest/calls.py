"""The Linux system calls of the agent as native functions. Results are the kernel's: not negative, or minus the error's number.

The agent is compiled for several processor families, between which the numbers of system calls differ: it finds them in the data it is
given. Everything else here (flags, structures) is the same on x86-64 and RISC-V.
"""

from __future__ import annotations

import ctypes
from typing import Final

from gasang.host.syscalls import table
from gasang.kinds.vm.agent.protocol import MESSAGES, MOST_KIND
from gasang.native import array, boolean, ctype_of, i64, length, native, ptr, ref, struct, syscall, u8, u32, u64

EPERM: Final = -1
ENOENT: Final = -2
EINTR: Final = -4
E2BIG: Final = -7
EAGAIN: Final = -11
ENOMEM: Final = -12
EACCES: Final = -13
ENOTDIR: Final = -20
EINVAL: Final = -22

O_RDONLY: Final = 0
O_WRONLY: Final = 1
O_RDWR: Final = 2
O_NOCTTY: Final = 0o400
O_NONBLOCK: Final = 0o4000
O_CLOEXEC: Final = 0o2000000
O_DIRECTORY: Final = 0o200000
AT_FDCWD: Final = -100
NANOSECONDS: Final = 1_000_000_000
CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME = 0, 1, 7
SIGKILL, SIGTERM, SIGCHLD = 9, 15, 17
_PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS = 3, 0x22
_MADV_DONTNEED = 4

_TEXTS: Final = (
    "/etc/passwd", "/etc/group", "/dev/null", "/dev/ptmx", "/dev/urandom", "/proc", "/proc/meminfo", "/", "/root", "HOME=", "PATH=",
    "MemAvailable:", "/proc/self/oom_score_adj", "-1000", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "0", "",
    "gasang: cannot run ", "\n",
)  # fmt: skip
_JOINED: Final = b"".join(text.encode("ascii") + b"\0" for text in _TEXTS)


def _place(text: str) -> int:
    """Where a text is among those the agent is given."""
    return sum(len(before) + 1 for before in _TEXTS[: _TEXTS.index(text)])


PASSWD: Final = _place("/etc/passwd")
GROUP: Final = _place("/etc/group")
NULL: Final = _place("/dev/null")
PTMX: Final = _place("/dev/ptmx")
URANDOM: Final = _place("/dev/urandom")
PROC: Final = _place("/proc")
MEMINFO: Final = _place("/proc/meminfo")
ROOT: Final = _place("/")
ROOT_NAME: Final = _place("/root")
HOME: Final = _place("HOME=")
PATH: Final = _place("PATH=")
OOM_SCORE: Final = _place("/proc/self/oom_score_adj")
LAST: Final = _place("-1000")
AVAILABLE: Final = _place("MemAvailable:")
USUAL_PATH: Final = _place("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
ZERO: Final = _place("0")
EMPTY: Final = _place("")
CANNOT_RUN: Final = _place("gasang: cannot run ")
NEWLINE: Final = _place("\n")


@struct
class Calls:
    """Numbers of system calls."""

    accept4: u64
    bind: u64
    chdir: u64
    chroot: u64
    clock_gettime: u64
    clock_settime: u64
    clone: u64
    close: u64
    close_range: u64
    dup3: u64
    execve: u64
    execveat: u64
    exit_group: u64
    fchown: u64
    fcntl: u64
    getdents64: u64
    getpid: u64
    ioctl: u64
    kill: u64
    listen: u64
    lseek: u64
    madvise: u64
    mmap: u64
    munmap: u64
    openat: u64
    pidfd_open: u64
    pidfd_send_signal: u64
    pipe2: u64
    ppoll: u64
    read: u64
    reboot: u64
    rt_sigaction: u64
    rt_sigprocmask: u64
    setgid: u64
    setgroups: u64
    sethostname: u64
    setsid: u64
    setuid: u64
    signalfd4: u64
    socket: u64
    statx: u64
    sync: u64
    sysinfo: u64
    umask: u64
    wait4: u64
    write: u64


@struct
class Limit:
    """Of a kind of message: whether it is a request, and the lengths it may have."""

    known: u32
    least: u32
    most: u32
    reserved: u32


@struct
class Given:
    """The program's data."""

    calls: Calls
    limits: array[Limit] = length(MOST_KIND + 1)
    texts: array[u8] = length(256)


def given_for(family: str) -> bytes:
    """The data for a processor family's agent. Raises UnsupportedError for one whose system calls are not known."""
    numbers = table(family)
    made = ctype_of(Given)()
    for name, _ in ctype_of(Calls)._fields_:
        setattr(made.calls, name, numbers[name])
    for message in MESSAGES:
        limit = made.limits[message.kind]
        limit.known, limit.least, limit.most = int(message.by_host), message.least, message.most
    assert len(_JOINED) <= 256, len(_JOINED)
    ctypes.memmove(ctypes.addressof(made.texts), _JOINED, len(_JOINED))
    return bytes(made)


@native
def text(g: ptr[Given], place: u64) -> ptr[u8]:
    """One of the texts, ended by a zero byte."""
    return ref(g.texts) + place


@native
def read(g: ptr[Given], fd: i64, to: ptr[u8], count: u64) -> i64:
    """Bytes read, 0 at the end."""
    return syscall(g.calls.read, u64(fd), u64(to), count)


@native
def write(g: ptr[Given], fd: i64, data: ptr[u8], count: u64) -> i64:
    """Bytes written."""
    return syscall(g.calls.write, u64(fd), u64(data), count)


@native
def close(g: ptr[Given], fd: i64) -> None:
    """Close a descriptor, where there is one."""
    if fd >= 0:
        syscall(g.calls.close, u64(fd))


@native
def open_path(g: ptr[Given], path: ptr[u8], flags: u64) -> i64:
    """Open a path."""
    return syscall(g.calls.openat, u64(i64(AT_FDCWD)), u64(path), flags | O_CLOEXEC, 0)


@native
def map_memory(g: ptr[Given], size: u64) -> u64:
    """The address of fresh zeroed memory; 0 if there is none."""
    made = syscall(g.calls.mmap, 0, size, _PROT_READ_WRITE, _MAP_PRIVATE_ANONYMOUS, u64(i64(-1)), 0)
    return 0 if made < 0 else u64(made)


@native
def unmap(g: ptr[Given], address: u64, size: u64) -> None:
    """Give an address range back."""
    syscall(g.calls.munmap, address, size)


@native
def release(g: ptr[Given], address: u64, size: u64) -> None:
    """Give memory back to the kernel; it stays usable and reads as zeroes."""
    syscall(g.calls.madvise, address, size, _MADV_DONTNEED)


@native
def clock(g: ptr[Given], which: u64, room: ptr[u64]) -> u64:
    """Nanoseconds of a clock; `room` is for two words."""
    syscall(g.calls.clock_gettime, which, u64(room))
    return room[0] * NANOSECONDS + room[1]


@native
def set_clock(g: ptr[Given], time: u64, room: ptr[u64]) -> i64:
    """Set the time of day to nanoseconds since 1970; 0 or an error."""
    room[0] = time // NANOSECONDS
    room[1] = time % NANOSECONDS
    return syscall(g.calls.clock_settime, CLOCK_REALTIME, u64(room))


@native
def length_of(name: ptr[u8]) -> u64:
    """Characters before the zero byte."""
    count: u64 = 0
    while name[count] != 0:
        count += 1
    return count


@native
def begins_with(longer: ptr[u8], shorter: ptr[u8]) -> boolean:
    """Whether a text, ended by a zero byte, begins with another."""
    count: u64 = 0
    while shorter[count] != 0:
        if longer[count] != shorter[count]:
            return False
        count += 1
    return True


@native
def set_oom_score(g: ptr[Given], score: u64) -> None:
    """Say when the kernel is to end this process where memory is short (a text: "0" as others, "-1000" never); where it lets us."""
    fd = open_path(g, text(g, OOM_SCORE), O_WRONLY)
    write(g, fd, text(g, score), length_of(text(g, score)))
    close(g, fd)
