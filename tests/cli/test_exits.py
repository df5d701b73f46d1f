from __future__ import annotations

import errno

import pytest

from gasang.cli import exits
from gasang.core import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.GasangError)]


@pytest.mark.parametrize("kind", KINDS)
def test_our_own_errors_bring_their_code_and_sentence(kind: type[errors.GasangError]) -> None:
    error = kind("image a", "it is gone", "pull it")
    assert exits.exit_code(error) == kind.exit_code
    assert kind.exit_code in {*range(1, 10), exits.MACHINE_DIED}
    assert exits.sentence(error) == "image a: it is gone; pull it"


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/d/f"), 7, "/d/f: no space left on device; free some space"),
        (OSError(errno.EACCES, "Permission denied", "/d/f"), 5, "/d/f: permission denied; change its permissions"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "k"), 3, "k: no such file or directory; check the name"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 7, "the host: cannot allocate memory; give the machine less"),
        (MemoryError(), 7, "memory: the host has none left"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 141, ""),
        (ZeroDivisionError("x"), 1, "a fault of gasang itself (ZeroDivisionError: x); add --debug"),
        (OSError(errno.EIO, "Input/output error"), 1, "a fault of gasang itself (OSError"),
    ],
)
def test_the_hosts_errors_are_translated(error: BaseException, code: int, sentence: str) -> None:
    assert exits.exit_code(error) == code
    assert exits.sentence(error).startswith(sentence)


def test_a_sentence_is_one_line_without_control_characters() -> None:
    sentence = exits.sentence(errors.BadInputError("index \x1b[31m", "line 1\nis no entry"))
    assert sentence == "index \\x1b[31m: line 1\\nis no entry"
