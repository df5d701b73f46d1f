"""How short of memory a host is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gasang.host.pressure import HostMemory, host_memory, parse

MEMINFO = "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    250 kB\n"


def test_both_files_are_read() -> None:
    pressure = "some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=3.00 avg60=0.00 avg300=0.00 total=1\n"
    assert parse(MEMINFO, pressure) == HostMemory(1000 * 1024, 250 * 1024, 12.5)


def test_a_kernel_without_pressure_stalls_nobody() -> None:
    assert parse(MEMINFO, "") == HostMemory(1000 * 1024, 250 * 1024, 0.0)


def test_a_host_that_tells_nothing(tmp_path: Path) -> None:
    assert host_memory(tmp_path) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc")
def test_this_host_tells() -> None:
    memory = host_memory()
    assert memory is not None
    assert 0 < memory.available <= memory.total
