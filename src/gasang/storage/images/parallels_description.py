"""DiskDescriptor.xml, which says which file has which sectors of a Parallels disk (docs/interop/prl-xml). Entities are not expanded."""

from __future__ import annotations

from typing import Any, NamedTuple
from xml.parsers import expat

from gasang.core.errors import BadInputError, UnsupportedError
from gasang.storage.images.image import SECTOR, SIZE_MAX

_DEPTH_MAX = 16
_PARTS_MAX = 1024


class Described(NamedTuple):
    """A description: the disk's bytes, and (begin, end, type, file) of each part, begin and end in sectors."""

    size: int
    parts: tuple[tuple[int, int, str, str], ...]


class _Reader:
    """Gathers what matters while a document goes by."""

    def __init__(self, damaged: BadInputError) -> None:
        self._damaged = damaged
        self._path: list[str] = []
        self._text: list[str] = []
        self.size = ""
        self.encrypted = False
        self.snapshots = 0
        self.storages: list[dict[str, str]] = []

    def start(self, tag: str, _: dict[str, str]) -> None:
        """An element begins."""
        self._path.append(tag)
        self._text.clear()
        if len(self._path) > _DEPTH_MAX or len(self.storages) > _PARTS_MAX:
            raise self._damaged
        if tag == "Storage":
            self.storages.append({})
        self.snapshots += tag == "Shot"

    def data(self, text: str) -> None:
        """Some of an element's text."""
        self._text.append(text)

    def end(self, tag: str) -> None:
        """An element ends."""
        self._path.pop()
        text = "".join(self._text).strip()
        self._text.clear()
        within = self._path[-1] if self._path else ""
        if tag == "Disk_size":
            self.size = text
        elif within == "Encryption" and tag == "Data":
            self.encrypted = bool(text)
        elif (within, tag) in _FIELDS and self.storages:
            self.storages[-1][tag] = text

    def refuse(self, *_: Any) -> None:
        """An entity is declared: nobody needs one."""
        raise self._damaged


_FIELDS = {("Storage", "Start"), ("Storage", "End"), ("Image", "Type"), ("Image", "File")}


def parse(text: bytes, name: str) -> Described:
    """What a description says. Raises BadInputError, and UnsupportedError for an encrypted disk or one with snapshots."""
    damaged = BadInputError(f"disk {name}", "its DiskDescriptor.xml is damaged", "restore it from a copy")
    reader = _Reader(damaged)
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = reader.start, reader.end, reader.data
    parser.EntityDeclHandler = reader.refuse
    try:
        parser.Parse(text.rstrip(b"\0"), True)
    except (expat.ExpatError, ValueError) as error:
        raise damaged from error
    if reader.encrypted:
        raise UnsupportedError(f"disk {name}", "it is encrypted", "decrypt it with what made it")
    if reader.snapshots > 1:
        raise UnsupportedError(f"disk {name}", f"it has {reader.snapshots} snapshots", "merge them with what made it")
    size = _number(reader.size, damaged) * SECTOR
    if not reader.storages or not 0 < size <= SIZE_MAX or any(len(part) != len(_FIELDS) for part in reader.storages):
        raise damaged
    parts = ((_number(part["Start"], damaged), _number(part["End"], damaged), part["Type"], part["File"]) for part in reader.storages)
    return Described(size, tuple(parts))


def _number(text: str, error: BadInputError) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise error
    return int(text)
