"""The child's side of a command: from a copy of the agent to the program, in the guest's root, as the user asked for.

What is here up to `live` needs no command: a spare (spare.py) has done it before there is one.

Every word comes from the host and has been checked (check_exec). What fails is told over the report pipe, which the program's start closes.
"""

from __future__ import annotations

from typing import Final

from gasang.kinds.vm.agent.guest.accounts import Account, Accounts, find_account
from gasang.kinds.vm.agent.guest.calls import (
    E2BIG,
    EACCES,
    EMPTY,
    ENOENT,
    ENOTDIR,
    HOME,
    PATH,
    ROOT,
    ROOT_NAME,
    USUAL_PATH,
    Given,
    begins_with,
    length_of,
    text,
    write,
)
from gasang.kinds.vm.agent.guest.state import LONGEST_PATH, MEMORY, VECTORS, Ends, State
from gasang.kinds.vm.agent.protocol import (
    DIRECTORY,
    EXEC_SIZE,
    EXECUTE,
    KNOWN_FLAGS,
    MOST_WORDS,
    TERMINAL,
    TOOL,
    USER,
    WANT_ERRORS,
    WANT_INPUT,
    WANT_OUTPUT,
    Exec,
)
from gasang.native import boolean, cast, copy, i32, i64, minimum, native, null, ptr, ref, store_unaligned, syscall, u8, u32, u64

_AT_EMPTY_PATH, _SETMASK = 0x1000, 2
_SAME_GROUP: Final = 0xFFFF_FFFF
_FILE_MASK: Final = 0o22
_SLASH, _COLON = 0x2F, 0x3A
NOT_STARTED: Final = 125


@native
def check_exec(command: ptr[Exec], size: u64) -> boolean:
    """Whether an EXEC of `size` bytes keeps the protocol: its flags are known, and its texts are all there and ended."""
    words = u64(command.arguments) + u64(command.variables)
    if command.arguments == 0 or command.arguments > MOST_WORDS or words > MOST_WORDS:
        return False
    if command.flags & ~u32(KNOWN_FLAGS) != 0:
        return False
    if command.flags & TERMINAL != 0 and command.flags & WANT_ERRORS != 0:
        return False
    texts = cast(ptr[u8], command)
    ends: u64 = 0
    for i in range(size - EXEC_SIZE):
        if texts[EXEC_SIZE + i] == 0:
            ends += 1
    return ends == words + 2 and texts[size - 1] == 0


@native
def next_text(at: ptr[u8]) -> ptr[u8]:
    """The text behind one."""
    return at + length_of(at) + 1


@native
def fill_vectors(memory: u64, command: ptr[Exec]) -> ptr[u64]:
    """The addresses of the arguments, 0, of the variables, and two zeroes: room for one variable more."""
    vector = cast(ptr[u64], memory + MEMORY - VECTORS)
    at = next_text(next_text(cast(ptr[u8], command) + EXEC_SIZE))
    words = u64(command.arguments) + u64(command.variables)
    place: u64 = 0
    for i in range(words):
        if i == u64(command.arguments):
            vector[place] = 0
            place += 1
        vector[place] = u64(at)
        place += 1
        at = next_text(at)
    if command.variables == 0:
        vector[place] = 0
        place += 1
    vector[place] = 0
    vector[place + 1] = 0
    return vector


@native
def variable(g: ptr[Given], variables: ptr[u64], name: u64) -> ptr[u8]:
    """The value of the variable that a text ("PATH=") begins; null if there is none."""
    wanted = text(g, name)
    place: u64 = 0
    while variables[place] != 0:
        if begins_with(cast(ptr[u8], variables[place]), wanted):
            return cast(ptr[u8], variables[place]) + length_of(wanted)
        place += 1
    return null


@native
def add_home(g: ptr[Given], account: ptr[Account], variables: ptr[u64], room: ptr[u8]) -> ptr[u8]:
    """Set HOME to the user's directory, unless the command is given one; its text is made in `room`. What is behind it there."""
    if variable(g, variables, HOME) != null:
        return room
    name = text(g, HOME)
    home = account.home
    size = account.home_size
    if size == 0:
        home = text(g, ROOT_NAME) if account.uid == 0 else text(g, ROOT)
        size = length_of(home)
    size = minimum(size, u64(LONGEST_PATH))
    known = length_of(name)
    copy(room, name, known)
    copy(room + known, home, size)
    room[known + size] = 0
    place: u64 = 0
    while variables[place] != 0:
        place += 1
    variables[place] = u64(room)
    return room + known + size + 1


@native
def execute(g: ptr[Given], program: ptr[u8], vector: ptr[u64], variables: ptr[u64]) -> i64:
    """Become the program; only an error comes back."""
    return syscall(g.calls.execve, u64(program), u64(vector), u64(variables))


@native
def has_slash(word: ptr[u8]) -> boolean:
    """Whether a word is a path."""
    at: u64 = 0
    while word[at] != 0:
        if word[at] == _SLASH:
            return True
        at += 1
    return False


@native(inline=False)
def search(g: ptr[Given], vector: ptr[u64], variables: ptr[u64], made: ptr[u8]) -> i64:
    """Become the program that the first argument names, found in PATH as execvp(3) does; only an error comes back.

    `made` is room for two of the longest paths.
    """
    name = cast(ptr[u8], vector[0])
    if name[0] == 0:
        return ENOENT
    if has_slash(name):
        return execute(g, name, vector, variables)
    path = variable(g, variables, PATH)
    if path == null:
        path = text(g, USUAL_PATH)
    size = length_of(name)
    if size >= LONGEST_PATH:
        return E2BIG
    result: i64 = ENOENT
    while True:
        count: u64 = 0
        while path[count] != 0 and path[count] != _COLON:
            count += 1
        if count < LONGEST_PATH - 1:
            copy(made, path, count)
            made[count] = _SLASH
            start: u64 = 0 if count != 0 else 1  # an empty entry is the present directory
            copy(made + count + 1, name, size + 1)
            found = execute(g, made + start, vector, variables)
            if found == EACCES:
                result = EACCES
            elif found != ENOENT and found != ENOTDIR:
                return found
        if path[count] == 0:
            return result
        path = path + count + 1


@native
def become(g: ptr[Given], account: ptr[Account]) -> i64:
    """Take a user's identity; 0 or an error."""
    result = syscall(g.calls.setgroups, account.group_count, u64(ref(account.groups)))
    if result >= 0:
        result = syscall(g.calls.setgid, account.gid)
    if result >= 0:
        result = syscall(g.calls.setuid, account.uid)
    return result


@native
def give_streams(s: ptr[State], command: ptr[Exec], account: ptr[Account]) -> None:
    """Make the user the owner of what the agent has made for it, so that it may open it by name (/dev/stdin)."""
    if account.uid == 0:
        return
    if command.flags & (TERMINAL | WANT_INPUT) != 0:
        syscall(s.given.calls.fchown, 0, account.uid, _SAME_GROUP)
    if command.flags & WANT_OUTPUT != 0:
        syscall(s.given.calls.fchown, 1, account.uid, _SAME_GROUP)
    if command.flags & WANT_ERRORS != 0:
        syscall(s.given.calls.fchown, 2, account.uid, _SAME_GROUP)


@native
def begin_session(g: ptr[Given]) -> None:
    """Have a session of its own, and make files as programs usually do."""
    syscall(g.calls.setsid)
    syscall(g.calls.umask, _FILE_MASK)


@native
def take_streams(s: ptr[State], ends: ptr[Ends]) -> i64:
    """Have the ends of its streams at 0, 1 and 2; 0 or an error."""
    for at in range(u64(3)):
        result = syscall(s.given.calls.dup3, u64(i64(ends.fds[at])), at, 0)
        if result < 0:
            return result
    return 0


@native
def give_signals(s: ptr[State]) -> None:
    """Have no signal blocked."""
    s.words[0] = 0
    syscall(s.given.calls.rt_sigprocmask, _SETMASK, u64(ref(s.words)), 0, 8)


@native
def tell(s: ptr[State], pipe: i64, stage: u64, error: i64) -> i64:
    """Tell what has failed, and at what."""
    store_unaligned(cast(ptr[i32], ref(s.words)), i32(stage))
    store_unaligned(cast(ptr[i32], cast(ptr[u8], ref(s.words)) + 4), i32(-error))
    write(s.given, pipe, cast(ptr[u8], ref(s.words)), 8)
    return NOT_STARTED


@native(inline=False)
def live(s: ptr[State], memory: u64, command: ptr[Exec], accounts: ptr[Accounts], pipe: i64) -> i64:
    """From what every command has to the program; the exit code where it comes to none. `memory` is laid out as a session's."""
    g = s.given
    vector = fill_vectors(memory, command)
    variables = vector + u64(command.arguments) + 1
    directory = cast(ptr[u8], command) + EXEC_SIZE
    give_signals(s)
    result = find_account(g, accounts, next_text(directory))
    if result < 0:
        return tell(s, pipe, USER, result)
    account = ref(accounts.account)
    made = cast(ptr[u8], vector + u64(command.arguments) + u64(command.variables) + 4)
    made = add_home(g, account, variables, made)
    give_streams(s, command, account)
    result = become(g, account)
    if result < 0:
        return tell(s, pipe, USER, result)
    if directory[0] != 0:  # the agent's own is the root
        result = syscall(g.calls.chdir, u64(directory))
        if result < 0:
            return tell(s, pipe, DIRECTORY, result)
    if command.flags & TOOL != 0:
        result = syscall(g.calls.execveat, u64(s.tool), u64(text(g, EMPTY)), u64(vector), u64(variables), _AT_EMPTY_PATH)
    else:
        result = search(g, vector, variables, made)
    return tell(s, pipe, EXECUTE, result)
