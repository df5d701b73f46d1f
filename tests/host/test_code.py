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
from gasang.host.code import reserve_code

pytestmark = pytest.mark.skipif(not hasattr(mmap, "PROT_EXEC"), reason="this host has no mprotect")

RETURN_7 = {"x86_64": bytes.fromhex("b807000000c3"), "aarch64": bytes.fromhex("e0008052c0035fd6")}
PAGE = mmap.PAGESIZE
WRITES = """
import ctypes, mmap
from gasang.host.code import reserve_code
memory = reserve_code(2 * mmap.PAGESIZE)
memory.seal(bytes(2 * mmap.PAGESIZE), mmap.PAGESIZE)
ctypes.memset(memory.address + {offset}, 1, 1)
"""


def content() -> bytes:
    return RETURN_7[platform.machine()].ljust(PAGE, b"\0") + b"constants".ljust(PAGE, b"\0")


@pytest.mark.skipif(platform.machine() not in RETURN_7, reason="no code for this processor here")
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS wants code signed")
def test_code_runs_and_constants_are_read() -> None:
    memory = reserve_code(2 * PAGE)
    assert memory is not None
    assert memory.seal(content(), PAGE)
    assert ctypes.CFUNCTYPE(ctypes.c_int)(memory.address)() == 7
    assert ctypes.string_at(memory.address + PAGE) == b"constants"


@pytest.mark.parametrize("offset", [0, PAGE])
def test_nothing_is_written_afterwards(offset: int) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(gasang.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", WRITES.format(offset=offset)], env=env, capture_output=True, check=False)
    assert -done.returncode in (signal.SIGSEGV, signal.SIGBUS), done.stderr


def test_a_host_that_has_no_more() -> None:
    assert reserve_code(1 << 62) is None


def test_a_host_that_forbids_code(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = reserve_code(PAGE)
    assert memory is not None
    monkeypatch.setattr(memory, "_protect", lambda address, size, rights: False)
    assert not memory.seal(bytes(PAGE), PAGE)
