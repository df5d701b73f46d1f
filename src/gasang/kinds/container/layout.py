"""The plan: what is done between clone3 and execve, as one flat buffer that lies anywhere in memory.

    header · descriptors · relocations · slots · texts and blobs · operations of three lists · scratch

`before` is done by a helper process that joins namespaces and then makes the child (only when there is something to join: a process
cannot itself move into another pid namespace); `child` by the container's first process up to its execve; `parent` by who asked, while the
child waits. An operation is a record of fixed size: a system call with six argument words, or one of a few composite ones. A word is a
number, a place among the texts and blobs, or a slot: a cell that an earlier operation's result was kept in.

Everything native code needs is in the buffer, scratch memory included: native functions have no memory of their own.
"""

from __future__ import annotations

from typing import Final

from gasang.native import array, i32, length, struct, u32, u64

MAGIC: Final = 0x4E4C5047  # "GPLN"
VERSION: Final = 1

# What an argument word is: four bits each in `kinds`, the first argument lowest.
LITERAL: Final = 0
OFFSET: Final = 1
SLOT: Final = 2

# Operation codes.
SYSCALL: Final = 0  # number(args…)
WRITE: Final = 1  # write args 3 (bytes), 4 (length) to the file at args 0 (directory), 1 (path), opened with flags args 2
TARGET: Final = 2  # open args 1 (path) beneath args 0 (descriptor of a root); make it if args 2 is 1 (folder) or 2 (file), mode args 3
STORE: Final = 3  # keep args 0 as 32 bits at args 1
REPORT: Final = 4  # tell who asked: event args 0, value args 1
WAIT: Final = 5  # read at least a byte from descriptor args 0 into args 1, at most args 2 bytes; the result is their number
BOUNDING: Final = 6  # drop every capability from the bounding set that is not in the mask args 0
FIND: Final = 7  # the first of args 0 (places of paths plus one, ended by 0) that can be executed; the result is its address
EXECUTE: Final = 8  # execve args 0 (address of a path), 1 (argv), 2 (envp)
HOOK: Final = 9  # run args 0 (path), 1 (argv), 2 (envp) with args 3 (bytes), 4 (length) as its input, at most args 5 milliseconds
SIGNALS: Final = 10  # every signal to its default, none blocked
PROC: Final = 11  # write args 2 (bytes), 3 (length) to the file args 1 (a text like "/uid_map") of /proc/args 0 (a process id)
HOME: Final = 12  # put the home of user args 1, by the file args 0, at args 2 (room for LONGEST_HOME bytes and a NUL)

# Events of the status pipe.
FAILED: Final = 1  # an operation failed; `list`, `index`, `error` say which and why
CHILD: Final = 2  # the helper has made the child: `value` is its process id
STOPPED: Final = 3  # the child waits for word from who asked; `value` says at which of its stops
NOTIFY: Final = 4  # `value` is the descriptor, in the child, that seccomp notifications are read from
RUNNING: Final = 5  # the pipe has closed: execve has been done
ENDED: Final = 6  # the pipe has closed without execve, because the child was killed; told by who looks at its exit

# Lists, as `list` of an event names them.
BEFORE: Final = 0
IN_CHILD: Final = 1
IN_PARENT: Final = 2
IN_SPAWN: Final = 3  # no operation of a list: clone3, a pipe, the launcher

# Sources of descriptors that spawn makes itself.
STATUS_END: Final = -2
CONTROL_END: Final = -3

PID_SLOT: Final = 0
PIDFD_SLOT: Final = 1
CONTROL_SLOT: Final = 2
"""Slots of the parent's list that spawn fills."""


@struct
class Operation:
    code: u32
    number: u32
    kinds: u32
    result: i32  # slot that keeps the result; -1: none
    ignore: array[i32] = length(2)  # error numbers that do not matter; 0: none, -1: any
    skip_done: u32  # operations to pass over when it succeeds
    skip_ignored: u32  # and when it fails with an ignored error
    args: array[u64] = length(6)


@struct
class Part:
    """A run of records."""

    offset: u32
    count: u32


@struct
class Descriptor:
    """A descriptor to hand to the child: its number here (or one of the ENDs above) and there."""

    source: i32
    target: i32
    moved: i32
    keep: i32  # 1: open in the program too; 0: closed by execve


@struct
class Relocation:
    """The 64-bit word at `place` is to be the address of the byte at `target`; both are counted from the texts and blobs."""

    place: u32
    target: u32


@struct
class Header:
    magic: u32
    version: u32
    size: u64
    flags: u64  # namespaces to make: CLONE_NEW…
    cgroup: i32  # descriptor for CLONE_INTO_CGROUP, as whoever spawns numbers it; -1: none
    launcher: i32  # descriptor of the program that does the plan after a cheap clone; -1: the clone does it itself
    plan: i32  # descriptor of a file with this plan, for the launcher
    status: i32  # the status pipe's number in the child
    lists: array[Part] = length(3)
    descriptors: Part
    relocations: Part
    slots: Part
    data: Part  # bytes: texts and blobs; places are counted from here
    scratch: Part  # bytes
    first_free: i32  # descriptors from here on are closed in the child
    joined: i32  # 1: there is a `before` list
    clone: array[u64] = length(11)  # struct clone_args
    arguments: array[u64] = length(6)  # of the operation in work
    cells: array[u64] = length(16)  # for spawn itself


@struct
class Spawned:
    """What became of a plan."""

    pid: i32
    pidfd: i32
    status: i32  # read events from here with `watch`
    control: i32  # write here to let a child go on that waits
    event: u32
    list: u32
    index: u32
    error: i32
    value: u64


@struct
class Event:
    """What goes through the status pipe."""

    event: u32
    list: u32
    index: u32
    error: i32
    value: u64
