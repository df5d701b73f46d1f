"""Opening the place of a mount beneath a container's root, making what is missing, whatever links the image has put in the way.

Every step is resolved by the kernel with RESOLVE_IN_ROOT: a symbolic link, absolute or with "..", ends within the root. Links in /proc that
jump anywhere ("magic links") are refused. A link that leads nowhere is followed by its text, and what it names is made beneath the root.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from gasang.host.mounts import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS
from gasang.host.syscalls import native_table
from gasang.native import cast, i64, native, ptr, syscall, u8, u64

_NR: Final = native_table()
NR_OPENAT2: Final = _NR["openat2"]
NR_MKDIRAT: Final = _NR["mkdirat"]
NR_MKNODAT: Final = _NR["mknodat"]
NR_READLINKAT: Final = _NR["readlinkat"]
NR_CLOSE: Final = _NR["close"]
EXISTING: Final = 0
FOLDER: Final = 1
FILE: Final = 2
PLAIN_FOLDER: Final = 3
"""As FOLDER, but no part of the path may be a symbolic link: what the kernel keeps in /proc and /sys must not be led elsewhere."""
ENOENT: Final = -errno.ENOENT
EEXIST: Final = -errno.EEXIST
ELOOP: Final = -errno.ELOOP
ENAMETOOLONG: Final = -errno.ENAMETOOLONG
LOOK: Final = os.O_PATH | os.O_CLOEXEC
RESOLVE: Final = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
RESOLVE_PLAIN: Final = RESOLVE | RESOLVE_NO_SYMLINKS
REGULAR: Final = 0o100000
PATH_MAX: Final = 4096
MOST_LINKS: Final = 40
SLASH: Final = 47
SCRATCH_SIZE: Final = 4 * PATH_MAX + 64
"""What `open_target` needs: struct open_how, the path still to go, the path gone, a link."""


@native
def look(root: u64, path: u64, how: ptr[u64], resolve: u64) -> i64:
    """Open a path beneath the root, for its place only."""
    how[0] = LOOK
    how[1] = 0
    how[2] = resolve
    return syscall(NR_OPENAT2, root, path, u64(how), 24)


@native
def join(to: ptr[u8], at: u64, text: ptr[u8]) -> u64:
    """Put a text, with its NUL, at `at`; the position of its NUL, or PATH_MAX if it does not fit."""
    index: u64 = 0
    while at + index < PATH_MAX - 1:
        to[at + index] = text[index]
        if text[index] == 0:
            return at + index
        index += 1
    return PATH_MAX


@native
def make_one(parent: u64, name: ptr[u8], is_file: u64, mode: u64) -> i64:
    """Make a folder or an empty file in a folder."""
    if is_file != 0:
        return syscall(NR_MKNODAT, parent, u64(name), REGULAR | mode, 0)
    return syscall(NR_MKDIRAT, parent, u64(name), mode)


@native
def step(root: u64, gone: ptr[u8], length: u64, name: ptr[u8], is_file: u64, mode: u64, link: ptr[u8], how: ptr[u64]) -> i64:
    """Make `name` in the folder `gone`; 0 if it is there now, or the length of the text of a link that leads nowhere."""
    gone[length] = 0
    parent = look(root, u64(gone), how, RESOLVE)
    if parent < 0:
        return parent
    result = make_one(u64(parent), name, is_file, mode)
    if result == EEXIST:
        result = syscall(NR_READLINKAT, u64(parent), u64(name), u64(link), PATH_MAX - 1)
        if result > 0:
            link[u64(result)] = 0
        else:
            result = 0
    syscall(NR_CLOSE, u64(parent))
    return result


@native
def skip_slashes(text: ptr[u8], at: u64) -> u64:
    """Where the next part of a path begins."""
    while text[at] == SLASH:
        at += 1
    return at


@native
def part_end(text: ptr[u8], at: u64) -> u64:
    """Where a part of a path ends."""
    while text[at] != SLASH and text[at] != 0:
        at += 1
    return at


@native
def put_before(link: ptr[u8], rest: ptr[u8], at: u64, other: ptr[u8]) -> u64:
    """Have `rest` be the link's text and what stands from `at` on; PATH_MAX if that does not fit."""
    middle = join(other, 0, link)
    if middle == PATH_MAX or join(other, middle, rest + at) == PATH_MAX:
        return PATH_MAX
    return join(rest, 0, other)


@native
def make_path(root: u64, path: ptr[u8], kind: u64, mode: u64, scratch: ptr[u8]) -> i64:
    """Make what is missing of a path beneath the root."""
    how = cast(ptr[u64], scratch)
    rest = scratch + 64
    gone = rest + PATH_MAX
    link = gone + PATH_MAX
    other = link + PATH_MAX
    gone[0] = 46  # "."
    length: u64 = 1
    links: u64 = 0
    at: u64 = 0
    if join(rest, 0, path) == PATH_MAX:
        return ENAMETOOLONG
    while True:
        start = skip_slashes(rest, at)
        if rest[start] == 0:
            return 0
        at = part_end(rest, start)
        if length + (at - start) + 2 >= PATH_MAX:
            return ENAMETOOLONG
        is_file = u64(kind == FILE and rest[skip_slashes(rest, at)] == 0)
        ended = rest[at]
        rest[at] = 0
        gone[length] = SLASH
        end = join(gone, length + 1, rest + start)
        found = look(root, u64(gone), how, RESOLVE)
        if found >= 0:
            syscall(NR_CLOSE, u64(found))
        elif found != ENOENT:
            return found
        else:
            result = step(root, gone, length, rest + start, is_file, mode, link, how)
            if result < 0:
                return result
            if result > 0:
                links += 1
                rest[at] = ended
                if links > MOST_LINKS or put_before(link, rest, at, other) == PATH_MAX:
                    return ELOOP
                at = 0
                if link[0] == SLASH:
                    length = 1
                continue
            gone[length] = SLASH
        rest[at] = ended
        length = end
    return 0


@native
def open_target(root: u64, path: ptr[u8], kind: u64, mode: u64, scratch: ptr[u8]) -> i64:
    """A descriptor of the place `path` beneath `root`; kind says what to make if it is not there."""
    resolve: u64 = RESOLVE
    if kind == PLAIN_FOLDER:
        resolve = RESOLVE_PLAIN
    found = look(root, u64(path), cast(ptr[u64], scratch), resolve)
    if found != ENOENT or kind == EXISTING:
        return found
    result = make_path(root, path, kind, mode, scratch)
    if result < 0:
        return result
    return look(root, u64(path), cast(ptr[u64], scratch), resolve)
