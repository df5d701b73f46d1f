"""Debian as a container image: made of a mirror's packages where the setting says so, by the commands a user types."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from gasang.core.errors import BadInputError
from gasang.core.progress import Silent
from gasang.images.bootstrap import System, bootstrap
from gasang.images.configuring import Unconfigured, unfolded
from gasang.images.spool import Spool
from gasang.kinds.container.configuring import ContainerConfigurer
from gasang.native.cache import default_directory
from support.command import Done, check_sentence
from support.debian_archive import Archive, Server, Signer, add_kernel, bzimage, native_debian, serving
from support.engines.engine import remove, short_home
from support.privileges import needs_root

pytestmark = needs_root
SOURCE = Path(__file__).resolve().parents[2] / "src"
SETTINGS = {"GASANG_DEBIAN": "mirror", "PYTHONPATH": str(SOURCE), "GASANG_NATIVE_CACHE": str(default_directory())}
IMAGE = "debian:trixie"
RELEASE_FILE = "dists/trixie/InRelease"
CHOSEN = "pool/main/chosen_1.0-1_amd64.deb"


class Gasang:
    """The command, with a home and settings of its own."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.environment = {**os.environ, "GASANG_HOME": str(home), **SETTINGS, **settings}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gasang", *words]
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300, env=self.environment
        )

    def left(self) -> set[str]:
        """Files with content of images, and what is left of work."""
        found = {str(path.relative_to(self.home)) for path in self.home.rglob("*") if path.is_file() and path.stat().st_size}
        return {path for path in found if path.startswith(("data/images/", "cache/")) and not path.startswith("cache/packages/")}


@contextmanager
def running(name: str, **settings: str) -> Iterator[Gasang]:
    home = short_home(name)
    gasang = Gasang(home, **settings)
    try:
        yield gasang
    finally:
        gasang("daemon", "stop")
        remove(home)


# from Debian's own mirror


@pytest.fixture(scope="module")
def gasang() -> Iterator[Gasang]:
    """A home in which the image has been made. Needs a Debian mirror."""
    if os.uname().machine != "x86_64":
        pytest.skip("images for containers are made on amd64")
    with running("debian") as command:
        done = command("pull", "--container", IMAGE)
        assert (done.returncode, done.stdout) == (0, f"{IMAGE}\n"), done.stderr
        assert f"Making {IMAGE} from packages of http" in done.stderr
        yield command


def test_every_package_is_configured_and_apt_runs(gasang: Gasang) -> None:
    script = "dpkg -l | tail -n +6 | cut -c1-3 | sort -u; dpkg --audit; apt-get check >/dev/null && echo fine; ls -A /boot /run; uname -m"
    done = gasang("run", "--rm", IMAGE, "sh", "-c", script)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["ii", "fine", "/boot:", "/run:", "lock", "x86_64"]


def test_packages_can_be_added_and_start_no_services(gasang: Gasang) -> None:
    script = "apt-get update -q && apt-get install -qy --no-install-recommends hello && hello; policy-rc.d; echo $?"
    done = gasang("run", "--rm", "--network", "host", IMAGE, "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["Hello, world!", "101"]


def test_the_second_one_is_there_at_once(gasang: Gasang) -> None:
    done = gasang("pull", "--container", IMAGE)
    assert done.returncode == 0
    assert "downloading" not in done.stderr
    (line,) = gasang("images", "--format", "{reference} {kind} {architecture}").stdout.splitlines()
    assert line == f"{IMAGE} container amd64"


def test_dpkg_itself_tells_whose_script_fails(gasang: Gasang, tmp_path: Path) -> None:
    """Real packages and one more, whose script fails."""
    archive = Archive(tmp_path / "mirror", architecture="amd64")
    scripts = {"postinst": b"#!/bin/sh\necho it went wrong >&2\nexit 3\n"}
    archive.add("broken", "Maintainer: A B <a@example.org>\nDescription: breaks\n", {"usr/share/broken/x": b"x"}, scripts)
    packages = [*sorted((gasang.home / "cache/packages/amd64").glob("*.deb")), archive.root / "pool/main/broken_1.0-1_amd64.deb"]
    with ExitStack() as stack:
        entries = bootstrap(System("trixie", "amd64", "http://x"), packages, stack.enter_context(Spool(tmp_path)))
        root = stack.enter_context(unfolded(entries, tmp_path))
        says = "image x: package broken: installed broken package post-installation script subprocess returned error exit status 3; pull"
        with pytest.raises(BadInputError, match=says):
            ContainerConfigurer().configure(Unconfigured(root, len(packages), "image x"), Silent())


# from small mirrors


@pytest.fixture
def archive(tmp_path: Path, signer: Signer) -> Archive:
    """A small Debian for amd64 that can be configured."""
    made = native_debian(tmp_path / "mirror", {"postinst": b"#!/bin/sh\necho configured >/chosen\n"})
    made.publish(signer.sign, Date="Sat, 12 Sep 2026 07:55:41 UTC")
    return made


@pytest.fixture
def server(archive: Archive) -> Iterator[Server]:
    """It on the loopback."""
    with serving(archive.root) as found:
        yield found


@pytest.fixture
def small(server: Server, signer: Signer) -> Iterator[Gasang]:
    """The command, whose mirror it is."""
    with running("small", GASANG_MIRROR=server.address, GASANG_KEYRING=str(signer.keyring), GASANG_TIMEOUT="1s") as command:
        yield command


def refused(gasang: Gasang, code: int, says: str, image: str = IMAGE) -> None:
    """A pull that fails, leaving nothing but downloads."""
    before = gasang.left()
    done = gasang("pull", "--container", image)
    lines = [line for line in done.stderr.splitlines() if "starting the daemon" not in line and "gasang: Making " not in line]
    check_sentence(Done(done.returncode, done.stdout.encode(), "\n".join(lines) + "\n"), code, says)
    assert gasang.left() - before <= {"data/images/index.json", "data/images/oci-layout"}


def test_run_makes_it_and_the_second_run_asks_nobody(small: Gasang, server: Server) -> None:
    done = small("run", "--rm", IMAGE, "cat", "/chosen")
    assert (done.returncode, done.stdout) == (0, "configured\n"), done.stderr
    server.requests.clear()
    assert small("run", "--rm", IMAGE, "cat", "/chosen").stdout == "configured\n"
    assert server.requests == []
    assert small("pull", "--container", IMAGE).returncode == 0
    assert [path for path, _ in server.requests] == [RELEASE_FILE]


def test_what_is_wrong_with_a_mirror_is_told(small: Gasang, server: Server, archive: Archive, signer: Signer) -> None:
    refused(small, 3, "Debian potato: .* has no such suite; try bookworm, trixie or sid", "debian:potato")
    release = archive.root / RELEASE_FILE
    good = release.read_bytes()
    release.write_bytes(good.replace(b"stable", b"staple"))
    refused(small, 1, "no key of .*keyring.gpg has signed it; do not use this mirror")
    release.write_bytes(good)
    server.faults[CHOSEN] = ["damage", "damage"]
    refused(small, 1, f"{CHOSEN}: its hash is not the one that the index promises")
    server.faults[CHOSEN] = ["404"]
    refused(small, 3, f"{CHOSEN}: the mirror has no such file")
    server.faults[RELEASE_FILE] = ["mute"] * 4
    refused(small, 8, f"{RELEASE_FILE}: the mirror sent nothing for 1 seconds")
    archive.without("chosen")
    archive.add("chosen", "Priority: required\n", scripts={"postinst": b"#!/bin/sh\nexit 3\n"})
    archive.publish(signer.sign)
    refused(small, 1, "image debian:trixie: package chosen: .* post-installation script subprocess returned error exit status 3")
    archive.without("chosen")
    archive.publish(signer.sign)
    assert small("run", "--rm", IMAGE, "cat", "/usr/share/chosen/x").returncode == 1
    shutil.rmtree(archive.root)
    refused(small, 3, "has no such suite", "debian:sid")
    assert small("run", "--rm", IMAGE, "true").returncode == 0


def test_a_mirror_that_is_not_there(signer: Signer) -> None:
    with running("nowhere", GASANG_MIRROR="http://127.0.0.1:1", GASANG_KEYRING=str(signer.keyring)) as gasang:
        refused(gasang, 1, rf"http://127.0.0.1:1/{RELEASE_FILE}: the mirror does not answer \(Connection refused\)")


def test_the_disk_of_a_virtual_machine(small: Gasang, archive: Archive, signer: Signer) -> None:
    """Its packages are configured in a container too; there is nothing to run it with."""
    add_kernel(archive, bzimage())
    archive.publish(signer.sign)
    done = small("pull", "--vm", "--arch", "amd64", IMAGE)
    assert (done.returncode, done.stdout) == (0, f"{IMAGE}\n"), done.stderr
    assert small("images", "--vm", "--format", "{reference} {architecture}").stdout == f"{IMAGE} amd64\n"
    done = small("run", "--vm", "--arch", "amd64", "--accel", "soft", IMAGE, "--", "true")
    assert (done.returncode, done.stderr.count("\n")) == (6, 1)
    assert done.stderr.startswith("gasang: architecture amd64: --accel soft runs no machine of it; use --arch riscv64")
    assert small("rmi", "--vm", "--arch", "riscv64", IMAGE).returncode == 3
    assert small("rmi", "--vm", IMAGE).stdout == f"removed {IMAGE}\n"
    assert not {path for path in small.left() if "blobs" in path or "ready" in path}
