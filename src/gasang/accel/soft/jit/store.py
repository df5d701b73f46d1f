"""The code cache on disk: a file of compiled regions (pack.py) for each compiler, processor description and host's level.

Who reads takes no lock, and has the file in memory: an entry is one append, under a lock, and a file is never cut, only replaced.
A tail that somebody did not finish ends what readers see; the next who writes makes the file anew without it. So it is made anew, too,
when it is full, with what was used last.

What lies here is executed: it is believed where the native cache is, in a folder of the user's own, and as a file of the user's own.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from gasang.accel.soft.jit.messages import Answer
from gasang.accel.soft.jit.pack import LOOKED_AT, USED, Entry, content_digest, look, pack_entry, read_entry
from gasang.cpus.riscv64 import region
from gasang.host.files import is_own, open_file, read_at, wait_for_lock
from gasang.native.build import object_key
from gasang.native.cache import default_directory
from gasang.native.library import own_sources, sources

MOST_BYTES: Final = 32 << 20
"""Of one file. Beyond that half of it is dropped."""
MOST_IN_ALL: Final = 128 << 20
"""Of all files: those of other compilers go, the oldest first."""
STALE: Final = 60
"""Minutes after which a use is noted again."""
_ENDING: Final = ".regions"
_MAGIC: Final = b"gasang-regions-1\n"
_LEVEL: Final = 1


def default_folder() -> Path:
    """In the native cache, whose rules it shares."""
    return default_directory() / "regions"


def region_key() -> bytes:
    """What compiled regions depend on beside the guest's code: 32 bytes."""
    from gasang.native.cache import key_of

    here = os.path.dirname(region.__file__)
    description = os.path.dirname(here)
    return bytes.fromhex(object_key(key_of(*sources([here, description, os.path.dirname(description)]), *own_sources()), _LEVEL))


class RegionStore:
    """The regions kept in `folder` for `key`. A host without such a folder has none, and keeps none.

    With `only_reads` it has what was there when it was made, and does not tell what was used: for who goes where the folder is not.
    """

    def __init__(self, folder: Path, key: bytes | None = None, most: int = MOST_BYTES, *, only_reads: bool = False) -> None:
        self._key = key or region_key()
        self._folder = folder
        self._most = most
        self._only_reads = only_reads
        self.path = folder / (sha256(self._key).hexdigest()[:32] + _ENDING)
        self._by_stamp: dict[int, list[Entry]] = {}
        self._file: int | None = None
        self._raw = b""
        """The file, from its begin to the end of its last sound entry."""
        self.damaged = 0
        self.refresh()

    def __len__(self) -> int:
        return len({entry.offset for entries in self._by_stamp.values() for entry in entries})

    def knows(self, stamp: int) -> bool:
        """Whether there are entries with a page of this stamp."""
        return stamp in self._by_stamp

    def about(self, stamp: int) -> list[Entry]:
        """The entries with a page of this stamp, the largest first."""
        return sorted(self._by_stamp.get(stamp, ()), key=lambda entry: -entry.steps)

    def load(self, entry: Entry, contents: Mapping[int, bytes]) -> Answer | None:
        """The region of an entry if it is sound and for pages of just these contents; one that is not is forgotten."""
        if any(content_digest(contents[page.delta]) != page.digest for page in entry.pages):
            return None
        try:
            return read_entry(self._key, self._raw[entry.offset : entry.offset + entry.size])
        except ValueError:
            self._forget(entry)
            self.damaged += 1
            return None

    def refresh(self) -> None:
        """See what others have added since."""
        try:
            now = os.stat(self.path)
            if self._file is None or os.fstat(self._file).st_ino != now.st_ino:
                self._open()
            if self._file is not None and now.st_size > len(self._raw):
                self._scan(self._file, min(now.st_size, self._most))
        except OSError:
            return

    def add(self, answer: Answer, contents: Mapping[int, bytes], *, multi: bool) -> None:
        """Keep a region. What cannot be kept (a full disk, a folder that is not ours) costs time, not correctness."""
        with contextlib.suppress(OSError, ValueError), self._locked():
            raw = pack_entry(self._key, answer, contents, multi=multi, used=_minutes())
            self.refresh()
            if self._file is None or os.fstat(self._file).st_size != len(self._raw) or len(self._raw) + len(raw) > self._most:
                self._make_anew()
            with open(self.path, "ab", buffering=0) as file:
                file.write(raw)
            self.refresh()

    def use(self, entries: Collection[Entry]) -> None:
        """Note that these were used just now."""
        now = _minutes()
        stale = [entry for entry in entries if entry.used + STALE <= now]
        if not stale or self._file is None or self._only_reads:
            return
        with contextlib.suppress(OSError), self._locked(), open(self.path, "r+b", buffering=0) as file:
            if os.fstat(file.fileno()).st_ino != os.fstat(self._file).st_ino:  # made anew since: their places are others'
                return
            for entry in stale:
                file.seek(entry.used_at)
                file.write(USED.pack(now))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._by_stamp, self._raw = {}, b""

    # ------------------------------------------------------------------ the file

    def _open(self) -> None:
        self.close()
        file = open_file(self.path, read_only=True)
        if not is_own(file) or not _begins_well(file):
            os.close(file)
            return
        self._file, self._raw = file, _MAGIC

    def _scan(self, file: int, size: int) -> None:
        """Read what the file has more, up to `size`, and note its entries."""
        end = start = len(self._raw)
        raw = self._raw + read_at(file, size - start, start)
        with contextlib.suppress(ValueError):
            while end < len(raw):
                entry = look(raw[end : end + LOOKED_AT], end)
                if end + entry.size > len(raw):
                    break
                for page in entry.pages:
                    self._by_stamp.setdefault(page.stamp, []).append(entry)
                end += entry.size
        self._raw = raw[:end]

    def _forget(self, entry: Entry) -> None:
        for page in entry.pages:
            self._by_stamp[page.stamp] = [other for other in self._by_stamp.get(page.stamp, ()) if other is not entry]

    def _make_anew(self) -> None:
        """A file with the entries that were used last, half of what it may hold. The lock is held."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = {entry.offset: entry for entries in self._by_stamp.values() for entry in entries}
        kept: list[Entry] = []
        left = self._most // 2
        for entry in sorted(found.values(), key=lambda entry: (-entry.used, -entry.offset)):
            left -= entry.size
            if left < 0:
                break
            kept.append(entry)
        scratch = self.path.with_suffix(".new")
        with open(scratch, "wb") as file:
            file.write(_MAGIC)
            for entry in sorted(kept, key=lambda entry: entry.offset):
                raw = self._raw[entry.offset : entry.offset + entry.size]
                with contextlib.suppress(ValueError):
                    read_entry(self._key, raw)
                    file.write(raw)
        os.replace(scratch, self.path)
        self._sweep()
        self.refresh()

    def _sweep(self) -> None:
        """Drop the files of other compilers that were changed longest ago, beyond MOST_IN_ALL."""
        others = sorted((path for path in self._folder.glob(f"*{_ENDING}") if path != self.path), key=lambda path: path.stat().st_mtime)
        total = sum(path.stat().st_size for path in others) + self._most
        for path in others:
            if total <= MOST_IN_ALL:
                break
            total -= path.stat().st_size
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among those who write, who take milliseconds. Raises OSError where that cannot be."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._folder / "lock", "ab") as file:
            wait_for_lock(file.fileno())
            yield


def _begins_well(file: int) -> bool:
    try:
        return read_at(file, len(_MAGIC), 0) == _MAGIC
    except OSError:  # it is shorter
        return False


def _minutes() -> int:
    return int(time.time()) // 60
