"""A process that limits itself fails, or ends, where it wants more."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="this host has no limits")


def _end_of(program: str) -> int:
    return subprocess.run([sys.executable, "-c", program], stderr=subprocess.DEVNULL, timeout=60, check=False).returncode


def test_memory_beyond_the_limit_is_refused() -> None:
    program = "from gasang.host.limits import limit_memory; limit_memory(256 << 20); bytearray({} << 20)"
    assert _end_of(program.format(16)) == 0
    assert _end_of(program.format(1024)) == 1


def test_time_beyond_the_limit_ends_the_process() -> None:
    assert _end_of("from gasang.host.limits import limit_time; limit_time(0)\nwhile True: pass") == -signal.SIGXCPU


def test_a_process_opens_as_many_files_as_it_is_allowed_to() -> None:
    program = (
        "import os, resource; from gasang.host.limits import open_as_many_as_allowed as more; "
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 200)); more(100); held = [os.dup(0) for _ in range(90)]; "
        "assert resource.getrlimit(resource.RLIMIT_NOFILE) == (100, 200); more(1000); more(50); "
        "assert resource.getrlimit(resource.RLIMIT_NOFILE) == (200, 200)"
    )
    assert _end_of(program) == 0
