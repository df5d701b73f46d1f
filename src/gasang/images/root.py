"""A root file system put together from packages: a tree that behaves as the disk will, where a directory may be a link to another.

Debian's /bin, /lib and /sbin are links into /usr. A package that names "bin/sh" thus means "usr/bin/sh"; `Root` follows such links as the
kernel would after chroot: an absolute target begins at the root, and ".." never leads above it. So no path a package names leaves the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gasang.core.errors import BadInputError
from gasang.storage.tree import Entry, Kind, encode, shown

_MOST_LINKS = 40
"""As the kernel's MAXSYMLINKS."""

Path = tuple[bytes, ...]


class Root:
    """Entries by path. A directory that exists stays as it is; anything else is replaced by what comes later."""

    def __init__(self) -> None:
        self._entries: dict[Path, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, path: str) -> bool:
        return self._real(_parts(path)) in self._entries

    def add(self, entry: Entry) -> None:
        """Put an entry at its path; raise BadInputError where that lies below a file, or replaces a directory by something else."""
        path = self._place(entry)
        known = self._entries.get(path)
        if entry.kind is Kind.DIRECTORY and known is not None and self._is_directory(path):
            return
        if known is not None and known.kind is Kind.DIRECTORY:
            raise BadInputError(f"path /{shown(entry.path)}", "one package has a directory there, another one something else", "pull again")
        target = b"/".join(self._real(_parts(entry.target))) if entry.kind is Kind.HARDLINK else entry.target
        self._entries[path] = replace(entry, path=b"/".join(path), target=target)

    def add_all(self, entries: Iterable[Entry]) -> None:
        """Put many."""
        for entry in entries:
            self.add(entry)

    def entries(self) -> Iterator[Entry]:
        """All entries: parents before what they hold, hard links after everything else."""
        paths = sorted(self._entries)
        for links in (False, True):
            for path in paths:
                entry = self._entries[path]
                if (entry.kind is Kind.HARDLINK) == links:
                    yield entry

    def _place(self, entry: Entry) -> Path:
        """Where the entry goes: below its real parent, which is made where it is missing."""
        parts = _parts(entry.path)
        if not parts:
            return parts
        parent = self._real(parts[:-1])
        for depth in range(len(parent) + 1):
            above = parent[:depth]
            known = self._entries.setdefault(above, Entry(path=b"/".join(above), kind=Kind.DIRECTORY, mode=0o755))
            if known.kind is not Kind.DIRECTORY:
                raise BadInputError(f"path /{shown(entry.path)}", f"/{shown(known.path)} above it is no directory", "pull again")
        return (*parent, parts[-1])

    def _is_directory(self, path: Path) -> bool:
        found = self._entries.get(self._real(path))
        return found is not None and found.kind is Kind.DIRECTORY

    def _real(self, path: Path) -> Path:
        """The path with every link on it followed."""
        done: Path = ()
        pending = list(reversed(path))
        followed = 0
        while pending:
            part = pending.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                done = done[:-1]
                continue
            entry = self._entries.get((*done, part))
            if entry is None or entry.kind is not Kind.SYMLINK:
                done = (*done, part)
                continue
            followed += 1
            if followed > _MOST_LINKS:
                raise BadInputError(f"path /{shown(b'/'.join(path))}", "its links go round in a circle", "pull again")
            target = encode(entry.target)
            done = () if target.startswith(b"/") else done
            pending += reversed(target.split(b"/"))
        return done


def _parts(path: bytes | str) -> Path:
    raw = encode(path)
    return tuple(raw.split(b"/")) if raw not in (b"", b".") else ()
