"""Tar archives as streams: made by a thread while they are sent, read while they come."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Callable, Iterator

from gasang.api.answer import Answer

BLOCK = 1 << 18


def made(fill: Callable[[tarfile.TarFile], None]) -> Iterator[bytes]:
    """The bytes of the archive that `fill` adds to. What it raises is raised here, after what came before."""
    reading, writing = os.pipe()
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with open(writing, "wb", buffering=BLOCK) as file, tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as archive:
                fill(archive)
        except BaseException as error:  # the main thread is where errors become sentences
            errors.append(error)

    thread = threading.Thread(target=work, name="archive", daemon=True)
    thread.start()
    try:
        while data := os.read(reading, BLOCK):
            yield data
    finally:
        os.close(reading)
        thread.join()
    if errors:
        raise errors[0]


def as_roots(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """An entry that belongs to root, whoever owns the file here."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


class Incoming(io.RawIOBase):
    """The body of an answer as a file to read from."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._kept = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]
        """The next bytes; 0 at the end."""
        if not self._kept:
            self._kept = self._answer.read()
        piece, self._kept = self._kept[: len(target)], self._kept[len(target) :]
        target[: len(piece)] = piece
        return len(piece)
