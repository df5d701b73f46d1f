"""Leases: what running work needs stays, though no image of the index reaches it yet.

A lease is a file, locked as long as its owner lives, that lists digests: blobs and unpacked layers. So a killed owner's lease is over
by itself. Its name tells when it began, since which start of the host, and whether it lasts: what a lasting one covered may not be on
stable storage before `settle` (see settling.py).
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gasang.host.durable import boot_id
from gasang.images.content.locks import is_free, locked, open_lock, wait_for

LASTING = ".lasting"
"""How the names of lasting leases end."""


class Lease:
    """One piece of work's lease."""

    def __init__(self, path: Path, descriptor: int, lock: Path) -> None:
        self.path = path
        self._descriptor = descriptor
        self._lock = lock

    def hold(self, *digests: str) -> None:
        """From here on what has these digests stays. Look whether it is there after this, not before."""
        with locked(self._lock):  # not in the middle of a collection
            os.write(self._descriptor, "".join(f"{digest}\n" for digest in digests).encode())


class Leases:
    """The leases of a store; `lock` is what collecting garbage holds."""

    def __init__(self, folder: Path, lock: Path) -> None:
        self.folder = folder
        self._lock = lock

    @contextmanager
    def take(self, *, lasting: bool = False) -> Iterator[Lease]:
        """A lease for the block. The file of a lasting one stays behind until `settle`, without force."""
        path = self.folder / f"{boot_id()}.{int(time.time())}.{uuid.uuid4().hex}{LASTING if lasting else ''}"
        with locked(self._lock):  # a collection must not find it before it is held
            descriptor = open_lock(path)
            wait_for(descriptor)
        try:
            yield Lease(path, descriptor, self._lock)
        finally:
            if not lasting:
                path.unlink(missing_ok=True)
            os.close(descriptor)

    def held(self) -> set[str]:
        """The digests that living work needs. The lock is held."""
        found: set[str] = set()
        for path in self.files():
            if not is_free(path):
                with suppress(OSError):
                    found.update(path.read_text().split())
        return found

    def forget_dead(self) -> None:
        """Remove what killed owners left, but for what `settle` and, after a crash of the host, `recover` need. The lock is held."""
        for path in self.files():
            if path.name.startswith(f"{boot_id()}.") and not path.name.endswith(LASTING) and is_free(path):
                path.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """All lease files, those of dead owners too."""
        try:
            return sorted(self.folder.iterdir())
        except FileNotFoundError:
            return []
