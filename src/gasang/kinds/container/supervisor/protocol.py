"""What goes between the daemon and a supervisor: the start configuration, requests, answers, and the records on disk.

A supervisor is started with descriptors at fixed numbers (FD_…). Over its control socket (SOCK_SEQPACKET, one struct a packet) each
Request gets one Status with the same kind and tag; a connection that has subscribed also gets Status packets that nobody asked for,
with tag 0 and kind STARTED, EXITED or DETACHED. The record of the end on disk is a Status too. Numbers are little-endian.

A process whose supervisor was killed leaves a folder with a record of its start and none of its end, and a control socket at which
nobody listens. The supervisor keeps the process's standard streams at 0, 1 and 2 while it is spawned, and has all signals blocked.
"""

from __future__ import annotations

from typing import Final

from gasang.native import array, i32, i64, length, struct, u8, u16, u32, u64

CONFIG_MAGIC: Final = int.from_bytes(b"gasangsv", "little")
MESSAGE_MAGIC: Final = int.from_bytes(b"gsv1", "little")
VERSION: Final = 1

FD_CONTROL: Final = 3
"""The listening control socket."""
FD_CONFIG: Final = 4
"""A file of the Config with the plan."""
FD_FOLDER: Final = 5
"""The machine's folder: log, records, control socket."""
FD_FIRST: Final = 6
"""The launcher's own control connection."""
FD_TERMINAL: Final = 7
"""The master of a terminal, where TERMINAL_GIVEN says so."""
FD_CONSOLE: Final = 7
"""A socket for the plan to send the master of a terminal over, where TERMINAL_LATER says so."""
FD_EXTRA: Final = 8
"""The first of `extra` descriptors that the plan wants; they are closed when it is done."""

# Flags of a Config.
TERMINAL: Final = 1
"""The process's streams are a terminal, which the supervisor allocates."""
TERMINAL_GIVEN: Final = 2
"""They are a terminal whose master is FD_TERMINAL; the plan sees to the process's side."""
OPEN_STDIN: Final = 4
"""There is a standard input (where there is no terminal); else it is /dev/null."""
LOG: Final = 8
"""Output goes to the log."""
START_AT_ONCE: Final = 16
"""Do not wait for START."""
EPHEMERAL: Final = 32
"""Nobody needs the record after a crash of the host: it is not forced to the disk."""

TERMINAL_LATER: Final = 64
"""They are a terminal that the plan makes: its master comes over FD_CONSOLE."""

# Kinds of requests.
START: Final = 1
ATTACH: Final = 2
RESIZE: Final = 3
SIGNAL: Final = 4
STATUS: Final = 5
SUBSCRIBE: Final = 6
CLOSE_STDIN: Final = 7
REOPEN_LOG: Final = 8
LEAVE: Final = 9
"""End without having started anything."""
RELEASE: Final = 10
"""Let a HELD client (its number in `first`) have its output."""
DETACH: Final = 11
"""Let go of a client (its number in `first`)."""
GO_ON: Final = 12
"""Let a process go on from where it has stopped in its plan, and stop again at the next place; START lets it go on from all."""
FEED: Final = 13
"""What an EARLY client (its number in `first`) has sent already: a file, read to its end before anything of the client's own."""
# Kinds of packets that nobody asked for.
STARTED: Final = 32
EXITED: Final = 33
DETACHED: Final = 34
# Kinds of records on disk.
START_RECORD: Final = 48
EXIT_RECORD: Final = 49

# Flags of ATTACH.
WANT_STDIN: Final = 1
WANT_STDOUT: Final = 2
WANT_STDERR: Final = 4
MULTIPLEXED: Final = 8
"""Output in frames of stream number, three zeroes and length, as Docker's."""
PATIENT: Final = 16
"""A full buffer holds the process up; without it, the client is cut off."""
ENDS_STDIN: Final = 32
"""When this client's input ends, the process's standard input ends."""
HELD: Final = 64
"""Output is collected and sent after RELEASE: meanwhile the daemon sends the log up to `logged` of the answer."""
EARLY: Final = 128
"""Its input begins with what FEED will bring."""

# States.
WAITING: Final = 0
"""Nothing has been started."""
STOPPED: Final = 1
"""The process exists and waits in its plan for START."""
RUNNING: Final = 2
DRAINING: Final = 3
"""It has ended; its output is still being read."""
FINISHED: Final = 4

# Why a client was detached (`value` of DETACHED is its number, `code` the reason).
BY_KEYS: Final = 1
GONE: Final = 2
TOO_SLOW: Final = 3
AT_END: Final = 4
BY_REQUEST: Final = 5

START_NAME: Final = "started"
EXIT_NAME: Final = "exit"
CONTROL_NAME: Final = "control"
"""Files in the machine's folder: records of start and end, and the control socket."""

MOST_KEYS: Final = 16
PATH_SIZE: Final = 512
NAME_SIZE: Final = 64


@struct
class Config:
    """How a supervisor is started. The plan's bytes are at `plan_offset` of the same file."""

    magic: u64
    version: u32
    flags: u32
    plan_offset: u64
    plan_length: u64
    log_size: u64  # bytes from which on a log file is full; 0: never
    log_count: u32  # log files kept
    linger: u32  # milliseconds that output may stay open after the process's end
    rows: u16
    columns: u16
    extra: u32
    oom_path: array[u8] = length(PATH_SIZE)
    log_name: array[u8] = length(NAME_SIZE)


@struct
class Request:
    """A packet to a supervisor."""

    magic: u32
    version: u16
    kind: u16
    tag: u32
    flags: u32
    first: i64
    second: i64
    key_count: u32
    reserved: u32
    keys: array[u8] = length(MOST_KEYS)


@struct
class Status:
    """A packet from a supervisor, or a record on disk."""

    magic: u32
    version: u16
    kind: u16
    tag: u32
    error: i32  # of the request: 0, or minus an error's number
    state: u32
    pid: i32
    code: i32  # exit code; 128 + signal where a signal ended it
    signal: i32
    oom: u32
    failed_list: i32  # of the plan, where its operation `failed_operation` gave the error `failed_errno` (0: none has failed)
    failed_operation: i32
    failed_errno: i32
    clients: u32
    stop: u32  # where it has stopped in its plan: the value it has reported
    started: u64  # nanoseconds since 1970
    finished: u64
    value: u64
    logged: u64  # bytes written to the log by this supervisor
    lost: u64  # bytes of output that the log could not take
    log_size: u64  # of the newest log file
    rotations: u64  # times that a new one has been begun
