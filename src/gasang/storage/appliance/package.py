"""OVF packages: a folder's descriptor with files beside it, or an OVA, which is a tar archive of them (DSP0243, section 6).

Nothing is unpacked: a file of an archive is a window on it, and names are only compared, so that none leads anywhere. Where there is a
manifest, what it names is verified before it is read, and what it does not name is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gasang.core.errors import BadInputError, PermissionDeniedError, UnsupportedError
from gasang.storage.appliance import ovf
from gasang.storage.appliance.ovf import Appliance, ApplianceDisk
from gasang.storage.images.conversion import Told, convert
from gasang.storage.images.image import Image
from gasang.storage.images.references import Trust
from gasang.storage.images.store import File, Store
from gasang.storage.images.table import HEAD, TAIL, load_image
from gasang.storage.images.vmdk import make_stream

BLOCK: Final = 512
_MEMBERS_MAX: Final = 256
_PIECE: Final = 1 << 20
_LINE: Final = re.compile(r"(SHA1|SHA256|SHA512)\s*\((.+)\)\s*=\s*([0-9a-fA-F]+)")


class Window:
    """A part of a store as a store of its own, which is grown but not closed through it."""

    def __init__(self, below: Store, begin: int, size: int, name: str, *, read_only: bool = True) -> None:
        self._below = below
        self._begin = begin
        self._size = size
        self.name = name
        self.read_only = read_only

    def size(self) -> int:
        """Bytes up to its end."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes; zeroes behind the end."""
        have = max(0, min(length, self._size - offset))
        return self._below.read(self._begin + offset, have).ljust(length, b"\0") if have else bytes(length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store all of `data`, behind the end too."""
        self._below.write(self._begin + offset, data)
        self._size = max(self._size, offset + len(data))

    def truncate(self, size: int) -> None:
        """Have the window end at `size`."""
        self._below.truncate(self._begin + size)
        self._size = size

    def punch(self, offset: int, length: int) -> bool:
        """Whether a range is a hole now."""
        return self._below.punch(self._begin + offset, length)

    def data(self) -> Iterator[tuple[int, int]]:
        """All of it."""
        yield 0, self._size

    def flush(self) -> None:
        """As the store below."""
        self._below.flush()

    def close(self) -> None:
        """The store below stays open."""


@dataclass(frozen=True, slots=True)
class Package:
    """An open package: the machine, and where its files lie: in an archive, or in a folder."""

    subject: str
    appliance: Appliance
    archive: Store | None
    members: dict[str, tuple[int, int]]
    folder: Path

    def disk(self, disk: ApplianceDisk) -> Image:
        """A disk of the machine. Raises BadInputError for a file that is missing, and what opening the image raises."""
        store = _file(self, disk.file)
        return load_image(store, Path(disk.file), "", store.read(0, HEAD), store.read(max(0, store.size() - TAIL), TAIL))

    def close(self) -> None:
        """Give the archive back."""
        if self.archive is not None:
            self.archive.close()


def _file(package: Package, name: str) -> Store:
    if package.archive is not None:
        if name not in package.members:
            raise BadInputError(package.subject, f"its file {name!r} is missing", "export it again")
        return Window(package.archive, *package.members[name], name)
    if "/" in name or "\0" in name or name in ("", ".", ".."):
        raise PermissionDeniedError(package.subject, f"it names {name!r}, which is not beside it", "put its files into one folder")
    return File.open(Trust().follow(package.folder / "descriptor", name), read_only=True)


def open_package(path: Path, store: Store | None = None) -> Package:
    """The package whose OVA or OVF file is `path`, or whose OVA lies in `store`; verified by its manifest.

    Raises BadInputError for a damaged one, UnsupportedError for what is not known, and what File.open raises.
    """
    subject = f"appliance {path}"
    file = store or File.open(path, read_only=True)
    try:
        if store is None and path.suffix.lower() == ".ovf":
            with closing(file):
                text = file.read(0, min(file.size(), ovf.LENGTH_MAX + 1))
            package = Package(subject, ovf.parse(text, subject), None, {}, path.parent)
            beside = path.with_suffix(".mf")
            if beside.is_file():
                verify(package, beside.read_bytes()[: ovf.LENGTH_MAX], {path.name: text})
            return package
        members = dict(_members(file, subject))
        descriptors = [name for name in members if name.lower().endswith(".ovf")]
        if len(descriptors) != 1 or next(iter(members)) != descriptors[0]:
            raise BadInputError(subject, "it does not begin with its one OVF descriptor", "name an OVA file")
        text = _small(file, members[descriptors[0]], subject)
        package = Package(subject, ovf.parse(text, subject), file, members, path.parent)
        manifest = descriptors[0][:-4] + ".mf"
        if manifest in members:
            verify(package, _small(file, members[manifest], subject), {descriptors[0]: text})
        return package
    except BaseException:
        file.close()
        raise


def _small(file: Store, where: tuple[int, int], subject: str) -> bytes:
    if where[1] > ovf.LENGTH_MAX:
        raise BadInputError(subject, "its descriptor is too large", "export it again")
    return file.read(*where)


def _members(file: Store, subject: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """(name, (begin, size)) of the archive's files. Raises BadInputError, UnsupportedError for anything but files with plain names."""
    damaged = BadInputError(subject, "it is no OVA, or a damaged one", "export it again")
    at, seen = 0, set()
    while at + BLOCK <= file.size():
        head = file.read(at, BLOCK)
        if not any(head):
            break
        kind = head[156:157]
        spaced = sum(head[:148]) + sum(head[156:]) + 8 * 32
        size = _octal(head[124:136], damaged)
        if _octal(head[148:156], damaged) != spaced or at + BLOCK + size > file.size():
            raise damaged
        if kind in (b"x", b"g"):
            if b"path=" in (told := file.read(at + BLOCK, min(size, 1 << 16))) or b"size=" in told or size > 1 << 16:
                raise UnsupportedError(subject, "it has names or sizes of the newer archive format", "export it as OVF")
        elif kind in (b"0", b"\0"):
            name = head[:100].split(b"\0")[0].decode(errors="surrogateescape")
            if not name or "/" in name or "\\" in name or name in (".", "..") or head[345:346] != b"\0" or name in seen:
                raise BadInputError(subject, f"it has a file {name!r}, as no OVA has", "do not trust who made it")
            seen.add(name)
            yield name, (at + BLOCK, size)
        else:
            raise BadInputError(subject, "it has links or folders, as no OVA has", "do not trust who made it")
        if len(seen) > _MEMBERS_MAX:
            raise damaged
        at += BLOCK + -(-size // BLOCK) * BLOCK
    if not seen:
        raise damaged


def _octal(field: bytes, damaged: BadInputError) -> int:
    """A number of a tar header, in octal digits or, if large, in base 256 (POSIX.1-1988 ustar, and GNU)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.translate(None, b"01234567"):
        raise damaged
    return int(digits or b"0", 8)


def verify(package: Package, manifest: bytes, texts: dict[str, bytes]) -> None:
    """Compare all files with their digests. Raises BadInputError where one differs, is missing or is not named."""
    named = set()
    for line in manifest.decode(errors="replace").splitlines():
        if not line.strip():
            continue
        told = _LINE.fullmatch(line.strip())
        if told is None:
            raise BadInputError(package.subject, "its manifest is damaged", "export it again")
        kind, name, digest = told.groups()
        made = hashlib.new(kind.lower(), usedforsecurity=False)
        if name in texts:
            made.update(texts[name])
        else:
            with closing(_file(package, name)) as store:
                for at in range(0, store.size(), _PIECE):
                    made.update(store.read(at, min(_PIECE, store.size() - at)))
        if made.hexdigest() != digest.lower():
            raise BadInputError(package.subject, f"its file {name!r} is not what the manifest says", "download or export it again")
        named.add(name)
    wanted = {disk.file for disk in package.appliance.disks if disk.file} | set(texts)
    if missing := wanted - named:
        raise BadInputError(package.subject, f"its manifest does not name {min(missing)!r}", "do not trust who made it")


def write_archive(path: Path, appliance: Appliance, images: list[Image], told: Told) -> None:
    """A new OVA: the descriptor, a streamOptimized VMDK for each of `images`, and the manifest. It is gone again on an error.

    Raises what File.made_new and the images raise, OSError.
    """
    File.filled(path, lambda store: _fill(store, path.stem, appliance, images, told)).close()


def _fill(store: Store, stem: str, appliance: Appliance, images: list[Image], told: Told) -> Store:
    at = 0
    digests = []

    def add(name: str, data: bytes) -> None:
        nonlocal at
        store.write(at, _header(name, len(data)) + data + bytes(-len(data) % BLOCK))
        at += BLOCK + -(-len(data) // BLOCK) * BLOCK

    text = ovf.make(appliance)
    add(f"{stem}.ovf", text)
    digests.append((f"{stem}.ovf", hashlib.sha256(text).hexdigest()))
    for disk, image in zip(appliance.disks, images, strict=True):
        window = Window(store, at + BLOCK, 0, disk.file, read_only=False)
        with closing(make_stream(window, image.size)) as target:
            convert(image, target, compress=True, told=told)
        size = window.size()
        store.write(at, _header(disk.file, size))
        made = hashlib.sha256()
        for begin in range(0, size, _PIECE):
            made.update(window.read(begin, min(_PIECE, size - begin)))
        digests.append((disk.file, made.hexdigest()))
        at += BLOCK + -(-size // BLOCK) * BLOCK
    add(f"{stem}.mf", "".join(f"SHA256({name})= {digest}\n" for name, digest in digests).encode())
    store.write(at, bytes(2 * BLOCK))
    return store


def _header(name: str, size: int) -> bytes:
    """A ustar header of a file (POSIX.1-1988, section 10.1.1); sizes from 8 GiB on in base 256."""
    sized = b"%011o\0" % size if size < 1 << 33 else b"\x80" + size.to_bytes(11, "big")
    head = bytearray(name.encode().ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + sized + b"%011o\0" % 0 + b" " * 8 + b"0")
    head += bytes(100) + b"ustar\x0000"
    head = head.ljust(BLOCK, b"\0")
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)
