"""What host and guest agent say to each other, described once: the agent is compiled from this file, and the client imports it.

A connection carries messages: a Header and as many bytes as it says. Numbers are little-endian. The host asks first; each request but
EXEC gets one ANSWER. A connection is used for one EXEC at most: STARTED, then OUTPUT and ERRORS as they come, and ENDED, after which
the agent says nothing more. While the command runs the host may send INPUT, SIGNAL and RESIZE.

Input is under credit: the host may have sent WINDOW bytes more than CREDIT has said to be taken, so the agent can always read on and
no signal waits behind input that nobody takes. Output needs none: a host that does not read holds the command up. Who breaks a rule is
hung up on.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gasang.native import array, i32, length, struct, u8, u16, u32, u64

PORT: Final = 1024
"""Where the agent listens."""
MAGIC: Final = int.from_bytes(b"gsag", "little")
VERSION: Final = 1

# Requests, from the host.
HELLO: Final = 1
HEALTH: Final = 2
EXEC: Final = 3
INPUT: Final = 4
"""For the command's standard input; an empty one ends it."""
SIGNAL: Final = 5
"""`value` is the signal's number."""
RESIZE: Final = 6
"""`value` is rows << 16 | columns."""
SET_TIME: Final = 7
"""Nanoseconds since 1970, as u64."""
SET_NAME: Final = 8
"""The host name."""
IDENTITY: Final = 9
"""What makes a restored or forked machine another one."""
SHUTDOWN: Final = 10
"""`value` is how many milliseconds processes have to end before they are killed; with a number, as u32: that is the signal they get."""

# From the agent.
ANSWER: Final = 11
"""`value` is 0 or minus the error's number; with what was asked for, if that is something."""
STARTED: Final = 12
"""The program runs; `value` is its process number."""
OUTPUT: Final = 13
"""From the command's standard output, or its terminal; an empty one is the end."""
ERRORS: Final = 14
"""From its standard error."""
CREDIT: Final = 15
"""`value` more bytes of input were taken."""
ENDED: Final = 16

# And from the host again.
NETWORK: Final = 17
"""Messages for the guest's rtnetlink(7)."""
GROW: Final = 18
"""Have the ext4 file system at a path fill more blocks: how many it is to have as u64, the path with a zero byte behind it."""

WINDOW: Final = 64 * 1024
PIECE: Final = 32 * 1024
"""The most that is sent of a stream in one message."""
MOST_EXEC: Final = 128 * 1024
MOST_NAME: Final = 64
MOST_WORDS: Final = 4096
"""Arguments and variables of one command."""
MOST_NETWORK: Final = 16 * 1024
MOST_PATH: Final = 4096
MOST_GRACE: Final = 24 * 3600 * 1000
SEED_SIZE: Final = 32

# Flags of an EXEC.
WANT_INPUT: Final = 1
WANT_OUTPUT: Final = 2
WANT_ERRORS: Final = 4
TERMINAL: Final = 8
"""The command has a terminal: its input and output are that, and there are no ERRORS."""
TOOL: Final = 16
"""Execute the agent's own tool (the initramfs's busybox) under the name in the first argument, whatever the guest's root holds."""
KNOWN_FLAGS: Final = 31

# Flags of a Hello.
WHOLE_MACHINE: Final = 1
"""The agent may set the clock and the host name, and switch the machine off."""

# Where a command could not be started (`stage` of an End).
STREAMS: Final = 1
PROCESS: Final = 2
USER: Final = 3
DIRECTORY: Final = 4
EXECUTE: Final = 5


@struct
class Header:
    """Before each message."""

    magic: u32
    version: u16
    kind: u16
    size: u32  # bytes that follow
    value: i32


@struct
class Hello:
    """Who answers."""

    version: u32
    flags: u32
    pid: i32
    sessions: u32  # connections open now


@struct
class Health:
    """How the guest is."""

    uptime: u64  # nanoseconds since it was booted
    time: u64  # nanoseconds since 1970, by its clock
    loads: array[u64] = length(3)  # averages over 1, 5 and 15 minutes, times 65536
    memory: u64  # bytes
    free: u64
    available: u64
    swap: u64
    swap_free: u64
    processes: u32
    sessions: u32


@struct
class Exec:
    """A command. Behind it stand texts, each ended by a zero byte: directory, user, the arguments, then the variables."""

    flags: u32
    rows: u16
    columns: u16
    arguments: u32
    variables: u32


@struct
class End:
    """How a command ended; where it could not be started, `stage` says at what, and `error` is the error's number."""

    code: i32  # exit code; 128 + signal where a signal ended it
    signal: i32
    stage: i32
    error: i32


@struct
class Identity:
    """A machine's own: time of day, randomness, and a name (none of it is taken where its size is 0)."""

    time: u64
    seed: array[u8] = length(SEED_SIZE)
    name_size: u32
    reserved: u32
    name: array[u8] = length(MOST_NAME)


EXEC_SIZE: Final = 16
END_SIZE: Final = 16
HELLO_SIZE: Final = 16
HEALTH_SIZE: Final = 88
IDENTITY_SIZE: Final = 112
HEADER_SIZE: Final = 16


class Message(NamedTuple):
    """A kind of message: who sends it, and how many bytes may follow its header."""

    kind: int
    name: str
    by_host: bool
    least: int
    most: int


MESSAGES: Final = (
    Message(HELLO, "HELLO", True, 0, 0),
    Message(HEALTH, "HEALTH", True, 0, 0),
    Message(EXEC, "EXEC", True, EXEC_SIZE + 4, MOST_EXEC),
    Message(INPUT, "INPUT", True, 0, PIECE),
    Message(SIGNAL, "SIGNAL", True, 0, 0),
    Message(RESIZE, "RESIZE", True, 0, 0),
    Message(SET_TIME, "SET_TIME", True, 8, 8),
    Message(SET_NAME, "SET_NAME", True, 1, MOST_NAME),
    Message(IDENTITY, "IDENTITY", True, IDENTITY_SIZE, IDENTITY_SIZE),
    Message(SHUTDOWN, "SHUTDOWN", True, 0, 4),
    Message(ANSWER, "ANSWER", False, 0, HEALTH_SIZE),
    Message(STARTED, "STARTED", False, 0, 0),
    Message(OUTPUT, "OUTPUT", False, 0, PIECE),
    Message(ERRORS, "ERRORS", False, 0, PIECE),
    Message(CREDIT, "CREDIT", False, 0, 0),
    Message(ENDED, "ENDED", False, END_SIZE, END_SIZE),
    Message(NETWORK, "NETWORK", True, 16, MOST_NETWORK),
    Message(GROW, "GROW", True, 10, 8 + MOST_PATH),
)
"""The table both sides check lengths by; the agent gets it as data."""
MOST_KIND: Final = 31
