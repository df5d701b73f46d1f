"""A process that leaves closes its streams when its other files are closed, whatever memory it has."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

_LEAVES = """
import fcntl, mmap, sys
from gasang.host.leaving import leave
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
memory = mmap.mmap(-1, 256 << 20)
memory[::4096] = bytes(len(memory) // 4096)
print("here", flush=True)
sys.stdin.read()
leave(37)
"""


def test_its_locks_are_free_when_its_streams_end(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    words = [sys.executable, "-c", _LEAVES, str(lock)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"here\n"
        process.stdin.close()
        assert process.stdout.read() == b""
        descriptor = os.open(lock, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
        assert process.wait(20) == 37
