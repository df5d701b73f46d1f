"""Watching a process from outside: its output, its end, its CPU time and its memory."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

import pytest
from bench.processes import MachineError, cpu_seconds, family, memory_of, run, running

MIB = 1 << 20


def _python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_a_run_has_output_wall_and_cpu_time() -> None:
    """The CPU time is that of the whole life."""
    done = run(_python("import time\nwhile time.process_time() < 0.3: pass\nprint('done')"), 30)
    assert done.output == "done\n"
    assert done.cpu >= 0.3
    assert done.wall >= 0.3


def test_a_failure_carries_what_was_said() -> None:
    """The exit code, and the last words on either stream."""
    with pytest.raises(MachineError, match=r"(?s)ended with code 3.*last words"):
        run(_python("import sys; print('last words', file=sys.stderr); sys.exit(3)"), 30)


def test_a_machine_that_hangs_is_ended() -> None:
    """Also its children: the group leaves with it."""
    program = "import subprocess, time\nchild = subprocess.Popen(['sleep', '60'])\nprint(child.pid, flush=True)\ntime.sleep(60)"
    with running(_python(program)) as machine:
        machine.wait_for("\n", 30)
        child = os.pidfd_open(int(machine.output()))
        with pytest.raises(MachineError, match="took more than"):
            machine.finish(0.1)
    ended, _, _ = select.select([child], [], [], 10)
    os.close(child)
    assert ended == [child]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's /proc")
def test_guest_memory_is_told_from_our_own() -> None:
    """A mapping of the guest's size with pages in it is the guest's; all else private is the machine's."""
    program = (
        "import mmap, sys\n"
        f"guest = mmap.mmap(-1, {256 * MIB})\nguest[:{64 * MIB}] = b'x' * {64 * MIB}\n"
        f"own = bytearray({32 * MIB})\nprint('ready', flush=True)\nsys.stdin.read()"
    )
    with running(_python(program)) as machine:
        machine.wait_for("ready", 30)
        memory = memory_of(machine.pid, 256 * MIB)
        assert machine.pid in family(machine.pid)
        assert cpu_seconds(machine.pid) < 30
    assert 64 * MIB <= memory.guest < 70 * MIB
    assert 32 * MIB <= memory.own < 64 * MIB
