"""A place of backups: chunks named by their content in packs, and a manifest for each backup.

    gasang-backup.json   that it is one, and its identity
    packs/*.pack         packs.py
    backups/*.json       manifest.py

Whatever is there never changes: a backup is new packs, then a manifest, each on stable storage before the next. So a crash at any moment
leaves the backups that were there, and at worst packs that no manifest needs, whose chunks the next backup uses. One writes at a time.
The place is a folder or a bucket: store.py.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from gasang.core.errors import BadInputError, NotFoundError, StateError
from gasang.storage.backup import manifest as manifests
from gasang.storage.backup.folder import NOTE, telling
from gasang.storage.backup.manifest import IDENTITY, Manifest
from gasang.storage.backup.packs import DIGEST, FULL, PackWriter, Place, digest_of, read_chunk, read_table
from gasang.storage.backup.store import Entry, Store, open_store

PACKS, BACKUPS = "packs", "backups"
_NAME: Final = "gasang-backups"
_PACK: Final = re.compile(rf"{PACKS}/[A-Za-z0-9_-]{{1,100}}\.pack")
_AT_ONCE: Final = 8
"""Tables of packs that are read at a time: a store over a network takes as long to answer one as several."""
HOLE: Final = bytes(DIGEST)
"""Instead of a digest: zeroes."""


class Repository:
    """An open place of backups; close it, or use it as a context. Every method raises GasangError."""

    def __init__(self, store: Store, identity: str) -> None:
        self.identity = identity
        self.stored = 0
        """Bytes that were stored since it was opened."""
        self._store = store
        self._index: dict[bytes, tuple[str, Place]] | None = None
        self._writer: PackWriter | None = None

    @classmethod
    def open(cls, place: Path | str, *, writes: bool = False, make: bool = False) -> Self:
        """Open it, made if it is not there and `make`. Raises StateError where another writes to it, NotFoundError, OutOfSpaceError."""
        store = open_store(place)
        try:
            if make:
                _make(store)
            identity = _identity(store)
            store.lock(shared=not writes)
        except BaseException:
            store.close()
            raise
        return cls(store, identity)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; what was not finished is gone."""
        if self._writer is not None:
            self._writer.give_up()
            self._writer = None
        self._store.close()

    # Chunks.

    def _packs(self) -> list[Entry]:
        return [each for each in self._store.entries(PACKS) if _PACK.fullmatch(each.name)]

    def _table(self, pack: Entry) -> dict[bytes, Place]:
        """What a pack has; of one that is damaged nothing: that is missing, and is stored anew or told by who needs it."""
        with contextlib.suppress(BadInputError, FileNotFoundError):
            return read_table(self._store, pack)
        return {}

    @property
    def _known(self) -> dict[bytes, tuple[str, Place]]:
        if self._index is None:
            packs = self._packs()
            index = {}
            with ThreadPoolExecutor(_AT_ONCE) as several:
                for pack, table in zip(packs, several.map(self._table, packs), strict=True):
                    index.update({digest: (pack.name, place) for digest, place in table.items()})
            self._index = index
        return self._index

    def put(self, data: bytes) -> bytes:
        """Have a chunk stored; its digest."""
        digest = digest_of(data)
        known = self._known
        if digest not in known:
            with telling(self._store.subject):
                if self._writer is None:
                    name = f"{PACKS}/{secrets.token_hex(16)}.pack"
                    self._writer = PackWriter(self._store.draft(name), name)
                before = self._writer.size
                self._writer.add(digest, data)
                self.stored += self._writer.size - before
                known[digest] = self._writer.name, self._writer.places[digest]
                if self._writer.size >= FULL:
                    self._finish_pack()
        return digest

    def get(self, digest: bytes) -> bytes:
        """The content of a chunk. Raises BadInputError where it is damaged or missing."""
        found = self._known.get(digest)
        if found is not None:
            name, place = found
            if self._writer is not None and name == self._writer.name:
                self._finish_pack()
            with contextlib.suppress(FileNotFoundError):
                return read_chunk(self._store, name, place, digest)
        raise BadInputError(self._store.subject, f"chunk {digest.hex()[:16]} is missing", "use another backup")

    def _finish_pack(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            with telling(self._store.subject):
                writer.close()

    # Backups.

    def names(self) -> list[str]:
        """The identities of all backups, the oldest first."""
        found = []
        for each in sorted(self._store.entries(BACKUPS), key=lambda each: (each.modified, each.name)):
            identity = each.name.removeprefix(f"{BACKUPS}/").removesuffix(".json")
            if each.name == _manifest_of(identity) and IDENTITY.fullmatch(identity):
                found.append(identity)
        return found

    def read(self, identity: str) -> Manifest:
        """A backup. Raises NotFoundError, BadInputError."""
        subject = f"backup {identity[:200]}"
        try:
            if not IDENTITY.fullmatch(identity):
                raise FileNotFoundError
            data = self._store.read(_manifest_of(identity))
        except FileNotFoundError as error:
            hint = f"gasang backup ls --from {self._store.place} lists them"
            raise NotFoundError(subject, f"{self._store.place} has none of that name", hint) from error
        return manifests.parse(data, subject)

    def all(self) -> Iterator[Manifest]:
        """Every backup that is whole, the newest first."""
        for identity in reversed(self.names()):
            with contextlib.suppress(BadInputError):
                yield self.read(identity)

    def commit(self, made: Manifest) -> None:
        """Have a backup: its chunks, then its manifest are on stable storage when this returns. Raises OutOfSpaceError."""
        self._finish_pack()
        try:
            _publish(self._store, _manifest_of(made.identity), made.make())
        except FileExistsError as error:
            raise StateError(f"backup {made.identity}", "another of its name was made meanwhile", "run it again") from error

    def remove(self, identity: str) -> None:
        """Forget a backup; `sweep` gives its room back. Raises NotFoundError."""
        if identity not in self.names():
            self.read(identity)
        self._store.remove(_manifest_of(identity))

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
        for pack in self._packs():
            try:
                table = read_table(self._store, pack)
            except BadInputError:
                continue
            live = [digest for digest in table if digest in needed and self._known[digest][0] == pack.name]
            kept = sum(table[digest].stored for digest in live)
            if kept * 2 > sum(place.stored for place in table.values()):
                continue
            contents = [(digest, self.get(digest)) for digest in live]
            for digest, data in contents:
                del self._known[digest]
                self.put(data)
            self._finish_pack()  # what is needed is stable elsewhere before it goes here
            for digest in table:
                if digest in self._known and self._known[digest][0] == pack.name:
                    del self._known[digest]
            self._store.remove(pack.name)
            freed += pack.size - kept
        return freed


def refs_of(page: bytes) -> list[bytes]:
    """The digests that a page names, HOLE among them. Raises BadInputError."""
    if len(page) % DIGEST:
        raise BadInputError("backup", "a page of it is damaged", "use another backup")
    return [page[at : at + DIGEST] for at in range(0, len(page), DIGEST)]


def _manifest_of(identity: str) -> str:
    return f"{BACKUPS}/{identity}.json"


def _publish(store: Store, name: str, data: bytes) -> None:
    with telling(store.subject):
        draft = store.draft(name)
        try:
            draft.file.write(data)
            draft.publish()
        except BaseException:
            draft.give_up()
            raise


def _make(store: Store) -> None:
    """Make it one where there is nothing at all. Raises StateError."""
    with contextlib.suppress(FileNotFoundError):
        store.read(NOTE)
        return
    if store.entries():
        raise StateError(store.subject, "other files are there", "name an empty folder, or a new one")
    note = json.dumps({"format": _NAME, "version": 1, "identity": secrets.token_hex(8)})
    with contextlib.suppress(FileExistsError):  # another made it at this moment, which is as good
        _publish(store, NOTE, note.encode())


def _identity(store: Store) -> str:
    try:
        note = json.loads(store.read(NOTE))
        identity = str(note["identity"])
        if note["format"] != _NAME or not IDENTITY.fullmatch(identity):
            raise ValueError("it is another's")
    except FileNotFoundError as error:
        raise NotFoundError(store.subject, "there are none", f"make one: gasang backup create NAME --to {store.place}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise BadInputError(store.subject, f"its note is damaged ({error})", f"write {NOTE} anew from another copy") from error
    return identity
