"""Streams that are taken over from another process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from gasang.kinds.vm.process.streams import opened_streams

TAKES = """
import os, sys
from gasang.kinds.vm.process.streams import opened_streams, take_streams
if os.fork() == 0:
    with opened_streams(int(sys.argv[1])) as streams:
        take_streams(streams, tty=sys.argv[2] == "tty")
    os.write(1, b"%d %d " % (os.getsid(0) == os.getpid(), os.isatty(1)) + os.read(0, 100))
    os._exit(os.tcgetpgrp(0) != os.getpgrp() if sys.argv[2] == "tty" else 0)
os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_pipes() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as held:
        assert held.stdin is not None
        assert held.stdout is not None
        try:
            held.send_signal(signal.SIGSTOP)  # it reads nothing
            os.waitid(os.P_PID, held.pid, os.WSTOPPED | os.WNOWAIT)
            held.stdin.write(b"typed")
            held.stdin.flush()
            assert subprocess.run([sys.executable, "-c", TAKES, str(held.pid), "pipes"], timeout=60, check=False).returncode == 0
            assert held.stdout.read(9) == b"1 0 typed"
        finally:
            held.kill()


def test_a_terminal() -> None:
    master, slave = os.openpty()
    with subprocess.Popen(["sleep", "60"], stdin=slave, stdout=slave, stderr=slave) as held:
        try:
            os.close(slave)
            os.write(master, b"typed\n")
            assert subprocess.run([sys.executable, "-c", TAKES, str(held.pid), "tty"], timeout=60, check=False).returncode == 0
            assert b"1 1 typed" in os.read(master, 100).replace(b"typed\r\n", b"", 1)
        finally:
            held.kill()
    os.close(master)


def test_a_process_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError), opened_streams(1 << 22):
        pass
