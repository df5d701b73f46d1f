"""What the guest's kernel is told about its network: the host makes the messages (rtnetlink(7)), the agent carries them there."""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.calls import ENOMEM, close, map_memory, read, unmap, write
from gasang.kinds.vm.agent.guest.state import State
from gasang.native import cast, i32, i64, native, ptr, syscall, u8, u16, u32, u64

_NETLINK, _RAW, _ROUTE = 16, 0x80803, 0
"""AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE."""
_ROOM: Final = 64 * 1024
_ERROR: Final = 2
_HEADER: Final = 16


@native
def worst_of(room: u64, size: u64, worst: i64) -> i64:
    """The first error among the kernel's answers, if there is none yet."""
    at: u64 = 0
    while at + _HEADER + 4 <= size:
        header = cast(ptr[u32], room + at)  # struct nlmsghdr: u32 length, u16 kind …; behind an error's the number
        if cast(ptr[u16], room + at)[2] == _ERROR and worst >= 0:
            worst = i64(cast(ptr[i32], room + at)[4])
        if header[0] < _HEADER:
            break
        at += (u64(header[0]) + 3) & ~u64(3)
    return worst


@native(inline=False)
def tell_network(s: ptr[State], content: ptr[u8], size: u64) -> i64:
    """Carry the messages there; 0 or the first error. Those behind one that is refused are carried out all the same."""
    g = s.given
    fd = syscall(g.calls.socket, _NETLINK, _RAW, _ROUTE)
    if fd < 0:
        return fd
    room = map_memory(g, _ROOM)
    result: i64 = ENOMEM
    if room != 0:
        result = write(g, fd, content, size)  # when it returns, all are carried out and answered
        got: i64 = 1
        while result >= 0 and got > 0:
            got = read(g, fd, cast(ptr[u8], room), _ROOM)
            if got > 0:
                result = worst_of(room, u64(got), result)
        unmap(g, room, _ROOM)
    close(g, fd)
    return result if result < 0 else 0
