"""VHDX: an unfinished log is replayed, into the file or in memory."""

from __future__ import annotations

import pytest

from gasang.core.errors import BadInputError
from gasang.storage.images import vhdx, vhdx_layout
from gasang.storage.images.store import Volatile
from gasang.storage.images.vhdx_layout import LOG_SECTOR, MIB, LogEntry, make_entry, make_header, parse_header

LOG = bytes(range(16))


def with_log(*entries: LogEntry, at: int = 0) -> Volatile:
    """An image with a block of data, and a log that says what of it changes."""
    store = Volatile()
    disk = vhdx.make_image(store, 8 * MIB, {"block_size": "1M"})
    disk.write(0, b"old" * 10_000)
    disk.close()
    for place in vhdx_layout.HEADERS_AT:
        head = parse_header(store.read(place, 4096))
        assert head is not None
        head.log = LOG
        store.write(place, make_header(head))
    for entry in entries:
        data = make_entry(entry, LOG)
        for begin in range(0, len(data), LOG_SECTOR):
            store.write(MIB + (at + begin) % MIB, data[begin : begin + LOG_SECTOR])
        at = (at + len(data)) % MIB
    return store


def changes(store: Volatile, at: int = 0) -> tuple[LogEntry, LogEntry]:
    size = store.size()
    first = LogEntry(7, at, 0, size, size, ((size - MIB, b"new!" * 1024), (size - MIB + 8192, 4096)))
    second = LogEntry(8, at, 0, size, size, ((size - MIB, b"last" * 1024),))
    return first, second


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize("at", [0, MIB - LOG_SECTOR])
def test_a_log_is_replayed(read_only: bool, at: int) -> None:
    store = with_log(*changes(with_log(), at), at=at)
    before = bytes(store.content)
    store.read_only = read_only
    disk = vhdx.load(store)
    assert disk.read(0, 4096) == b"last" * 1024
    assert disk.read(4096, 4096) == (b"old" * 10_000)[4096:8192]
    assert disk.read(8192, 4096) == bytes(4096)
    disk.close()
    assert (store.content == before) is read_only
    if not read_only:
        again = vhdx.load(store)
        assert not any(again.header.log)
        assert again.read(0, 4) == b"last"


def test_a_torn_entry_does_not_count() -> None:
    first, second = changes(with_log())
    store = with_log(first, second)
    store.content[MIB + len(make_entry(first, LOG)) + 100] ^= 1
    assert vhdx.load(store).read(0, 4) == b"new!"


def test_a_log_without_a_whole_entry_is_damage() -> None:
    with pytest.raises(BadInputError, match="log"):
        vhdx.load(with_log())


def test_one_header_is_enough() -> None:
    store = Volatile()
    vhdx.make_image(store, MIB, {}).close()
    store.content[vhdx_layout.HEADERS_AT[0] + 9] ^= 1
    assert vhdx.load(Volatile(bytes(store.content), read_only=True)).size == MIB
    store.content[vhdx_layout.HEADERS_AT[1] + 9] ^= 1
    with pytest.raises(BadInputError, match="header"):
        vhdx.load(store)
