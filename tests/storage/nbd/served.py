"""A disk image offered by a server of ours, for tests."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from gasang.storage.images.table import create_image, open_image
from gasang.storage.nbd.address import Address
from gasang.storage.nbd.server import Offer, Server

SIZE = 8 << 20


@contextlib.contextmanager
def served(folder: Path, *, form: str = "qcow2", read_only: bool = False, name: str = "", connections: int = 8) -> Iterator[Address]:
    path = folder / f"disk.{form}"
    if not path.exists():
        create_image(path, form, SIZE).close()
    listener = socket.socket(socket.AF_UNIX)
    place = folder / "nbd.sock"
    place.unlink(missing_ok=True)
    listener.bind(str(place))
    listener.listen()
    image = open_image(path, read_only=read_only, form=form)
    server = Server([Offer(image, name)], [listener], lambda sentence: None, connections=connections)
    server.start()
    try:
        yield Address(name, path=str(place))
    finally:
        server.close()
