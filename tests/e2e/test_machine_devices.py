"""Stock Debian and the devices a machine has where they are asked for: folders of the host, a balloon, a network card."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gasang.core.errors import PermissionDeniedError
from gasang.core.paths import cache_folder
from gasang.core.progress import Silent
from gasang.host import netns, rtnetlink
from gasang.host.netlink import ROUTE, Socket
from gasang.kinds.vm.ballooning import Keeper
from gasang.kinds.vm.card import Card
from gasang.kinds.vm.extras import Extras
from gasang.kinds.vm.folders import SharedFolder
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.network import Network
from gasang.kinds.vm.pull import boot_files
from support.debian_guest import IMAGE, Screen, debian_at_its_prompt

PULL_SECONDS = 1500
MIB = 1 << 20
MEMORY = 512 * MIB


def pull(*options: str) -> None:
    program = "import sys; from gasang.cli.main import main; sys.exit(main())"
    words = [sys.executable, "-c", program, "pull", *options, IMAGE]
    done = subprocess.run(words, capture_output=True, timeout=PULL_SECONDS, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home with the image in it, kept from one run of the tests to the next. Needs a Debian mirror."""
    folder = cache_folder(os.environ) / "tests"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GASANG_HOME", str(folder))
        pull()
        if b"modules/virtio_balloon.ko" not in boot_files(IMAGE, Silent()).initrd.read_bytes():
            pull("--vm", "--again")  # an image of an earlier gasang
        yield folder


@pytest.fixture(scope="module")
def bridge() -> Iterator[str]:
    """A bridge, 10.9.0.1, in a network namespace of the test's own."""
    try:
        namespace = netns.create()
    except PermissionDeniedError:
        pytest.skip("network namespaces need root")
    with netns.entered(namespace):
        with Socket(ROUTE) as route:
            route.send([rtnetlink.set_up(rtnetlink.LOOPBACK_INDEX), rtnetlink.new_bridge("br0", b"\x02\0\0\0\0\1")])
            index = socket.if_nametoindex("br0")
            route.send([rtnetlink.new_address(index, socket.inet_aton("10.9.0.1"), 24)])
        yield "br0"
    os.close(namespace)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    (folder / "from-host").write_text("host\n")
    return folder


@pytest.fixture(scope="module")
def guest(home: Path, bridge: str, shared: Path) -> Iterator[tuple[VirtualMachine, Screen]]:
    folders = (SharedFolder(shared, "/data"), SharedFolder(shared, "/mnt/two words", read_only=True))
    card = Card("02:00:00:00:00:07", ("10.9.0.2/24",), ("10.9.0.1",), "nameserver 10.9.0.1\n")
    network = Network(card, "vm0", bridge)
    with debian_at_its_prompt(memory=MEMORY, extras=Extras(folders, network, balloon=True)) as made:
        yield made
    assert "cable" not in [thread.name for thread in threading.enumerate()]
    assert "vm0" not in [name for _, name in socket.if_nameindex()]


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def held(vm: VirtualMachine) -> int:
    """Bytes of the host that the guest's memory takes."""
    return sum(length for _, length in vm.machine.ram.memory.content())


def test_a_folder_is_there_both_ways(guest: tuple[VirtualMachine, Screen], shared: Path) -> None:
    _, screen = guest
    assert screen.ask("cat /data/from-host") == "host"
    screen.ask("mkdir /data/new && echo guest >/data/new/file && mv /data/new/file /data/moved && chmod 600 /data/moved")
    assert (shared / "moved").read_text() == "guest\n"
    assert (shared / "moved").stat().st_mode & 0o777 == 0o600
    (shared / "moved").write_text("changed on the host\n")
    assert screen.ask("sleep 1.2; cat /data/moved") == "changed on the host"
    assert screen.ask("cp /bin/true /data/program && /data/program && echo it ran") == "it ran"
    assert (
        screen.ask("seq 3000 >/data/many && sort -n /data/many | tail -1; echo /data/*")
        == "3000\n/data/from-host /data/many /data/moved /data/new /data/program"
    )


def test_a_folder_for_reading_is_not_written(guest: tuple[VirtualMachine, Screen], shared: Path) -> None:
    _, screen = guest
    assert screen.ask("cat '/mnt/two words/from-host'") == "host"
    assert "Read-only" in screen.ask("touch '/mnt/two words/new' 2>&1")
    assert "Read-only" in screen.ask("mount -o remount,rw '/mnt/two words'; echo x 2>&1 >'/mnt/two words/from-host'")
    assert (shared / "from-host").read_text() == "host\n"


def test_no_link_leads_out_of_a_folder(guest: tuple[VirtualMachine, Screen], shared: Path) -> None:
    _, screen = guest
    (shared.parent / "secret").write_text("secret\n")
    screen.ask(f"ln -s ../secret /data/out; ln -s {shared.parent}/secret /data/far")
    assert "No such file" in screen.ask("cat /data/out 2>&1")
    assert "No such file" in screen.ask("cat /data/far 2>&1")


def test_frames_go_both_ways(guest: tuple[VirtualMachine, Screen]) -> None:
    _, screen = guest
    assert screen.ask("cat /etc/resolv.conf /sys/class/net/eth0/address") == "nameserver 10.9.0.1\n02:00:00:00:00:07"
    size = 4 * MIB
    with socket.create_server(("10.9.0.1", 5000)) as server:
        server.settimeout(60)
        received: list[int] = []

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"x" * size)
            connection, _ = server.accept()
            with connection:
                received.append(sum(iter(lambda: len(connection.recv(1 << 16)), 0)))

        thread = threading.Thread(target=serve)
        thread.start()
        assert screen.ask("wc -c </dev/tcp/10.9.0.1/5000") == str(size)
        screen.ask("head -c 3000000 /dev/zero >/dev/tcp/10.9.0.1/5000")
        thread.join()
    assert received == [3_000_000]


def test_memory_that_is_free_again_goes_back_to_the_host(guest: tuple[VirtualMachine, Screen]) -> None:
    vm, screen = guest
    until(lambda: held(vm) < 200 * MIB)
    screen.ask("dd if=/dev/zero of=/dev/shm/large bs=1M count=128 2>/dev/null")
    full = held(vm)
    assert full > 128 * MIB
    screen.ask("rm /dev/shm/large")
    until(lambda: held(vm) < full - 100 * MIB)


def test_a_guest_is_asked_for_memory_and_gets_it_back(guest: tuple[VirtualMachine, Screen]) -> None:
    vm, screen = guest
    (ballooning,) = [worker.ballooning for worker in vm.workers if isinstance(worker, Keeper)]
    free = "grep MemFree /proc/meminfo | tr -dc 0-9"
    before = int(screen.ask(free))
    ballooning.leave(MEMORY - 128 * MIB)
    until(lambda: ballooning.balloon.actual == 128 * MIB)
    assert before - int(screen.ask(free)) > 100 << 10
    assert ballooning.balloon.statistics["total"] > 0
    ballooning.leave(MEMORY)
    until(lambda: ballooning.balloon.actual == 0)
