"""Memory that becomes code: filled once, then run and read, never written."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gasang
from gasang.core.errors import OutOfSpaceError, PermissionDeniedError
from gasang.host import code
from gasang.host.code import CodeMemory, can_make_code

pytestmark = pytest.mark.skipif(not can_make_code(), reason="this host has no mprotect")

RETURN_7 = {"x86_64": bytes.fromhex("b807000000c3"), "aarch64": bytes.fromhex("e0008052c0035fd6")}
PAGE = mmap.PAGESIZE
WRITES = """
import ctypes, mmap
from gasang.host.code import CodeMemory
memory = CodeMemory(2 * mmap.PAGESIZE)
memory.seal(bytes(2 * mmap.PAGESIZE), mmap.PAGESIZE)
ctypes.memset(memory.address + {offset}, 1, 1)
"""


def content() -> bytes:
    return RETURN_7[platform.machine()].ljust(PAGE, b"\0") + b"constants".ljust(PAGE, b"\0")


@pytest.mark.skipif(platform.machine() not in RETURN_7, reason="no code for this processor here")
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS wants code signed")
def test_code_runs_and_constants_are_read() -> None:
    memory = CodeMemory(2 * PAGE)
    memory.seal(content(), PAGE)
    assert ctypes.CFUNCTYPE(ctypes.c_int)(memory.address)() == 7
    assert ctypes.string_at(memory.address + PAGE) == b"constants"


@pytest.mark.parametrize("offset", [0, PAGE])
def test_nothing_is_written_afterwards(offset: int) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(gasang.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", WRITES.format(offset=offset)], env=env, capture_output=True, check=False)
    assert -done.returncode in (signal.SIGSEGV, signal.SIGBUS), done.stderr


def test_a_host_that_has_no_more() -> None:
    with pytest.raises(OutOfSpaceError, match="for compiled code: the host cannot map them"):
        CodeMemory(1 << 62)


def test_a_host_that_forbids_code(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidding:
        mmap, munmap = staticmethod(code._libc().mmap), staticmethod(code._libc().munmap)

        @staticmethod
        def mprotect(address: int, size: int, rights: int) -> int:
            return -1

    memory = CodeMemory(PAGE)
    monkeypatch.setattr(code, "_libc", Forbidding)
    with pytest.raises(PermissionDeniedError, match="the host forbids to execute it"):
        memory.seal(bytes(PAGE), PAGE)
