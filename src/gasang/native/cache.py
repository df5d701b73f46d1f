"""The on-disk store of compiled objects: content-addressed, written atomically, believed only after its checksum holds.

An entry is a header (magic, SHA-256 of the key and the object) and the object. Whatever does not check out (damaged, truncated, made
for another key or processor, another user's) is ignored and compiled anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path

from gasang.core.paths import cache_folder

_MAGIC = b"gasang-object-2\n"
_CHECKSUM_SIZE = 32
_UNFINISHED = ".new-"
_ABANDONED_AFTER = 3600.0
"""Seconds after which a file that was never finished is nobody's: its writer was killed."""


def default_directory() -> Path:
    """$GASANG_NATIVE_CACHE, or `native` in gasang's cache folder.

    For a user without a home it is a path that cannot exist: what lies in the cache is executed, so no directory will do that others could
    have made first.
    """
    chosen = os.environ.get("GASANG_NATIVE_CACHE")
    if chosen:
        return Path(chosen)
    try:
        return cache_folder(os.environ) / "native"
    except RuntimeError:
        return Path(os.devnull) / "native"


def key_of(*parts: str | bytes) -> str:
    """A key from everything that decides the object's content."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()


class ObjectCache:
    """Compiled objects by key."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or default_directory()

    def path(self, key: str) -> Path:
        """Where the entry of a key lies."""
        return self.directory / key[:2] / key

    def load(self, key: str) -> bytes | None:
        """The object, or None if there is none that can be trusted."""
        try:
            with self.path(key).open("rb") as file:
                raw = file.read() if _is_ours(file.fileno()) else b""
        except OSError:
            return None
        body = raw[len(_MAGIC) + _CHECKSUM_SIZE :]
        return body if raw[: len(_MAGIC) + _CHECKSUM_SIZE] == _MAGIC + _checksum(key, body) else None

    def store(self, key: str, body: bytes) -> None:
        """Keep an object. A host that cannot store it (full disk, read-only home) costs speed, not correctness."""
        import tempfile

        path = self.path(key)
        temporary = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + _checksum(key, body) + body)
            Path(temporary).replace(path)
            _sweep(path.parent)
        except OSError:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()


def _is_ours(descriptor: int) -> bool:
    return not hasattr(os, "geteuid") or os.fstat(descriptor).st_uid in (0, os.geteuid())


def _sweep(folder: Path) -> None:
    for path in folder.glob(f"{_UNFINISHED}*"):
        if path.stat().st_mtime < time.time() - _ABANDONED_AFTER:
            path.unlink(missing_ok=True)


def _checksum(key: str, body: bytes) -> bytes:
    return hashlib.sha256(key.encode() + body).digest()
