"""Packets to control connections. One that does not take its packets is closed: nothing is kept for it."""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import Call, close
from gasang.kinds.container.supervisor.protocol import DETACHED, MESSAGE_MAGIC, VERSION, Status
from gasang.kinds.container.supervisor.state import MOST_CONNECTIONS, Connection, State
from gasang.native import cast, i32, i64, native, ptr, ref, sizeof, syscall, u8, u16, u32, u64

_DONTWAIT_NOSIGNAL: Final = 0x40 | 0x4000
_DONTWAIT_CLOEXEC: Final = 0x40 | 0x4000_0000
_TRUNCATED: Final = 0x20
_SOL_SOCKET, _SCM_RIGHTS = 1, 1
_RIGHTS_OF_ONE: Final = 20  # struct cmsghdr with one descriptor, so that the kernel never hands us a second


@native
def hang_up(connection: ptr[Connection]) -> None:
    """Close a control connection."""
    close(connection.fd)
    connection.used = 0


@native
def send_status(s: ptr[State], connection: ptr[Connection], kind: u32, tag: u32, error: i32, value: u64) -> None:
    """Send the present state as an answer or as news."""
    status = ref(s.status)
    status.magic = MESSAGE_MAGIC
    status.version = VERSION
    status.kind = u16(kind)
    status.tag = tag
    status.error = error
    status.value = value
    status.log_size = s.log.size
    size = sizeof(Status)
    sent = syscall(Call.sendto, u64(connection.fd), u64(status), size, _DONTWAIT_NOSIGNAL, 0, 0)
    if sent != i64(size):
        hang_up(connection)


@native
def receive(s: ptr[State], socket: i64, to: ptr[u8], size: u64) -> i64:
    """One packet: its size, 0 for the end, or an error. `received` is the descriptor that came with it (never more than one), or -1.

    A packet longer than `size` gives more than `size`.
    """
    pieces = ref(s.words)
    rights = ref(s.words) + 2
    message = ref(s.words) + 8
    pieces[0] = u64(to)
    pieces[1] = size
    for i in range(u64(3)):
        rights[i] = 0
    message[0] = 0
    message[1] = 0
    message[2] = u64(pieces)
    message[3] = 1
    message[4] = u64(rights)
    message[5] = _RIGHTS_OF_ONE
    message[6] = 0
    s.received = -1
    n = syscall(Call.recvmsg, u64(socket), u64(message), _DONTWAIT_CLOEXEC)
    if n < 0:
        return n
    if message[5] >= _RIGHTS_OF_ONE and u32(rights[1]) == _SOL_SOCKET and u32(rights[1] >> 32) == _SCM_RIGHTS:
        s.received = i64(cast(ptr[i32], rights + 2)[0])
    return i64(size) + 1 if u32(message[6]) & _TRUNCATED != 0 else n


@native
def announce(s: ptr[State], kind: u32, value: u64, reason: u32) -> None:
    """Tell all who have subscribed. For DETACHED the reason stands where the exit code stands otherwise."""
    code = s.status.code
    if kind == DETACHED:
        s.status.code = i32(reason)
    for i in range(u64(MOST_CONNECTIONS)):
        connection = ref(s.connections[i])
        if connection.used != 0 and connection.subscribed != 0:
            send_status(s, connection, kind, 0, 0, value)
    s.status.code = code
