"""The guest agent in stock Debian on the software machine: commands, copies, the clock, a restored guest, a twin, the end."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gasang.core.console import WindowSize
from gasang.core.errors import BadInputError, GasangError
from gasang.core.paths import cache_folder
from gasang.core.progress import Silent
from gasang.images.control import ControlPort
from gasang.kinds.vm.agent.client import Agent
from gasang.kinds.vm.agent.errors import CommandNotFoundError
from gasang.kinds.vm.launch import VmSpec, run_vm
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.pull import boot_files
from gasang.kinds.vm.snapshot.guest import restored_guest
from gasang.kinds.vm.snapshot.identity import Identity
from gasang.kinds.vm.sockets import GUEST_SOCKET, sockets_of
from support.debian_guest import BOOT_SECONDS, IMAGE, Screen, debian_at_its_prompt

PULL_SECONDS = 1500
MODULE = b"modules/vmw_vsock_virtio_transport.ko"
BIG = os.urandom(300_000)


@pytest.fixture(scope="module", autouse=True)
def home() -> Iterator[Path]:
    """A home with the image in it, kept from one run of the tests to the next; one of an earlier gasang is made anew. Needs a mirror."""
    folder = cache_folder(os.environ) / "tests"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GASANG_HOME", str(folder))
        pull()
        if MODULE not in boot_files(IMAGE, Silent()).initrd.read_bytes():
            pull("--again")
        yield folder


def pull(*words: str) -> None:
    program = "import sys; from gasang.cli.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program, "pull", *words, IMAGE], capture_output=True, timeout=PULL_SECONDS, check=False)
    assert done.returncode == 0, done.stderr.decode()


def until(so: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it comes to be so in that time; asking takes a moment."""
    end = time.monotonic() + seconds
    while not so():
        if time.monotonic() > end:
            return False
    return True


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose name leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="gas-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def machine() -> Iterator[tuple[VirtualMachine, Screen, Agent]]:
    """Debian at its prompt, and its agent."""
    with short_folder() as folder, debian_at_its_prompt(sockets=folder) as (vm, screen):
        yield vm, screen, Agent.connect(folder / GUEST_SOCKET)


@pytest.fixture
def agent(machine: tuple[VirtualMachine, Screen, Agent]) -> Agent:
    return machine[2]


def test_commands(agent: Agent) -> None:
    done = agent.run(["sh", "-c", "uname -m; id -un; pwd; cat >&2; exit 42"], b"given")
    assert done == ((42, 0), b"riscv64\nroot\n/\n", b"given")
    assert agent.run(["sha256sum"], BIG).output.split()[0].decode() == hashlib.sha256(BIG).hexdigest()
    assert agent.run(["head", "-c", "1000000", "/dev/zero"]).output == bytes(1_000_000)
    assert agent.run(["id", "-un"], user="nobody").output == b"nobody\n"
    with pytest.raises(CommandNotFoundError, match="no such program"):
        agent.exec(["no-such-program"])
    with agent.exec(["sleep", "1000"]) as running:
        running.signal(15)
        assert running.run(lambda stream, data: None) == (143, 15)


def test_a_terminal(agent: Agent) -> None:
    got = bytearray()
    with agent.exec(["sh", "-c", "tty; stty size"], terminal=WindowSize(90, 33)) as running:
        assert running.run(lambda stream, data: got.extend(data)) == (0, 0)
    assert got.startswith(b"/dev/pts/")
    assert got.endswith(b"33 90\r\n")


def test_many_at_once(agent: Agent) -> None:
    said: list[bytes] = []
    threads = [threading.Thread(target=lambda n=n: said.append(agent.run(["sh", "-c", f"echo {n}"]).output)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, said)) == list(range(12))


def test_copies(agent: Agent) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("folder/file")
        entry.size, entry.mode, entry.uid, entry.gid = len(BIG), 0o640, 33, 44
        archive.addfile(entry, io.BytesIO(BIG))
    agent.copy_in("/root", stream.getvalue())
    assert agent.run(["stat", "-c", "%a %u %g %s", "/root/folder/file"]).output == b"640 33 44 %d\n" % len(BIG)
    back = bytearray()
    agent.copy_out("/root/folder", back.extend)
    with tarfile.open(fileobj=io.BytesIO(bytes(back))) as archive:
        assert sorted(archive.getnames()) == ["folder", "folder/file"]
        content = archive.extractfile("folder/file")
        assert content is not None
        assert content.read() == BIG
    with pytest.raises(GasangError, match="nowhere"):
        agent.copy_out("/nowhere", back.extend)


def test_health_clock_and_name(agent: Agent, machine: tuple[VirtualMachine, Screen, Agent]) -> None:
    health = agent.health()
    assert 300 << 20 < health.memory < 512 << 20
    assert 0 < health.available < health.memory
    assert health.uptime > 0
    assert abs(health.time - time.time()) < 60
    agent.set_time(1_000_000_000 * 10**9)
    assert abs(agent.health().time - 10**9) < 60
    agent.set_time()
    assert abs(agent.health().time - time.time()) < 60
    agent.set_name("renamed")
    assert machine[1].ask("hostname") == "renamed"


def test_it_is_small_and_the_last_to_go(agent: Agent) -> None:
    status = dict(line.split(b":", 1) for line in agent.run(["cat", f"/proc/{agent.pid}/status"]).output.splitlines())
    assert int(status[b"VmRSS"].split()[0]) < 1024
    assert agent.run(["cat", f"/proc/{agent.pid}/oom_score_adj", "/proc/self/oom_score_adj"]).output == b"-1000\n0\n"


def test_a_restored_guest_has_it_too(machine: tuple[VirtualMachine, Screen, Agent], tmp_path: Path) -> None:
    vm, _, agent = machine
    agent.run(["sh", "-c", "echo before > /run/mark"])
    snapshot = vm.snapshot(tmp_path, "kept")
    with short_folder() as folder, restored_guest(snapshot, Screen(), ControlPort(lambda stage: None), sockets=folder) as (other, _):
        other.start()
        again = Agent.connect(folder / GUEST_SOCKET)
        again.new_identity("restored")
        assert abs(again.health().time - time.time()) < 60
        assert again.run(["sh", "-c", "cat /run/mark; hostname"]).output == b"before\nrestored\n"
        other.stop()
        other.wait_for_harts()
    assert agent.run(["cat", "/run/mark"]).output == b"before\n"
    with pytest.raises(BadInputError, match="different in virtio"), restored_guest(snapshot, Screen(), ControlPort(lambda stage: None)):
        pass


def test_a_twin_has_an_agent_of_its_own(machine: tuple[VirtualMachine, Screen, Agent]) -> None:
    vm, screen, agent = machine
    read, write = os.pipe()
    with short_folder() as folder, os.fdopen(read, "rb") as told, os.fdopen(write, "wb", buffering=0) as telling:

        def body(twin: VirtualMachine) -> int:
            screen.renew()
            sockets = sockets_of(transport.device for transport in twin.board.virtio)
            assert sockets is not None
            sockets.renew(folder)
            telling.write(b"+")
            twin.start()
            twin.join()
            sockets.close()
            return 7

        with agent.exec(["sleep", "1000"]) as running, vm.fork(body, Identity.fresh("twin")) as twin:
            assert told.read(1) == b"+"
            other = Agent.connect(folder / GUEST_SOCKET)
            other.new_identity("twin")
            assert other.run(["hostname"]).output == b"twin\n"
            assert agent.run(["hostname"]).output != b"twin\n"
            assert until(lambda: other.health().sessions == 1), "the parent's connection is not there"
            running.signal(15)
            assert running.run(lambda stream, data: None) == (143, 15)
            other.shutdown(grace=0)
            assert twin.wait() == 7


def test_the_end(machine: tuple[VirtualMachine, Screen, Agent]) -> None:
    """Whoever traps SIGTERM has its time; init reports and switches off. The machine is gone afterwards."""
    vm, screen, agent = machine
    screen.ask("(trap 'echo trapped >/dev/hvc0; exit' TERM; while :; do sleep 0.1; done) & true")
    agent.shutdown(grace=2)
    assert vm.ended.wait(60)
    assert b"trapped" in screen.shown
    assert vm.power is not None
    with pytest.raises(GasangError):
        agent.hello(0.2)


def test_a_command_that_is_asked_to_end_has_its_last_word() -> None:
    """Its output goes out, and its exit code is the machine's."""
    screen = Screen()
    script = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done"
    codes: list[int] = []
    with short_folder() as folder:
        words = ("sh", "-c", script)
        spec = VmSpec(1, 512 << 20, None, None, "", IMAGE, words, (), tty=False, disks=(), sockets=folder, architecture="riscv64")
        thread = threading.Thread(target=lambda: codes.append(run_vm(spec, screen, Silent())))
        thread.start()
        screen.wait_for(b"up\n", BOOT_SECONDS)
        Agent.connect(folder / GUEST_SOCKET).shutdown(grace=20)
        thread.join(60)
    assert codes == [5]
    assert b"bye\n" in screen.shown  # beside what the shell says of its child
