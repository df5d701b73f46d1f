"""Debian from an image on our PC with all that a machine may have: what its command finds, folders, the guest agent, the balloon, its end.

One machine for each of its kernels: the tests use it in their order, and the last one ends it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gasang.core.console import WindowSize
from gasang.core.errors import GasangError
from gasang.kinds.vm.agent import executable
from gasang.kinds.vm.agent.client import Agent
from gasang.kinds.vm.ballooning import Keeper
from gasang.kinds.vm.extras import Extras
from gasang.kinds.vm.folders import SharedFolder
from gasang.kinds.vm.sockets import GUEST_SOCKET
from support.nested.images import Run, running
from support.nested.inside import AGENT

MIB = 1 << 20
MEMORY = 320
CPUS = {"cloud": 2, "generic": 1}
SCRIPT = """
cat /etc/os-release | grep ^VERSION_CODENAME
uname -sm
nproc
grep -c '^/dev/vda / ext4' /proc/mounts
dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c
echo written > /root/file && sync && cat /root/file
echo complained >&2
echo folders
cat /data/from-host
mkdir /data/new && echo guest >/data/new/file && mv /data/new/file /data/moved && rmdir /data/new
touch /fixed/no 2>&1 | grep -c Read-only
cp /bin/true /data/program && /data/program && echo it ran
seq 3000 >/data/many && sort -n /data/many | tail -1
ln -s ../secret /data/out; cat /data/out 2>&1 | grep -c 'No such file'
echo ready
exec sleep 1000
"""


@dataclass
class Debian:
    """A machine that has done all of the script, and goes on."""

    cpus: int
    run: Run
    shared: Path
    agent: Agent


@pytest.fixture(scope="module", params=CPUS)
def debian(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    """With two shared folders, a balloon and the guest agent."""
    top = tmp_path_factory.mktemp(request.param)
    shared, sockets = top / "shared", top / "sockets"
    for folder in (shared, sockets):
        folder.mkdir()
    (shared / "from-host").write_text("host\n")
    (top / "secret").write_text("secret\n")
    extras = Extras((SharedFolder(shared, "/data"), SharedFolder(shared, "/fixed", read_only=True)), balloon=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executable, "agent_program", lambda architecture: Path(AGENT).read_bytes())
        with running(request.param, SCRIPT, b"ready\n", cpus=CPUS[request.param], memory=MEMORY, sockets=sockets, extras=extras) as run:
            yield Debian(CPUS[request.param], run, shared, Agent.connect(sockets / GUEST_SOCKET))


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def held(run: Run) -> int:
    """Bytes of the host that the guest's memory takes."""
    return sum(length for _, length in run.vm.machine.ram.memory.content())


def test_a_command_runs_in_the_image(debian: Debian) -> None:
    said = debian.run.screen.text().partition("folders\n")[0]
    assert said.splitlines() == ["VERSION_CODENAME=bookworm", "Linux x86_64", str(debian.cpus), "1", "64", "written"]
    assert bytes(debian.run.screen.told) == b"complained\n"


def test_folders_are_there_both_ways(debian: Debian) -> None:
    said = debian.run.screen.text().partition("folders\n")[2]
    assert said.splitlines() == ["host", "1", "it ran", "3000", "1", "ready"]
    assert (debian.shared / "moved").read_text() == "guest\n"
    assert sorted(path.name for path in debian.shared.iterdir()) == ["from-host", "many", "moved", "out", "program"]


def test_the_agent_runs_commands(debian: Debian) -> None:
    agent = debian.agent
    assert agent.run(["sh", "-c", "uname -m; cat >&2; exit 42"], b"given" * 50_000) == ((42, 0), b"x86_64\n", b"given" * 50_000)
    assert agent.run(["head", "-c", "1000000", "/dev/zero"]).output == bytes(1_000_000)
    with pytest.raises(GasangError, match="no such program"):
        agent.exec(["no-such-program"])
    got = bytearray()
    with agent.exec(["stty", "size"], terminal=WindowSize(90, 33)) as command:
        assert command.run(lambda stream, data: got.extend(data)) == (0, 0)
    assert got == b"33 90\r\n"
    agent.new_identity("renamed")
    assert agent.run(["cat", "/proc/sys/kernel/hostname"]).output == b"renamed\n"
    assert 200 << 20 < agent.health().memory < 320 << 20


@pytest.mark.parametrize("debian", ["cloud"], indirect=True)
def test_memory_goes_back_to_the_host(debian: Debian) -> None:
    run, agent = debian.run, debian.agent
    assert agent.run(["dd", "if=/dev/zero", "of=/dev/shm/large", "bs=1M", "count=100"]).outcome == (0, 0)
    full = held(run)
    assert agent.run(["rm", "/dev/shm/large"]).outcome == (0, 0)
    until(lambda: held(run) < full - 80 * MIB)
    (ballooning,) = [worker.ballooning for worker in run.vm.workers if isinstance(worker, Keeper)]
    ballooning.leave((MEMORY - 64) * MIB)
    until(lambda: ballooning.balloon.actual == 64 * MIB)
    assert ballooning.balloon.statistics["total"] > 0
    ballooning.leave(MEMORY * MIB)
    until(lambda: ballooning.balloon.actual == 0)


def test_it_ends_when_it_is_asked(debian: Debian) -> None:
    debian.agent.shutdown(grace=5)
    assert debian.run.vm.ended.wait(60)
    until(lambda: debian.run.control.code == 143)
    assert debian.run.control.has_agent
