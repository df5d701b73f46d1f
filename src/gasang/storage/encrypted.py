"""Disks that are encrypted with LUKS, opened with their passphrase."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

from gasang.storage.formats import REMOTE
from gasang.storage.images.image import Image
from gasang.storage.images.store import File, Store
from gasang.storage.images.table import load_image
from gasang.storage.luks.disk import unlock


def open_encrypted(where: str, key: bytes, *, read_only: bool, form: str = "", header: Path | None = None) -> Image:
    """The disk in a LUKS container, raw unless its format is named; its `header` may be a file of its own.

    Raises what opening the files and `unlock` raise.
    """
    with ExitStack() as opened:
        told = opened.enter_context(closing(File.open(header, read_only=True))) if header is not None else None
        store = _container(where, read_only=read_only)
        return load_image(unlock(store, key, told), Path(where), form or "raw", b"", b"")


def _container(where: str, *, read_only: bool) -> Store:
    if where.startswith(REMOTE):
        from gasang.storage.remote import open_store

        return open_store(where, read_only=read_only)
    return File.open(Path(where), read_only=read_only)
