"""The unpacker's loop, natively: consume a piece of a tar stream until it ends or Python is needed."""

from __future__ import annotations

from gasang.images.layers.create import end_file, make_file, make_folder, make_hard_link, make_symbolic_link, write_some
from gasang.images.layers.header import (
    BAD_NUMBER,
    GROUP,
    KIND,
    LINK,
    MODE,
    SIZE,
    TIME,
    USER,
    checksum_holds,
    clean,
    is_zero,
    last_component,
    number,
    raw_name,
    text_length,
)
from gasang.images.layers.state import (
    ASKED,
    BLOCK,
    CHECKSUM,
    CREATE,
    DATA,
    DONE,
    EMPTY_NAME,
    ENDED,
    FINISHED,
    GATHER,
    GATHERED,
    HANDED,
    HEADER,
    HUGE_EXTENSION,
    MORE,
    NUMBER,
    PADDING,
    PIECE,
    REFUSED,
    TOLD_AFTER,
    TOLD_ASK,
    TOLD_GROUP,
    TOLD_LINK,
    TOLD_PATH,
    TOLD_SIZE,
    TOLD_TIME,
    TOLD_USER,
    UNKNOWN_KIND,
    Unpacking,
)
from gasang.native import boolean, cast, copy, i64, load_unaligned, minimum, native, ptr, ref, u8, u32, u64

OLD_FILE = 0
FILE, HARD_LINK, SYMBOLIC_LINK, CHARACTER, BLOCK_DEVICE, FOLDER, FIFO, CONTIGUOUS = range(0x30, 0x38)
SPARSE, PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK = 0x53, 0x78, 0x67, 0x4C, 0x4B
WHITEOUT = 0x2E68_772E
"""".wh." as a little-endian number."""
INTERNAL = WHITEOUT << 32 | WHITEOUT
"""".wh..wh." begins the names of what AUFS kept for itself at the root."""


@native
def advance(state: ptr[Unpacking], data: ptr[u8], size: u64) -> u32:
    """Consume `data` from `state.position` on; an event (see state.py)."""
    event: u32 = MORE
    while event == MORE:
        if state.phase == HEADER:
            block = next_block(state, data, size)
            if u64(block) == 0:
                return MORE
            event = begin(state, block)
        elif state.phase == CREATE:
            event = create(state)
        elif state.phase == DATA:
            event = take_content(state, data, size)
            if event == MORE and state.phase == DATA:
                return MORE
        elif state.phase == HANDED:
            if state.left == 0:
                state.phase = PADDING
                return DONE
            return PIECE if state.position < size else MORE
        elif state.phase == GATHER:
            event = gather(state, data, size)
            if event == MORE:
                return MORE
        elif state.phase == PADDING:
            if state.after != 0:
                state.after = 0
                return DONE
            count = minimum(state.padding, size - state.position)
            state.position += count
            state.padding -= count
            if state.padding != 0:
                return MORE
            state.phase = HEADER
        else:
            state.position = size
            return MORE
    return event


@native
def next_block(state: ptr[Unpacking], data: ptr[u8], size: u64) -> ptr[u8]:
    """The next header, in the piece or collected in `header`; null while part of it is still to come."""
    there = size - state.position
    if state.have == 0 and there >= BLOCK:
        state.position += BLOCK
        return data + (state.position - BLOCK)
    count = minimum(there, u64(BLOCK - state.have))
    copy(ref(state.header[0]) + u64(state.have), data + state.position, count)
    state.position += count
    state.have += u32(count)
    if state.have < BLOCK:
        return cast(ptr[u8], u64(0))
    state.have = 0
    return ref(state.header[0])


@native
def take_content(state: ptr[Unpacking], data: ptr[u8], size: u64) -> u32:
    """Write what there is of the file's content; close it when all is there."""
    count = minimum(state.left, size - state.position)
    if count > 0:
        event = write_some(state, data + state.position, count)
        if event != MORE:
            return event
        state.position += count
        state.left -= count
    if state.left != 0:
        return MORE
    state.phase = PADDING
    return end_file(state)


@native
def gather(state: ptr[Unpacking], data: ptr[u8], size: u64) -> u32:
    """Collect an extension header's content."""
    count = minimum(state.left, size - state.position)
    copy(state.extension + state.extension_length, data + state.position, count)
    state.position += count
    state.left -= count
    state.extension_length += count
    if state.left != 0:
        return MORE
    state.phase = PADDING
    return GATHERED


@native
def refuse(state: ptr[Unpacking], rule: i64) -> u32:
    """The archive breaks a rule."""
    state.error = rule
    return REFUSED


@native
def begin(state: ptr[Unpacking], block: ptr[u8]) -> u32:
    """Read a header and decide what follows it."""
    if is_zero(block):
        state.phase = FINISHED
        return ENDED
    if not checksum_holds(block):
        return refuse(state, CHECKSUM)
    state.kind = u32(block[KIND])
    size = number(block + SIZE, 12)
    kind = state.kind
    if kind == PAX or kind == PAX_GLOBAL or kind == LONG_NAME or kind == LONG_LINK:
        if size < 0 or u64(size) > state.extension_room:
            return refuse(state, NUMBER if size < 0 else HUGE_EXTENSION)
        state.extension_length = 0
        state.left = u64(size)
        state.padding = (0 - state.left) % BLOCK
        state.phase = GATHER
        return MORE
    if not read_numbers(state, block, size):
        return refuse(state, NUMBER)
    return read_names(state, block)


@native
def read_numbers(state: ptr[Unpacking], block: ptr[u8], size: i64) -> boolean:
    """Mode, owner, size and time, unless an extension header has told them; False where one is no number or out of range."""
    mode = number(block + MODE, 8)
    if mode == BAD_NUMBER:
        return False
    state.mode = u32(mode) & 0o7777
    if state.told & TOLD_USER == 0:
        user = number(block + USER, 8)
        if user < 0 or user >= 0xFFFF_FFFF:
            return False
        state.user = u64(user)
    if state.told & TOLD_GROUP == 0:
        group = number(block + GROUP, 8)
        if group < 0 or group >= 0xFFFF_FFFF:
            return False
        state.group = u64(group)
    if state.told & TOLD_TIME == 0:
        seconds = number(block + TIME, 12)
        if seconds == BAD_NUMBER:
            return False
        for index in range(2):
            state.times[2 * index] = seconds
            state.times[2 * index + 1] = 0
    if state.told & TOLD_SIZE == 0:
        if size < 0:
            return False
        state.size = u64(size)
    return True


@native
def read_names(state: ptr[Unpacking], block: ptr[u8]) -> u32:
    """Path and link target, unless told; then the entry can be made."""
    path = ref(state.path[0])
    if state.told & TOLD_PATH == 0:
        state.path_length = raw_name(block, path)
    old_folder = state.kind == OLD_FILE and state.path_length > 0 and path[state.path_length - 1] == 0x2F
    cleaned = clean(path, state.path_length)
    if cleaned < 0:
        return refuse(state, -cleaned)
    state.path_length = u64(cleaned)
    state.base = last_component(path, state.path_length)
    if state.told & TOLD_LINK == 0:
        state.link_length = text_length(block + LINK, 100)
        copy(ref(state.link[0]), block + LINK, state.link_length)
    state.link[state.link_length] = 0
    if state.kind == HARD_LINK:
        cleaned = clean(ref(state.link[0]), state.link_length)
        if cleaned < 0:
            return refuse(state, -cleaned)
        state.link_length = u64(cleaned)
    return decide(state, block, old_folder)


@native
def decide(state: ptr[Unpacking], block: ptr[u8], old_folder: boolean) -> u32:
    """What is to be done about the entry: by us, or by Python where it is rare."""
    asked = state.told & TOLD_ASK != 0
    state.after = state.told & TOLD_AFTER
    state.told = 0
    kind = state.kind
    if old_folder:
        kind = FOLDER
    elif kind == OLD_FILE or kind == CONTIGUOUS:
        kind = FILE
    if kind != FILE and kind != SPARSE:
        state.size = 0
    state.kind = kind
    state.left = state.size
    state.padding = (0 - state.size) % BLOCK
    if state.path_length == 0 and kind != FOLDER:
        return refuse(state, EMPTY_NAME)
    whiteout = load_unaligned(cast(ptr[u32], ref(state.path[state.base]))) == WHITEOUT
    whiteout = whiteout or load_unaligned(cast(ptr[u64], ref(state.path[0]))) == INTERNAL
    rare = kind == SPARSE or kind == CHARACTER or kind == BLOCK_DEVICE or kind == FIFO
    if asked or whiteout or rare:
        if u64(block) != u64(ref(state.header[0])):
            copy(ref(state.header[0]), block, BLOCK)
        state.phase = HANDED
        return ASKED
    if kind != FILE and kind != FOLDER and kind != SYMBOLIC_LINK and kind != HARD_LINK:
        return refuse(state, UNKNOWN_KIND)
    state.phase = CREATE
    return MORE


@native
def create(state: ptr[Unpacking]) -> u32:
    """Make the entry; after TAKEN and FULL the same call tries again."""
    event: u32 = MORE
    if state.kind == FILE:
        event = make_file(state)
        if event == MORE:
            state.phase = DATA
        return event
    if state.kind == FOLDER:
        event = make_folder(state)
    elif state.kind == SYMBOLIC_LINK:
        event = make_symbolic_link(state)
    else:
        event = make_hard_link(state)
    if event == MORE:
        state.phase = PADDING
    return event
