"""Everything a supervisor knows, in one zeroed piece of memory. A descriptor of -1 is none."""

from __future__ import annotations

from typing import Final

from gasang.kinds.container.layout import Event, Spawned
from gasang.kinds.container.supervisor.protocol import Config, Status
from gasang.native import array, i16, i32, i64, length, ptr, struct, u8, u32, u64

MOST_CLIENTS: Final = 32
MOST_CONNECTIONS: Final = 32
MOST_POLLED: Final = MOST_CLIENTS + MOST_CONNECTIONS + 8

PIECE: Final = 16 * 1024
"""The longest entry of the log; a longer line is split."""
READ: Final = 64 * 1024
STREAM_BUFFER: Final = PIECE + READ
LOG_BUFFER: Final = 512 * 1024
INPUT_BUFFER: Final = 64 * 1024
RING: Final = 1024 * 1024
"""What is kept for a client that does not read."""
RING_HIGH: Final = RING // 2
"""From here on a patient client holds the process up. What is read meanwhile must fit in the rest, and the pipes' content after the end."""


@struct
class Client:
    """Somebody attached: the descriptor that output goes to and input comes from, and what could not be sent yet."""

    used: u32
    flags: u32
    fd: i64
    early: i64  # a file that its input begins with
    number: u64
    owner: u64  # number of the connection that attached it
    ring: u64
    sent: u64
    kept: u64
    since: u64  # steady time of the last progress while something is kept
    input_over: u32
    key_count: u32
    matched: u32
    ending: u32  # 1: let go of it when everything is sent
    keys: array[u8] = length(16)


@struct
class Connection:
    """A control connection."""

    used: u32
    subscribed: u32
    fd: i64
    number: u64


@struct
class Stream:
    """An output of the process: descriptor, buffer, and the piece of a line that waits for its end."""

    fd: i64
    number: u64  # 1 stdout, 2 stderr
    buffer: u64
    carried: u64
    time_size: u64  # of the time that all pieces of a split line have; 0: no line is split
    time: array[u8] = length(32)


@struct
class Log:
    """The file that output goes to."""

    fd: i64
    size: u64
    buffer: u64
    used: u64


@struct
class Polled:
    """struct pollfd."""

    fd: i32
    events: i16
    revents: i16


@struct
class State:
    """A supervisor."""

    config: ptr[Config]
    plan: u64  # the file with configuration and plan, until it is done
    plan_size: u64
    status: Status
    folder: i64
    listener: i64
    signals: i64
    pidfd: i64
    watched: i64  # the status pipe of spawn, until the process has executed its program
    console: i64  # where the plan sends a terminal's master
    received: i64  # the descriptor that came with the last packet
    barrier: i64  # lets a stopped process go on
    input: i64
    oom: i64
    oom_before: u64
    may_start: u32
    input_ending: u32
    exited: u32
    terminal: u32
    stopped: u32
    cannot_accept: u32
    numbers: u64
    input_buffer: u64
    input_from: u64
    input_to: u64
    deadline: u64
    idle: u32
    polled_count: u32
    streams: array[Stream] = length(2)
    log: Log
    clients: array[Client] = length(MOST_CLIENTS)
    connections: array[Connection] = length(MOST_CONNECTIONS)
    polled: array[Polled] = length(MOST_POLLED)
    meaning: array[u32] = length(MOST_POLLED)
    outcome: Spawned  # of the plan
    event: Event
    words: array[u64] = length(32)  # for calls that want memory; what is in it does not outlive the next call
    text: array[u8] = length(512)
