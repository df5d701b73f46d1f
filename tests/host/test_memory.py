"""Lazy memory: what is written is read, whatever way it took, and costs what was touched."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gasang.host import memory
from gasang.host.memory import LazyMemory

SIZE = 4 << 20


@pytest.fixture(params=["named", "anonymous"])
def lazy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LazyMemory]:
    if request.param == "anonymous":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("this host has no named memory")
    made = LazyMemory(SIZE, "test")
    yield made
    made.close()


@pytest.mark.parametrize("length", [0, 1, 5000, memory._LARGE - 1, memory._LARGE, memory._LARGE + 4097, SIZE - 12345])
@pytest.mark.parametrize("offset", [0, 1, 4096, 12345])
def test_what_is_written_is_read(lazy: LazyMemory, length: int, offset: int) -> None:
    data = (bytes(range(1, 252)) * (length // 251 + 1))[:length]
    lazy.write(offset, memoryview(data))
    assert lazy.view[offset : offset + length] == data
    assert ctypes.string_at(lazy.address + offset, length) == data
    assert not any(lazy.view[:offset])
    assert not any(lazy.view[offset + length : offset + length + 4096])


def test_a_descriptor_is_closed() -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for _ in range(5):
        made = LazyMemory(SIZE, "test")
        made.write(0, bytes(SIZE))
        made.close()
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)


def test_a_size_no_host_has_leaves_nothing_open() -> None:
    before = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
    with pytest.raises(memory.OutOfSpaceError):
        LazyMemory(1 << 60, "test")
    assert len(before) == (len(os.listdir("/proc/self/fd")) if before else 0)


def test_freed_memory_is_given_back() -> None:
    """In a process of its own, whose heap nothing else has a part in."""
    program = (
        "from gasang.host.memory import trim_heap\n"
        "def resident(): return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmRSS'))\n"
        "kept = [bytes(1000) for _ in range(60_000)]\n"
        "last = bytes(1000)\n"
        "full = resident()\n"
        "del kept\n"
        "trim_heap()\n"
        "assert resident() < full - 30_000, (full, resident())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
