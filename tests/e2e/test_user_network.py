"""Stock Debian behind the network in user space: names, TCP both ways, a published port, and the host's loopback where that is allowed."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gasang.core.paths import cache_folder
from gasang.core.progress import Silent
from gasang.kinds.vm.extras import Extras
from gasang.kinds.vm.machine import VirtualMachine
from gasang.kinds.vm.pull import boot_files
from gasang.kinds.vm.user_network import UserNetwork
from gasang.native.cache import default_directory
from gasang.network.spec import PortSpec
from gasang.network.user.plan import Plan
from support.debian_guest import IMAGE, Screen, debian_at_its_prompt

PULL_SECONDS = 1500
NOBODY = 65534
MIB = 1 << 20
TENTATIVE = 0x40
"""IFA_F_TENTATIVE: the guest's kernel still asks whether somebody else has the address."""


def pull(*options: str) -> None:
    program = "import sys; from gasang.cli.main import main; sys.exit(main())"
    words = [sys.executable, "-c", program, "pull", *options, IMAGE]
    done = subprocess.run(words, capture_output=True, timeout=PULL_SECONDS, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def guest(port: int) -> Iterator[tuple[VirtualMachine, Screen]]:
    """A machine at its prompt. Needs a Debian mirror the first time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GASANG_HOME", str(cache_folder(os.environ) / "tests"))
        pull()
        if b"modules/virtio_net.ko" not in boot_files(IMAGE, Silent()).initrd.read_bytes():
            pull("--vm", "--again")
        network = UserNetwork(Plan(reaches_host=True), (PortSpec(8080, "tcp", "127.0.0.1", port),))
        with debian_at_its_prompt(memory=256 * MIB, extras=Extras(network=network)) as made:
            yield made
    assert "user-network" not in [thread.name for thread in threading.enumerate()]


def test_bytes_go_both_ways(guest: tuple[VirtualMachine, Screen]) -> None:
    _, screen = guest
    assert screen.ask("cat /etc/resolv.conf") == "nameserver 10.0.2.3"
    size, received = 8 * MIB, []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"x" * size)
            connection, _ = server.accept()
            with connection:
                received.append(sum(iter(lambda: len(connection.recv(1 << 16)), 0)))

        thread = threading.Thread(target=serve)
        thread.start()
        number = server.getsockname()[1]
        assert screen.ask(f"wc -c </dev/tcp/10.0.2.2/{number}") == str(size)
        screen.ask(f"dd if=/dev/zero bs=64k count=100 2>/dev/null >/dev/tcp/10.0.2.2/{number}")
        thread.join()
    assert received == [6_553_600]


def test_nobody_there_is_said_at_once(guest: tuple[VirtualMachine, Screen]) -> None:
    _, screen = guest
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert "Connection refused" in screen.ask(f"echo >/dev/tcp/10.0.2.2/{bound.getsockname()[1]}")


def has_address(shown: str) -> bool:
    """Whether there is one of our prefix that may be used."""
    rows = [line.split() for line in shown.splitlines()]
    return any(row[0].startswith("fd000a0000020000") and not int(row[4], 16) & TENTATIVE for row in rows if len(row) == 6)


def test_ipv6_comes_by_advertisement(guest: tuple[VirtualMachine, Screen]) -> None:
    _, screen = guest
    end = time.monotonic() + 60
    while not has_address(shown := screen.ask("cat /proc/net/if_inet6")):
        assert time.monotonic() < end, shown
        time.sleep(0.5)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        server.settimeout(60)
        screen.type(f"echo by six >/dev/tcp/fd00:a00:2::2/{server.getsockname()[1]}\n".encode())
        connection, _ = server.accept()
        with connection:
            connection.settimeout(60)
            assert connection.recv(100) == b"by six\n"


def test_a_published_port_leads_to_the_guest(guest: tuple[VirtualMachine, Screen], port: int) -> None:
    _, screen = guest
    listening = (
        'perl -MIO::Socket::INET -e \'$s = IO::Socket::INET->new(LocalPort => 8080, Listen => 1); $| = 1; print "listens\\n";'
        " $c = $s->accept; $line = <$c>; print $c uc $line; close $c'"
    )
    screen.type(listening.encode() + b"\n")
    screen.wait_for(b"\rlistens\r\n")
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        client.sendall(b"hello\n")
        assert client.makefile("rb").readline() == b"HELLO\n"


def test_the_command_line_gives_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        server.settimeout(120)
        patch.setenv("GASANG_HOME", str(cache_folder(os.environ) / "tests"))
        program = "import sys; from gasang.cli.main import main; sys.exit(main())"
        words = [sys.executable, "-c", program, "run", "--vm", "--memory", "256M", "--network", "user,host=allow", IMAGE, "--"]
        words += ["bash", "-c", f"echo from the guest >/dev/tcp/10.0.2.2/{server.getsockname()[1]}"]
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as running:
            connection, _ = server.accept()
            with connection:
                assert connection.recv(100) == b"from the guest\n"
            _, said = running.communicate(timeout=120)
        assert running.returncode == 0, said


PERL = "use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 80, Listen => 9); $c = $s->accept; print $c `id -u`; close $c"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be nobody")
def test_a_user_without_any_privilege() -> None:
    """`gasang run --vm --no-root -p` as nobody, in no group, with an empty home but for the image: a published port leads to the guest."""
    image, home = cache_folder(os.environ) / "tests", Path(tempfile.mkdtemp(prefix="nobody-", dir="/var/tmp"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GASANG_HOME", str(image))
            pull()
        for part in ("data/images", "cache/ready"):
            shutil.copytree(image / part, home / "g" / part, symlinks=True)
        shutil.copytree(default_directory(), home / "native")
        for folder, folders, files in os.walk(home):
            for name in (".", *folders, *files):
                os.chown(os.path.join(folder, name), NOBODY, NOBODY, follow_symlinks=False)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        variables = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
        variables |= {"GASANG_HOME": str(home / "g"), "GASANG_NATIVE_CACHE": str(home / "native")}
        nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
        words = ["run", "--vm", "--no-root", "--memory", "256M", "-p", f"{port}:80", IMAGE, "--", "perl", "-e", PERL]
        process = subprocess.Popen(
            [*nobody, sys.executable, "-m", "gasang", *words], env=variables, cwd=home, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            assert heard(process, port) == b"0\n"
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0, output
        finally:
            process.kill()
            process.communicate()
    finally:
        shutil.rmtree(home)


def heard(process: subprocess.Popen[bytes], port: int) -> bytes:
    """What the guest says to whoever calls, once it listens: until then the stack takes the call and breaks it off."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 20) as client:
            if said := client.makefile("rb").read():
                return said
        time.sleep(0.2)
    process.kill()
    raise AssertionError(process.communicate()[0])
