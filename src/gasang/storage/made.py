"""Files that appear only when complete."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gasang.core.errors import OutOfSpaceError, StateError
from gasang.host.files import lock_file

SUFFIX = ".part"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a host says whose disk, quota or file system cannot take more."""


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """An empty file to write that takes the name `path` when the block ends well, and is gone when it does not.

    Until then it is called `path` + ".part"; one that a killed process left behind is written over. Raises OutOfSpaceError where the
    host's disk is full, StateError if another process is making the same file.
    """
    part = path.with_name(path.name + SUFFIX)
    try:
        with _locked(part) as file:
            try:
                yield file
                file.flush()
                if os.name == "nt":
                    file.close()  # an open file cannot be renamed there
                os.replace(part, path)
            except BaseException:
                if os.name == "nt":
                    file.close()
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        if error.errno in FULL:
            raise OutOfSpaceError(f"disk {path}", "the host's disk is full", "free some space there or choose another place") from error
        raise


def _locked(part: Path) -> BinaryIO:
    while True:
        file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b")
        try:
            if not lock_file(file.fileno(), shared=False):
                raise StateError(f"disk {part}", "another process is making it", "wait for that one")
            # Between opening and locking, whoever had the lock may have renamed or deleted the file.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), os.stat(part)):
                    file.truncate(0)
                    return file
        except BaseException:
            file.close()
            raise
        file.close()
