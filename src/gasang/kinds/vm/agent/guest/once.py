"""`agent run ROOT USER DIRECTORY PROGRAM …`: one command in a root that may hold nothing else, as a container's image wants it started.

This process becomes the program: its streams, its terminal and its variables are those that it was started with. What fails is told on the
error stream; the exit codes are a shell's, 127 where there is no such program, directory or user, 126 where it may not be executed.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.accounts import Accounts, find_account
from gasang.kinds.vm.agent.guest.calls import (
    CANNOT_RUN,
    ENOENT,
    ENOTDIR,
    NEWLINE,
    ROOT,
    Given,
    length_of,
    map_memory,
    text,
    write,
)
from gasang.kinds.vm.agent.guest.command import add_home, become, search
from gasang.kinds.vm.agent.guest.state import LONGEST_PATH
from gasang.native import cast, i32, i64, native, ptr, ref, sizeof, syscall, u8, u64

NOT_FOUND: Final = 127
REFUSED: Final = 126
_WORDS: Final = 6
"""The least that it is given: its own name, `run`, the root, the user, the directory and the program."""
_SAME_GROUP: Final = 0xFFFF_FFFF
_ERRORS: Final = 2


@native(inline=False)
def refuse(g: ptr[Given], name: ptr[u8], error: i64) -> i32:
    """Tell that something cannot be run, or is not there; the exit code."""
    write(g, _ERRORS, text(g, CANNOT_RUN), length_of(text(g, CANNOT_RUN)))
    write(g, _ERRORS, name, length_of(name))
    write(g, _ERRORS, text(g, NEWLINE), 1)
    return NOT_FOUND if error == ENOENT or error == ENOTDIR else REFUSED


@native(inline=False)
def run_once(g: ptr[Given], stack: ptr[u64]) -> i32:
    """Become the program; the exit code where that cannot be. `stack` is as the kernel gives it to a program (argc, argv, envp)."""
    count = stack[0]
    if count < _WORDS:
        return REFUSED
    root = stack[3]
    user = cast(ptr[u8], stack[4])
    directory = cast(ptr[u8], stack[5])
    if directory[0] == 0:
        directory = text(g, ROOT)
    vector = stack + _WORDS
    given = stack + count + 2
    known: u64 = 0
    while given[known] != 0:
        known += 1
    size = (known + 2) * 8 + sizeof(Accounts)
    room = map_memory(g, size + 4 * LONGEST_PATH)
    if room == 0:
        return refuse(g, cast(ptr[u8], vector[0]), 0)
    accounts = cast(ptr[Accounts], room)
    account = ref(accounts.account)
    variables = cast(ptr[u64], room + sizeof(Accounts))  # with room for one more
    for i in range(known):
        variables[i] = given[i]
    result = syscall(g.calls.chroot, root)
    if result >= 0:
        result = syscall(g.calls.chdir, u64(text(g, ROOT)))
    if result < 0:
        return refuse(g, cast(ptr[u8], root), result)
    result = find_account(g, accounts, user)
    if result < 0:
        return refuse(g, user, result)
    made = add_home(g, account, variables, cast(ptr[u8], room + size))
    for at in range(u64(3)):  # it may open them by name, /dev/stdout
        syscall(g.calls.fchown, at, account.uid, _SAME_GROUP)
    result = become(g, account)
    if result < 0:
        return refuse(g, user, result)
    result = syscall(g.calls.chdir, u64(directory))
    if result < 0:
        return refuse(g, directory, result)
    return refuse(g, cast(ptr[u8], vector[0]), search(g, vector, variables, made))
