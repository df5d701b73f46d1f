"""The end of a layer, natively: modes and times of its directories, which making entries in them has changed."""

from __future__ import annotations

from gasang.images.layers.calls import CLOSE, ENOTDIR, FCHMODAT, UTIMENSAT
from gasang.images.layers.create import told
from gasang.images.layers.state import FOLDER_HEAD, MORE, Unpacking
from gasang.images.layers.walk import REFUSING, folder_of, forget
from gasang.native import cast, copy, i64, load_unaligned, native, ptr, ref, syscall, u8, u32, u64


@native
def finish_folders(state: ptr[Unpacking]) -> u32:
    """Set mode and time of every directory recorded; the later record of one counts. Closes what was open."""
    at: u64 = 0
    event: u32 = MORE
    while at < state.folders_length and event == MORE:
        record = state.folders + at
        size = u64(load_unaligned(cast(ptr[u32], record + 20)))
        event = finish_folder(state, record, size)
        at += FOLDER_HEAD + size
    forget(state, 0)
    if state.file >= 0:
        syscall(CLOSE, u64(state.file))
        state.file = -1
    return event


@native
def finish_folder(state: ptr[Unpacking], record: ptr[u8], size: u64) -> u32:
    """One of them. What a later entry has put in its place is left alone."""
    path = ref(state.path[0])
    copy(path, record + FOLDER_HEAD, size)
    path[size] = 0
    found = folder_of(state, path, size, False)
    if found < REFUSING or found == -ENOTDIR:
        return MORE
    if found < 0:
        return told(state, found)
    path[0] = 0x2E
    path[1] = 0
    changed = syscall(FCHMODAT, u64(found), u64(path), u64(load_unaligned(cast(ptr[u32], record + 16))))
    if changed < 0:
        return told(state, changed)
    state.times[2] = load_unaligned(cast(ptr[i64], record))
    state.times[3] = load_unaligned(cast(ptr[i64], record + 8))
    state.times[0] = state.times[2]
    state.times[1] = state.times[3]
    return told(state, syscall(UTIMENSAT, u64(found), u64(path), u64(ref(state.times[0])), 0))
