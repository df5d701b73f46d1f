"""Disks that are encrypted with LUKS, opened with their passphrase."""

from __future__ import annotations

from pathlib import Path

from gasang.storage.formats import REMOTE
from gasang.storage.images.image import Image
from gasang.storage.images.store import File, Store
from gasang.storage.images.table import load_image
from gasang.storage.luks.disk import unlock


def open_encrypted(where: str, key: bytes, *, read_only: bool, form: str = "") -> Image:
    """The disk in a LUKS container, raw unless its format is named. Raises what opening the container and `unlock` raise."""
    if where.startswith(REMOTE):
        from gasang.storage.remote import open_store

        store: Store = open_store(where, read_only=read_only)
    else:
        store = File.open(Path(where), read_only=read_only)
    return load_image(unlock(store, key), Path(where), form or "raw", b"", b"")
