"""Everything the agent knows, in one zeroed piece of memory; and of each connection, a Session with memory of its own.

A descriptor of -1 is none.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.calls import Given
from gasang.kinds.vm.agent.protocol import HEADER_SIZE, MOST_EXEC, MOST_WORDS, WINDOW
from gasang.native import array, i16, i32, i64, length, ptr, struct, u32, u64

MOST_SESSIONS: Final = 64
POLLED_A_SESSION: Final = 5
MOST_POLLED: Final = MOST_SESSIONS * POLLED_A_SESSION + 2

TAKEN: Final = 132 * 1024
"""Room for what comes over a connection: the longest message fits."""
SAID: Final = 100 * 1024
"""Room for what goes out."""
RESERVE: Final = 1024
"""Room that streams leave, for messages that are no stream's."""
LONGEST_PATH: Final = 4096
VECTORS: Final = 60 * 1024
"""Room for the addresses of a command's words, then for HOME and for a path made of two: they share a page where words are few."""
MEMORY: Final = TAKEN + SAID + VECTORS + WINDOW
"""Of one session; what is not used takes none."""
assert HEADER_SIZE + MOST_EXEC <= TAKEN
assert (MOST_WORDS + 4) * 8 + 4 * LONGEST_PATH <= VECTORS

# Phases of a session.
IDLE: Final = 0
BUSY: Final = 1
"""A command has been started."""
OVER: Final = 2
"""It has ended, and the host has been told; what comes is thrown away."""


@struct
class Stream:
    """An output of the command."""

    fd: i64
    kind: u64  # of its messages; 0: there is none


@struct
class Session:
    """A connection, and its command."""

    fd: i64
    memory: u64  # 0: this session is free
    taken: u64  # bytes in the room for what comes
    said_from: u64
    said_to: u64
    phase: u32
    flags: u32
    pid: i64
    input: i64
    input_from: u64
    input_to: u64
    input_ending: u32
    terminal: u32
    credit: u64  # bytes of input that the host has still to be told are taken
    streams: array[Stream] = length(2)
    report: i64  # where the child tells why it cannot start
    exited: u32
    status: u32  # as wait4 gives it
    stage: i32
    error: i32
    deadline: u64  # steady time until which open outputs are awaited


@struct
class Polled:
    """struct pollfd."""

    fd: i32
    events: i16
    revents: i16


@struct
class Ends:
    """Ends of a process's streams, of its report, and of where a spare is told what it is to be; -1 is none."""

    fds: array[i32] = length(5)


@struct
class State:
    """The agent."""

    given: ptr[Given]
    listener: i64
    signals: i64
    tool: i64  # the program that TOOL executes
    null: i64
    pid: i64  # our own
    ending: i64  # of the process that ends the machine; 0: there is none
    spare: i64  # the process that waits for the next command (spare.py); 0: there is none
    kept: u64  # the memory of a session that is over, for the next
    spare_ends: Ends
    whole_machine: u32
    is_vsock: u32
    outer_device: u64  # of the root directory that was the agent's before its own: who has that one is no process of the guest's
    outer_inode: u64
    sessions: array[Session] = length(MOST_SESSIONS)
    polled: array[Polled] = length(MOST_POLLED)
    meaning: array[u32] = length(MOST_POLLED)
    polled_count: u32
    cannot_accept: u32
    words: array[u64] = length(64)  # for calls that want memory; what is in it does not outlive the next call
