"""A folder of backups: chunks named by their content in packs, and a manifest for each backup.

    DIR/gasang-backup.json   that it is one, and its identity
    DIR/packs/*.pack         packs.py
    DIR/backups/*.json       manifest.py

Whatever is there never changes: a backup is new packs, then a manifest, each on stable storage before the next. So a crash at any moment
leaves the backups that were there, and at worst packs that no manifest needs, whose chunks the next backup uses. One writes at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gasang.core.errors import BadInputError, NotFoundError, OutOfSpaceError, PermissionDeniedError, StateError
from gasang.host.files import lock_file
from gasang.storage.backup import manifest as manifests
from gasang.storage.backup.manifest import IDENTITY, Manifest
from gasang.storage.backup.packs import DIGEST, FULL, PackWriter, Place, digest_of, read_chunk, read_table
from gasang.storage.made import FULL as FULL_DISK

NOTE: Final = "gasang-backup.json"
PACKS, BACKUPS = "packs", "backups"
_NAME: Final = "gasang-backups"
HOLE: Final = bytes(DIGEST)
"""Instead of a digest: zeroes."""


class Repository:
    """An open folder of backups; close it, or use it as a context. Every method raises GasangError."""

    def __init__(self, folder: Path, identity: str, lock: int) -> None:
        self.folder = folder
        self.identity = identity
        self.stored = 0
        """Bytes that were stored since it was opened."""
        self._lock = lock
        self._index: dict[bytes, tuple[str, Place]] | None = None
        self._writer: PackWriter | None = None
        self._open: dict[str, int] = {}

    @classmethod
    def open(cls, folder: Path, *, writes: bool = False, make: bool = False) -> Self:
        """Open it, made if it is not there and `make`. Raises StateError where another writes to it, NotFoundError, OutOfSpaceError."""
        subject = f"backups in {folder}"
        with telling(subject):
            if make and not (folder / NOTE).exists():
                _make(folder, subject)
            try:
                note = json.loads((folder / NOTE).read_bytes())
                identity = str(note["identity"])
                if note["format"] != _NAME or not IDENTITY.fullmatch(identity):
                    raise ValueError("it is another's")
            except FileNotFoundError as error:
                raise NotFoundError(subject, "there are none", "make one: gasang backup create NAME --to DIR") from error
            except (ValueError, TypeError, KeyError) as error:
                raise BadInputError(subject, f"its note is damaged ({error})", f"write {NOTE} anew from another copy") from error
            lock = os.open(folder / NOTE, os.O_RDONLY | os.O_CLOEXEC)
        if not lock_file(lock, shared=not writes):
            os.close(lock)
            raise StateError(subject, "another writes to them", "wait for that one")
        made = cls(folder, identity, lock)
        if writes:
            for left in (folder / PACKS).glob("*.part"):
                left.unlink(missing_ok=True)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; what was not finished is gone."""
        if self._writer is not None:
            self._writer.give_up()
            self._writer = None
        for descriptor in (*self._open.values(), self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._open, self._lock = {}, -1

    # Chunks.

    @property
    def _known(self) -> dict[bytes, tuple[str, Place]]:
        if self._index is None:
            self._index = {}
            for path in sorted((self.folder / PACKS).glob("*.pack")):
                with contextlib.suppress(BadInputError):  # what it has is missing, and is stored anew or told by who needs it
                    for digest, place in read_table(path).items():
                        self._index[digest] = path.name, place
        return self._index

    def put(self, data: bytes) -> bytes:
        """Have a chunk stored; its digest."""
        digest = digest_of(data)
        known = self._known
        if digest not in known:
            with telling(f"backups in {self.folder}"):
                if self._writer is None:
                    self._writer = PackWriter(self.folder / PACKS / f"{secrets.token_hex(16)}.pack")
                before = self._writer.size
                self._writer.add(digest, data)
                self.stored += self._writer.size - before
                known[digest] = self._writer.path.name, self._writer.places[digest]
                if self._writer.size >= FULL:
                    self._finish_pack()
        return digest

    def get(self, digest: bytes) -> bytes:
        """The content of a chunk. Raises BadInputError where it is damaged or missing."""
        found = self._known.get(digest)
        if found is None:
            raise BadInputError(f"backups in {self.folder}", f"chunk {digest.hex()[:16]} is missing", "use another backup")
        name, place = found
        if self._writer is not None and name == self._writer.path.name:
            self._finish_pack()
        path = self.folder / PACKS / name
        with telling(f"backups in {self.folder}"):
            if name not in self._open:
                self._open[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            return read_chunk(self._open[name], place, digest, path)

    def _finish_pack(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with telling(f"backups in {self.folder}"):
                try:
                    writer.close()
                except BaseException:
                    writer.give_up()
                    raise
                _sync(self.folder / PACKS)

    # Backups.

    def names(self) -> list[str]:
        """The identities of all backups, the oldest first."""
        found = [path for path in (self.folder / BACKUPS).glob("*.json") if IDENTITY.fullmatch(path.stem)]
        return [path.stem for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))]

    def read(self, identity: str) -> Manifest:
        """A backup. Raises NotFoundError, BadInputError."""
        subject = f"backup {identity[:200]}"
        path = self.folder / BACKUPS / f"{identity}.json"
        try:
            if not IDENTITY.fullmatch(identity):
                raise FileNotFoundError
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(subject, f"{self.folder} has none of that name", "gasang backup ls --from DIR lists them") from error
        return manifests.parse(data, subject)

    def all(self) -> Iterator[Manifest]:
        """Every backup that is whole, the newest first."""
        for identity in reversed(self.names()):
            with contextlib.suppress(BadInputError):
                yield self.read(identity)

    def commit(self, made: Manifest) -> None:
        """Have a backup: its chunks, then its manifest are on stable storage when this returns. Raises OutOfSpaceError."""
        self._finish_pack()
        path = self.folder / BACKUPS / f"{made.identity}.json"
        part = path.with_suffix(".part")
        with telling(f"backups in {self.folder}"):
            try:
                with part.open("wb") as file:
                    file.write(made.make())
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
            except OSError:
                part.unlink(missing_ok=True)
                raise
            _sync(path.parent)

    def remove(self, identity: str) -> None:
        """Forget a backup; `sweep` gives its room back. Raises NotFoundError."""
        path = self.folder / BACKUPS / f"{identity}.json"
        if not IDENTITY.fullmatch(identity) or not path.exists():
            self.read(identity)
        with telling(f"backups in {self.folder}"):
            path.unlink(missing_ok=True)
            _sync(path.parent)

    def sweep(self) -> int:
        """Give back what no backup needs; the bytes. Packs that are needed by half or less are written anew. Raises BadInputError.

        Where a manifest cannot be read nothing is removed: it may need anything.
        """
        needed: set[bytes] = set()
        for identity in self.names():
            for each in self.read(identity).objects:
                for page in each.pages:
                    digest = bytes.fromhex(page)
                    needed.add(digest)
                    needed.update(refs_of(self.get(digest)))
        freed = 0
        for path in sorted((self.folder / PACKS).glob("*.pack")):
            try:
                table = read_table(path)
            except BadInputError:
                continue
            live = [digest for digest in table if digest in needed and self._known[digest][0] == path.name]
            kept = sum(table[digest].stored for digest in live)
            if kept * 2 > sum(place.stored for place in table.values()):
                continue
            contents = [(digest, self.get(digest)) for digest in live]
            for digest, data in contents:
                del self._known[digest]
                self.put(data)
            self._finish_pack()  # what is needed is stable elsewhere before it goes here
            size = path.stat().st_size
            if (descriptor := self._open.pop(path.name, -1)) >= 0:
                os.close(descriptor)
            for digest in table:
                if digest in self._known and self._known[digest][0] == path.name:
                    del self._known[digest]
            path.unlink()
            freed += size - kept
        _sync(self.folder / PACKS)
        return freed


def refs_of(page: bytes) -> list[bytes]:
    """The digests that a page names, HOLE among them. Raises BadInputError."""
    if len(page) % DIGEST:
        raise BadInputError("backup", "a page of it is damaged", "use another backup")
    return [page[at : at + DIGEST] for at in range(0, len(page), DIGEST)]


@contextlib.contextmanager
def telling(subject: str) -> Iterator[None]:
    """What the host refuses, as an error a user understands."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK:
            hint = "free some space there; the backups that are there are whole"
            raise OutOfSpaceError(subject, "their disk is full", hint) from error
        if isinstance(error, PermissionError):
            raise PermissionDeniedError(subject, f"{error.filename} may not be used", "change its permissions") from error
        if isinstance(error, FileNotFoundError):
            raise
        raise BadInputError(subject, f"the host fails ({error.strerror})", "check their disk") from error


def _make(folder: Path, subject: str) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise StateError(subject, "the folder has other files", "name an empty folder, or a new one")
    for part in (PACKS, BACKUPS):
        (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = folder / f".{NOTE}"
    with fresh.open("w") as file:
        json.dump({"format": _NAME, "version": 1, "identity": secrets.token_hex(8)}, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / NOTE)
    _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
