"""The system calls of the compiled code, and a lock that sleeps. Results are the kernel's: not negative, or minus the error's number."""

from __future__ import annotations

from typing import Final

from gasang.host.syscalls import number
from gasang.native import atomic_swap, compare_exchange, i64, native, ptr, syscall, u32, u64


class Call:
    """Numbers of system calls."""

    write = number("write")
    writev = number("writev")
    preadv = number("preadv")
    pwritev = number("pwritev")
    epoll_pwait = number("epoll_pwait")
    futex = number("futex")


EINTR: Final = -4
_WAIT, _WAKE = 128, 129
"""FUTEX_WAIT and FUTEX_WAKE, private to the process."""
_FREE, _TAKEN, _WANTED = 0, 1, 2


@native
def lock(word: ptr[u32]) -> None:
    """Take it; sleep while somebody else has it (futex(2))."""
    if compare_exchange(word, _FREE, _TAKEN) == _FREE:
        return
    while atomic_swap(word, _WANTED) != _FREE:
        syscall(Call.futex, u64(word), _WAIT, _WANTED, 0, 0, 0)


@native
def unlock(word: ptr[u32]) -> None:
    """Give it back."""
    if atomic_swap(word, _FREE) == _WANTED:
        syscall(Call.futex, u64(word), _WAKE, 1, 0, 0, 0)


@native
def raise_event(descriptor: i64, one: ptr[u64]) -> None:
    """Count an eventfd up; `one` is a place for the number."""
    one[0] = 1
    syscall(Call.write, u64(descriptor), u64(one), 8)
