"""Entries made with as few system calls as they take, natively: directories, files, symbolic and hard links."""

from __future__ import annotations

from gasang.images.layers.calls import (
    AT_SYMLINK_NOFOLLOW,
    CLOSE,
    CREATE_FILE,
    DUP,
    EEXIST,
    EINTR,
    ELOOP,
    ENOENT,
    ENOTDIR,
    FCHMOD,
    FCHOWN,
    FCHOWNAT,
    LINKAT,
    MKDIRAT,
    OPENAT,
    SYMLINKAT,
    UTIMENSAT,
    WRITE,
)
from gasang.images.layers.header import last_component
from gasang.images.layers.state import FAILED, FOLDER_HEAD, FULL, MORE, REFUSED, TAKEN, UNKNOWN_TARGET, Unpacking
from gasang.images.layers.walk import REFUSING, folder_of, open_folder
from gasang.native import boolean, cast, i64, native, ptr, ref, store_unaligned, syscall, u8, u32, u64


@native
def told(state: ptr[Unpacking], result: i64) -> u32:
    """The event for a system call's result, or a walk's: MORE where it went well."""
    if result >= 0:
        return MORE
    if result < REFUSING:
        state.error = REFUSING - result
        return REFUSED
    state.error = -result
    return TAKEN if result == -EEXIST else FAILED


@native
def parent_of(state: ptr[Unpacking], making: boolean) -> i64:
    """The directory that the entry belongs into."""
    return folder_of(state, ref(state.path[0]), state.base - (0 if state.base == 0 else 1), making)


@native
def must_own(state: ptr[Unpacking]) -> boolean:
    """Whether the entry's owner is another than who makes it (root)."""
    return boolean(state.owned != 0 and (state.user != 0 or state.group != 0))


@native
def own(state: ptr[Unpacking], parent: i64) -> i64:
    """Set the owner of the entry just made."""
    return syscall(FCHOWNAT, u64(parent), u64(ref(state.path[state.base])), state.user, state.group, AT_SYMLINK_NOFOLLOW)


@native
def make_file(state: ptr[Unpacking]) -> u32:
    """Create the file and keep it open in `file`."""
    parent = parent_of(state, True)
    if parent < 0:
        return told(state, parent)
    found = syscall(OPENAT, u64(parent), u64(ref(state.path[state.base])), CREATE_FILE, u64(state.mode & 0o777))
    if found < 0:
        return told(state, found)
    state.file = found
    if must_own(state):
        return told(state, syscall(FCHOWN, u64(found), state.user, state.group))
    return MORE


@native
def write_some(state: ptr[Unpacking], data: ptr[u8], size: u64) -> u32:
    """Add bytes to the open file."""
    done: u64 = 0
    while done < size:
        count = syscall(WRITE, u64(state.file), u64(data + done), size - done)
        if count == -EINTR:
            continue
        if count < 0:
            return told(state, count)
        done += u64(count)
    state.written += size
    return MORE


@native
def end_file(state: ptr[Unpacking]) -> u32:
    """Give the file the rest of its mode and its time, and close it."""
    descriptor = u64(state.file)
    result: i64 = 0
    if state.mode & (0o7000 | state.umask) != 0:  # after the owner and the content, both of which take such bits away
        result = syscall(FCHMOD, descriptor, u64(state.mode))
    if result >= 0:
        result = syscall(UTIMENSAT, descriptor, 0, u64(ref(state.times[0])), 0)
    closed = syscall(CLOSE, descriptor)
    state.file = -1
    state.files += 1
    return told(state, closed if result >= 0 else result)


@native
def make_folder(state: ptr[Unpacking]) -> u32:
    """Have a directory; its mode and time are recorded, as what is put in it would change them."""
    event = record_folder(state)
    if event != MORE:
        return event
    if state.path_length == 0:
        return told(state, syscall(FCHOWN, u64(state.root), state.user, state.group) if state.owned != 0 else 0)
    parent = parent_of(state, True)
    if parent < 0:
        return told(state, parent)
    made = syscall(MKDIRAT, u64(parent), u64(ref(state.path[state.base])), u64((state.mode | 0o700) & 0o777))
    if made == -EEXIST:
        found = open_folder(parent, ref(state.path[state.base]))
        if found < 0:
            return TAKEN if found == -ENOTDIR or found == -ELOOP else told(state, found)
        syscall(CLOSE, u64(found))
    elif made < 0:
        return told(state, made)
    state.files += 1
    if must_own(state) or (made < 0 and state.owned != 0):
        return told(state, own(state, parent))
    return MORE


@native
def record_folder(state: ptr[Unpacking]) -> u32:
    """Note a directory's mode and time for the end."""
    need = FOLDER_HEAD + state.path_length
    if state.folders_room - state.folders_length < need:
        return FULL
    at = state.folders + state.folders_length
    store_unaligned(cast(ptr[i64], at), state.times[2])
    store_unaligned(cast(ptr[i64], at + 8), state.times[3])
    store_unaligned(cast(ptr[u32], at + 16), state.mode)
    store_unaligned(cast(ptr[u32], at + 20), u32(state.path_length))
    for index in range(state.path_length):
        at[FOLDER_HEAD + index] = state.path[index]
    state.folders_length += need
    return MORE


@native
def make_symbolic_link(state: ptr[Unpacking]) -> u32:
    """Create the link; what it says is not looked at."""
    parent = parent_of(state, True)
    if parent < 0:
        return told(state, parent)
    name = u64(ref(state.path[state.base]))
    made = syscall(SYMLINKAT, u64(ref(state.link[0])), u64(parent), name)
    if made < 0:
        return told(state, made)
    state.files += 1
    if must_own(state):
        made = own(state, parent)
        if made < 0:
            return told(state, made)
    return told(state, syscall(UTIMENSAT, u64(parent), name, u64(ref(state.times[0])), AT_SYMLINK_NOFOLLOW))


@native
def make_hard_link(state: ptr[Unpacking]) -> u32:
    """Create another name of an entry of this layer; a target that is a symbolic link is not followed."""
    base = last_component(ref(state.link[0]), state.link_length)
    target = folder_of(state, ref(state.link[0]), base - (0 if base == 0 else 1), False)
    if target < 0:
        return told(state, target)
    held = syscall(DUP, u64(target))  # going to the other directory may close this one
    if held < 0:
        return told(state, held)
    parent = parent_of(state, True)
    result = parent
    if parent >= 0:
        result = syscall(LINKAT, u64(held), u64(ref(state.link[base])), u64(parent), u64(ref(state.path[state.base])), 0)
        if result == -ENOENT:
            result = REFUSING - UNKNOWN_TARGET
    syscall(CLOSE, u64(held))
    state.files += 1
    return told(state, result)
