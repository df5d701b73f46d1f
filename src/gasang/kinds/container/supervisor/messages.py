"""Packets to control connections. One that does not take its packets is closed: nothing is kept for it."""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import Call, close
from gasang.kinds.container.supervisor.protocol import DETACHED, MESSAGE_MAGIC, VERSION, Status
from gasang.kinds.container.supervisor.state import MOST_CONNECTIONS, Connection, State
from gasang.native import i32, i64, native, ptr, ref, sizeof, syscall, u16, u32, u64

_DONTWAIT_NOSIGNAL: Final = 0x40 | 0x4000


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
