"""The on-disk store of compiled objects: content-addressed, written atomically, believed only after its checksum holds.

An entry is a header (magic, SHA-256 of the key and the object) and the object. Whatever does not check out (damaged, truncated, made
for another key or processor) is ignored and compiled anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

_MAGIC = b"gasang-object-2\n"


def default_directory() -> Path:
    """$GASANG_NATIVE_CACHE, or `gasang/native` in the user's cache directory."""
    chosen = os.environ.get("GASANG_NATIVE_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gasang" / "native"


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
            raw = self.path(key).read_bytes()
        except OSError:
            return None
        body = raw[len(_MAGIC) + 32 :]
        if not raw.startswith(_MAGIC) or raw[len(_MAGIC) : len(_MAGIC) + 32] != _checksum(key, body):
            return None
        return body

    def store(self, key: str, body: bytes) -> None:
        """Keep an object. A host that cannot store it (full disk, read-only home) costs speed, not correctness."""
        path = self.path(key)
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + _checksum(key, body) + body)
            Path(temporary).replace(path)
        except OSError:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()


def _checksum(key: str, body: bytes) -> bytes:
    return hashlib.sha256(key.encode() + body).digest()
