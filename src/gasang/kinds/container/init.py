"""The init of a container that asks for one: starts the command, passes signals on to it, buries the orphans, and ends as it ends."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Final

import gasang.host
from gasang.host.processes import TIOCSPGRP
from gasang.host.syscalls import native_table
from gasang.native import NativeFunction, boolean, cast, i32, i64, native, null, ptr, syscall, u8, u64
from gasang.native.kept_program import kept_program, program_file

_NR: Final = native_table()
NR_MMAP: Final = _NR["mmap"]
NR_MASK: Final = _NR["rt_sigprocmask"]
NR_AWAIT: Final = _NR["rt_sigtimedwait"]
NR_CLONE: Final = _NR["clone"]
NR_WAIT: Final = _NR["wait4"]
NR_KILL: Final = _NR["kill"]
NR_EXECVE: Final = _NR["execve"]
NR_EXIT: Final = _NR["exit_group"]
NR_SETPGID: Final = _NR["setpgid"]
NR_IOCTL: Final = _NR["ioctl"]
NR_GETPID: Final = _NR["getpid"]
SIGCHLD: Final = int(signal.SIGCHLD)
SET_MASK: Final = 2
READ_WRITE: Final = 3
PRIVATE: Final = 0x22
ROOM: Final = 65536
PATH_ROOM: Final = 8192
"""From here on the scratch memory has the path that is tried; before it are signal sets and a status."""
LONGEST: Final = 4095
NOHANG: Final = 1
ANYONE: Final = (1 << 64) - 1
ALL: Final = (1 << 64) - 1
EACCES: Final = -13
NOT_FOUND: Final = 127
REFUSED: Final = 126


@native
def has_slash(text: ptr[u8]) -> boolean:
    """Whether a text has a slash."""
    index: u64 = 0
    while text[index] != 0:
        if text[index] == 47:
            return True
        index += 1
    return False


@native
def path_of(environment: ptr[u64]) -> ptr[u8]:
    """The value of PATH, null where there is none."""
    index: u64 = 0
    while environment[index] != 0:
        entry = cast(ptr[u8], environment[index])
        if entry[0] == 80 and entry[1] == 65 and entry[2] == 84 and entry[3] == 72 and entry[4] == 61:
            return cast(ptr[u8], u64(entry) + 5)
        index += 1
    return null


@native(inline=False)
def execute(arguments: ptr[u64], environment: ptr[u64], room: ptr[u8]) -> u64:
    """Become the command, looked for along PATH; the exit code where that fails."""
    name = cast(ptr[u8], arguments[0])
    folders = path_of(environment)
    if has_slash(name) or folders == null:
        result = syscall(NR_EXECVE, arguments[0], u64(arguments), u64(environment))
        return REFUSED if result == EACCES else NOT_FOUND
    code: u64 = NOT_FOUND
    at: u64 = 0
    while True:
        length: u64 = 0
        while folders[at] != 0 and folders[at] != 58 and length < LONGEST:
            room[length] = folders[at]
            length += 1
            at += 1
        if length == 0:
            room[0] = 46
            length = 1
        room[length] = 47
        length += 1
        index: u64 = 0
        while name[index] != 0 and length < LONGEST:
            room[length] = name[index]
            length += 1
            index += 1
        room[length] = 0
        if syscall(NR_EXECVE, u64(room), u64(arguments), u64(environment)) == EACCES:
            code = REFUSED
        while folders[at] != 0 and folders[at] != 58:
            at += 1
        if folders[at] == 0:
            return code
        at += 1


@native(inline=False)
def be_command(arguments: ptr[u64], environment: ptr[u64], room: ptr[u8]) -> None:
    """In the new process: a process group of its own, in the terminal's foreground if there is one; signals as they were; the command."""
    syscall(NR_SETPGID, 0, 0)
    group = cast(ptr[i32], room)
    group[0] = i32(syscall(NR_GETPID))
    syscall(NR_IOCTL, 0, TIOCSPGRP, u64(group))
    nothing = cast(ptr[u64], room)
    nothing[0] = 0
    syscall(NR_MASK, SET_MASK, u64(nothing), 0, 8)
    syscall(NR_EXIT, execute(arguments, environment, room + PATH_ROOM))


@native
def bury(command: i64, room: ptr[u8]) -> i64:
    """Collect all that have ended; the command's exit code if it is among them, -1 if not."""
    status = cast(ptr[i32], room)
    code: i64 = -1
    while True:
        who = syscall(NR_WAIT, ANYONE, u64(status), NOHANG, 0)
        if who <= 0:
            return code
        if who == command:
            ended_by = status[0] & 127
            code = i64((status[0] >> 8) & 255) if ended_by == 0 else 128 + i64(ended_by)


@native
def init(stack: ptr[u64]) -> i32:
    """The program: ``gasang-init -- COMMAND …``."""
    arguments = stack + 3
    environment = stack + (stack[0] + 2)
    address = syscall(NR_MMAP, 0, ROOM, READ_WRITE, PRIVATE, ANYONE, 0)
    if stack[0] < 3 or (address < 0 and address > -4096):
        return NOT_FOUND
    room = cast(ptr[u8], u64(address))
    every = cast(ptr[u64], room + 256)
    every[0] = ALL
    syscall(NR_MASK, SET_MASK, u64(every), 0, 8)
    command = syscall(NR_CLONE, SIGCHLD, 0, 0, 0, 0)
    if command == 0:
        be_command(arguments, environment, room)
    if command < 0:
        return REFUSED
    while True:
        number = syscall(NR_AWAIT, u64(every), 0, 0, 8)
        if number == SIGCHLD:
            code = bury(command, room)
            if code >= 0:
                return i32(code)
        elif number > 0:
            syscall(NR_KILL, u64(command), u64(number))


def _entry() -> NativeFunction:
    return init


def init_file(folder: Path) -> Path:
    """The program as a file in `folder`, made there if need be. Raises OSError."""
    image = kept_program("init", [os.path.dirname(__file__), os.path.dirname(str(gasang.host.__file__))], _entry)
    return program_file(folder / "gasang-init", image)
