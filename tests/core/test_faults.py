"""Refusals of the host as errors with a sentence."""

from __future__ import annotations

import errno
import os

import pytest

from gasang.core.errors import GasangError, NotFoundError, OutOfSpaceError, PermissionDeniedError
from gasang.core.faults import FOR_CLIENTS, OTHERS, known, told


def refusal(number: int, name: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (refusal(errno.ENOSPC, "/x"), OutOfSpaceError, "/x: no space left on device; free some space, or set GASANG_HOME to a larger disk"),
        (refusal(errno.EROFS), PermissionDeniedError, "the host: read-only file system; set GASANG_HOME to a disk that can be written"),
        (refusal(errno.ENOENT, "/x"), GasangError, "/x: no such file or directory; the daemon's log may say more"),
        (OSError("odd"), GasangError, "the host: odd; the daemon's log may say more"),
        (OSError(), GasangError, "the host: oserror; the daemon's log may say more"),
        (MemoryError(), OutOfSpaceError, "memory: the host has none left; end other programs"),
    ],
)
def test_what_clients_are_told(error: OSError | MemoryError, kind: type[GasangError], sentence: str) -> None:
    found = told(error)
    assert (type(found), str(found)) == (kind, sentence)


def test_a_table_without_others_knows_what_it_has() -> None:
    kinds = {errno.ENOENT: (NotFoundError, "check the name"), errno.ENOMEM: FOR_CLIENTS[errno.ENOMEM]}
    assert isinstance(known(refusal(errno.ENOENT), kinds), NotFoundError)
    assert known(refusal(errno.EIO), kinds) is None
    assert OTHERS not in kinds
