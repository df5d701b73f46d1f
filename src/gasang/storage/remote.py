"""Disks that are no files here: what an NBD server offers, and files on web servers.

An NBD disk is raw unless another format is named: its content may be a guest's. A file on a web server is what its content says, and is
only read. What such an image names (a backing file, an extent) is not followed.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any, Final

from gasang.core.errors import StateError, UnsupportedError
from gasang.storage.images.image import Image
from gasang.storage.images.store import Store
from gasang.storage.images.table import HEAD, TAIL, load_image
from gasang.storage.nbd import address
from gasang.storage.nbd.client import NbdStore, Patience
from gasang.storage.web import SCHEMES as WEB

_SERVED: Final = 120.0
SCHEMES: Final = (*WEB, *address.SCHEMES)


def open_store(text: str, *, read_only: bool) -> Store:
    """The file behind an address. Raises UsageError for what is none, StateError for one that cannot be written, and a GasangError."""
    if text.startswith(WEB):
        if not read_only:
            raise StateError(f"disk {text}", "a file on a web server is only read", "say ,readonly")
        from gasang.storage.http import HttpStore

        return HttpStore(text)
    return NbdStore(address.parse(text), read_only=read_only)


def describe_remote(text: str, form: str) -> dict[str, Any]:
    """What is told of the image behind an address: plain values. Raises what `open_remote` raises."""
    image = open_remote(text, read_only=True, form=form)
    with closing(image):
        return {"address": text, "size": image.size, **image.about()}


def open_served(text: str, descriptor: int, *, read_only: bool) -> Image:
    """The raw disk that a process of ours has from that address, and serves at a connected socket. Raises what NbdStore raises.

    That process itself waits for a server that is away, so it is waited for longer.
    """
    store = NbdStore(address.Address(descriptor=descriptor), read_only=read_only, patience=Patience(answer=_SERVED, lost=0))
    store.name = text
    return load_image(store, Path(text), "raw", b"", b"")


def open_remote(text: str, *, read_only: bool, form: str = "") -> Image:
    """The image behind an address. Raises what `open_store` and `load_image` raise."""
    store = open_store(text, read_only=read_only)
    if not form and not text.startswith(WEB):
        form = "raw"
    try:
        head = b"" if form else store.read(0, min(HEAD, store.size()))
        tail = b"" if form else store.read(max(0, store.size() - TAIL), min(TAIL, store.size()))
    except OSError as error:
        store.close()
        raise UnsupportedError(f"disk {text}", f"it cannot be read ({error})", "check its address") from error
    return load_image(store, Path(text), form, head, tail)
