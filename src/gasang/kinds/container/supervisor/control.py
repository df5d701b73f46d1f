"""Control connections: who may connect, what they ask, what they are answered. Whatever is malformed ends its connection."""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import (
    EAGAIN,
    EBADF,
    EBUSY,
    EINTR,
    EINVAL,
    ENOSPC,
    ENOTTY,
    EPROTO,
    ESRCH,
    O_CLOEXEC,
    O_NONBLOCK,
    Call,
    close,
    make_nonblocking,
)
from gasang.kinds.container.supervisor.clients import finish, kept, send_input, send_kept
from gasang.kinds.container.supervisor.log import open_log
from gasang.kinds.container.supervisor.messages import hang_up, receive, send_status
from gasang.kinds.container.supervisor.process import go_on, may_start, signal
from gasang.kinds.container.supervisor.protocol import (
    ATTACH,
    BY_REQUEST,
    CLOSE_STDIN,
    DETACH,
    EARLY,
    EXITED,
    FEED,
    FINISHED,
    GO_ON,
    HELD,
    LEAVE,
    MESSAGE_MAGIC,
    MOST_KEYS,
    RELEASE,
    REOPEN_LOG,
    RESIZE,
    SIGNAL,
    START,
    STATUS,
    SUBSCRIBE,
    VERSION,
    WAITING,
    Request,
)
from gasang.kinds.container.supervisor.state import MOST_CLIENTS, MOST_CONNECTIONS, Client, Connection, State
from gasang.kinds.container.supervisor.stdio import resize
from gasang.native import boolean, cast, copy, i32, i64, native, null, ptr, ref, sizeof, syscall, u8, u16, u32, u64

_SOL_SOCKET, _SO_PEERCRED = 1, 17
_MOST_SIGNAL: Final = 64
_KNOWN_FLAGS: Final = 255


@native
def is_trusted(s: ptr[State], fd: i64) -> boolean:
    """Whether the peer is root or whoever runs us."""
    credentials = cast(ptr[u32], ref(s.words))  # pid, uid, gid
    size = cast(ptr[u32], ref(s.words) + 4)
    size[0] = 12
    if syscall(Call.getsockopt, u64(fd), _SOL_SOCKET, _SO_PEERCRED, u64(credentials), u64(size)) < 0:
        return False
    return credentials[1] == 0 or credentials[1] == u32(syscall(Call.geteuid))


@native
def add_connection(s: ptr[State], fd: i64) -> None:
    """Take a connection in, or close it if there are too many."""
    for i in range(u64(MOST_CONNECTIONS)):
        connection = ref(s.connections[i])
        if connection.used == 0:
            s.numbers += 1
            connection.used = 1
            connection.subscribed = 0
            connection.fd = fd
            connection.number = s.numbers
            return
    close(fd)


@native(inline=False)
def accept(s: ptr[State]) -> None:
    """Somebody has connected."""
    fd = syscall(Call.accept4, u64(s.listener), 0, 0, O_NONBLOCK | O_CLOEXEC)
    if fd < 0:
        s.cannot_accept = 1  # most likely there are no descriptors left
        return
    if is_trusted(s, fd):
        add_connection(s, fd)
    else:
        close(fd)


@native
def attach(s: ptr[State], connection: ptr[Connection], request: ptr[Request], fd: i64) -> i64:
    """Attach the descriptor; its number, or an error (the descriptor is closed then)."""
    if fd < 0:
        return EBADF
    if s.status.state == FINISHED or request.flags & ~u32(_KNOWN_FLAGS) != 0 or request.key_count > MOST_KEYS:
        close(fd)
        return ESRCH if s.status.state == FINISHED else EINVAL
    for i in range(u64(MOST_CLIENTS)):
        client = ref(s.clients[i])
        if client.used == 0:
            s.numbers += 1
            s.status.clients += 1
            client.used = 1
            client.flags = request.flags
            client.fd = fd
            client.early = -1
            client.number = s.numbers
            client.owner = connection.number
            client.ring = 0
            client.sent = 0
            client.kept = 0
            client.input_over = 0
            client.matched = 0
            client.ending = 0
            client.key_count = request.key_count
            copy(ref(client.keys), ref(request.keys), MOST_KEYS)
            make_nonblocking(fd)
            return i64(client.number)
    close(fd)
    return ENOSPC


@native
def find_client(s: ptr[State], number: i64) -> ptr[Client]:
    """The client of a number, or null."""
    for i in range(u64(MOST_CLIENTS)):
        if s.clients[i].used != 0 and s.clients[i].number == u64(number):
            return ref(s.clients[i])
    return null


@native
def change_client(s: ptr[State], kind: u16, number: i64) -> i64:
    """RELEASE or DETACH; 0 or an error."""
    client = find_client(s, number)
    if client == null:
        return ESRCH
    if kind == DETACH:
        finish(s, client, BY_REQUEST)
        return 0
    client.flags = client.flags & ~u32(HELD)
    if kept(client) != 0 or client.ending != 0:
        send_kept(s, client)
    return 0


@native
def feed(s: ptr[State], number: i64, fd: i64) -> i64:
    """FEED; 0 or an error (the descriptor is closed then)."""
    client = find_client(s, number)
    if client == null or client.flags & EARLY == 0 or client.early >= 0 or fd < 0:
        close(fd)
        return ESRCH
    client.early = fd
    return 0


@native
def resize_terminal(s: ptr[State], rows: i64, columns: i64) -> i64:
    """RESIZE; 0 or an error. Before the start it is remembered."""
    if rows < 0 or rows > 0xFFFF or columns < 0 or columns > 0xFFFF:
        return EINVAL
    s.config.rows = u16(rows)
    s.config.columns = u16(columns)
    if s.status.state == WAITING:
        return 0
    if s.terminal == 0:
        return ENOTTY
    return resize(s, u16(rows), u16(columns))


@native
def leave(s: ptr[State]) -> i64:
    """LEAVE; 0 or an error."""
    if s.status.state != WAITING:
        return EBUSY
    s.status.state = FINISHED
    return 0


@native
def obey(s: ptr[State], connection: ptr[Connection], request: ptr[Request], fd: i64) -> i64:
    """Do what is asked; not negative, or an error."""
    kind = request.kind
    if kind == ATTACH:
        return attach(s, connection, request, fd)
    if kind == FEED:
        return feed(s, request.first, fd)
    close(fd)
    if kind == START:
        return may_start(s)
    if kind == GO_ON:
        return go_on(s)
    if kind == RESIZE:
        return resize_terminal(s, request.first, request.second)
    if kind == SIGNAL:
        return EINVAL if request.first < 0 or request.first > _MOST_SIGNAL else signal(s, request.first)
    if kind == STATUS:
        return 0
    if kind == SUBSCRIBE:
        connection.subscribed = 1
        if s.status.state == FINISHED:
            send_status(s, connection, EXITED, 0, 0, 0)
        return 0
    if kind == CLOSE_STDIN:
        s.input_ending = 1
        send_input(s)
        return 0
    if kind == REOPEN_LOG:
        return open_log(s)
    if kind == LEAVE:
        return leave(s)
    if kind == RELEASE or kind == DETACH:
        return change_client(s, kind, request.first)
    return EPROTO


@native(inline=False)
def serve(s: ptr[State], connection: ptr[Connection]) -> None:
    """A packet has come, or the connection's end."""
    request = cast(ptr[Request], ref(s.text))
    n = receive(s, connection.fd, cast(ptr[u8], request), sizeof(Request))
    if n == EINTR or n == EAGAIN:
        return
    fd = s.received
    whole = n == i64(sizeof(Request))
    if not whole or request.magic != MESSAGE_MAGIC or request.version != VERSION:
        close(fd)
        if n > 0:
            send_status(s, connection, 0, 0, EPROTO, 0)
        if connection.used != 0:
            hang_up(connection)
        return
    kind = request.kind
    tag = request.tag
    result = obey(s, connection, request, fd)
    error = i32(result) if result < 0 else 0
    if connection.used != 0:
        send_status(s, connection, u32(kind), tag, error, u64(result) if result > 0 else 0)
