"""VHDX's structures as values and bytes: headers, regions, metadata, log entries (MS-VHDX, sections 2.2 to 2.6)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from gasang.core.errors import BadInputError, UnsupportedError
from gasang.storage.crc32c import crc32c
from gasang.storage.images.identities import from_text, new_identity, turned
from gasang.storage.images.image import SIZE_MAX

FILE_ID = b"vhdxfile"
MIB = 1 << 20
HEADERS_AT, REGIONS_AT = (64 << 10, 128 << 10), (192 << 10, 256 << 10)
REGION = 64 << 10
LOG_MAX = 64 << 20
"""Bytes of a log that are looked at: 64 times the usual."""

_HEAD = struct.Struct("<4sIQ16s16s16sHHIQ")
_ENTRY = struct.Struct("<4sIIIQII16sQQ")
_DESCRIPTOR = struct.Struct("<4sIQQQ")
LOG_SECTOR = 4096


def _guid(text: str) -> bytes:
    return turned(from_text(text))


BAT = _guid("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA = _guid("8b7ca206-4790-4b9a-b8fe-575f050f886e")
PARAMETERS = _guid("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
DISK_SIZE = _guid("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
PAGE_83 = _guid("beca12ab-b2e6-4523-93ef-c309e000c746")
LOGICAL = _guid("8141bf1d-a96f-4709-ba47-f233a8faab5f")
PHYSICAL = _guid("cda348c7-445d-4471-9cc9-e9885251c556")
PARENT = _guid("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")


def damaged(name: str, what: str) -> BadInputError:
    """The error for an image whose `what` is wrong."""
    return BadInputError(f"disk {name}", f"its VHDX {what} is damaged", "restore it from a copy")


def summed(data: bytes) -> bytes:
    """A structure with its CRC-32C where one belongs, at its fifth byte."""
    blank = data[:4] + bytes(4) + data[8:]
    return data[:4] + (crc32c(blank) ^ 0xFFFFFFFF).to_bytes(4, "little") + data[8:]


def sound(data: bytes) -> bool:
    """Whether a structure's CRC-32C is right."""
    return summed(data)[4:8] == data[4:8]


class Header:
    """One of the two headers; the one with the larger number counts."""

    __slots__ = ("data_write", "file_write", "log", "log_at", "log_length", "sequence")

    def __init__(self, sequence: int, file_write: bytes, data_write: bytes, log: bytes, log_length: int, log_at: int) -> None:
        self.sequence = sequence
        self.file_write = file_write
        self.data_write = data_write
        self.log = log
        self.log_length = log_length
        self.log_at = log_at


def parse_header(data: bytes) -> Header | None:
    """A header, None where it is damaged: there is another."""
    if data[:4] != b"head" or not sound(data[:4096]):
        return None
    _, _, sequence, file_write, data_write, log, log_version, version, length, where = _HEAD.unpack_from(data)
    if version != 1 or log_version != 0 or length % MIB or where % MIB or where < MIB:
        return None
    return Header(sequence, file_write, data_write, log, length, where)


def make_header(head: Header) -> bytes:
    """The 4096 bytes of a header."""
    fixed = _HEAD.pack(b"head", 0, head.sequence, head.file_write, head.data_write, head.log, 0, 1, head.log_length, head.log_at)
    return summed(fixed.ljust(4096, b"\0"))


def parse_regions(data: bytes, name: str) -> dict[bytes, tuple[int, int]]:
    """Where the regions are, (offset, length) by their names. Raises BadInputError, UnsupportedError for a foreign one."""
    if data[:4] != b"regi" or not sound(data):
        raise damaged(name, "region table")
    count = int.from_bytes(data[8:12], "little")
    if count > 2047:
        raise damaged(name, "region table")
    found: dict[bytes, tuple[int, int]] = {}
    for number in range(count):
        region, offset, length, flags = struct.unpack_from("<16sQII", data, 16 + number * 32)
        if region in (BAT, METADATA):
            if offset < MIB or offset % MIB or offset > SIZE_MAX or region in found:
                raise damaged(name, "region table")
            found[region] = (offset, length)
        elif flags & 1:
            raise UnsupportedError(f"disk {name}", "it has a region that must be known and is not", "convert it with what made it")
    if len(found) != 2:
        raise damaged(name, "region table")
    return found


def make_regions(bat: tuple[int, int], metadata: tuple[int, int]) -> bytes:
    """The bytes of a region table."""
    rows = b"".join(struct.pack("<16sQII", region, *place, 1) for region, place in ((BAT, bat), (METADATA, metadata)))
    return summed((b"regi" + struct.pack("<III", 0, 2, 0) + rows).ljust(REGION, b"\0"))


class Metadata(NamedTuple):
    """What the metadata say. `sector` is the logical one."""

    size: int
    block: int
    fixed: bool
    sector: int = 512


def parse_metadata(data: bytes, name: str) -> Metadata:
    """The metadata in their region. Raises BadInputError, UnsupportedError for a child of another image or what must be known."""
    wrong = damaged(name, "metadata")
    if data[:8] != b"metadata" or len(data) < REGION:
        raise wrong
    count = int.from_bytes(data[10:12], "little")
    items: dict[bytes, bytes] = {}
    if count > 2047:
        raise wrong
    for number in range(count):
        item, offset, length, flags = struct.unpack_from("<16sIII", data, 32 + number * 32)
        if length and (offset < REGION or offset + length > len(data)):
            raise wrong
        if flags & 4 and item not in (PARAMETERS, DISK_SIZE, PAGE_83, LOGICAL, PHYSICAL, PARENT):
            raise UnsupportedError(f"disk {name}", "it has metadata that must be known and are not", "convert it with what made it")
        items[item] = data[offset : offset + length]
    if len(items.get(PARAMETERS, b"")) != 8 or len(items.get(DISK_SIZE, b"")) != 8 or len(items.get(LOGICAL, b"")) != 4:
        raise wrong
    block, flags = struct.unpack("<II", items[PARAMETERS])
    if flags & 2:
        raise UnsupportedError(f"disk {name}", "it stands on a parent image", "merge them with what made it")
    size, sector = int.from_bytes(items[DISK_SIZE], "little"), int.from_bytes(items[LOGICAL], "little")
    if not MIB <= block <= 256 * MIB or block & (block - 1) or sector not in (512, 4096) or not 0 < size <= 64 << 40 or size % sector:
        raise wrong
    return Metadata(size, block, bool(flags & 1), sector)


def make_metadata(meta: Metadata) -> bytes:
    """The bytes of a metadata region."""
    items = (
        (PARAMETERS, struct.pack("<II", meta.block, int(meta.fixed)), 4),
        (DISK_SIZE, meta.size.to_bytes(8, "little"), 6),
        (PAGE_83, turned(new_identity()), 6),
        (LOGICAL, meta.sector.to_bytes(4, "little"), 6),
        (PHYSICAL, (4096).to_bytes(4, "little"), 6),
    )
    rows = b"".join(
        struct.pack("<16sIIII", item, REGION + number * 32, len(value), flags, 0) for number, (item, value, flags) in enumerate(items)
    )
    table = (b"metadata" + struct.pack("<HH20x", 0, len(items)) + rows).ljust(REGION, b"\0")
    return (table + b"".join(value.ljust(32, b"\0") for _, value, _ in items)).ljust(MIB, b"\0")


class LogEntry(NamedTuple):
    """One entry of the log: its writes are (offset in the file, bytes or a count of zeroes)."""

    sequence: int
    tail: int
    length: int
    flushed: int
    last: int
    writes: tuple[tuple[int, bytes | int], ...]


def parse_entry(data: bytes, log: bytes) -> LogEntry | None:
    """The entry that `data` is, whole, None where it is not a valid one of the log named `log`."""
    if len(data) < LOG_SECTOR or data[:4] != b"loge":
        return None
    _, _, length, tail, sequence, count, _, identity, flushed, last = _ENTRY.unpack_from(data)
    if identity != log or length != len(data) or tail % LOG_SECTOR or not sequence or not sound(data):
        return None
    first = -(-(_ENTRY.size + count * 32) // LOG_SECTOR) * LOG_SECTOR
    if first > length:
        return None
    writes: list[tuple[int, bytes | int]] = []
    for number in range(count):
        kind, trailing, leading, where, number_here = _DESCRIPTOR.unpack_from(data, _ENTRY.size + number * 32)
        if number_here != sequence or where % LOG_SECTOR or where > SIZE_MAX:
            return None
        if kind == b"zero":
            if leading % LOG_SECTOR or leading > SIZE_MAX:
                return None
            writes.append((where, leading))
            continue
        sector = data[first : first + LOG_SECTOR]
        number_in = int.from_bytes(sector[4:8], "little") << 32 | int.from_bytes(sector[-4:], "little")
        if kind != b"desc" or sector[:4] != b"data" or number_in != sequence:
            return None
        writes.append((where, leading.to_bytes(8, "little") + sector[8:-4] + trailing.to_bytes(4, "little")))
        first += LOG_SECTOR
    return LogEntry(sequence, tail, length, flushed, last, tuple(writes)) if first == length else None


def make_entry(entry: LogEntry, log: bytes) -> bytes:
    """The bytes of an entry; `length` is computed."""
    descriptors, sectors = b"", b""
    high, low = (entry.sequence >> 32).to_bytes(4, "little"), (entry.sequence & 0xFFFFFFFF).to_bytes(4, "little")
    for where, what in entry.writes:
        if isinstance(what, int):
            descriptors += _DESCRIPTOR.pack(b"zero", 0, what, where, entry.sequence)
            continue
        leading, trailing = int.from_bytes(what[:8], "little"), int.from_bytes(what[-4:], "little")
        descriptors += _DESCRIPTOR.pack(b"desc", trailing, leading, where, entry.sequence)
        sectors += b"data" + high + what[8:-4] + low
    body = _ENTRY.size + len(descriptors)
    length = -(-body // LOG_SECTOR) * LOG_SECTOR + len(sectors)
    head = _ENTRY.pack(b"loge", 0, length, entry.tail, entry.sequence, len(entry.writes), 0, log, entry.flushed, entry.last)
    return summed((head + descriptors).ljust(length - len(sectors), b"\0") + sectors)


def pending(log: bytes, identity: bytes, name: str) -> list[LogEntry]:
    """The entries of a log that must be replayed, in order (section 2.3.3). Raises BadInputError where it has none that is whole."""
    entries = dict(_entries(log, identity, name))
    best: list[LogEntry] = []
    for start in entries:
        chain: list[tuple[int, LogEntry]] = []
        at = start
        while at in entries and len(chain) <= len(entries) and (not chain or entries[at].sequence == chain[-1][1].sequence + 1):
            chain.append((at, entries[at]))
            at = (at + entries[at].length) % len(log)
        tails = [number for number, (where, _) in enumerate(chain) if where == chain[-1][1].tail]
        if tails and (not best or chain[-1][1].sequence > best[-1].sequence):
            best = [entry for _, entry in chain[tails[0] :]]
    if not best:
        raise damaged(name, "log")
    return best


def _entries(log: bytes, identity: bytes, name: str) -> Iterator[tuple[int, LogEntry]]:
    """All valid entries by where they begin. A log whose entries overlap one another was made to waste time."""
    budget = 4 * len(log)
    for at in range(0, len(log), LOG_SECTOR):
        if log[at : at + 4] != b"loge" or log[at + 32 : at + 48] != identity:
            continue
        length = int.from_bytes(log[at + 8 : at + 12], "little")
        if not LOG_SECTOR <= length <= len(log) or length % LOG_SECTOR:
            continue
        budget -= length
        if budget < 0:
            raise damaged(name, "log")
        data = log[at : at + length]
        found = parse_entry(data + log[: length - len(data)], identity)
        if found is not None:
            yield at, found
