"""Memory that becomes code: filled once, then run and read, never written; or written in one place and run in another."""

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
from gasang.core.errors import OutOfSpaceError, PermissionDeniedError, UnsupportedError
from gasang.host import code
from gasang.host.code import CodeMemory, GrowingCode, can_make_code

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


GROWS = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this host has no memfd_create")
TOUCHES = """
import ctypes
from gasang.host.code import GrowingCode
code = GrowingCode(1 << 16, "code")
{what}
"""


@GROWS
@pytest.mark.skipif(platform.machine() not in RETURN_7, reason="no code for this processor here")
def test_code_grows_while_it_is_run() -> None:
    code = GrowingCode(1 << 16, "code")
    one = RETURN_7[platform.machine()]
    for offset in (0, 4096, 8192):
        ctypes.memmove(code.writable + offset, one, len(one))
        for run in range(0, offset + 1, 4096):
            assert ctypes.CFUNCTYPE(ctypes.c_int)(code.executable + run)() == 7
    code.close()


@GROWS
@pytest.mark.skipif(platform.machine() not in RETURN_7, reason="no code for this processor here")
@pytest.mark.parametrize("what", ["ctypes.memset(code.executable, 1, 1)", "ctypes.CFUNCTYPE(ctypes.c_int)(code.writable)()"])
def test_no_place_is_both(what: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(gasang.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", TOUCHES.format(what=what)], env=env, capture_output=True, check=False)
    assert -done.returncode in (signal.SIGSEGV, signal.SIGBUS), done.stderr


@GROWS
def test_what_is_released_is_gone() -> None:
    code = GrowingCode(1 << 16, "code")
    ctypes.memset(code.writable, 1, 1 << 16)
    code.release()
    assert ctypes.string_at(code.executable, 1 << 16) == bytes(1 << 16)
    ctypes.memset(code.writable + 5, 9, 1)
    assert ctypes.string_at(code.executable + 5, 1) == b"\x09"
    code.close()


@GROWS
def test_growing_code_leaves_nothing_behind() -> None:
    before = len(os.listdir("/proc/self/fd")), Path("/proc/self/maps").read_text().count("code-of-test")
    for _ in range(3):
        GrowingCode(1 << 16, "code-of-test").close()
    with pytest.raises(OutOfSpaceError, match="for compiled code: the host cannot map them"):
        GrowingCode(1 << 62, "code-of-test")
    assert (len(os.listdir("/proc/self/fd")), Path("/proc/self/maps").read_text().count("code-of-test")) == before


def test_a_host_without_memory_in_two_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with pytest.raises(UnsupportedError, match="no memory that lies in two places"):
        GrowingCode(1 << 16, "code")
