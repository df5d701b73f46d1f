"""What the native unpacker knows: the entry under way, the directories it stands in, and what it has to tell Python.

Python makes one a layer, calls `advance` with piece after piece of the tar stream, and answers the events that `advance` returns.
"""

from __future__ import annotations

from gasang.native import array, i64, length, ptr, struct, u8, u32, u64

BLOCK = 512
PATH_ROOM = 4096
"""Bytes of the longest path, its closing NUL included (PATH_MAX)."""
LEVELS = 48
"""Directories kept open at once."""

# Phases: what the next bytes of the stream are, or what is to be done before them.
HEADER, CREATE, DATA, PADDING, GATHER, HANDED, FINISHED = range(7)

# Events: why `advance` returned.
MORE, GATHERED, ASKED, PIECE, DONE, TAKEN, FULL, ENDED, FAILED, REFUSED = range(10)
"""MORE: all was consumed. GATHERED: an extension header's content is complete. ASKED: Python must make this entry. PIECE: data of an
entry that Python takes. DONE: that entry has ended. TAKEN: something else has this name. FULL: `folders` has no room. ENDED: the
archive's end. FAILED: a system call failed (`error`). REFUSED: the archive breaks a rule (`error` is the rule's number)."""

# What Python has said of the next entry (bits of `told`); ASK: Python makes it; AFTER: Python is told when it is made.
TOLD_PATH, TOLD_LINK, TOLD_SIZE, TOLD_TIME, TOLD_USER, TOLD_GROUP, TOLD_ASK, TOLD_AFTER = (1 << bit for bit in range(8))

# Rules an archive can break (`error` with REFUSED).
CHECKSUM, NUMBER, ABSOLUTE, CLIMBS, TOO_LONG, THROUGH, UNKNOWN_TARGET, UNKNOWN_KIND, HUGE_EXTENSION, EMPTY_NAME, NUL_NAME = range(1, 12)


@struct
class Unpacking:
    """See the module."""

    root: i64  # descriptor of the directory that is filled
    phase: u32
    have: u32  # bytes of `header` that are there
    position: u64  # bytes of the present piece that are consumed
    left: u64  # bytes of the present entry's content still to come
    padding: u64  # and of the zeroes behind it
    file: i64  # descriptor of the file being written, -1 if none
    error: i64
    told: u32
    after: u32  # whether the entry's end is an event
    owned: u32  # whether owners are set
    umask: u32  # mode bits that a created file lacks
    kind: u32  # the type flag
    mode: u32
    user: u64
    group: u64
    size: u64
    times: array[i64] = length(4)  # access and modification: seconds and nanoseconds, as utimensat takes them
    path_length: u64
    base: u64  # where the last component of `path` starts
    link_length: u64
    extension: ptr[u8]  # room for an extension header's content
    extension_room: u64
    extension_length: u64
    folders: ptr[u8]  # records of directories whose mode and time are set at the end
    folders_room: u64
    folders_length: u64
    files: u64  # how many entries were made natively
    written: u64  # bytes of content
    depth: u64  # open directories: the stack of `path`'s parents
    descriptors: array[i64] = length(LEVELS)
    ends: array[u64] = length(LEVELS)  # where in `parents` each one's path ends
    header: array[u8] = length(BLOCK)
    path: array[u8] = length(PATH_ROOM)
    link: array[u8] = length(PATH_ROOM)
    parents: array[u8] = length(PATH_ROOM)
    scratch: array[u8] = length(PATH_ROOM)


FOLDER_HEAD = 24
"""Bytes of a record in `folders` before its path: modification time (8), nanoseconds (8), mode (4), the path's length (4)."""
