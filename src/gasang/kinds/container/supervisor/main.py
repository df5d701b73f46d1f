"""The supervisor's program."""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.supervisor.calls import (
    O_CLOEXEC,
    O_NONBLOCK,
    Call,
    file_size,
    map_file,
    map_memory,
    unlink_in,
    word,
)
from gasang.kinds.container.supervisor.control import add_connection
from gasang.kinds.container.supervisor.log import open_log
from gasang.kinds.container.supervisor.loop import run
from gasang.kinds.container.supervisor.process import start
from gasang.kinds.container.supervisor.protocol import (
    CONFIG_MAGIC,
    FD_CONFIG,
    FD_CONTROL,
    FD_EXTRA,
    FD_FIRST,
    FD_FOLDER,
    FD_TERMINAL,
    NAME_SIZE,
    PATH_SIZE,
    START_AT_ONCE,
    TERMINAL_GIVEN,
    VERSION,
    Config,
)
from gasang.kinds.container.supervisor.record import CONTROL_WORD, name_at
from gasang.kinds.container.supervisor.state import INPUT_BUFFER, LOG_BUFFER, STREAM_BUFFER, State
from gasang.kinds.container.supervisor.stdio import make_nothing
from gasang.native import boolean, cast, copy, i32, i64, native, null, ptr, ref, sizeof, syscall, u8, u64

BAD_START: Final = 125
"""Exit code where there is no sound configuration or no memory."""
_SUBREAPER, _SET_NAME = 36, 15
_BLOCK = 0
_CLOSE_ON_EXEC = 4
_NAME: Final = (word("gasang-s"), word("uperv"))
NAME_1, NAME_2 = _NAME
ROOT: Final = word("/")
SIGNALS: Final = 1 << 16 | 1 << 14 | 1 << 1
"""SIGCHLD, SIGTERM, SIGINT."""


@native
def is_sound(config: ptr[Config], size: u64) -> boolean:
    """Whether a configuration can be used."""
    if config.magic != CONFIG_MAGIC or config.version != VERSION:
        return False
    inside = config.plan_offset <= size and config.plan_length <= size - config.plan_offset
    ended = config.oom_path[PATH_SIZE - 1] == 0 and config.log_name[NAME_SIZE - 1] == 0
    return inside and ended and config.plan_offset % 8 == 0


@native
def make_state(file: u64, size: u64) -> ptr[State]:
    """Fresh state, or null if there is no memory."""
    buffers: u64 = STREAM_BUFFER * 2 + LOG_BUFFER + INPUT_BUFFER * 2
    address = map_memory(sizeof(State) + sizeof(Config))
    memory = map_memory(buffers)
    if address == 0 or memory == 0:
        return null
    s = cast(ptr[State], address)
    s.config = cast(ptr[Config], address + sizeof(State))
    copy(cast(ptr[u8], s.config), cast(ptr[u8], file), sizeof(Config))
    s.plan = file
    s.plan_size = size
    s.folder = FD_FOLDER
    s.listener = FD_CONTROL
    s.pidfd = -1
    s.watched = -1
    s.barrier = -1
    s.console = -1
    s.input = -1
    s.oom = -1
    s.log.fd = -1
    for i in range(u64(2)):
        s.streams[i].fd = -1
        s.streams[i].number = i + 1
        s.streams[i].buffer = memory + i * STREAM_BUFFER
    s.log.buffer = memory + 2 * STREAM_BUFFER
    s.input_buffer = s.log.buffer + LOG_BUFFER
    return s


@native
def settle(s: ptr[State]) -> None:
    """Be alone: own session, no inherited descriptors but the known ones, every signal blocked and those of interest read from a file."""
    first: u64 = FD_EXTRA + u64(s.config.extra)
    syscall(Call.close_range, first, 0xFFFF_FFFF, 0)
    if s.config.flags & TERMINAL_GIVEN == 0:
        syscall(Call.dup3, FD_FOLDER, FD_TERMINAL, O_CLOEXEC)  # so that nothing else gets this number
    syscall(Call.close_range, 3, 0xFFFF_FFFF, _CLOSE_ON_EXEC)
    syscall(Call.setsid)
    name = ref(s.words)
    name[0] = NAME_1
    name[1] = NAME_2
    syscall(Call.prctl, _SET_NAME, u64(name), 0, 0, 0)
    syscall(Call.prctl, _SUBREAPER, 1, 0, 0, 0)
    name[0] = ROOT
    syscall(Call.chdir, u64(name))
    name[0] = ~u64(0)
    syscall(Call.rt_sigprocmask, _BLOCK, u64(name), 0, 8)
    name[0] = SIGNALS
    s.signals = syscall(Call.signalfd4, u64(i64(-1)), u64(name), 8, O_NONBLOCK | O_CLOEXEC)


@native
def supervise(stack: ptr[u64]) -> i32:
    """The program's entry."""
    size = file_size(FD_CONFIG)
    if size < i64(sizeof(Config)):
        return BAD_START
    file = map_file(FD_CONFIG, u64(size))
    if file == 0 or not is_sound(cast(ptr[Config], file), u64(size)):
        return BAD_START
    syscall(Call.close, FD_CONFIG)
    s = make_state(file, u64(size))
    if s == null:
        return BAD_START
    if make_nothing(s) < 0:
        return BAD_START
    settle(s)
    if open_log(s) < 0:
        return BAD_START
    add_connection(s, FD_FIRST)
    if s.config.flags & START_AT_ONCE != 0:
        start(s)
    run(s)
    unlink_in(FD_FOLDER, name_at(s, 0, CONTROL_WORD))
    return 0
