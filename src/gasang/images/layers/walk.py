"""From the root to a directory, one component at a time, never through a symbolic link: the one way into the tree, natively.

The directories on the way to the last place stay open, so that going to a neighbour costs nothing. A result below zero is minus an
error number, or REFUSING minus the rule broken.
"""

from __future__ import annotations

from gasang.images.layers.calls import CLOSE, EINTR, ELOOP, ENOENT, ENOTDIR, FCHMODAT, MKDIRAT, OPEN_FOLDER, OPENAT
from gasang.images.layers.header import SLASH
from gasang.images.layers.state import LEVELS, THROUGH, UNKNOWN_TARGET, Unpacking
from gasang.native import boolean, i64, native, ptr, ref, syscall, u8, u64

REFUSING = -10_000


@native
def forget(state: ptr[Unpacking], depth: u64) -> None:
    """Close the directories below `depth`."""
    while state.depth > depth:
        state.depth -= 1
        syscall(CLOSE, u64(state.descriptors[state.depth]))


@native
def begins_with(path: ptr[u8], size: u64, start: ptr[u8], count: u64) -> boolean:
    """Whether the first components of `path` are the `count` bytes at `start`."""
    if count > size or (count < size and path[count] != SLASH):
        return False
    for index in range(count):
        if path[index] != start[index]:
            return False
    return True


@native
def open_folder(parent: i64, name: ptr[u8]) -> i64:
    """A directory below another."""
    found = syscall(OPENAT, u64(parent), u64(name), OPEN_FOLDER, 0)
    while found == -EINTR:
        found = syscall(OPENAT, u64(parent), u64(name), OPEN_FOLDER, 0)
    return found


@native
def step_down(state: ptr[Unpacking], parent: i64, name: ptr[u8], making: boolean) -> i64:
    """Open the directory `name` below another, made where it is missing and `making`."""
    found = open_folder(parent, name)
    if found == -ENOENT:
        if not making:
            return REFUSING - UNKNOWN_TARGET
        made = syscall(MKDIRAT, u64(parent), u64(name), 0o755)
        if made >= 0 and state.umask & 0o755 != 0:
            made = syscall(FCHMODAT, u64(parent), u64(name), 0o755)
        if made < 0:
            return made
        found = open_folder(parent, name)
    if found == -ENOTDIR or found == -ELOOP:
        return REFUSING - THROUGH
    return found


@native
def folder_of(state: ptr[Unpacking], path: ptr[u8], size: u64, making: boolean) -> i64:
    """The descriptor of the directory that the first `size` bytes of `path` name. It belongs to `state`; `path[size]` may be overwritten.

    `size` counts no trailing slash; 0 is the root.
    """
    parents = ref(state.parents[0])
    keep: u64 = 0
    while keep < state.depth and begins_with(path, size, parents, state.ends[keep]):
        keep += 1
    forget(state, keep)
    at: u64 = 0
    current = state.root
    if keep > 0:
        at = state.ends[keep - 1]
        current = state.descriptors[keep - 1]
    while at < size:
        start = at + (0 if at == 0 else 1)
        at = start
        while at < size and path[at] != SLASH:
            parents[at] = path[at]
            at += 1
        saved = path[at]
        path[at] = 0
        found = step_down(state, current, path + start, making)
        path[at] = saved
        if found < 0:
            return found
        parents[at] = SLASH
        remember(state, found, at)
        current = found
    return current


@native
def remember(state: ptr[Unpacking], descriptor: i64, end: u64) -> None:
    """Push a directory; the deepest one gives way where there is no room."""
    if state.depth == LEVELS:
        forget(state, LEVELS - 1)
    state.descriptors[state.depth] = descriptor
    state.ends[state.depth] = end
    state.depth += 1
