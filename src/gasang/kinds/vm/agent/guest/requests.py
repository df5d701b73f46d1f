"""Requests that one answer serves. Those about the whole machine are refused where it is not the agent's."""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.calls import (
    AVAILABLE,
    CLOCK_BOOTTIME,
    CLOCK_REALTIME,
    EINVAL,
    EPERM,
    MEMINFO,
    O_DIRECTORY,
    O_RDONLY,
    O_WRONLY,
    SIGTERM,
    URANDOM,
    begins_with,
    clock,
    close,
    map_memory,
    open_path,
    read,
    set_clock,
    text,
    unmap,
    write,
)
from gasang.kinds.vm.agent.guest.messages import answer, say
from gasang.kinds.vm.agent.guest.network import tell_network
from gasang.kinds.vm.agent.guest.power import MOST_SIGNAL, shut_down
from gasang.kinds.vm.agent.guest.state import MOST_SESSIONS, Session, State
from gasang.kinds.vm.agent.protocol import (
    ANSWER,
    GROW,
    HEALTH,
    HEALTH_SIZE,
    HELLO,
    HELLO_SIZE,
    IDENTITY,
    IDENTITY_SIZE,
    MOST_GRACE,
    MOST_NAME,
    NETWORK,
    SEED_SIZE,
    SET_NAME,
    SET_TIME,
    SHUTDOWN,
    VERSION,
    WHOLE_MACHINE,
    Health,
    Hello,
    Identity,
)
from gasang.native import array, cast, copy, i32, i64, length, load_unaligned, native, ptr, ref, struct, syscall, u8, u16, u32, u64

_RESEED: Final = 0x5207  # RNDRESEEDCRNG
_RESIZE: Final = 0x40086610  # EXT4_IOC_RESIZE_FS: _IOW('f', 16, __u64)
_MEMINFO_SIZE: Final = 4096
_ZERO: Final = 0x30


@struct
class SystemInformation:
    """struct sysinfo of sysinfo(2), and what the kernel may add to it."""

    uptime: i64
    loads: array[u64] = length(3)
    memory: u64
    free: u64
    shared: u64
    buffers: u64
    swap: u64
    swap_free: u64
    processes: u16
    unit_at: array[u16] = length(3)
    high: u64
    high_free: u64
    unit: u32
    rest: array[u32] = length(9)


@native
def count_sessions(s: ptr[State]) -> u32:
    """Connections that are open."""
    count: u32 = 0
    for i in range(u64(MOST_SESSIONS)):
        if s.sessions[i].memory != 0:
            count += 1
    return count


@native
def say_hello(s: ptr[State], session: ptr[Session]) -> None:
    """Who we are."""
    hello = cast(ptr[Hello], ref(s.words))
    hello.version = VERSION
    hello.flags = WHOLE_MACHINE if s.whole_machine != 0 else 0
    hello.pid = i32(syscall(s.given.calls.getpid))
    hello.sessions = count_sessions(s)
    say(session, ANSWER, 0, cast(ptr[u8], hello), HELLO_SIZE)


@native(inline=False)
def available_memory(s: ptr[State]) -> u64:
    """Bytes that programs could have, by /proc/meminfo (in KiB there); 0 where it does not say."""
    g = s.given
    room = map_memory(g, _MEMINFO_SIZE)
    fd = open_path(g, text(g, MEMINFO), O_RDONLY)
    if room == 0 or fd < 0:
        close(g, fd)
        return 0
    content = cast(ptr[u8], room)
    size = read(g, fd, content, _MEMINFO_SIZE - 1)
    close(g, fd)
    kilobytes: u64 = 0
    at: i64 = 0
    while at < size and not begins_with(content + u64(at), text(g, AVAILABLE)):
        at += 1
    while at < size and u64(content[at]) - _ZERO > 9:
        at += 1
    while at < size and u64(content[at]) - _ZERO <= 9:
        kilobytes = kilobytes * 10 + u64(content[at]) - _ZERO
        at += 1
    unmap(g, room, _MEMINFO_SIZE)
    return kilobytes * 1024


@native(inline=False)
def say_health(s: ptr[State], session: ptr[Session]) -> None:
    """How the guest is."""
    g = s.given
    uptime = clock(g, CLOCK_BOOTTIME, ref(s.words))
    time = clock(g, CLOCK_REALTIME, ref(s.words))
    available = available_memory(s)
    known = cast(ptr[SystemInformation], ref(s.words))
    health = cast(ptr[Health], ref(s.words) + 24)
    syscall(g.calls.sysinfo, u64(known))
    health.uptime = uptime
    health.time = time
    for i in range(u64(3)):
        health.loads[i] = known.loads[i]
    unit = u64(known.unit)
    health.memory = known.memory * unit
    health.free = known.free * unit
    health.available = available
    health.swap = known.swap * unit
    health.swap_free = known.swap_free * unit
    health.processes = u32(known.processes)
    health.sessions = count_sessions(s)
    say(session, ANSWER, 0, cast(ptr[u8], health), HEALTH_SIZE)


@native
def set_name(s: ptr[State], name: ptr[u8], size: u64) -> i64:
    """Set the host name; 0 or an error."""
    return syscall(s.given.calls.sethostname, u64(name), size)


@native
def stir(s: ptr[State], seed: ptr[u8]) -> i64:
    """Have the kernel's random numbers go on from a seed of the host's besides what they had; 0 or an error."""
    g = s.given
    fd = open_path(g, text(g, URANDOM), O_WRONLY)
    if fd < 0:
        return fd
    result = write(g, fd, seed, SEED_SIZE)
    if result >= 0:
        result = syscall(g.calls.ioctl, u64(fd), _RESEED, 0)
    close(g, fd)
    return result


@native(inline=False)
def become_another(s: ptr[State], content: ptr[u8]) -> i64:
    """Take what an IDENTITY gives; 0 or the first error."""
    identity = cast(ptr[Identity], ref(s.words) + 8)
    copy(cast(ptr[u8], identity), content, IDENTITY_SIZE)
    if identity.name_size > MOST_NAME or identity.reserved != 0:
        return EINVAL
    result = stir(s, ref(identity.seed))
    if result >= 0 and identity.time != 0:
        result = set_clock(s.given, identity.time, ref(s.words))
    if result >= 0 and identity.name_size != 0:
        result = set_name(s, ref(identity.name), u64(identity.name_size))
    return result if result < 0 else 0


@native(inline=False)
def grow(s: ptr[State], content: ptr[u8], size: u64) -> i64:
    """Have a file system that is mounted use as many blocks as a GROW says; 0 or an error."""
    g = s.given
    if content[size - 1] != 0:
        return EINVAL
    fd = open_path(g, content + 8, O_RDONLY | O_DIRECTORY)
    if fd < 0:
        return fd
    s.words[0] = load_unaligned(cast(ptr[u64], content))
    result = syscall(g.calls.ioctl, u64(fd), _RESIZE, u64(ref(s.words)))
    close(g, fd)
    return result


@native(inline=False)
def change_machine(s: ptr[State], kind: u64, value: i64, content: ptr[u8], size: u64) -> i64:
    """Serve a request about the whole machine; 0 or an error."""
    if s.whole_machine == 0:
        return EPERM
    if kind == SET_TIME:
        return set_clock(s.given, load_unaligned(cast(ptr[u64], content)), ref(s.words))
    if kind == SET_NAME:
        return set_name(s, content, size)
    if kind == IDENTITY:
        return become_another(s, content)
    if kind == NETWORK:
        return tell_network(s, content, size)
    if kind == GROW:
        return grow(s, content, size)
    if kind == SHUTDOWN and value >= 0 and value <= MOST_GRACE:
        number: u64 = SIGTERM
        if size == 4:
            number = u64(load_unaligned(cast(ptr[u32], content)))
        return shut_down(s, u64(value), number) if number >= 1 and number <= MOST_SIGNAL else EINVAL
    return EINVAL


@native
def serve(s: ptr[State], session: ptr[Session], kind: u64, value: i64, content: ptr[u8], size: u64) -> None:
    """Serve a request that is about no command."""
    if kind == HELLO:
        say_hello(s, session)
    elif kind == HEALTH:
        say_health(s, session)
    else:
        answer(session, change_machine(s, kind, value, content, size))
