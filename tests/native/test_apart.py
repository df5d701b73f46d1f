"""Compiling in a process of its own: the caller stays small, with a cache or without one, and compiles itself where there is no helper."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from gasang.native.apart import made_apart

PARTS = """
from gasang.native import i32, native, ptr, u64
from gasang.native.library import Parts

@native
def triple(x: u64) -> u64:
    return x * 3

@native
def seven(stack: ptr[u64]) -> i32:
    return 7

def make():
    return Parts([triple], {}, {})

def entry():
    return seven

def broken():
    raise ValueError("no parts")

def some():
    return b"some"

def joined(made, data):
    return made + data
"""
CALLER = """
import sys
from gasang.native import apart
import parts_of_test as parts
from gasang.native.kept_program import kept_program
from gasang.native.library import load_library
{before}
print(load_library("x", [{folder!r}], parts.{make}).functions["triple"](5))
print(kept_program("y", [{folder!r}], parts.entry)[:4])
print("llvmlite" in sys.modules, "gasang.native.checker" in sys.modules)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parts_of_test.py").write_text(PARTS)
    return tmp_path


def called(folder: Path, cache: str, before: str = "", make: str = "make") -> list[str]:
    """What a process says that loads a library and a program: the library's answer, the program's magic, whether it holds the compiler."""
    environment = {**os.environ, "GASANG_NATIVE_CACHE": cache, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}
    text = CALLER.format(folder=str(folder), before=before, make=make)
    return subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


FINE = ["15", "b'\\x7fELF'"]


def test_the_caller_does_not_hold_the_compiler(folder: Path) -> None:
    cache = folder / "cache"
    assert called(folder, str(cache)) == [*FINE, "False False"]
    kept = sorted(path for path in cache.rglob("*") if path.is_file())
    assert len(kept) == 2
    assert called(folder, str(cache), "sys.executable = ''") == [*FINE, "False False"], "the helper's entries are found"
    assert sorted(path for path in cache.rglob("*") if path.is_file()) == kept


def test_without_a_cache(folder: Path) -> None:
    assert called(folder, os.path.join(os.devnull, "cache")) == [*FINE, "False False"]


@pytest.mark.parametrize("without", ["sys.executable = ''", "sys.executable = '/nonexistent/python'", "sys.executable = '/bin/false'"])
def test_without_a_helper(folder: Path, without: str) -> None:
    assert called(folder, str(folder / "cache"), without) == [*FINE, "True True"]


def test_what_goes_wrong_is_told_by_the_caller(folder: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as found:
        called(folder, str(folder / "cache"), make="broken")
    assert "ValueError: no parts" in found.value.stderr


def test_what_has_no_name_to_be_imported_by_is_not_made_apart(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    parts = import_module("parts_of_test")
    assert made_apart(parts.joined, parts.some, b"!") == b"some!"
    assert made_apart(parts.joined, lambda: b"some", b"!") is None
    assert made_apart(lambda made, data: made + data, parts.some, b"!") is None
    del sys.modules["parts_of_test"]
    assert made_apart(parts.joined, parts.some, b"!") is None
