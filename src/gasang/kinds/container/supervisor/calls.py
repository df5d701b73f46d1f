"""The Linux system calls of the supervisor as native functions. Results are the kernel's: not negative, or minus the error's number."""

from __future__ import annotations

from typing import Final

from gasang.host.syscalls import number
from gasang.native import i64, native, ptr, syscall, u8, u64
from gasang.native.target import machine


class Call:
    """Numbers of system calls."""

    read = number("read")
    write = number("write")
    close = number("close")
    lseek = number("lseek")
    mmap = number("mmap")
    munmap = number("munmap")
    rt_sigprocmask = number("rt_sigprocmask")
    ioctl = number("ioctl")
    pread64 = number("pread64")
    writev = number("writev")
    madvise = number("madvise")
    dup3 = number("dup3")
    wait4 = number("wait4")
    socketpair = number("socketpair")
    fcntl = number("fcntl")
    fsync = number("fsync")
    fdatasync = number("fdatasync")
    ftruncate = number("ftruncate")
    chdir = number("chdir")
    setsid = number("setsid")
    prctl = number("prctl")
    geteuid = number("geteuid")
    sendto = number("sendto")
    recvmsg = number("recvmsg")
    getsockopt = number("getsockopt")
    accept4 = number("accept4")
    openat = number("openat")
    unlinkat = number("unlinkat")
    renameat = number("renameat")
    ppoll = number("ppoll")
    pipe2 = number("pipe2")
    clock_gettime = number("clock_gettime")
    exit_group = number("exit_group")
    signalfd4 = number("signalfd4")
    pidfd_send_signal = number("pidfd_send_signal")
    close_range = number("close_range")


EAGAIN: Final = -11
EINTR: Final = -4
EINVAL: Final = -22
ENOENT: Final = -2
ESRCH: Final = -3
ENOSPC: Final = -28
EBUSY: Final = -16
EALREADY: Final = -114
EPROTO: Final = -71
EBADF: Final = -9
ENOTTY: Final = -25

O_WRONLY: Final = 1
O_RDWR: Final = 2
O_CREAT: Final = 0o100
O_NOCTTY: Final = 0o400
O_TRUNC: Final = 0o1000
O_APPEND: Final = 0o2000
O_NONBLOCK: Final = 0o4000
_NO_FOLLOW: Final = 0o400000 if machine() != "aarch64" else 0o100000
O_CLOEXEC: Final = 0o2000000
_AT_FDCWD: Final = -100
_PROT_READ_WRITE, _MAP_PRIVATE, _MAP_ANONYMOUS = 3, 2, 0x20
_MADV_DONTNEED = 4
_F_SETFL: Final = 4
_CLOCK_REALTIME, _CLOCK_MONOTONIC = 0, 1
NANOSECONDS: Final = 1_000_000_000


def word(text: str) -> int:
    """Up to eight ASCII characters as the number that stores them."""
    raw = text.encode("ascii")
    assert len(raw) <= 8, text
    return int.from_bytes(raw, "little")


@native
def read(fd: i64, to: ptr[u8], count: u64) -> i64:
    """Bytes read, 0 at the end."""
    return syscall(Call.read, u64(fd), u64(to), count)


@native
def write(fd: i64, data: ptr[u8], count: u64) -> i64:
    """Bytes written."""
    return syscall(Call.write, u64(fd), u64(data), count)


@native
def write_all(fd: i64, data: ptr[u8], count: u64) -> i64:
    """Write everything to a file, or give the error."""
    done: u64 = 0
    while done < count:
        n = write(fd, data + done, count - done)
        if n == EINTR:
            continue
        if n < 0:
            return n
        done += u64(n)
    return 0


@native
def close(fd: i64) -> None:
    """Close a descriptor, where there is one."""
    if fd >= 0:
        syscall(Call.close, u64(fd))


@native
def map_memory(size: u64) -> u64:
    """The address of fresh zeroed memory; 0 if there is none."""
    made = syscall(Call.mmap, 0, size, _PROT_READ_WRITE, _MAP_PRIVATE | _MAP_ANONYMOUS, u64(i64(-1)), 0)
    return 0 if made < 0 else u64(made)


@native
def map_file(fd: i64, size: u64) -> u64:
    """The address of a private copy of a file; 0 if it cannot be mapped."""
    made = syscall(Call.mmap, 0, size, _PROT_READ_WRITE, _MAP_PRIVATE, u64(fd), 0)
    return 0 if made < 0 else u64(made)


@native
def unmap(address: u64, size: u64) -> None:
    """Give an address range back."""
    syscall(Call.munmap, address, size)


@native
def release(address: u64, size: u64) -> None:
    """Give memory back to the host; it stays usable and reads as zeroes."""
    if address != 0:
        syscall(Call.madvise, address, size, _MADV_DONTNEED)


@native
def file_size(fd: i64) -> i64:
    """Bytes of a file."""
    return syscall(Call.lseek, u64(fd), 0, 2)


@native
def open_in(folder: i64, name: ptr[u8], flags: u64) -> i64:
    """Open in a folder; what is made is for the owner only, and no link is followed."""
    return syscall(Call.openat, u64(folder), u64(name), flags | O_CLOEXEC | _NO_FOLLOW, 0o600)


@native
def open_path(path: ptr[u8], flags: u64) -> i64:
    """Open an absolute path."""
    return syscall(Call.openat, u64(i64(_AT_FDCWD)), u64(path), flags | O_CLOEXEC, 0)


@native
def rename_in(folder: i64, old: ptr[u8], new: ptr[u8]) -> i64:
    """Rename within a folder, over what has the name."""
    return syscall(Call.renameat, u64(folder), u64(old), u64(folder), u64(new))


@native
def unlink_in(folder: i64, name: ptr[u8]) -> i64:
    """Remove a name of a folder."""
    return syscall(Call.unlinkat, u64(folder), u64(name), 0)


@native
def make_nonblocking(fd: i64) -> None:
    """Reads and writes that would wait give EAGAIN."""
    syscall(Call.fcntl, u64(fd), _F_SETFL, O_NONBLOCK)


@native
def clock(which: u64, room: ptr[u64]) -> u64:
    """Nanoseconds of a clock; `room` is for two words."""
    syscall(Call.clock_gettime, which, u64(room))
    return room[0] * NANOSECONDS + room[1]


@native
def wall_clock(room: ptr[u64]) -> u64:
    """Nanoseconds since 1970."""
    return clock(_CLOCK_REALTIME, room)


@native
def steady_clock(room: ptr[u64]) -> u64:
    """Nanoseconds that only grow."""
    return clock(_CLOCK_MONOTONIC, room)
