"""Debian's kernels on our PC, and the devices a machine has where they are asked for, behind virtio-pci."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gasang.kinds.vm.ballooning import Keeper
from gasang.kinds.vm.extras import Extras
from gasang.kinds.vm.folders import SharedFolder
from support.nested.images import Run, run_in, running

MIB = 1 << 20
MEMORY = 320
BOTH_WAYS = """
cat /data/from-host
mkdir /data/new && echo guest >/data/new/file && mv /data/new/file /data/moved && rmdir /data/new
touch /fixed/no 2>&1 | grep -c Read-only
cp /bin/true /data/program && /data/program && echo it ran
seq 3000 >/data/many && sort -n /data/many | tail -1
ln -s ../secret /data/out; cat /data/out 2>&1 | grep -c 'No such file'
"""
BUSY = """
dd if=/dev/zero of=/dev/shm/large bs=1M count=100 2>/dev/null
echo full
while [ ! -e /data/go ]; do sleep 0.2; done
rm /dev/shm/large
echo empty
sleep 100
"""


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def held(run: Run) -> int:
    """Bytes of the host that the guest's memory takes."""
    return sum(length for _, length in run.vm.machine.ram.memory.content())


@pytest.mark.parametrize("kernel", ["cloud", "generic"])
def test_folders_are_there_both_ways(kernel: str, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "from-host").write_text("host\n")
    (tmp_path / "secret").write_text("secret\n")
    folders = (SharedFolder(shared, "/data"), SharedFolder(shared, "/fixed", read_only=True))
    run = run_in(kernel, BOTH_WAYS, extras=Extras(folders))
    assert run.screen.text().splitlines() == ["host", "1", "it ran", "3000", "1"]
    assert (shared / "moved").read_text() == "guest\n"
    assert sorted(path.name for path in shared.iterdir()) == ["from-host", "many", "moved", "out", "program"]


def test_memory_goes_back_to_the_host(tmp_path: Path) -> None:
    extras = Extras((SharedFolder(tmp_path, "/data"),), balloon=True)
    with running("cloud", BUSY, b"full", memory=MEMORY, extras=extras) as run:
        full = held(run)
        (tmp_path / "go").touch()
        run.screen.wait_for(b"empty")
        until(lambda: held(run) < full - 80 * MIB)
        (ballooning,) = [worker.ballooning for worker in run.vm.workers if isinstance(worker, Keeper)]
        ballooning.leave((MEMORY - 64) * MIB)
        until(lambda: ballooning.balloon.actual == 64 * MIB)
        assert ballooning.balloon.statistics["total"] > 0
        ballooning.leave(MEMORY * MIB)
        until(lambda: ballooning.balloon.actual == 0)
